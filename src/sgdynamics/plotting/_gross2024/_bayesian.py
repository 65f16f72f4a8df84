"""App. B: how near SGD is to the posterior, with injected noise and with a preconditioner."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

MODES = {
    "injected": ("injected noise, smallest η", COLOURS[0], "o"),
    "preconditioned": ("preconditioned, A ∝ G⁻¹", COLOURS[2], "s"),
    "frozen": ("preconditioned, A ∝ C⁻¹", COLOURS[4], "^"),
    "plain": ("plain SGD, T fitted", COLOURS[1], "D"),
}


def bayesian(data: xr.Dataset) -> Figure:
    """The two sweeps of injected noise, and variances along the modes."""
    figure, axes = panels(columns=3, width=3.6, height=3.6)
    sweeps, modes = axes[0, :2], axes[0, 2]
    for axes, name in zip(sweeps, ("fixed_rate", "posterior"), strict=True):
        _sweep(axes, data, name)
    theory(sweeps[1], data["posterior_line"], data["posterior_first_order"], "first order in η", BLACK, linewidth=0.6)
    η = data.attrs["learning_rate"]
    sweeps[0].set(xlabel="injected variance v  [tr C/N]", ylabel="distance of (2/ηv) K M from 1  [1]")
    sweeps[0].set_title(f"learning rate η = {η:g}")
    sweeps[1].set(xlabel="learning rate η  [1]", title="temperature T = ηv/2 = σ²/P, the posterior's")
    for axes, corner in zip(sweeps, ("upper right", "upper left"), strict=True):
        axes.legend(loc=corner)
    _modes(modes, data)
    for axis in (sweeps[1].xaxis, modes.xaxis, modes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FormatStrFormatter("%g"))
        axis.set_minor_formatter(NullFormatter())
    figure.legend(*modes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _sweep(axes: Axes, data: xr.Dataset, name: str) -> None:
    line = data[f"{name}_line"]
    theory(axes, line, data[f"{name}_exact"], "exact")
    published(axes, line, data[f"{name}_frozen"], "(C + Q)/v, frozen noise")
    simulation(axes, data[name], data[f"{name}_sgd"], data[f"{name}_sgd_error"], "SGD")
    axes.set(xscale="log", yscale="log")


def _modes(axes: Axes, data: xr.Dataset) -> None:
    h = data["curvature"]
    axes.axhline(1, color=GREY, linestyle=":")
    for name, (label, colour, marker) in MODES.items():
        theory(axes, h, data[f"modes_{name}_exact"], None, colour)
        simulation(axes, h, data[f"modes_{name}"], data[f"modes_{name}_error"], label, colour, marker)
    axes.set(xscale="log", yscale="log", xlabel="curvature h of the loss  [1]", ylabel="variance along a mode  [T/h]")
    axes.set_title("dotted: p ∝ exp(−L/T)")
