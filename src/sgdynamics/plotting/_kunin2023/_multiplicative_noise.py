"""App. B: what multiplicative noise adds, Assumption 5 by accident, and the largest learning rate."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, legend, panels, published, simulation, theory

MARKERS = "osD^vP"


def multiplicative_noise(data: xr.Dataset) -> Figure:
    """Three panels: over ε at several momenta; few samples; limits over momentum."""
    figure, axes = panels(1, 3, width=3.7, height=3.6)
    _excess(axes[0, 0], data)
    _few(axes[0, 1], data)
    _limits(axes[0, 2], data)
    return figure


def _excess(axes: Axes, data: xr.Dataset) -> None:
    line, ε = data["line"], data["strength"]
    published(axes, line, line, "ε (many inputs)")
    axes.plot(line, line * (1 + 1 / data.attrs["inputs"]), ":", color=GREY, label="ε (1 + 1/d)")
    axes.plot(
        line,
        data["gaussian"],
        color=BLACK,
        linestyle="-.",
        linewidth=0.8,
        zorder=2.5,
        label=f"β = {data.attrs['few_momentum']:g}, N → ∞",
    )
    for β, colour, marker in zip(data["momentum"].values, COLOURS, MARKERS, strict=False):
        at = f"at_{β:g}"
        theory(axes, line, data[f"{at}_exact"], None, colour)
        simulation(axes, ε, data[f"{at}_excess"], data[f"{at}_excess_error"], f"SGD, β = {β:g}", colour, marker)
    axes.set(xlabel="ε = η tr H / 2S(1 − β)", ylabel="tr Cov θ / frozen noise − 1", xscale="log", yscale="log")
    _plain(axes)
    legend(axes, loc="upper left")


def _few(axes: Axes, data: xr.Dataset) -> None:
    """In units of Assumption 5, whose line is 1."""
    ε = data["few_strength"]
    published(axes, ε, 0 * ε + 1, "Assumption 5")
    theory(axes, ε, data["few_frozen"], "noise of the minimum", BLACK, linewidth=0.8)
    theory(axes, ε, data["few_exact"], "exact law")
    simulation(axes, data["few_measured_strength"], data["few_measured"], data["few_measured_error"], "SGD")
    axes.set(
        xlabel="ε = η tr H / 2S(1 − β)",
        xscale="log",
        ylabel="tr Cov θ of few samples  [ησ²d / 2S(1 − β)]",
        ylim=(0, None),
    )
    _plain(axes)
    legend(axes, loc="lower left")


def _limits(axes: Axes, data: xr.Dataset) -> None:
    away = 1 - data["limit_momentum"]
    theory(axes, away, data["limit"], "second moments, exact", COLOURS[0], marker=".")
    axes.plot(away, data["limit_estimate"], ":", color=BLACK, label="2S(1 − β)/tr H  (ε = 1)")
    published(axes, away, data["limit_mean"], "mean: 2(1 + β)/h_max")
    axes.set(xlabel="1 − β, with momentum β", xscale="log", yscale="log", ylabel="largest learning rate  [t]")
    axes.invert_xaxis()
    legend(axes, loc="lower left")


def _plain(axes: Axes) -> None:
    """Ticks at 1, 2 and 5 of a logarithmic axis that spans about a decade."""
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
