"""App. G and J.3: SGD on finite data sets against the online theory."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

WIDTH = 3.5


def finite_data(data: xr.Dataset) -> Figure:
    """Above: diffusion along SGD, a panel for each size. Below: what many data sets change, against their size."""
    columns = max(3, data.sizes["size"])
    figure, (above, below) = panels(2, columns, width=WIDTH, height=2.9)
    for axes, size in zip(above, data["size"].values, strict=False):
        _diffusion(axes, data.sel(size=size))
    for axes in [*above[data.sizes["size"] :], *below[3:]]:
        axes.set_visible(False)
    for axes in above[1:]:
        axes.sharey(above[0])
    above[0].set_ylabel("diffusion along the mode  [w²/t]")
    _deviations(below[0], data, "time_deviation", 2.0, "learning time: relative deviation")
    _deviations(
        below[1], data, "diffusion_deviation", 2.0 + data["kurtosis"].mean("mode"), "peak diffusion: relative deviation"
    )
    _excess(below[2], data)
    _legends(figure, data)
    return figure


def _diffusion(axes: Axes, data: xr.Dataset) -> None:
    few = data.isel(time=slice(0, None, max(1, data.sizes["time"] // 60)))
    for α, colour in zip(range(data.sizes["mode"]), COLOURS, strict=False):
        theory(axes, data["flow_time"], data["online_diffusion"][:, α], None, colour)
        at = {"mode": α}
        simulation(axes, few["time"], few["diffusion"][at], few["diffusion_error"][at], None, colour, markersize=3)
    axes.set(xlabel="time  [learning rate × step]", title=f"N = {int(data['size']):,}")
    online = data["online_diffusion"]
    alive = (online > 0.01 * online.max("flow_time")).any("mode")
    axes.set_xlim(0, 1.2 * float(data["flow_time"].where(alive).max()))


def _deviations(axes: Axes, data: xr.Dataset, name: str, variance: float | xr.DataArray, words: str) -> None:
    N = data["size"]
    theory(axes, N, np.sqrt(variance / N), None, BLACK)
    for label, marker, side in ((name, "o", 1.0), (f"aligned_{name}", "s", 0.8)):
        for α, colour in zip(range(data.sizes["mode"]), COLOURS, strict=False):
            if label in data:
                x, error = N * side * 1.06 ** (α - 1), data[f"{label}_error"][:, α]
                simulation(axes, x, data[label][:, α], error, None, colour, marker)
    _logarithmic(axes, data, f"{words}, rms")
    ticks = [a * 10.0**k for k in (-3, -2, -1) for a in (1, 2, 5)]
    low, high = axes.get_ylim()
    axes.set_yticks([t for t in ticks if low <= t <= high], [f"{t:g}" for t in ticks if low <= t <= high])
    axes.yaxis.set_minor_formatter(NullFormatter())


def _excess(axes: Axes, data: xr.Dataset) -> None:
    N = data["size"]
    theory(axes, N, data["excess_law"], None, BLACK)
    published(axes, N, data["full_excess_law"], None)
    simulation(axes, N, data["excess"], data["excess_error"], None, BLACK)
    _logarithmic(axes, data, "label noise: excess loss  [w²]")


def _logarithmic(axes: Axes, data: xr.Dataset, label: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel="examples in the data set, N", ylabel=label)
    axes.set_xticks(data["size"].values, [f"{int(N):,}" for N in data["size"].values])
    axes.xaxis.set_minor_formatter(NullFormatter())


def _legends(figure: Figure, data: xr.Dataset) -> None:
    point = {"linestyle": "", "marker": "o", "markerfacecolor": "white"}
    modes = [
        Line2D([], [], color=colour, label=f"{s:g}", **point)
        for s, colour in zip(data["mode"].values, COLOURS, strict=False)
    ]
    kinds = [
        Line2D(
            [],
            [],
            color=BLACK,
            label="above: Prop. 3.3 online; below: √(2/N) (aligned weights), √((κ + 2)/N), σ² r (2d − r)/(2N)",
        ),
        Line2D([], [], color=GREY, linestyle="--", label="σ² d²/(2(N − d − 1)): least squares of all ranks"),
    ]
    points = (
        "points\nabove: SGD, noise\nof its own data\nbelow: gradient\ndescent, many sets\n"
        "(circles: small,\nsquares: aligned\nweights)\n\nsingular value s"
    )
    figure.legend(handles=modes, title=points, loc="outside right upper")
    figure.legend(handles=kinds, loc="outside lower center", ncols=2)
