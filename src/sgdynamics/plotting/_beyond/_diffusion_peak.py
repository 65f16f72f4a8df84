"""Does the peak of the diffusion predict learning: its lead against depth, and what else predicts as well."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, simulation, theory

MARKERS = ("o", "s", "^")


def diffusion_peak(data: xr.Dataset) -> Figure:
    """(a) leads of the strongest mode, (b) rank correlations of the weakest from small weights, (c), (d) maximal
    diffusion and learning of every replica, at a middle depth, without label noise and with the strongest."""
    figure, axes = panels(2, 2, width=4.4, height=3.4)
    _leads(axes[0, 0], data.isel(noise=0, mode=0))
    _ranks(axes[0, 1], data.isel(start=0, mode=-1))
    for panel, noise in zip(axes[1], (0, -1), strict=True):
        _times(panel, data.isel(depth=data.sizes["depth"] // 2, noise=noise))
    predictors, labels = axes[0, 1].get_legend_handles_labels()
    figure.legend(predictors, labels, title="learning ranked by (right)", loc="outside upper center", ncols=3)
    return figure


def _leads(axes: Axes, data: xr.Dataset) -> None:
    depth = data["depth"].values
    theory(axes, depth, data["predicted_lead"] / data["time_scale"], "gradient flow from (9)", BLACK)
    for i, (start, colour) in enumerate(zip(data["start"].values, COLOURS, strict=False)):
        at = data.isel(start=i)
        x = depth + 0.08 * (i - 1)
        simulation(
            axes, x, at["lead"] / at["time_scale"], at["lead_error"] / at["time_scale"], str(start), colour, MARKERS[i]
        )
    axes.set(xlabel="depth", ylabel="lead  [1/(L s$^{2-2/L}$)]", ylim=(0, None))
    axes.legend(loc="upper left")
    axes.set_title(f"s = {float(data['mode']):g}, no label noise")
    axes.set_xticks(depth)


def _ranks(axes: Axes, data: xr.Dataset) -> None:
    """Without label noise circles, with the strongest squares."""
    words = {"diffusion": "maximal diffusion", "amplitude": "amplitude (9)", "start": "amplitude at the start"}
    depth = data["depth"].values
    for i, (name, colour) in enumerate(zip(words, COLOURS, strict=False)):
        for j, (noise, marker) in enumerate(((0, "o"), (-1, "s"))):
            at = data.isel(noise=noise).sel(predictor=name)
            x = depth + 0.07 * (i - 1) + 0.25 * (j - 0.5)
            label = f"{words[name]}, σ = {float(at['noise']):g}"
            simulation(axes, x, at["rank"], at["rank_error"], label, colour, marker)
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    axes.set(xlabel="depth", ylabel="rank correlation with learning", ylim=(-0.5, 1.1))
    axes.set_title(f"s = {float(data['mode']):g}, small weights")
    axes.set_xticks(depth)


def _times(axes: Axes, data: xr.Dataset) -> None:
    """One point a replica, modes by colour and starts by marker; those that do not learn have no place."""
    for i in range(data.sizes["start"]):
        for α, colour in zip(range(data.sizes["mode"]), COLOURS, strict=False):
            at = data.isel(start=i, mode=α)
            style = {"markersize": 3.0, "markeredgewidth": 0.8}
            label = f"s = {float(data['mode'][α]):g}" if i == 0 else None
            simulation(axes, at["peak_time"], at["learning_time"], None, label, colour, MARKERS[i], **style)
    end = np.nanmax(data["learning_time"].values)
    axes.plot([0, end], [0, end], ":", color=BLACK, label="learned at the maximum")
    axes.set(xlabel="maximal diffusion at time  [t]", ylabel="learned at time  [t]")
    missing = int(np.isnan(data["learning_time"].values).sum())
    axes.set_title(f"depth {int(data['depth'])}, σ = {float(data['noise']):g}  (without {missing} not learned)")
    if float(data["noise"]) == 0:
        axes.legend(loc="lower right")
