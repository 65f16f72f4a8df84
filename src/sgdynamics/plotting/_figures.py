"""Figures by name, and how one is drawn and written."""

import io
import os
import pathlib
from collections.abc import Callable
from typing import Any

import matplotlib
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image  # matplotlib's own writer of PNG

from sgdynamics.plotting import _beyond, _corlouer2026, _gross2024, _kuehn2025, _kunin2023
from sgdynamics.plotting._demo import demo
from sgdynamics.plotting._style import STYLE

figures: dict[str, Callable[[xr.Dataset], Figure]] = {
    "demo": demo,
    **_gross2024.FIGURES,
    **_corlouer2026.FIGURES,
    **_kunin2023.FIGURES,
    **_kuehn2025.FIGURES,
    **_beyond.FIGURES,
}
"""The function that draws each figure, by name, from a result's data."""

# without these, the same figure written twice would be two different files
_NO_DATE = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def find(name: str) -> Callable[[xr.Dataset], Figure]:
    """The function that draws the figure called `name`."""
    if name not in figures:
        raise ValueError(f"figure = {name}, but plotting.figures has only {sorted(figures)}.")
    return figures[name]


def draw(name: str, data: xr.Dataset) -> Figure:
    """The figure called `name`, drawn from `data` in the house style."""
    with matplotlib.rc_context(STYLE):
        return find(name)(data)


def write(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a figure; the ending of `path` chooses the format. SVG and PDF are vectors, and their fonts come along."""
    path = pathlib.Path(path)
    _save(figure, path, metadata=_NO_DATE.get(path.suffix))


def compact(figure: Figure | bytes) -> bytes:
    """A figure, or a PNG of one, as a PNG of at most 256 colours: a third of the bytes, and to the eye the same.

    **Raises** `OSError` or `SyntaxError`, as its reader does, where the bytes are no picture.
    """
    if isinstance(figure, Figure):
        written = io.BytesIO()
        _save(figure, written, format="png")
        figure = written.getvalue()
    with Image.open(io.BytesIO(figure), formats=["png"]) as image:
        reduced = image.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small = io.BytesIO()
    reduced.save(small, format="png", optimize=True)
    return small.getvalue()


def _save(figure: Figure, target: Any, **more: Any) -> None:
    FigureCanvasAgg(figure)
    # a layout engine measures text when it saves: it must see the style that the figure was drawn in
    with matplotlib.rc_context(STYLE):
        figure.savefig(target, **more)
