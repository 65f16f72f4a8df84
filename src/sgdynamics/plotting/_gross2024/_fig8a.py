"""Fig. 8(a): the covariance matrix of the transformed weights, its second-layer block, its trace."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, published, simulation, theory

MATRICES = {"sgd": "SGD", "exact": "linear response, exact noise", "white": "white closed form (3.30)"}


def fig8a(data: xr.Dataset) -> Figure:
    """Three matrices in one colour scale; below them the diagonal of M₂₂, one row of correlations, the trace."""
    figure = Figure(figsize=(10.2, 6.4), layout="constrained")
    axes = figure.subplots(2, 3)
    for panel, (name, title) in zip(axes[0], MATRICES.items(), strict=True):
        image = _matrix(panel, data, name, title)
    figure.colorbar(image, ax=axes[0], label="M  [ησ_e²/(2S)]", extend="both")
    _diagonal(axes[1, 0], data)
    _correlations(axes[1, 1], data)
    _trace(axes[1, 2], data)
    return figure


def _matrix(axes: Axes, data: xr.Dataset, name: str, title: str):
    size = data.sizes["row"]
    image = axes.imshow(data[name], cmap="RdBu_r", vmin=-0.3, vmax=0.3, extent=(0.5, size + 0.5, size + 0.5, 0.5))
    for place in (axes.axhline, axes.axvline):
        place(data.attrs["inputs"] + 0.5, color=BLACK, linewidth=0.6)
    axes.set(title=title, xlabel="component of z = (z₁, z₂)", ylabel="component of z" if name == "sgd" else None)
    return image


def _diagonal(axes: Axes, data: xr.Dataset) -> None:
    rank = data["rank"]
    theory(axes, rank, data["second_exact"], "linear response")
    published(axes, rank, data["second_white"], "(3.34)")
    simulation(axes, rank, data["second_sgd"], data["second_sgd_error"], "SGD")
    axes.axhline(1, color=GREY, linestyle=":", label="layers not coupled")
    axes.set(xlabel="component of z₂, by falling D₁", ylabel="diagonal of M₂₂  [ησ_e²/(2S)]", ylim=(0, None))
    axes.legend(loc="lower left")


def _correlations(axes: Axes, data: xr.Dataset) -> None:
    """Every correlation within M₂₂, measured against expected."""
    first = data.attrs["inputs"]
    block = lambda name: np.asarray(data[name])[first:, first:]
    scale = np.sqrt(np.diagonal(block("exact")))
    above = np.triu_indices(len(scale), 1)
    correlations = lambda name: (block(name) / np.outer(scale, scale))[above]
    expected = correlations("exact")
    simulation(axes, expected, correlations("sgd"), None, "SGD", markersize=3)
    ends = np.array([expected.min(), expected.max()])
    theory(axes, ends, ends, "linear response", COLOURS[1])
    published(axes, ends, 0 * ends, "“fully diagonal”")
    axes.set(xlabel="correlation within M₂₂, linear response", ylabel="correlation within M₂₂, SGD")
    axes.legend(loc="upper left")


def _trace(axes: Axes, data: xr.Dataset) -> None:
    measured, inputs = data["samples"], data.attrs["inputs"]
    P = np.geomspace(min(measured) * 0.9, max(measured) * 1.1, 200)
    theory(axes, P, (P - inputs) / (P + 2), "(P − N_i)/(P + 2)")
    theory(axes, P, 1 - inputs / P, "1 − N_i/P", COLOURS[2], linestyle=":")
    published(axes, P, 1 - 1 / P, "1 − 1/P")
    simulation(axes, measured, data["trace"], data["trace_error"], "SGD, mean over data")
    axes.set(xlabel="samples P", ylabel="tr M  [N_i η⟨y²⟩/(2S)]", xscale="log", ylim=(0, 1.1))
    axes.set_xticks(measured.values, [f"{P}" for P in measured.values], minor=False)
    axes.minorticks_off()
    axes.legend(loc="lower right")
