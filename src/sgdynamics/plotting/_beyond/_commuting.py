"""H and Σ on real data, and what the general stationary law changes."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

MARKERS = "os^vDPX*"
SHOWN = 60  # modes of one data set


def commuting(data: xr.Dataset) -> Figure:
    """Above H and Σ: proportion, commutator, inertia; below SGD: spectrum, correlations, turning."""
    figure, axes = panels(2, 3, width=3.6, height=3.1)
    _proportion(axes[0, 0], data)
    _commutator(axes[0, 1], data)
    _inertia(figure, axes[0, 2], data)
    _spectrum(axes[1, 0], data)
    _correlations(axes[1, 1], data)
    _turning(axes[1, 2], data)
    figure.legend(handles=_cases(data), loc="outside upper center", ncols=6)
    return figure


def _colours(data: xr.Dataset) -> dict[str, str]:
    return dict(zip(data.attrs["cases"], (*COLOURS, BLACK, GREY), strict=False))


def _cases(data: xr.Dataset) -> list[Line2D]:
    """Of the two first panels."""
    marked = zip(data.attrs["words"], _colours(data).values(), MARKERS, strict=False)
    return [Line2D([], [], linestyle="", color=colour, marker=marker, label=words) for words, colour, marker in marked]


def _proportion(axes: Axes, data: xr.Dataset) -> None:
    for (name, colour), marker in zip(_colours(data).items(), MARKERS, strict=False):
        h, ratio = (np.asarray(data[f"{part}_{name}"]) for part in ("h", "ratio"))
        seen, silent = np.flatnonzero(ratio > 1e-6), np.flatnonzero(ratio <= 1e-6)
        seen = seen[np.linspace(0, len(seen) - 1, min(len(seen), SHOWN)).astype(int)]
        axes.plot(h[seen], ratio[seen], marker, color=colour, markersize=2.5, zorder=2)
        axes.plot(h[silent], np.full(len(silent), 0.02), "|", color=colour, markersize=7,
                  transform=axes.get_xaxis_transform())  # fmt: skip
    axes.axhline(1, color=GREY, linestyle="--", zorder=1)
    axes.set(xscale="log", yscale="log", xlabel="curvature of a mode  [h₁]", ylabel="Cᵢᵢ/hᵢ  [tr C/tr H]",
             title="Σ = σ²H is dashed; ticks: modes without noise")  # fmt: skip


def _commutator(axes: Axes, data: xr.Dataset) -> None:
    for i, (colour, marker) in enumerate(zip(_colours(data).values(), MARKERS, strict=False)):
        point = [data[f"commutator{part}"][i] for part in ("", "_error")]
        simulation(axes, [i], point[:1], point[1:], None, colour, marker)
    axes.axhline(0, color=GREY, linestyle="--")
    axes.set(xticks=[], xlabel="data set", ylabel="c² = |HC − CH|²/(4|HC|²)", title="commuting is dashed")


def _inertia(figure: Figure, axes: Axes, data: xr.Dataset) -> None:
    β = data.attrs["momenta"][-1]
    image = axes.pcolormesh(data["curvature"], data["curvature"], data["inertia"][-1], vmin=0, vmax=1, cmap="cividis",
                            shading="nearest", rasterized=True)  # fmt: skip
    figure.colorbar(image, ax=axes, label="factor sᵢⱼ of the coupling")
    axes.set(xscale="log", yscale="log", xlabel="curvature hᵢ  [1/t]", ylabel="curvature hⱼ  [1/t]",
             title=f"inertia decouples modes, β = {β:g}")  # fmt: skip


def _spectrum(axes: Axes, data: xr.Dataset) -> None:
    rank = 1 + np.arange(data.sizes["rank"])
    simulation(axes, rank, data["variance"], data["variance_error"], "SGD", markersize=3)
    theory(axes, rank, data["variance_exact"], "exact")
    theory(axes, rank, data["variance_general"], "noise of the minimum", BLACK, linewidth=0.6)
    theory(axes, rank, data["variance_commuting"], "commuting (8), (9)", COLOURS[1])
    theory(axes, rank, data["variance_proportional"], "Σ = σ²H", COLOURS[2])
    printed = np.asarray(data["variance_printed"])
    published(axes, rank, np.where(printed > 0, printed, np.nan), "K⁻¹Σ, symmetric part;\nrest is negative")
    axes.set(yscale="log", xlabel="rank of the principal component", ylabel="variance  [ησ²/(2S(1 − β))]",
             title=f"Cov θ, β = {data.attrs['momenta'][-1]:g}")  # fmt: skip
    axes.legend(fontsize=7)


def _correlations(axes: Axes, data: xr.Dataset) -> None:
    for p, colour in zip(range(data.sizes["pair"]), COLOURS, strict=False):
        i, j = np.asarray(data["pair_modes"][p])
        theory(axes, 1 - data["line"], data["correlation_line"][:, p], None, colour, linewidth=0.8)
        simulation(axes, 1 - data["momentum"], data["correlation"][:, p], data["correlation_error"][:, p],
                   f"{i}, {j}", colour, MARKERS[p])  # fmt: skip
        axes.plot(1 - data["momentum"], data["exact_correlation"][:, p], "_", color=colour, markersize=9)
    axes.axhline(0, color=GREY, linestyle="--")
    axes.set(xscale="log", xlabel="1 − β at fixed η/(1 − β)", ylabel="correlation of modes i, j",
             title="dashes: exact, lines: noise of the minimum")  # fmt: skip
    axes.invert_xaxis()
    axes.legend(title="modes", fontsize=7)


def _turning(axes: Axes, data: xr.Dataset) -> None:
    limits = [float(f(data["turning_exact"])) for f in (np.min, np.max)]
    theory(axes, limits, limits, None, GREY, linewidth=0.8)
    for m, (β, colour) in enumerate(zip(data.attrs["momenta"], COLOURS, strict=False)):
        simulation(axes, data["turning_exact"][m], data["turning"][m], data["turning_error"][m], f"β = {β:g}", colour,
                   MARKERS[m], markersize=3)  # fmt: skip
    axes.axhline(0, color=GREY, linestyle="--")
    axes.set(xlabel="E[δᵢvⱼ − δⱼvᵢ]  [√(Var δ Var v)], exact", ylabel="the same, SGD", title="Cov(θ, v) = 0 is dashed")
    axes.legend(fontsize=7)
