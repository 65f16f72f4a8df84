"""Fig. 8(b), (c): spectra of the weight covariance of both layers; what linear response leaves out."""

from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

LAYERS = {"first": "first layer, cov δW₁", "second": "second layer, cov δW₂", "whole": "both layers"}
UNIT = "[ησ_e²/(2S)]"


def fig8_spectra(data: xr.Dataset) -> Figure:
    """A row for the layers and both; a row for all of the first layer and for other learning rates."""
    figure, axes = panels(2, 3, width=3.6, height=3.1)
    for panel, (layer, title) in zip(axes[0], LAYERS.items(), strict=True):
        _spectrum(panel, data, layer)
        panel.set(title=title, xlabel="rank of the eigenvalue", yscale="log")
    _visible(axes[0, 1], data)
    axes[0, 0].set_ylabel(f"eigenvalue  {UNIT}")
    _beyond(axes[1, 0], data)
    _of_rate(axes[1, 1], data, "excess", "mean variance over linear\nresponse, less 1")
    axes[1, 1].axhline(0, color=GREY, linewidth=0.8)
    _of_rate(axes[1, 2], data, "beyond", f"variance of all that linear\nresponse freezes  {UNIT}")
    axes[1, 2].set(ylim=(0, None))
    handles = {label: h for a in axes.flat for h, label in zip(*a.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def _rows(data: xr.Dataset) -> Any:
    return zip(data.attrs["samples"], COLOURS, strict=False)


def _spectrum(axes: Axes, data: xr.Dataset, layer: str) -> None:
    rank = data[f"{layer}_rank"]
    for samples, colour in _rows(data):
        at = f"at_{samples}_{layer}"
        theory(axes, rank, data[f"{at}_theory"], f"linear response, exact noise, P = {samples}", colour)
        theory(axes, rank, data[f"{at}_wick"], None, colour, linestyle=":")
        simulation(axes, rank, data[f"{at}_sgd"], data[f"{at}_sgd_error"], f"SGD, P = {samples}", colour)
        if layer == "second":
            published(axes, rank, data[f"at_{samples}_printed"], "(3.36), larger for larger P")
    axes.plot([], [], color=BLACK, linestyle=":", label="(3.30), Wick's noise")
    axes.axhline(1, color=GREY, linewidth=0.8, label="isotropic, layers uncoupled")


def _visible(axes: Axes, data: xr.Dataset) -> None:
    """Modes that do not fluctuate have the logarithm of a rounding error."""
    shown = [float(data[f"at_{samples}_second_theory"].min()) for samples in data.attrs["samples"]]
    axes.set_ylim(bottom=max(min(shown), 1e-5) / 3)


def _beyond(axes: Axes, data: xr.Dataset) -> None:
    for samples, colour in _rows(data):
        theory(axes, data["all_rank"], data[f"at_{samples}_ordered"], None, colour)
    axes.plot(data["time_rank"], data["one_run"], color=BLACK, linestyle="-.", label="over the time of one SGD run")
    axes.plot(data["first_rank"], data["one_run_linear"], color=COLOURS[4], linestyle="-.",
              label="the same, linear response, no drift")  # fmt: skip
    lowest = float(data[f"at_{data.attrs['samples'][0]}_ordered"].min())
    axes.axvline(data.attrs["inputs"], color=GREY, linewidth=0.8, linestyle="--")
    axes.set_title("all of cov δW₁ (dashed: rank N_i)\nlines: over replicas, ordered eigenvalues")
    axes.set(xlabel="rank of the eigenvalue", ylabel=f"eigenvalue  {UNIT}", xscale="log", yscale="log")
    axes.set_ylim(bottom=max(lowest, 1e-8) / 3)


def _of_rate(axes: Axes, data: xr.Dataset, name: str, words: str) -> None:
    for samples, colour in _rows(data):
        at = f"at_{samples}_{name}"
        simulation(axes, data["learning_rate"], data[at], data[f"{at}_error"], None, colour)
    axes.set(xlabel="learning rate η", ylabel=words)
