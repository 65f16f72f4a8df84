"""Fig. 2: mean and spread along the top eigenvector in time, the phase plane, and how far (5) is off."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

POINTS = 40


def fig2(data: xr.Dataset) -> Figure:
    """A row for each momentum: position, velocity, its spread, phase plane; below, errors of (5)."""
    momenta = data.attrs["momenta"]
    figure, axes = panels(len(momenta) + 1, 4, width=2.9, height=2.2)
    for row, β in zip(axes, momenta, strict=False):
        _in_time(row[0], data, β, "position", "position δ  [w]")
        _in_time(row[1], data, β, "velocity", "velocity v  [w/t]")
        _spread(row[2], data, β)
        _phase(row[3], data, β)
        row[0].set_title(f"momentum β = {β:g}", loc="left")
    _errors(axes[-1], data)
    handles = [
        Line2D([], [], color=COLOURS[0], marker="o", markerfacecolor="white", linestyle="", label="SGD: ensemble mean"),
        Line2D([], [], color=COLOURS[2], marker="s", markerfacecolor="white", linestyle="", label="SGD: spread"),
        Line2D([], [], color=GREY, linewidth=0.6, label="single replicas"),
        Line2D([], [], color=COLOURS[0], label="exact mean"),
        Line2D([], [], color=COLOURS[1], linestyle="-.", label="Eq. (5)"),
        Line2D([], [], color=COLOURS[2], label="exact spread"),
        Line2D([], [], color=COLOURS[1], linestyle=":", label="spread of App. F.2, frozen noise"),
        Line2D([], [], color=GREY, linestyle="--", label="overdamped (control)"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def _in_time(axes: Axes, data: xr.Dataset, β: float, name: str, label: str) -> None:
    at, steps = f"at_{β:g}_{name}", data["step"]
    axes.plot(steps, data[f"{at}_path"].T, color=GREY, linewidth=0.4, alpha=0.7, zorder=0)
    if name == "position":
        published(axes, steps, data[f"at_{β:g}_overdamped"])
    theory(axes, steps, data[f"{at}_exact"], colour=COLOURS[0])
    axes.plot(steps, data[f"{at}_sde"], color=COLOURS[1], linestyle="-.", zorder=2.5)
    thin = slice(None, None, max(1, len(steps) // POINTS))
    simulation(axes, steps[thin], data[at][thin], data[f"{at}_error"][thin], None, COLOURS[0], markersize=3)
    axes.set(xlabel="step", ylabel=label)


def _spread(axes: Axes, data: xr.Dataset, β: float) -> None:
    at, records = f"at_{β:g}_velocity", data["record"]
    if f"{at}_exact_spread" in data:
        theory(axes, records, data[f"{at}_exact_spread"], colour=COLOURS[2])
    axes.plot(records, data[f"{at}_sde_spread"], color=COLOURS[1], linestyle=":", zorder=2.5)
    thin = slice(None, None, max(1, len(records) // POINTS))
    values, errors = data[f"{at}_spread"][thin], data[f"{at}_spread_error"][thin]
    simulation(axes, records[thin], values, errors, None, COLOURS[2], "s", markersize=3)
    axes.set(xlabel="step", ylabel="spread of velocity  [w/t]", ylim=(0, None))


def _phase(axes: Axes, data: xr.Dataset, β: float) -> None:
    at = f"at_{β:g}"
    axes.plot(data[f"{at}_position_path"][0], data[f"{at}_velocity_path"][0], color=GREY, linewidth=0.5, zorder=0)
    theory(axes, data[f"{at}_position_exact"], data[f"{at}_velocity_exact"], colour=COLOURS[0])
    axes.plot(data[f"{at}_position_sde"], data[f"{at}_velocity_sde"], color=COLOURS[1], linestyle="-.", zorder=2.5)
    thin = slice(None, None, max(1, data.sizes["step"] // 60))
    x, y = data[f"{at}_position"][thin], data[f"{at}_velocity"][thin]
    axes.plot(x, y, "o", color=COLOURS[0], markerfacecolor="white", markersize=3, zorder=3)
    axes.set(xlabel="position δ  [w]", ylabel="velocity v  [w/t]")


def _errors(row: np.ndarray, data: xr.Dataset) -> None:
    """Curves: the recursion against (5); points: SGD, at the learning rate of the rows above."""
    titles = (("position", "position"), ("velocity", "velocity"), ("shifted", "position, (5) half a step later"))
    for axes, (name, title) in zip(row[:-1], titles, strict=True):
        for β, colour in zip(data.attrs["momenta"], (BLACK, *COLOURS[3:]), strict=False):
            axes.plot(data["scaled_rate"], data[f"error_{β:g}_{name}"], color=colour, label=f"β = {β:g}")
            value, error = data[f"measured_{β:g}_{name}"], data[f"measured_{β:g}_{name}_error"]
            at = data.attrs["scaled_learning_rate"]
            simulation(axes, [at], [float(value)], [float(error)], None, colour, markersize=4)
        axes.set(xscale="log", yscale="log", xlabel="learning rate × curvature ηh", ylabel="relative error of (5)")
        axes.set_title(title, loc="left")
    row[0].legend()
    row[-1].set_visible(False)
