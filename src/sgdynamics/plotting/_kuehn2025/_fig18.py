"""Fig. 18 of Kühn and Rosenow: correlation time of a small ConvNet along its Hessian's modes."""

import xarray as xr
from matplotlib.figure import Figure

from sgdynamics.plotting._kuehn2025._late import against_curvature, over_static, shared_legend
from sgdynamics.plotting._style import panels


def fig18(data: xr.Dataset) -> Figure:
    """τ, and with epochs over the law of static noise."""
    figure, axes = panels(1, 2, width=4.2, height=3.4)
    against_curvature(axes[0, 0], data, "times")
    axes[0, 0].set_xlabel("eigenvalue of the Hessian $λ$  [1/t]")
    over_static(axes[0, 1], data, "times")
    shared_legend(figure, axes[0], 3)
    return figure
