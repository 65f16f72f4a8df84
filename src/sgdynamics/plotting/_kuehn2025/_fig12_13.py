"""Figs. 12 and 13 of Kühn and Rosenow: correlations of the gradient noise at fixed weights."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import COLOURS, GREY, panels, simulation, theory


def fig12_13(data: xr.Dataset) -> Figure:
    """Autocorrelation in epochs, with replacement, in epochs that leave examples out; all pairs of two epochs."""
    figure, axes = panels(2, 2, width=4.0, height=3.0)
    M = int(data.attrs["epochs_batches"])
    for panel, names, title in (
        (axes[0, 0], ("epochs",), f"epochs of {M} batches"),
        (axes[0, 1], ("with_replacement", "fresh"), "batches drawn independently"),
    ):
        for name, colour, marker in zip(names, COLOURS, "os", strict=False):
            _autocorrelation(panel, data, "lag", name, colour, marker)
        panel.set(title=title, ylim=(-1.5 / M, 0.5 / M))
        panel.legend(loc="lower right")
    _autocorrelation(axes[1, 0], data, "lag_incomplete", "incomplete", COLOURS[2], "o")
    axes[1, 0].set(title=f"epochs of {data.attrs['incomplete_batches']} batches that leave examples out")
    axes[1, 0].legend(loc="lower right")
    _pairs(figure, axes[1, 1], data, M)
    return figure


LABELS = {
    "epochs": "no replacement until all are used",
    "with_replacement": "with replacement",
    "fresh": "without replacement in a batch",
    "incomplete": "no replacement, remainder unused",
}


def _autocorrelation(axes: Axes, data: xr.Dataset, lag: str, name: str, colour: str, marker: str) -> None:
    shown = data.isel({lag: slice(1, None)})  # 1 at lag 0 would hide the rest
    theory(axes, shown[lag], shown[f"{name}_theory"], None, colour)
    simulation(axes, shown[lag], shown[name], shown[f"{name}_error"], LABELS[name], colour, marker)
    axes.axhline(0, color=GREY, linewidth=0.6, zorder=0)
    axes.set(xlabel="lag h  [steps]", ylabel=r"tr C$^{-1}$cov(δg$_k$, δg$_{k+h}$)/d  [1 at h = 0]")


def _pairs(figure: Figure, axes: Axes, data: xr.Dataset, M: int) -> None:
    """Colours saturate at the diagonal, which is 1."""
    limit = 2 / (M - 1)
    values = np.where(np.eye(2 * M, dtype=bool), np.nan, data["positions"])
    colours = axes.pcolormesh(
        data["position"], data["other_position"], values, cmap="PuOr", vmin=-limit, vmax=limit, rasterized=True
    )
    axes.set(xlabel="batch k of two epochs", ylabel="batch l", title="the same at fixed k and l  (diagonal left out)")
    axes.set_aspect("equal")
    figure.colorbar(colours, ax=axes)
