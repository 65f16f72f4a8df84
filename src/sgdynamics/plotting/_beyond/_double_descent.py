"""Fluctuations across the interpolation threshold."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, simulation, theory

POINT = {"linestyle": "none", "color": BLACK}
KINDS = [
    Line2D([], [], color=BLACK, label="theory: average over data (last panel: exact)"),
    Line2D([], [], marker="s", markersize=3, label="drawn data sets, frozen noise (2.30)", **POINT),
    Line2D([], [], marker="o", markerfacecolor="white", label="SGD, one data set", **POINT),
    Line2D([], [], marker="_", markersize=10, label="exact law of that data set", **POINT),
]


def double_descent(data: xr.Dataset) -> Figure:
    """What vanishes at the threshold, what peaks there, and what is left beyond."""
    figure, axes = panels(2, 2, width=4.4, height=3.2)
    variance, loss, time, beyond = axes.ravel()
    for name, colour, label in (("total", COLOURS[0], "tr M"), ("largest", COLOURS[1], "largest eigenvalue of M")):
        _line(variance, data, name, colour, label)
        _points(variance, data, name, colour)
    variance.set(ylabel="variance of the weights  [ησ²/(2S)]", ylim=(0, 1.4 * variance.get_ylim()[1]))
    for name, colour, label in (("spatial", COLOURS[3], "of w*"), ("fluctuating", COLOURS[0], "of the fluctuations")):
        _line(loss, data, name, colour, label)
    _points(loss, data, "fluctuating", COLOURS[0])
    loss.set(ylabel="part of the test loss  [σ²]", yscale="log")
    _geometric(time, data, "entropy", COLOURS[2], "entropy production [1/t]")
    _geometric(time, data, "irreversibility", COLOURS[4], "circulation |Q|/|HM|")
    _geometric(time, data, "relaxation", COLOURS[5], "slowest relaxation [steps]", scale=1e-5, power="10⁵ ")
    time.set(ylabel="geometric mean over data sets", yscale="log")
    for axis in (variance, loss, time):
        axis.axvline(1, color=GREY, linestyle=":", linewidth=0.8, zorder=0)
        axis.set(xlabel="N/P")
        axis.legend(loc="upper left")
    _dying(beyond, data)
    figure.legend(handles=KINDS, loc="outside lower center", ncols=2)
    return figure


def _line(axes: Axes, data: xr.Dataset, name: str, colour: str, label: str) -> None:
    P = float(data["samples"])
    if f"{name}_theory" in data:
        theory(axes, data["inputs_theory"] / P, data[f"{name}_theory"], None, colour)
    mean, error = data[f"{name}_data"], data[f"{name}_data_error"]
    axes.errorbar(data["inputs"] / P, mean, error, fmt="s", markersize=3, color=colour, label=label)


def _points(axes: Axes, data: xr.Dataset, name: str, colour: str) -> None:
    x = data["inputs_sgd"] / float(data["samples"])
    axes.plot(x, data[f"{name}_exact"], color=colour, linestyle="none", marker="_", markersize=10)
    simulation(axes, x, data[f"{name}_sgd"], data[f"{name}_sgd_error"], None, colour)


def _geometric(
    axes: Axes, data: xr.Dataset, name: str, colour: str, label: str, scale: float = 1.0, power: str = ""
) -> None:
    x, log, error = data["inputs"] / float(data["samples"]), data[f"{name}_log"], data[f"{name}_log_error"]
    mean = scale * np.exp(log)
    label = label.replace("[", f"[{power}")
    axes.errorbar(x, mean, mean * error, fmt="s", markersize=3, color=colour, label=label)


def _dying(axes: Axes, data: xr.Dataset) -> None:
    theory(axes, data["step"], data["dying_exact"], None, COLOURS[0])
    label = f"N/P = {float(data['overparameterised']) / float(data['samples']):g}"
    simulation(axes, data["step"], data["dying"], data["dying_error"], label, COLOURS[0])
    axes.set(xlabel="step", ylabel="variance, displaced start  [weight²]", xscale="log", ylim=(0, None))
    axes.legend(loc="best")
