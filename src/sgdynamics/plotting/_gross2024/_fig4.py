"""Fig. 4: relaxation of the modes and of the loss."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

THIN = {"linewidth": 0.6, "alpha": 0.7, "zorder": 1}


def fig4(data: xr.Dataset) -> Figure:
    """Modes on the left, the loss on the right."""
    figure, axes = panels(1, 2, width=4.6, height=3.7)
    _modes(axes[0, 0], data)
    _loss(axes[0, 1], data)
    figure.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _modes(axes: Axes, data: xr.Dataset) -> None:
    for k, colour in zip(data["mode"].values, COLOURS, strict=False):
        mode = data.sel(mode=k)
        theory(axes, data["time_exact"], mode["mode_exact"], None, colour)
        axes.plot(data["time"], mode["mode_run"], color=colour, **THIN)
        simulation(axes, data["time"], mode["mode_mean"], mode["mode_mean_error"], f"k = {k}", colour)
        axes.axhline(float(mode["mode_target"]), color=colour, linestyle=":", linewidth=0.8, zorder=0)
    axes.set(xlabel="time t = η × step", ylabel="mode of the weights $z_k$  [weight]", xscale="log")
    axes.set_title("dotted: at the minimum", loc="left")
    axes.legend(loc="best")


def _loss(axes: Axes, data: xr.Dataset) -> None:
    theory(axes, data["time_exact"], data["loss_exact"], "mean, exact", COLOURS[0])
    axes.plot(data["time"], data["loss_run"], color=COLOURS[0], label="one run", **THIN)
    simulation(axes, data["time"], data["loss_mean"], data["loss_mean_error"], "mean of SGD runs", COLOURS[0])
    slowest, settled = float(data["relaxation_time"].sel(mode=1)), float(data["settling_time"])
    start, end = float(data["time_exact"][0]), 1.3 * max(settled, float(data["time_exact"][-1]))
    published(axes, [start, end], [float(data["loss_floor"])] * 2, "final loss as drawn, $L^*$")
    axes.axvline(0.1 * slowest, color=GREY, linestyle=":", label="$0.1/ω_0$")
    axes.axvline(settled, color=BLACK, linestyle="-.", linewidth=0.8, label="mean 10 % above $L^*$")
    axes.set(xlabel="time t = η × step", ylabel="training loss  [output²]", xscale="log", yscale="log")
    axes.set_xlim(start, end)
