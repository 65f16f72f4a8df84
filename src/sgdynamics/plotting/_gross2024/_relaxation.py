"""Sec. III D: relaxation of the modes of a two-layer linear network, and its drift along the minima."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import COLOURS, GREY, panels, published, simulation, theory

KAPPA = "[ησ_e²/(2S)]"


def relaxation(data: xr.Dataset) -> Figure:
    """Growth and autocorrelation of three modes, variances of all; squares of both layers in balance times."""
    figure, axes = panels(2, 2, width=4.6, height=3.3)
    shown = np.unique(np.linspace(0, data.sizes["mode"] - 1, 3).round().astype(int))
    for mode, colour in zip(shown, COLOURS, strict=False):
        _mode(axes[0], data.isel(mode=mode), colour)
    simulation(axes[0, 0], data["t"], data["rest"], data["rest_error"], None, COLOURS[3])
    axes[0, 0].axhline(0, color=GREY, linestyle=":")
    axes[0, 0].set(xlabel="time [t]", ylabel=f"E χ² from weights at θ⁰  {KAPPA}")
    axes[0, 1].set(xlabel="time [t]", ylabel="autocorrelation of χ")
    _legend(figure, data, shown)
    _equilibrium(axes[1, 0], data)
    _drift(axes[1, 1], data)
    return figure


def _mode(axes: np.ndarray, mode: xr.Dataset, colour: str) -> None:
    growth, memory = axes
    for panel, name in ((growth, "growth"), (memory, "memory")):
        theory(panel, mode["t"], mode[f"{name}_law"], None, colour)
        simulation(panel, mode["t"], mode[name], mode[f"{name}_error"], None, colour)
    published(growth, mode["t"], mode["growth_white"])


def _legend(figure: Figure, data: xr.Dataset, shown: np.ndarray) -> None:
    rates = [float(data["rate"][mode]) for mode in shown]
    handles = [
        Line2D([], [], color=colour, label=f"rate {rate:.3g}") for rate, colour in zip(rates, COLOURS, strict=False)
    ]
    handles += [
        Line2D([], [], color=COLOURS[3], marker="o", markerfacecolor="white", linestyle="", label="rate 0, mean"),
        Line2D([], [], color=GREY, linestyle="--", label="(3.41), (3.42)"),
        Line2D([], [], color="black", label="theory"),
        Line2D([], [], color="black", marker="o", markerfacecolor="white", linestyle="", label="SGD"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))


def _equilibrium(axes: Axes, data: xr.Dataset) -> None:
    theory(axes, data["mode"], data["equilibrium_law"])
    simulation(axes, data["mode"], data["equilibrium"], data["equilibrium_error"])
    published(axes, data["mode"], np.ones(data.sizes["mode"]))
    axes.set(xlabel="mode, by falling rate", ylabel=f"variance in equilibrium  {KAPPA}", ylim=(0, None))


def _drift(axes: Axes, data: xr.Dataset) -> None:
    t = data["long_t"] / data.attrs["balance_time"]
    for name, label, colour in (("first", "|W₁|²", COLOURS[0]), ("second", "|W₂|²", COLOURS[1])):
        law = f"{name}_layer"
        theory(axes, t, data[f"{law}_law"], None, colour)
        simulation(axes, t, data[law], data[f"{law}_error"], label, colour)
    for rank, label in ((0, "largest D₁"), (1, "next D₁")):
        theory(axes, t, data["strengths_law"][:, rank], None, COLOURS[2 + rank])
        simulation(axes, t, data["strengths"][:, rank], None, label, COLOURS[2 + rank], marker="s", markersize=3)
    axes.set(xlabel="time  [balance times of the small network]", ylabel="squares of the layers  [w²]")
    axes.set_ylim(0, 1.3 * float(data["first_layer"].max()))
    axes.legend(loc="upper right", ncols=2)
