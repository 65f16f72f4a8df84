"""Broken detailed balance: correlation in one plane, rates of all planes, entropy production."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory


def detailed_balance(data: xr.Dataset) -> Figure:
    """From left to right: the fastest plane, all planes, and how it depends on the number of samples."""
    figure, axes = panels(1, 3, width=3.9, height=3.5)
    _correlation(axes[0, 0], data)
    _rates(axes[0, 1], data)
    _entropy(axes[0, 2], data)
    return figure


def _correlation(axes: Axes, data: xr.Dataset) -> None:
    theory(axes, data["lag_exact"], data["curve_exact"], "exact law of SGD", COLOURS[0])
    for name, lag, label, colour, marker in (
        ("curve_sgd", "lag", "SGD", COLOURS[0], "o"),
        ("curve_sde", "lag_sde", "SDE", COLOURS[1], "s"),
        ("curve_c_h", "lag_sde", "SDE, noise ∝ Hessian", COLOURS[2], "^"),
    ):
        simulation(axes, data[lag], data[name], data[f"{name}_error"], label, colour, marker)
    axes.axhline(0, color=GREY, linestyle="--", zorder=1, label="detailed balance")
    axes.set(xlabel="lag τ = η × steps", xscale="log")
    axes.set_ylabel("½⟨$y_a$(t) $y_b$(t+τ) − $y_b$(t) $y_a$(t+τ)⟩")
    axes.set_title(f"fastest plane, P/N = {data.attrs['ratios'][0]:g}", loc="left")
    axes.legend(loc="upper left")
    axes.set_ylim(top=1.45 * float(data["curve_exact"].max()))


def _rates(axes: Axes, data: xr.Dataset) -> None:
    for ratio, colour in zip(data.attrs["ratios"], (*COLOURS, BLACK), strict=False):
        rate, rank = f"rate_{ratio:g}", data["plane"]
        theory(axes, rank, data[f"{rate}_exact"], None, colour)
        simulation(axes, rank, data[f"{rate}_sgd"], data[f"{rate}_sgd_error"], f"P/N = {ratio:g}", colour)
    axes.axhline(0, color=GREY, linestyle="--", zorder=1)
    axes.set(xlabel="number of the plane", ylabel="angular velocity ω  [1/t]")
    axes.set_title("points: SGD, lines: exact", loc="left")
    axes.legend(loc="upper right")


def _entropy(axes: Axes, data: xr.Dataset) -> None:
    above = data["average_ratio"] - 1
    mean, scatter = data["entropy"], data["entropy_scatter"]
    axes.fill_between(above, mean * mean / (mean + scatter), mean + scatter, color=COLOURS[0], alpha=0.15, linewidth=0)
    theory(axes, above, mean, "average over data", COLOURS[0])
    published(axes, above, data["entropy_leading"], "many samples, leading order")
    for k, (colour, ratio) in enumerate(zip((*COLOURS, BLACK), data["ratio"].values, strict=False)):
        point = data.isel(ratio=k)
        label = ("exact law, these data", "SGD") if k == 0 else (None, None)
        theory(
            axes, [ratio - 1], [float(point["work_exact"])], label[0], BLACK, linestyle="", marker="_", markersize=12
        )
        simulation(axes, ratio - 1, point["work_sgd"], point["work_sgd_error"], label[1], colour)
    axes.set(xlabel="P/N − 1", ylabel="entropy production / tr H", xscale="log", yscale="log")
    axes.set_title("shaded: one standard deviation of data", loc="left")
    axes.legend(loc="lower left")
