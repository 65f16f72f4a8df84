"""Fig. 20 of Kühn and Rosenow: variances and correlation time of a network at several batch sizes."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._kuehn2025._late import LABELS, thinned
from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, simulation, theory

MARKERS = "osD^v<"


def fig20(data: xr.Dataset) -> Figure:
    """One panel for each quantity, one colour for each batch size."""
    figure, axes = panels(1, len(LABELS), width=3.4, height=3.0)
    for panel, quantity in zip(axes[0], LABELS, strict=True):
        _panel(panel, data, quantity)
    points = dict(zip(*reversed(axes[0, 0].get_legend_handles_labels()), strict=True))
    kinds = [
        Line2D(
            [],
            [],
            color=BLACK,
            marker="_",
            linestyle="none",
            markersize=7,
            label="theory with noise that depends on $θ$",
        ),
        Line2D([], [], color=GREY, label="theory of static noise, $C ∝ H$"),
        Line2D([], [], color=GREY, linestyle=":", linewidth=1.0, label="$λ_{cross}$"),
    ]
    figure.legend(handles=[*points.values(), *kinds], loc="outside lower center", ncols=3)
    return figure


def _panel(axes: Axes, data: xr.Dataset, quantity: str) -> None:
    modes, measured = thinned(data), []
    for S, colour, marker in zip(data.attrs["batch_sizes"], COLOURS, MARKERS, strict=False):
        name, λ = f"{quantity}_{S}", modes["curvature"]
        theory(axes, data["curve"], data[f"{name}_curve"], None, colour, linewidth=1.0)
        simulation(axes, λ, modes[name], modes[f"{name}_error"], f"$S$ = {S}: SGD", colour, marker, markersize=3)
        axes.plot(λ, modes[f"{name}_full"], "_", color=BLACK, markersize=6, zorder=4)
        axes.axvline(float(data[f"crossover_{S}"]), color=colour, linestyle=":", linewidth=1.0)
        measured += [float(modes[name].min()), float(modes[name].max())]
    limits = (min(measured) / 1.6, max(measured) * 1.6)
    axes.set(
        xscale="log", yscale="log", ylim=limits, xlabel="eigenvalue of the Hessian $λ$  [1/t]", ylabel=LABELS[quantity]
    )
