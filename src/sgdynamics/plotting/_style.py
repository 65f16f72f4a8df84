"""One style: theory as lines, simulation as points with error bars, published-but-wrong dashed grey.

The colours are those of Okabe and Ito (2008), which readers with any form of colour blindness can tell apart;
a simulation and the theory that it is held against share one.
"""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#7F7F7F"
BLACK = "#000000"

STYLE: Any = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.0,
    "savefig.dpi": 200,
    "figure.dpi": 100,
    "svg.fonttype": "path",  # letters as shapes: the same wherever the file is opened
    "svg.hashsalt": "sgdynamics",  # the same figure is the same file
    "pdf.fonttype": 42,
}
"""Matplotlib's settings, for pictures of your own beside these: `plt.style.use(sgdynamics.plotting.STYLE)`."""


def panels(rows: int = 1, columns: int = 1, *, width: float = 4.2, height: float = 3.2) -> tuple[Figure, Any]:
    """A figure and its axes, [rows, columns] of `Axes`; width and height of one panel in inches."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def theory(axes: Axes, x: Any, y: Any, label: str | None = None, colour: str = COLOURS[0], **more: Any) -> None:
    """A theory's prediction: a solid line."""
    axes.plot(x, y, color=colour, label=label, zorder=2, **more)


def simulation(
    axes: Axes,
    x: Any,
    y: Any,
    error: Any = None,
    label: str | None = None,
    colour: str = COLOURS[0],
    marker: str = "o",
    **more: Any,
) -> None:
    """A measurement: open points with error bars of one standard error."""
    style = {"markerfacecolor": "white", "elinewidth": 1.0, "capsize": 1.5, "zorder": 3}
    axes.errorbar(x, y, yerr=error, fmt=marker, color=colour, label=label, **(style | more))


def published(axes: Axes, x: Any, y: Any, label: str | None = None, **more: Any) -> None:
    """A published formula that errs, or a wrong model kept as a control: dashed grey."""
    axes.plot(x, y, **({"linestyle": "--", "color": GREY, "label": label, "zorder": 1} | more))


def legend(axes: Axes, **more: Any) -> None:
    """The legend, where anything is labelled."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(**more)
