"""Variance and flatness of two layers against the number of outputs."""

from typing import Any

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, panels, published, simulation

LAYERS = (1, 2)
MARKERS = ("o", "s", "D", "^", "v", "P")


def ivfr_outputs(data: xr.Dataset) -> Figure:
    """A panel for each layer, one colour for each number of outputs; then the exponents of both."""
    outputs = list(data.attrs["outputs"])
    figure, axes = panels(1, 3, width=3.4, height=3.4)
    for panel, l in zip(axes[0], LAYERS, strict=False):
        for n, count in enumerate(outputs):
            _layer(panel, data, f"outputs_{count}_layer_{l}", COLOURS[n], MARKERS[n])
        panel.set(xscale="log", yscale="log", title=f"layer {l}")
        panel.set(xlabel="variance  [ησ²/(2S)]", ylabel="curvature κ of the loss")
    _exponents(axes[0, 2], data, outputs)
    keys = [
        _key(COLOURS[n], MARKERS[n], f"{count} output{'s' if count > 1 else ''}") for n, count in enumerate(outputs)
    ]
    keys.append(_key(BLACK, "x", "D_own/(D₁ + D₂)"))
    figure.legend(handles=keys, title="SGD along pairs (l, k)", loc="outside lower center", ncols=len(keys))
    return figure


def _layer(axes: Any, data: xr.Dataset, name: str, colour: str, marker: str) -> None:
    kept = data[f"{name}_share"].values > 0.02
    κ = data[f"{name}_pair_curvature"].values[kept]
    v, error = (data[f"{name}_pair_variance{end}"].values[kept] for end in ("", "_error"))
    axes.errorbar(v, κ, xerr=error, fmt=marker, color=colour, markerfacecolor="white", elinewidth=1.0, zorder=2)
    axes.plot(data[f"{name}_share"].values[kept], κ, "x", color=BLACK, markersize=3, markeredgewidth=0.7, zorder=4)


def _exponents(axes: Any, data: xr.Dataset, outputs: list[int]) -> None:
    for l, colour in zip(LAYERS, COLOURS, strict=False):
        for end, marker, fill, words in (("", "o", "white", "components"), ("pair_", "s", colour, "pairs")):
            counts = [count for count in outputs if f"outputs_{count}_layer_{l}_{end}exponent" in data]
            names = [f"outputs_{count}_layer_{l}_{end}exponent" for count in counts]
            value, error, law = ([float(data[f"{name}{tail}"]) for name in names] for tail in ("", "_error", "_law"))
            axes.plot(counts, law, "_", color=BLACK, markersize=13, zorder=4)
            simulation(axes, counts, value, error, f"layer {l}, {words}", colour, marker, markerfacecolor=fill)
    published(axes, [min(outputs), max(outputs)], [2, 2], "ψ = 2")
    axes.set(xscale="log", xlabel="outputs", ylabel="exponent ψ", ylim=(0, None), title="exponents (bars: law)")
    axes.set_xticks(outputs, [str(count) for count in outputs])
    axes.minorticks_off()
    axes.legend(fontsize=6.5, ncols=2, loc="lower right")


def _key(colour: str, marker: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="", markerfacecolor="white", label=label)
