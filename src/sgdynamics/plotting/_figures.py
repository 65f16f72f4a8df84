"""Figures by name, and how one is drawn and written."""

import os
from collections.abc import Callable

import matplotlib
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sgdynamics.plotting import _beyond, _corlouer2026, _gross2024, _kuehn2025, _kunin2023
from sgdynamics.plotting._demo import demo
from sgdynamics.plotting._style import RC

figures: dict[str, Callable[[xr.Dataset], Figure]] = {
    "demo": demo,
    **_gross2024.FIGURES,
    **_corlouer2026.FIGURES,
    **_kunin2023.FIGURES,
    **_kuehn2025.FIGURES,
    **_beyond.FIGURES,
}
"""The function that draws each figure, by name, from a result's data."""


def find(name: str) -> Callable[[xr.Dataset], Figure]:
    """The function that draws the figure called `name`."""
    if name not in figures:
        raise ValueError(f"figure = {name}, but plotting.figures has only {sorted(figures)}.")
    return figures[name]


def draw(name: str, data: xr.Dataset) -> Figure:
    """The figure called `name`, drawn from `data` in the house style."""
    with matplotlib.rc_context(RC):
        return find(name)(data)


def write(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a figure; the ending of `path` chooses the format."""
    FigureCanvasAgg(figure)
    # a layout engine measures text when it saves: it must see the style that the figure was drawn in
    with matplotlib.rc_context(RC):
        figure.savefig(path)
