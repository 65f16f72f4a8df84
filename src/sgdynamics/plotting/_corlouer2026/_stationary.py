"""The law of one mode on the way to its singular value, and its stationary law."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, simulation, theory

SHOWN = 1e-3  # of a curve's height: below that it is left out


def stationary(data: xr.Dataset) -> Figure:
    """Depths in rows: at the stages (left), at the end (right)."""
    depths, stages = data.attrs["depths"], int(data.attrs["stages"])
    figure, axes = panels(len(depths), 2, width=4.4, height=2.9)
    for row, depth in zip(axes, depths, strict=True):
        _on_the_way(row[0], data, f"L{depth}", stages)
        _at_the_end(row[1], data, f"L{depth}", stages)
        row[0].set(title=f"L = {depth}, on the way", ylabel="density  [1/w]")
        row[1].set_title(f"L = {depth}, t = {float(data[f'time_L{depth}_{stages}']):.3g}")
        row[0].legend(title="t")
    for panel in axes[-1]:
        panel.set_xlabel("amplitude of the mode  [w]")
    kinds = [
        Line2D([], [], color=BLACK, marker="o", markerfacecolor="white", linestyle="", label="ensemble of the SDE"),
        Line2D([], [], color=COLOURS[0], label="finite volumes (left)"),
        Line2D([], [], color=BLACK, label="stationary law (16) (right)"),
        Line2D([], [], color=GREY, linestyle="--", label="centre (17) as printed"),
    ]
    figure.legend(handles=kinds, loc="outside lower center", ncols=4)
    return figure


def _on_the_way(axes: Axes, data: xr.Dataset, label: str, stages: int) -> None:
    for k, colour in zip(range(stages), COLOURS, strict=False):
        _curve(axes, data[f"cell_{label}"], data[f"evolved_{label}_{k}"], colour)
        _points(axes, data, f"{label}_{k}", colour, f"{float(data[f'time_{label}_{k}']):.3g}")


def _at_the_end(axes: Axes, data: xr.Dataset, label: str, stages: int) -> None:
    _curve(axes, data[f"node_{label}"], data[f"stationary_{label}"], BLACK)
    _points(axes, data, f"{label}_{stages}", BLACK, None)
    axes.axvline(float(data[f"published_{label}"]), color=GREY, linestyle="--")


def _curve(axes: Axes, w: xr.DataArray, density: xr.DataArray, colour: str) -> None:
    high = np.flatnonzero(density.values > SHOWN * density.values.max())
    shown = slice(high[0], high[-1] + 1)
    theory(axes, w[shown], density[shown], None, colour)


def _points(axes: Axes, data: xr.Dataset, label: str, colour: str, words: str | None) -> None:
    density, error = data[f"density_{label}"], data[f"density_{label}_error"]
    simulation(axes, data[f"bin_{label}"], density, error, words, colour, markersize=3)
