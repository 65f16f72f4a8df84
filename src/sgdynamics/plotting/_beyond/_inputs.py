"""Broken detailed balance, input by input."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import COLOURS, GREY, panels, simulation, theory

BESIDE = 0.25  # of the distance between two kinds of inputs


def inputs(data: xr.Dataset) -> Figure:
    """Currents, errors of the paper's approximations, and the noise of many samples."""
    figure, axes = panels(1, 3, width=3.9, height=3.7)
    first = (("turning", "radians per relaxation, ω/γ"), ("entropy", "entropy production / tr H"))
    second = (("balanced", "detailed balance (2.33)"), ("isotropic", "isotropic (2.34)"))
    _measures(axes[0, 0], data, first, "strength of the current")
    _measures(axes[0, 1], data, second, "relative error of the covariance")
    _many_samples(axes[0, 2], data)
    return figure


def _measures(axes: Axes, data: xr.Dataset, measures: tuple[tuple[str, str], ...], ylabel: str) -> None:
    at = np.arange(data.sizes["data"])
    for (name, label), colour in zip(measures, COLOURS, strict=False):
        _dashes(axes, at, data[f"{name}_exact"], None, colour)
        simulation(axes, at, data[f"{name}_sgd"], data[f"{name}_sgd_error"], label, colour)
        beside = np.arange(data.sizes["law"]) + BESIDE
        mean, error = data[f"{name}_average"], data[f"{name}_average_error"]
        axes.errorbar(beside, mean, yerr=error, fmt="D", color=colour, markersize=2.5, linewidth=0.8)
    axes.axhline(0, color=GREY, linestyle="--", zorder=1)
    axes.set(ylabel=ylabel)
    axes.set_title("○ SGD, — exact, ◆ average over data", loc="left")
    axes.set_ylim(top=1.25 * axes.get_ylim()[1])
    axes.legend(loc="upper right")
    _kinds(axes, data["data"])


def _many_samples(axes: Axes, data: xr.Dataset) -> None:
    at = np.arange(data.sizes["law"])
    for (name, label), colour in zip(
        (("minimum", "at the minimum, over (2.20)"), ("multiplicative", "multiplicative, over (2.19)")),
        COLOURS[2:],
        strict=False,
    ):
        _dashes(axes, at, data[f"{name}_expected"], None, colour)
        simulation(axes, at, data[f"{name}_measured"], data[f"{name}_measured_error"], label, colour)
    axes.axhline(1, color=GREY, linestyle="--", zorder=1)
    axes.set(ylabel="trace of the noise, over the paper's")
    axes.set_title("many samples: ○ drawn data, — derived", loc="left")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.3 * (high - low))
    axes.legend(loc="upper left")
    _kinds(axes, data["law"])


def _dashes(axes: Axes, x: np.ndarray, y: xr.DataArray, label: str | None, colour: str) -> None:
    theory(axes, x, y, label, colour, linestyle="", marker="_", markersize=16, markeredgewidth=1.4)


def _kinds(axes: Axes, names: xr.DataArray) -> None:
    axes.set_xticks(np.arange(names.size), [str(name) for name in names.values], rotation=35, ha="right")
    axes.set_xlim(-0.5, names.size - 0.5)
