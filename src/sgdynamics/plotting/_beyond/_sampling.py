"""Three ways of sampling: total variance against learning rate, variances of the modes against curvature."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from sgdynamics.plotting._style import BLACK, COLOURS, panels, simulation, theory

NAMES = ("with", "without", "epochs")
MARKERS = ("o", "s", "^")


def sampling(data: xr.Dataset) -> Figure:
    """One colour for each way of sampling; batch sizes by the line's style."""
    figure, axes = panels(1, 2, width=3.7, height=3.4)
    _totals(axes[0, 0], data)
    _modes(axes[0, 1], data)
    kinds = [
        Line2D([], [], color=COLOURS[i], marker=MARKERS[i], markerfacecolor="white", label=str(kind))
        for i, kind in enumerate(data["sampling"].values)
    ]
    figure.legend(handles=kinds, title="lines: theory, points: SGD", loc="outside lower center", ncols=3)
    return figure


def _totals(axes: Axes, data: xr.Dataset) -> None:
    styles = ("-", "--", ":")
    for i, kind in enumerate(data["sampling"].values):
        for S, style in zip(data["batch_size"].values, styles, strict=False):
            at = {"sampling": kind, "batch_size": S}
            line = data["ratio_theory"].sel(at)
            theory(axes, data["learning_rate_theory"], line, None, COLOURS[i], linestyle=style)
            value, error = data["ratio"].sel(at), data["ratio_error"].sel(at)
            simulation(axes, data["learning_rate"], value, error, None, COLOURS[i], MARKERS[i])
    sizes = [
        Line2D([], [], color=BLACK, linestyle=style, label=f"S = {S}")
        for S, style in zip(data["batch_size"].values, styles, strict=False)
    ]
    axes.legend(handles=sizes, loc="lower right")
    axes.set(
        xlabel="learning rate η  [t/step]",
        ylabel="tr Cov w, relative to that with replacement",
        xscale="log",
        yscale="log",
    )
    axes.xaxis.set_minor_formatter(NullFormatter())


def _modes(axes: Axes, data: xr.Dataset) -> None:
    for i, name in enumerate(NAMES):
        at = f"mode_{name}"
        theory(axes, data["curvature"], data[f"{at}_theory"], None, COLOURS[i])
        simulation(axes, data["curvature"], data[at], data[f"{at}_error"], None, COLOURS[i], MARKERS[i])
    axes.set(xlabel="curvature h of the mode  [1/t]", ylabel="variance of the mode  [ησ²/(2S)]", yscale="log")
    axes.locator_params(axis="x", nbins=5)
    axes.set_title(str(data.attrs["closer"]), loc="left")
