"""Fig. 25: perturbed gradient descent in a widening valley."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

KINDS = {"anti_pgd": ("Anti-PGD", COLOURS[0]), "pgd": ("PGD", COLOURS[1])}
LAWS = {"anti_pgd": "law", "pgd": "closed by hand"}


def fig25(data: xr.Dataset) -> Figure:
    """Paths in the plane, the speed along the valley, and the Hessian's trace."""
    figure, axes = panels(columns=3, width=3.5, height=3.2)
    _paths(axes[0, 0], data)
    _speeds(axes[0, 1], data)
    _traces(axes[0, 2], data)
    figure.legend(*axes[0, 2].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _paths(axes: Axes, data: xr.Dataset) -> None:
    for name, (_, colour) in KINDS.items():
        axes.plot(data[f"{name}_path_u"], data[f"{name}_path_v"], ".-", color=colour, linewidth=0.6, markersize=3)
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    u, v = np.meshgrid(np.linspace(left, right, 101), np.linspace(low, high, 101))
    axes.contour(u, v, u**2 * v**2 / 2, levels=np.geomspace(1e-4, 1, 7), colors=GREY, linewidths=0.4, zorder=0)
    axes.plot(0, data["pgd_path_v"][0], "*", color=BLACK, markersize=9)
    axes.set(xlabel="u₁  [w]", ylabel="v  [w]", title="one replica each, contours of the loss")


def _speeds(axes: Axes, data: xr.Dataset) -> None:
    for name, (_, colour) in KINDS.items():
        theory(axes, data["curvature"], data[f"{name}_rate_law"], None, colour)
        simulation(axes, data["start"], data[f"{name}_rate"], data[f"{name}_rate_error"], None, colour)
    axes.axhline(1, color=GREY, linestyle="--")
    axes.axvline(0.5, color=GREY, linestyle=":", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="curvature across the valley, v²  [1/η]")
    axes.set(ylabel="−ln(v/v₀)/t  [dσ²]", title="speed along the valley")


def _traces(axes: Axes, data: xr.Dataset) -> None:
    for name, (words, colour) in KINDS.items():
        theory(axes, data["step"], data[f"{name}_trace_law"], f"{words}, {LAWS[name]}", colour)
        simulation(axes, data["record"], data[f"{name}_trace"], data[f"{name}_trace_error"], words, colour)
    published(axes, data["step"], data["effective_loss"], "flow of L + (σ²/2) tr H")
    axes.axhline(data.attrs["gradient_descent"], color=BLACK, linewidth=0.8, label="gradient descent")
    axes.axhline(2 / data.attrs["learning_rate"], color=GREY, linestyle=":", label="edge of stability, 2/η")
    axes.set(xscale="symlog", yscale="log", xlabel="step", ylabel="tr H  [w²]", title="trace of the Hessian")
    last = float(data["step"][-1])
    axes.set(xlim=(0, 1.5 * last), xticks=[0, *(10**k for k in range(1, 1 + int(np.log10(last))))])
