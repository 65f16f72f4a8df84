"""How far from normal: kurtosis against learning rate and curvature, and the tail of one weight."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import COLOURS, GREY, panels, published, simulation, theory


def gaussianity(data: xr.Dataset) -> Figure:
    """One input against the learning rate, several against curvature, and the density of one weight."""
    figure, axes = panels(1, 3, width=3.3, height=3.2)
    _scalar(axes[0, 0], data)
    _modes(axes[0, 1], data)
    _tail(axes[0, 2], data)
    return figure


def _scalar(axes: Axes, data: xr.Dataset) -> None:
    for S, colour in zip(data.attrs["batch_sizes"], COLOURS, strict=False):
        theory(axes, data[f"learning_rate_fine_{S}"], data[f"scalar_{S}_theory"], None, colour)
        value, error = data[f"scalar_{S}"], data[f"scalar_{S}_error"]
        simulation(axes, data[f"learning_rate_{S}"], value, error, f"S = {S}", colour)
    axes.axhline(0, color=GREY, linestyle=":")
    axes.set(xlabel="η⟨x²⟩", ylabel="excess kurtosis", ylim=(-0.6, 2), title="one input")
    axes.legend(loc="lower right")


def _modes(axes: Axes, data: xr.Dataset) -> None:
    theory(axes, data["curvature"], data["modes_theory"], "exact")
    simulation(axes, data["curvature"], data["modes"], data["modes_error"], "SGD, S = 1")
    axes.axhline(0, color=GREY, linestyle=":")
    axes.set(xlabel="curvature h of the mode", ylabel="excess kurtosis", title=f"{data.sizes['curvature']} inputs")
    axes.legend(loc="best")


def _tail(axes: Axes, data: xr.Dataset) -> None:
    t, density, error = data["deviation"].values, data["density"].values, data["density_error"].values
    seen = density > 0
    simulation(axes, t[seen], density[seen], error[seen], "SGD, S = 1", markersize=3)
    normal = np.linspace(-6, 6, 200)
    published(axes, normal, np.exp(-(normal**2) / 2) / np.sqrt(2 * np.pi), "normal")
    α, far = data.attrs["tail_exponent"], np.geomspace(4, 60, 40)
    for side in (-1, 1):
        at = np.argmin(np.abs(t - side * 10))
        power = density[at] * (far / abs(t[at])) ** (-α - 1)
        theory(axes, side * far, power, f"|δ|$^{{-{α + 1:g}}}$" if side > 0 else None, COLOURS[1])
    axes.set(xlabel="deviation from w*  [standard deviations]", ylabel="density", title="one input: tail")
    axes.set_xscale("symlog", linthresh=4)
    axes.set_xticks([-64, -16, -4, 0, 4, 16, 64], minor=False)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(yscale="log", ylim=(1e-9, 2))
    axes.legend(loc="lower center")
