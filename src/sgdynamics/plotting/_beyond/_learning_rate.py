"""Where the continuous theory leaves SGD."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory


def learning_rate(data: xr.Dataset) -> Figure:
    """The map on the left; on the right what the error consists of, at the batch sizes of the ensembles."""
    figure, axes = panels(1, 2, width=4.8, height=3.9)
    _map(figure, axes[0, 0], data)
    _parts(axes[0, 1], data)
    figure.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _map(figure: Figure, axes: Axes, data: xr.Dataset) -> None:
    η, S = data["learning_rate"], data["batch_size"]
    size = np.log10(np.abs(data["error_exact"].values.T))
    shown = axes.contourf(η, S, np.ma.masked_invalid(size), levels=np.linspace(-4, 0, 17), cmap="cividis")
    bounds = {"levels": [-2, -1], "colors": "white", "linewidths": 1.4, "linestyles": "solid"}
    lines = axes.contour(η, S, np.ma.masked_invalid(size), **bounds)
    axes.clabel(lines, fmt={-2.0: "1 %", -1.0: "10 %"}, inline_spacing=0)
    for bound in (0.01, 0.1):
        axes.plot(bound / (data["discreteness"] + data["noise"]), S, ":", color=BLACK)
    theory(axes, data["limit"], S, None, COLOURS[1])
    axes.plot(data["sgd_rate"], data["sgd_batch"], "o", color=BLACK, markerfacecolor="white", clip_on=False)
    axes.set(xlabel="learning rate η  [t/step]", ylabel="batch size S", xscale="log", yscale="log")
    axes.set(xlim=(float(η[0]), float(η[-1])), ylim=(float(S[0]), float(S[-1])))
    axes.set_title("dotted: first order; orange: largest stable rate; circles: SGD", loc="left")
    figure.colorbar(shown, ax=axes, label="log₁₀ |relative error of tr M|", ticks=[-4, -3, -2, -1, 0])


def _parts(axes: Axes, data: xr.Dataset) -> None:
    η = data["learning_rate"]
    for S, colour in zip(np.unique(data["sgd_batch"]), COLOURS, strict=False):
        at, points = data.sel(batch_size=S), data.isel(ensemble=np.flatnonzero(data["sgd_batch"].values == S))
        theory(axes, η, -at["error_exact"], f"SGD, exact law, S = {S}", colour)
        theory(axes, η, -at["error_multiplicative"], f"multiplicative noise alone, S = {S}", colour, linewidth=0.7)
        published(axes, η, (at["discreteness"] + at["noise"]) * η, "first order" if colour == COLOURS[0] else None)
        simulation(axes, points["sgd_rate"], -points["sgd"], points["sgd_error"], f"SGD measured, S = {S}", colour)
    one = data.isel(batch_size=0)
    theory(axes, η, -one["error_additive"], "discrete time alone, any S", GREY, linewidth=0.9)
    axes.set(
        xlabel="learning rate η  [t/step]", ylabel="− relative error of tr M by (2.30)", xscale="log", yscale="log"
    )
    axes.set_ylim(1e-4, 2)
