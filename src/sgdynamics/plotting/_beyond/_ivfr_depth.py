"""Variance and flatness in each layer of deep linear networks."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

MARKERS = ("o", "s", "D", "^", "v", "P")
TITLES = {"aligned": "aligned layers", "flow": "end of gradient flow"}


def ivfr_depth(data: xr.Dataset) -> Figure:
    """A row for each kind of minimum, a column for each depth; at the end the exponents."""
    depths, kinds = list(data.attrs["depths"]), list(data.attrs["kinds"])
    figure, axes = panels(len(kinds), len(depths) + 1, width=2.9, height=2.7)
    for row, kind in zip(axes, kinds, strict=True):
        for panel, depth in zip(row, depths, strict=False):
            for l in range(1, depth + 1):
                _layer(panel, data, f"{kind}_{depth}_{l}", COLOURS[l - 1], MARKERS[l - 1])
            panel.set(
                xscale="log", yscale="log", xlim=_decades(data, kind, depth), title=f"{TITLES[kind]}, {depth} layers"
            )
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.yaxis.set_minor_formatter(NullFormatter())
            panel.set(xlabel="variance  [ησ²/(2S)]", ylabel="curvature κ of the loss")
        _exponents(row[-1], data, kind, depths)
    layers = [_key(COLOURS[l], MARKERS[l], f"layer {l + 1}") for l in range(max(depths))]
    kinds = [
        Line2D([], [], color=BLACK, label="closed form (upper row)"),
        _key(BLACK, "x", "law along the components (lower row)"),
        Line2D([], [], color=GREY, linestyle="--", label="ψ = 2"),
    ]
    figure.legend(handles=[*layers, *kinds], loc="outside lower center", ncols=len(layers) + len(kinds))
    return figure


def _layer(axes: Any, data: xr.Dataset, name: str, colour: str, marker: str) -> None:
    κ = data[f"{name}_curvature"]
    if f"{name}_curve_variance" in data:
        theory(axes, data[f"{name}_curve_variance"], data[f"{name}_curve_curvature"], None, colour)
    else:
        axes.plot(data[f"{name}_predicted"], κ, "x", color=BLACK, markersize=3, markeredgewidth=0.7, zorder=4)
    axes.errorbar(data[f"{name}_variance"], κ, xerr=data[f"{name}_variance_error"], fmt=marker, color=colour,
                  markerfacecolor="white", elinewidth=1.0, zorder=3)  # fmt: skip


def _exponents(axes: Any, data: xr.Dataset, kind: str, depths: list[int]) -> None:
    """ψ against the layer, beginning with the second; colours and markers are those of the layers."""
    simulation(axes, [1], [data["one_slope"]], [data["one_slope_error"]], None, BLACK, "*")
    axes.annotate("one layer", (1, float(data["one_slope"])), (0, 6), textcoords="offset points", ha="center",
                  fontsize=7)  # fmt: skip
    for n, depth in enumerate(depths):
        layers, names = np.arange(2, depth + 1), [f"{kind}_{depth}_{l}_slope" for l in range(2, depth + 1)]
        value, error, law = ([float(data[f"{name}{end}"]) for name in names] for end in ("", "_error", "_law"))
        shifted = layers + 0.1 * (n - (len(depths) - 1) / 2)
        theory(axes, shifted, law, None, GREY, linewidth=0.8)
        for l, at, v, δ in zip(layers, shifted, value, error, strict=True):
            simulation(axes, [at], [v], [δ], None, COLOURS[l - 1], MARKERS[l - 1])
        side = {"ha": "left", "xytext": (5, 5)} if depth > 2 else {"ha": "right", "xytext": (-6, 4)}
        axes.annotate(f"{depth} layers", (shifted[-1], value[-1]), textcoords="offset points", fontsize=7, **side)
    published(axes, [0.8, max(depths) + 0.7], [2, 2])
    axes.axhline(0, color=GREY, linestyle=":", linewidth=0.8)
    axes.set(xlabel="layer", ylabel="exponent ψ", xticks=range(1, max(depths) + 1), title=f"{TITLES[kind]}: ψ")
    axes.set_xlim(0.5, max(depths) + 1)


def _decades(data: xr.Dataset, kind: str, depth: int) -> tuple[float, float]:
    """Limits that show at least one decade."""
    least = min(float(data[f"{kind}_{depth}_{l}_variance"].min()) for l in range(1, depth + 1))
    return min(least / 1.5, 0.08), 1.5


def _key(colour: str, marker: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="", markerfacecolor="white", label=label)
