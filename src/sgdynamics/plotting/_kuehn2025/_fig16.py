"""Fig. 16 of Kühn and Rosenow: trajectories in a toy loss."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, legend, panels, simulation, theory

RUNS = (("epochs", "epochs", COLOURS[0]), ("with_replacement", "with replacement", COLOURS[1]))
SHOWN = 25  # positions with an error bar
LEVELS = np.array([0.5, 1, 2, 4, 8]) ** 2


def fig16(data: xr.Dataset) -> Figure:
    """A trajectory, the ensemble and its covariance for either sampling; variances over the epoch.

    Lengths are in standard deviations of the steep direction with replacement."""
    figure, axes = panels(1, 3, width=3.6, height=3.6)
    unit = float(np.sqrt(data["with_replacement_average"].isel(direction=0)))
    for panel, (name, label, colour) in zip(axes[0, :2], RUNS, strict=True):
        _plane(panel, data, name, colour, unit)
        panel.set_title(label)
    _variances(axes[0, 2], data, unit)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _plane(axes: Axes, data: xr.Dataset, name: str, colour: str, unit: float) -> None:
    limit = 4.2
    θ = np.linspace(-limit, limit, 121)
    steep, flat = (float(h) for h in data["curvature"])
    loss = steep * θ[None, :] ** 2 + flat * θ[:, None] ** 2
    axes.contour(θ, θ, loss, levels=steep * LEVELS, colors=GREY, linewidths=0.5, zorder=0)
    axes.plot(*(data[f"{name}_cloud"].values.T / unit), ".", color=colour, markersize=2, alpha=0.5, label="replicas")
    axes.plot(*(data[f"{name}_path"].values.T / unit), color=BLACK, linewidth=0.7, label="one replica, two epochs")
    axes.plot([], [], color=GREY, linewidth=0.5, label="equal loss")
    _ellipse(axes, 4 * np.sqrt(data[f"{name}_average"].values) / unit, colour)
    axes.set(
        xlabel="θ₁, steep  [σ₁ with replacement]", ylabel="θ₂, flat  [same]", xlim=(-limit, limit), ylim=(-limit, limit)
    )
    axes.set_aspect("equal")


def _ellipse(axes: Axes, widths: Any, colour: str) -> None:
    """Two standard deviations."""
    axes.add_patch(Ellipse((0, 0), *widths, fill=False, edgecolor=colour, linewidth=1.6, zorder=4))
    axes.plot([], [], color=colour, linewidth=1.6, label="two standard deviations, exact")


def _variances(axes: Axes, data: xr.Dataset, unit: float) -> None:
    """Over the position in the epoch."""
    k = data["position"]
    thin = slice(None, None, max(1, k.size // SHOWN))
    for name, label, colour in RUNS:
        for i, (direction, marker) in enumerate((("steep", "s"), ("flat", "o"))):
            one = data.isel(direction=i)
            theory(axes, k, one[f"{name}_variance_theory"] / unit**2, None, colour)
            values, errors = (one[f"{name}_variance{kind}"][thin] / unit**2 for kind in ("", "_error"))
            simulation(axes, k[thin], values, errors, f"{label}, {direction}", colour, marker)
    axes.set(xlabel="batches done in the epoch", ylabel="variance  [σ₁² with replacement]", yscale="log")
    axes.set(title="variance over the epoch", ylim=(0.008, 30))
    legend(axes, loc="upper left", ncols=1)
