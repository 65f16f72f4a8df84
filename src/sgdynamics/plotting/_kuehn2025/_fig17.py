"""Fig. 17 of Kühn and Rosenow: weight and velocity variance of a LeNet along its Hessian's modes."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._kuehn2025._late import against_curvature, over_static, shared_legend
from sgdynamics.plotting._style import BLACK, COLOURS, GREY, legend, panels, simulation


def fig17(data: xr.Dataset) -> Figure:
    """Variances above, below them over the law of static noise; on the right principal components."""
    figure, axes = panels(2, 3, width=3.7, height=2.9)
    for column, quantity in zip(axes.T[:2], ("weights", "velocities"), strict=True):
        against_curvature(column[0], data, quantity)
        over_static(column[1], data, quantity)
    _components(axes[0, 2], data)
    _exponents(axes[1, 2], data)
    shared_legend(figure, axes[:, 0], 4)
    return figure


def _components(axes: Axes, data: xr.Dataset) -> None:
    """Variance along a replica's own principal components, against their curvature."""
    for window, colour in zip(data["window"].values, COLOURS[2:], strict=False):
        curvature, variance = (data[f"components_{window}_{of}"] for of in ("curvature", "variance"))
        axes.plot(curvature, variance, ".", color=colour, markersize=3, label=f"{window} epochs")
    axes.plot(data["curvature"], data["weights_epochs"], color=COLOURS[0], label="Hessian's modes, ensemble")
    least = float(data["weights_epochs"].min())
    axes.set(
        xlabel="curvature along the component  [1/t]", ylabel="variance along it  [w²]", xscale="log", yscale="log"
    )
    axes.set(title="principal components of one replica", ylim=(least / 1e4, None))
    axes.set_xlim(float(data["curvature"].min()) / 2, None)
    legend(axes, loc="lower right")


def _exponents(axes: Axes, data: xr.Dataset) -> None:
    """Against the length of the window."""
    own = ("components", "principal components", COLOURS[2], "D")
    cases = (own, ("modes", "Hessian's modes, same weights", COLOURS[0], "o"))
    for name, label, colour, marker in cases:
        values, errors = (data[f"exponent_{name}{kind}"] for kind in ("", "_error"))
        simulation(axes, data["window"], values, errors, label, colour, marker)
    axes.axhline(float(data["exponent_law"]), color=BLACK, linewidth=1.0, label="theory")
    for exponent, label in ((1, "Σ ∝ H"), (2, "Σ ∝ H²")):
        axes.axhline(exponent, color=GREY, linestyle="--", linewidth=0.8)
        axes.text(0.98, exponent, label, color=GREY, ha="right", va="bottom", transform=axes.get_yaxis_transform())
    top = float(np.max(data["exponent_components"])) + 1.8
    axes.set(xlabel="window  [epoch]", ylabel="exponent of variance, $λ < λ_{cross}$", ylim=(0, top))
    axes.set_xlim(0, 1.2 * float(data["window"].max()))
    legend(axes, loc="upper right")
