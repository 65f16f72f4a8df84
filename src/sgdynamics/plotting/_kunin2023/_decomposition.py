"""App. D.2: variances by the explicit decomposition, and its residuals."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import COLOURS, GREY, panels, published, simulation, theory

TITLES = {"sde": "the SDE (4)", "sgd": "minibatch SGD"}
CONTROLS = {"sde": "(8), for H C = C H", "sgd": "law of the SDE (4)"}
CONTROL = {"sde": COLOURS[1], "sgd": COLOURS[2]}
FLOOR = 1e-17


def decomposition(data: xr.Dataset) -> Figure:
    """Left and in the middle variances along the axes of the right law; right the residuals."""
    figure, axes = panels(columns=3, width=3.5, height=3.3)
    for (key, title), ax in zip(TITLES.items(), axes[0, :2], strict=True):
        theory(ax, data["axis"], data[f"{key}_exact"], "right law", COLOURS[0])
        published(ax, data["axis"], data[f"{key}_recipe"], "recipe (24), (25)")
        ax.plot(data["axis"], data[f"{key}_control"], ":", color=CONTROL[key], label=CONTROLS[key])
        simulation(ax, data["axis"], data[key], data[f"{key}_error"], "ensemble", COLOURS[0])
        ax.axhline(0, color=GREY, linewidth=0.6)
        ax.set(title=title, xlabel="axis of the right law, narrowest first")
        ax.set_ylabel(f"variance along it  [{data[key].units}]")
    _residuals(axes[0, 2], data)
    handles = {label: handle for ax in axes[0] for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5)
    return figure


def _residuals(axes: Axes, data: xr.Dataset) -> None:
    values = np.maximum(data["residual"].values, FLOOR)
    rows = np.arange(len(values))[::-1]
    colours = [GREY if value > 1e-9 else COLOURS[0] for value in values]
    axes.hlines(rows, FLOOR, values, color=colours)
    axes.scatter(values, rows, color=colours, zorder=3)
    axes.set(xscale="log", xlabel="relative residual", xlim=(FLOOR, 10), title="what should be 0")
    axes.set_yticks(rows, [str(name) for name in data["statement"].values])
