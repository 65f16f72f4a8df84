"""The pictures' one style. matplotlib is an optional extra: it is imported when a picture is drawn."""

from typing import Any

# Okabe and Ito (2008): told apart with any form of colour blindness
BLUE, ORANGE, GREEN, PURPLE, YELLOW, GREY, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#7F7F7F", "#000000",
)  # fmt: skip
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, YELLOW)
STYLE: Any = {"font.size": 8.5, "axes.titlesize": 9.0, "axes.spines.top": False, "axes.spines.right": False} | {
    "legend.frameon": False, "legend.fontsize": 7.5, "savefig.dpi": 160,
}  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v")


def panels(columns: int, rows: int = 1, *, width: float = 3.6, height: float = 2.9) -> tuple[Any, list[Any]]:
    """A figure and its axes, row by row; width and height of one in inches."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams.update(STYLE)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())
