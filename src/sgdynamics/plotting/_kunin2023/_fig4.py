"""Fig. 4: velocities in the plane of two Hessian eigenvectors in the contours of Ψ_v, variances over curvature."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._kunin2023._plane import contours, trajectory, variances
from sgdynamics.plotting._style import panels


def fig4(data: xr.Dataset) -> Figure:
    """One column for each case."""
    figure, axes = panels(2, 3, width=3.4, height=3.2)
    for column, case, words, k in zip(axes.T, *(data.attrs[name] for name in ("cases", "words", "last")), strict=True):
        _plane(column[0], data, case)
        column[0].set(title=words, ylabel=rf"$q_{{{k}}}\cdot v$  [w/t]")
        variances(column[1], data, case, ("law", r"$\propto h$ (46), scaled", "isotropic, scaled"))
    axes[1, 0].set_ylabel("variance of velocity along the mode  [(w/t)²]")
    above, below = (row[0].get_legend_handles_labels() for row in axes)
    figure.legend(above[0] + below[0], above[1] + below[1], loc="outside lower center", ncols=4)
    return figure


def _plane(axes: Axes, data: xr.Dataset, case: str) -> None:
    """Contours of Ψ_v ∝ v_1²/h_1 + v_k²/h_k: h is proportional to the printed variances."""
    h = data[f"{case}_printed"].values
    reach = 1.1 * np.abs(data[f"{case}_path"].values).max()
    axis = np.linspace(-reach, reach, 81)
    a, b = np.meshgrid(axis, axis, indexing="ij")
    Ψ = a**2 / h[0] + b**2 / h[-1]
    contours(axes, axis, axis, Ψ, levels=21)
    trajectory(axes, data, case)
    axes.set(xlabel=r"$q_1\cdot v$  [w/t]", aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach))
