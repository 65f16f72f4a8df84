"""Fig. 17 of Kühn and Rosenow: weight and velocity variance of a small ConvNet along its Hessian's modes."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._kuehn2025._late import SAMPLINGS, against_curvature, over_static, shared_legend
from sgdynamics.plotting._style import BLACK, COLOURS, GREY, legend, panels, simulation, theory


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
    for window, colour in zip(data["window_components"].values, COLOURS[2:], strict=False):
        curvature, variance = (data[f"components_{window}_{of}"] for of in ("curvature", "variance"))
        axes.plot(curvature, variance, ".", color=colour, markersize=3, label=f"{window} epochs")
    axes.plot(data["curvature"], data["weights_epochs"], color=COLOURS[0], label="ensemble,\nHessian's modes")
    least, most = (float(getattr(data["weights_epochs"], of)()) for of in ("min", "max"))
    axes.set(xscale="log", yscale="log", ylabel="variance  [w²]", xlabel="curvature along the direction  [1/t]")
    axes.set(title="principal components of one replica", ylim=(least / 1e4, most * 20))
    axes.set_xlim(float(data["curvature"].min()) / 2, 12 * float(data["curvature"].max()))
    legend(axes, loc="lower right", markerscale=2)


def _exponents(axes: Axes, data: xr.Dataset) -> None:
    """Against the length of the window: of the law's own paths as lines, of the network as points."""
    for sampling, words, colour, marker in SAMPLINGS:
        paths, network = (f"exponent_{of}_components_{sampling}" for of in ("paths", "components"))
        theory(axes, data["window_paths"], data[paths], f"{words}, law's paths", colour)
        errors = data[f"{network}_error"]
        simulation(axes, data["window_components"], data[network], errors, f"{words}, network", colour, marker)
        axes.axhline(float(data[f"exponent_law_{sampling}"]), color=colour, linestyle=":", linewidth=1.0)
    basis, errors = (data[f"exponent_components_modes_epochs{kind}"] for kind in ("", "_error"))
    simulation(axes, data["window_components"], basis, errors, "epochs, Hessian's modes", BLACK, "D")
    axes.axhline(2, color=GREY, linestyle="--", linewidth=0.8)
    axes.text(0.98, 2, "Σ ∝ H²", color=GREY, ha="right", va="bottom", transform=axes.get_yaxis_transform())
    top = float(max(data[f"exponent_{of}_components_epochs"].max() for of in ("components", "paths")))
    axes.set(xlabel="window  [epoch]", ylabel="exponent, $λ < λ_{cross}$", xscale="log", ylim=(-0.2, 1.7 * top))
    axes.set_title("dotted: law, any window", fontsize=8, loc="right")
    legend(axes, loc="upper right", fontsize=7)
