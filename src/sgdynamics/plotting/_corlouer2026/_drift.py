"""The Itô drift of the modes: exact, as printed, and measured in single steps; the integral of (16) near 0."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory


def drift(data: xr.Dataset) -> Figure:
    """One panel for each network with the last label noise, a colour for each mode; last the integral."""
    figure, (row,) = panels(1, data.sizes["network"] + 1, width=2.5, height=3.8)
    noisy = data.isel(label_noise=-1)
    for axes, name in zip(row, data["network"].values, strict=False):
        _network(axes, noisy.sel(network=name))
        axes.set(title=f"widths {name}", xlabel="state: amplitudes  [w]", yscale="log")
    row[0].set(ylabel=f"Itô drift of the amplitude / β, σ = {float(noisy['label_noise']):g}")
    _integral(row[-1], data)
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=data.sizes["mode"] + 3)
    return figure


def _network(axes, data: xr.Dataset) -> None:
    states = np.arange(data.sizes["state"]) + 1
    axes.set_xticks(states, ["\n".join(f"{w:g}" for w in row) for row in data["amplitude"].values])
    axes.set_xlim(0.7, len(states) + 0.3)
    for mode, (s, colour) in enumerate(zip(data["mode"].values, COLOURS, strict=False)):
        at, first = data.isel(mode=mode), mode == 0
        theory(axes, states, at["exact"], f"exact, s = {s:g}", colour)
        simulation(axes, states, at["sde"], at["sde_error"], "one step of the SDE" if first else None, colour)
        # the colour of the points says which mode a printed line is of
        points = {"marker": "s", "markersize": 3, "markerfacecolor": colour, "markeredgecolor": colour}
        published(axes, states, at["published_6"], "printed (6)" if first else None, **points)
        published(axes, states, at["published_14"], "printed (14)" if first else None, dashes=(1, 1.5), **points)


def _integral(axes, data: xr.Dataset) -> None:
    for depth, marker in zip(data["depth"].values, "osD^v", strict=False):
        style = {"color": GREY, "linestyle": "--", "marker": marker, "markerfacecolor": "white"}
        axes.plot(data["lower"], data["exponent"].sel(depth=depth), **style)
        end = data["exponent"].sel(depth=depth)[{"lower": -1}]
        axes.annotate(f"L = {depth}", (data["lower"][-1], end), (6, 2), textcoords="offset points", color=BLACK)
    axes.set(xscale="log", yscale="log", xlabel="lower limit  [w]", title="∫ 2μ/D of (16) to s/2")
