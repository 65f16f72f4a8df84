"""Variance of SGD's fluctuations along their principal components, against the curvature of the loss there."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import COLOURS, panels, published, simulation, theory

LOSSES = ("mse", "cross-entropy")
SIMULATION, LAW = COLOURS[0], COLOURS[1]


def ivfr_nonlinear(data: xr.Dataset) -> Figure:
    """One column for each network, one row for each loss."""
    cases = [str(case) for case in data["case"].values]
    networks = list(dict.fromkeys(case.split(", ")[0] for case in cases))
    figure, axes = panels(len(LOSSES), len(networks), width=2.7, height=2.6)
    for row, loss in enumerate(LOSSES):
        for column, network in enumerate(networks):
            _panel(axes[row, column], data.isel(case=cases.index(f"{network}, {loss}")), f"{network}, {loss}")
        axes[row, 0].set_ylabel("variance along the component  [w²]")
    for bottom in axes[-1]:
        bottom.set_xlabel("curvature  [loss/w²]")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _panel(axes: Axes, case: xr.Dataset, title: str) -> None:
    κ = case["curvature"].values
    order = np.argsort(κ)
    simulation(axes, κ, case["variance"], case["variance_error"], "SGD", SIMULATION, alpha=0.8)
    axes.plot(κ, case["variance_harmonic"], "x", color=LAW, markersize=4, label="linearised law", zorder=4)
    theory(axes, κ[order], _fitted(case, "harmonic", κ)[order], "its power law", LAW)
    published(axes, κ[order], _fitted(case, "isotropic", κ)[order], "isotropic noise (control)")
    measured, error, law = (float(case[name]) for name in ("exponent", "exponent_error", "exponent_harmonic"))
    decades = np.log10(κ)
    axes.set(xscale="log", yscale="log", xlim=(10 ** np.floor(decades.min()), 10 ** np.ceil(decades.max())))
    axes.set_title(f"{title}\nψ = {measured:.2f} ± {error:.2f}, law {law:.2f}")


def _fitted(case: xr.Dataset, law: str, κ: np.ndarray) -> np.ndarray:
    """The power law through a law's variances."""
    height, x = np.log(case[f"variance_{law}"].values).mean(), np.log(κ) - np.log(κ).mean()
    return np.exp(height + float(case[f"exponent_{law}"]) / 2 * x)
