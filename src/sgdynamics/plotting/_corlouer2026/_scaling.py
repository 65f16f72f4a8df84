"""Figs. 9 and 10: the highest diffusion along each mode, against learning rate over batch size."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, panels, simulation, theory


def scaling(data: xr.Dataset) -> Figure:
    """One colour for each mode; lines of slope 1 with the height along gradient descent."""
    figure, ((axes,),) = panels(width=5.4, height=3.4)
    β = data["temperature"]
    ends = np.array([β.min(), β.max()])
    for mode, colour in zip(range(data.sizes["mode"]), COLOURS, strict=False):
        theory(axes, ends, ends * float(data["limit"][mode]), None, colour)
        label = f"s = {data['mode'].values[mode]:g}"
        simulation(axes, β, data["height"][:, mode], data["height_error"][:, mode], label, colour)
    axes.set(xscale="log", yscale="log", xlabel="learning rate / batch size", ylabel="highest diffusion  [w²/t]")
    axes.set_xticks(β.values, [f"{value:.3g}" for value in β.values], minor=False)
    axes.set_xticks([], minor=True)
    handles = axes.get_legend_handles_labels()[0]
    handles.append(Line2D([], [], color=BLACK, label="along gradient descent,\nproportional"))
    figure.legend(handles=handles, title="points: SGD", loc="outside right upper")
    return figure
