"""The slide of Fig. 24: the share of the excess loss that epochs spare."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

LABEL = "largest curvature  [crossover curvature]"


def fig24(data: xr.Dataset) -> Figure:
    """Power laws; what was measured."""
    figure, axes = panels(columns=2, width=3.9, height=3.3)
    _map(axes[0, 0], data)
    _measured(axes[0, 1], data)
    for panel in axes[0]:
        panel.axhline(62, color=BLACK, linestyle=":", linewidth=0.9)
        panel.set(xscale="log", ylim=(0, 100), xlabel=LABEL)
    axes[0, 0].set(ylabel="reduction of the excess loss  [%]", title="power laws, 5,000 modes, C ∝ H")
    axes[0, 1].set(title="measured")
    axes[0, 0].legend(loc="lower left")
    figure.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside right upper")
    return figure


def _map(axes: Axes, data: xr.Dataset) -> None:
    colours = (*COLOURS, BLACK)
    for k, p in enumerate(np.asarray(data["exponent"])):
        colour = colours[k % len(colours)]
        theory(axes, data["stiffness"], 100 * data["map"][k], f"p = {p:g}", colour)
        axes.plot(data["required"][k], 62, "o", color=colour, markersize=4)
    axes.text(0.055, 63.5, "slides: 62 %", fontsize=8)
    axes.set(xlim=(0.05, 300))


def _measured(axes: Axes, data: xr.Dataset) -> None:
    theory(axes, data["curve"], 100 * data["network_frozen"], "network, frozen noise", COLOURS[0])
    published(axes, data["curve"], 100 * data["network_brace"], "network, brace taken literally")
    simulation(axes, data["run"], 100 * data["network"], 100 * data["network_error"], "network, SGD", COLOURS[0])
    left, right = axes.get_xlim()
    theory(axes, data["stiffness"], 100 * data["regression_frozen"], "regression p = 1, frozen noise", COLOURS[1])
    axes.plot(data["regression_stiffness"], 100 * data["regression_law"], "x", color=GREY, markersize=8, zorder=4,
              label="regression, second order")  # fmt: skip
    simulation(axes, data["regression_stiffness"], 100 * data["regression"], 100 * data["regression_error"],
               "regression, SGD", COLOURS[1])  # fmt: skip
    axes.set(xlim=(max(left, 0.2), right))
