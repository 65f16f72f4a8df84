"""Fig. 26: training with epochs and with replacement."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import COLOURS, GREY, panels, simulation

SAMPLINGS = {"epochs": ("epochs", COLOURS[0]), "replacement": ("with replacement", COLOURS[1])}
SETS = {"train": ("training", "-", "o"), "test": ("test", "--", "s")}


def fig26(data: xr.Dataset) -> Figure:
    """Above the curves, below the paired differences."""
    figure, axes = panels(2, 2, width=3.6, height=2.6)
    for column, (quantity, scale, unit) in enumerate((("loss", 1.0, ""), ("accuracy", 100.0, "  [%]"))):
        _curves(axes[0, column], data, quantity, scale)
        _differences(axes[1, column], data, quantity, scale)
        axes[0, column].set(ylabel=f"{quantity}{unit}")
        axes[1, column].set(xlabel="epochs done", ylabel=f"difference in {quantity}{unit}")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper", title="curves")
    figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside right lower", title="epochs − with replacement")
    return figure


def _curves(axes: Axes, data: xr.Dataset, quantity: str, scale: float) -> None:
    for which, (words, line, marker) in SETS.items():
        for name, (sampling, colour) in SAMPLINGS.items():
            y, error = (scale * data[f"{which}_{quantity}_{name}{end}"] for end in ("", "_error"))
            simulation(axes, data["epoch"], y, error, f"{words}, {sampling}", colour, marker, linestyle=line,
                       linewidth=0.8)  # fmt: skip


def _differences(axes: Axes, data: xr.Dataset, quantity: str, scale: float) -> None:
    for which, colour in (("train", COLOURS[2]), ("test", COLOURS[3])):
        words, _, marker = SETS[which]
        y, error = (scale * data[f"{which}_{quantity}_difference{end}"] for end in ("", "_error"))
        simulation(axes, data["epoch"], y, error, words, colour, marker)
    axes.axhline(0, color=GREY, linewidth=0.8)
