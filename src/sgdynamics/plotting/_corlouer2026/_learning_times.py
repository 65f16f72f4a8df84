"""Learning times of SGD, of its SDE, and of the SDEs of the modes, against gradient flow's."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, simulation

SHOWN = {
    "SGD": ("SGD", COLOURS[0], "o"),
    "SDE": ("SDE of the network", COLOURS[1], "s"),
    "SGD mode by mode": ("SGD, mode by mode", COLOURS[5], "^"),
    "SDE of the modes": ("SDE of the modes, exact", COLOURS[2], "D"),
    "printed (6)": ("SDE of the modes, printed (6)", GREY, "x"),
}


def learning_times(data: xr.Dataset) -> Figure:
    """One panel for each depth; per cent later than gradient flow."""
    figure, (row,) = panels(1, data.sizes["depth"], width=3.6)
    for axes, depth in zip(row, data["depth"].values, strict=True):
        _depth(axes, data.sel(depth=depth))
        axes.set(title=f"L = {depth}", xlabel="singular value of the mode  [w]")
    row[0].set(ylabel="learning time after gradient flow's  [%]")
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def _depth(axes, data: xr.Dataset) -> None:
    axes.axhline(0, color=BLACK, linewidth=1, label="gradient flow")
    shifts = np.linspace(-0.024, 0.024, len(SHOWN))
    for (model, (label, colour, marker)), shift in zip(SHOWN.items(), shifts, strict=True):
        time, error = (data[name].sel(model=model) for name in ("time", "time_error"))
        later, width = 100 * (time / data["flow"] - 1), 100 * error / data["flow"]
        simulation(axes, data["mode"] + shift, later, width, label, colour, marker)
    axes.set_xticks(data["mode"].values)
