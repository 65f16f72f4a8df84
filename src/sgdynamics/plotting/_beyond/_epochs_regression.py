"""Shuffled epochs of regression: the floor of flat directions, and the shift of the mean."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, legend, panels, published, simulation, theory


def epochs_regression(data: xr.Dataset) -> Figure:
    """Variances and means of each mode at several learning rates; the flattest mode's floor against them."""
    figure, axes = panels(1, 3, width=3.7, height=3.4)
    rates = data.attrs["learning_rates"]
    for η, colour in zip(rates, COLOURS, strict=False):
        _variances(axes[0, 0], data, η, colour)
        _means(axes[0, 1], data, η, colour)
    axes[0, 0].set(
        xlabel="curvature h  [1/[t]]", ylabel="variance  [η²M C/6]", xscale="log", yscale="log", title="variances"
    )
    axes[0, 0].set_yticks([0.3, 0.5, 1, 2], ["0.3", "0.5", "1", "2"])
    axes[0, 0].yaxis.set_minor_formatter(NullFormatter())
    published(axes[0, 0], [], [], "frozen noise")
    theory(axes[0, 0], [], [], "second order", BLACK)
    legend(axes[0, 0], loc="lower left")
    axes[0, 1].axhline(0, color=GREY, linestyle="--", zorder=1, label="frozen noise; independent batches")
    theory(axes[0, 1], [], [], "first order", BLACK)
    axes[0, 1].set(xlabel="curvature h  [1/[t]]", ylabel="mean − minimum  [σ frozen]", xscale="log", title="means")
    legend(axes[0, 1], loc="best")
    _floor(axes[0, 2], data, rates)
    return figure


def _variances(axes: Axes, data: xr.Dataset, η: float, colour: str) -> None:
    h, name = data["curvature"], f"at_{η:g}_variance"
    published(axes, h, data[f"{name}_frozen"])
    theory(axes, h, data[f"{name}_second"], None, colour)
    simulation(axes, h, data[name], data[f"{name}_error"], f"SGD, η = {η:g} [t]", colour)


def _means(axes: Axes, data: xr.Dataset, η: float, colour: str) -> None:
    h, name = data["curvature"], f"at_{η:g}_mean"
    theory(axes, h, data[f"{name}_theory"], None, colour)
    simulation(axes, h, data[name], data[f"{name}_error"], None, colour)


def _floor(axes: Axes, data: xr.Dataset, rates: list[float]) -> None:
    """The flattest mode's variance over the frozen one."""
    flattest = data.isel(mode=0)
    theory(axes, data["rate"], data["ratio_second"], "second order", BLACK)
    theory(axes, data["rate"], data["ratio_closed"], "1 + (η/4S)(Σh² + h²)/h", COLOURS[1], linewidth=0.9)
    published(axes, data["rate"], np.ones(data["rate"].size), "frozen noise")
    for i, (η, colour) in enumerate(zip(rates, COLOURS, strict=False)):
        frozen = float(flattest[f"at_{η:g}_variance_frozen"])
        value, error = (flattest[f"at_{η:g}_variance{kind}"] / frozen for kind in ("", "_error"))
        simulation(axes, [η], [float(value)], [float(error)], None if i else "SGD", colour)
    axes.set(xlabel="learning rate η  [t]", ylabel="variance over that of frozen noise", title="flattest mode")
    legend(axes, loc="upper left")
