"""Mean and variance of the modes with label noise: the whole network against the process of one mode."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

MARKERS = ("o", "s")
ZERO = {"color": BLACK, "linewidth": 0.6}


def mean_shift(data: xr.Dataset) -> Figure:
    """Top: shifts of the mean over the learning rate; below: variances; right: one mode alone."""
    figure, axes = panels(2, data.sizes["network"] + 1, width=2.6, height=2.7)
    for network, (upper, lower) in enumerate(axes[:, :-1].T):
        case = data.isel(network=network)
        _shifts(upper, case)
        _lines(upper, case, "shift")
        theory(lower, [0, 1.1 * float(case["learning_rate"].max())], [1, 1], None, BLACK)
        _lines(lower, case, "spread")
        upper.set(title=f"network, d = {int(case['width'])}, L = {int(case['layers'])}")
        lower.set(xlabel="learning rate  [t]")
        for panel in (upper, lower):
            panel.locator_params(axis="x", nbins=4)
    axes[0, 0].set(ylabel="(mean of w − s)/(β σ²)  [w/(βσ²)]")
    axes[1, 0].set(ylabel="variance of w over (18)")
    _one_mode(axes[0, -1], data)
    axes[1, -1].set_axis_off()
    axes[1, -1].legend(handles=_legend(data), loc="center")
    return figure


def _shifts(axes: Axes, case: xr.Dataset) -> None:
    span = np.array([0, 1.1 * float(case["learning_rate"].max())])
    theory(axes, span, np.full(2, float(case["network"])), None, BLACK)
    published(axes, span, np.full(2, float(case["published"])))
    published(axes, span, np.full(2, float(case["one_mode"])), dashes=(1, 1.5))


def _lines(axes: Axes, case: xr.Dataset, name: str) -> None:
    """Measurements, the straight lines through them, and where these end."""
    η = case["learning_rate"].values
    for dynamics, colour, marker in zip(case["dynamics"].values, COLOURS, MARKERS, strict=False):
        at = {"dynamics": dynamics}
        values, errors, limit, slope = (case[name + end].sel(at) for end in ("", "_error", "_limit", "_slope"))
        ends = np.array([0, float(case["step"].max())])
        axes.plot(ends * η[-1] / ends[-1], float(limit) + float(slope) * ends, color=colour, linewidth=0.8, zorder=2)
        simulation(axes, η, values, errors, None, colour, marker)
        error = float(case[f"{name}_limit_error"].sel(at))
        simulation(axes, 0, float(limit), error, None, colour, marker, markerfacecolor=colour)


def _one_mode(axes: Axes, data: xr.Dataset) -> None:
    for i, (L, colour) in enumerate(zip(data["depth"].values, COLOURS[2:], strict=False)):
        at: Any = {"depth": L}
        theory(axes, data["strength"], data["alone_law"].sel(at), f"L = {L}", colour)
        simulation(axes, data["mode"], data["alone"].sel(at), data["alone_error"].sel(at), None, colour, "D^"[i % 2])
    axes.axhline(0, **ZERO)
    axes.set(title="one mode alone", xlabel="singular value s  [w]")


def _legend(data: xr.Dataset) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker=marker, markerfacecolor="white", label=str(dynamics))
        for dynamics, colour, marker in zip(data["dynamics"].values, COLOURS, MARKERS, strict=False)
    ]
    handles += [
        Line2D([], [], color=BLACK, marker="o", linestyle="", label="limit of small steps"),
        Line2D([], [], color=BLACK, label="network's mean shift; (18)"),
        Line2D([], [], color=GREY, linestyle=":", label="mean of the one-mode law"),
        Line2D([], [], color=GREY, linestyle="--", label="(17)"),
    ]
    return handles + [
        Line2D([], [], color=colour, marker=marker, markerfacecolor="white", label=f"one mode, L = {L}: SDE, law")
        for L, colour, marker in zip(data["depth"].values, COLOURS[2:], "D^", strict=False)
    ]
