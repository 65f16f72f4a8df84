"""Where the second-order SDE leaves SGD with momentum."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sgdynamics.plotting._style import BLACK, GREY, panels, simulation, theory
from sgdynamics.plotting._style import COLOURS as OKABE

PANELS = {
    "variance": "Var θ and Var v",
    "memory": "velocity correlation, one step",
    "decay": "decay per step",
    "frequency": "frequency",
    "euler": "Var θ, Euler-Maruyama of (3)",
}
CUTS = {"variance": ("Var θ", "SDE/SGD", 1), "memory": ("velocity correlation, one step", "SDE − SGD", 0)}
MARKERS = "os^vDP"
ERRORS = {0.01: ":", 0.1: "--"}
SCALE: Any = {"cmap": "PuOr", "norm": Normalize(-1, 1)}
CRITICAL = OKABE[2]


def second_order_sde(data: xr.Dataset) -> Figure:
    """Maps, log₂ of the ratio to SGD in colour; and cuts through them, with ensembles."""
    figure, axes = panels(2, 4, width=3.0, height=2.8)
    *places, legend = axes.flat
    maps, cuts = places[: len(PANELS)], places[len(PANELS) :]
    shown = [_map(ax, data, name) for ax, name in zip(maps, PANELS, strict=True)]
    for ax, name in zip(cuts, CUTS, strict=True):
        _cut(ax, data, name)
    for ax in places:
        ax.set_xlabel("learning rate × curvature ηK")
    for ax in axes[:, 0]:
        ax.set_ylabel("momentum β")
    legend.axis("off")
    legend.legend(handles=_kinds(), loc="center left")
    bar = figure.colorbar(shown[0], ax=axes, extend="both", shrink=0.7)
    bar.set_label("log₂ (SDE/SGD);  velocity correlation: SDE − SGD")
    return figure


def _cut(axes: Axes, data: xr.Dataset, name: str) -> None:
    """Theory over ηK at each β of the ensembles, and these."""
    title, quantity, same = CUTS[name]
    for i, β in enumerate(data["cut"].values):
        colour = OKABE[i % len(OKABE)]
        theory(axes, data["stiffness"], data[f"{name}_cut"][i], None, colour)
        at = data.isel(point=data["point_momentum"].values == β)
        simulation(axes, at["point_stiffness"], at[f"{name}_measured"], at[f"{name}_measured_error"], f"β = {β:g}",
                   colour, MARKERS[i % len(MARKERS)])  # fmt: skip
    axes.axhline(same, color=GREY, linestyle="--", zorder=1)
    axes.set(xscale="log", ylabel=quantity)
    axes.set_title(f"{title}: cuts", loc="left")
    axes.legend(loc="lower left" if same else "best", fontsize=7)


def _kinds() -> list:
    lines = {":": "error of 1 %", "--": "error of 10 %", "-": "a factor of 2 (correlation: 0.5)"}
    dot: Any = {"marker": "o", "markersize": 3.5, "markeredgecolor": BLACK, "linestyle": ""}
    return [
        *(Line2D([], [], color=BLACK, linewidth=0.9, linestyle=style, label=words) for style, words in lines.items()),
        Line2D([], [], color=CRITICAL, linewidth=1.0, label="critical damping of SGD"),
        Line2D([], [], color=CRITICAL, linewidth=1.0, linestyle="--", label="critical damping of (3)"),
        Line2D([], [], markerfacecolor="white", label="where ensembles were run", **dot),
        Patch(facecolor=GREY, alpha=0.6, label="unstable: SGD, or\nEuler-Maruyama at dt = η"),
        Patch(facecolor="white", edgecolor=GREY, label="frequency: SGD does not turn"),
        Line2D([], [], color=GREY, linestyle="--", label="cuts: SDE and SGD agree;\nlines: exact, points: ensembles"),
    ]  # fmt: skip


def _map(axes: Axes, data: xr.Dataset, name: str):
    x, y = data["stiffness"].values, 1 - data["momentum"].values
    difference = name == "memory"
    ratio = data[name].where(np.isfinite(data[name])).values
    # a correlation may be 0 or negative: its difference is shown
    colour = (lambda values: values) if difference else np.log2
    shown = axes.pcolormesh(x, y, np.ma.masked_invalid(colour(ratio)), shading="nearest", rasterized=True, **SCALE)
    unstable = np.isnan(data["euler" if name == "euler" else "variance"].values)
    axes.contourf(x, y, unstable.astype(float), levels=[0.5, 1.5], colors=[GREY], alpha=0.6)
    for error, style in ERRORS.items():
        _contour(axes, x, y, ratio, [float(not difference) - error, float(not difference) + error], style)
    _contour(axes, x, y, ratio, [-0.5, 0.5] if difference else [0.5, 2.0], "-")
    if name in ("decay", "frequency", "first_order"):
        for form, style in (("sgd", "-"), ("sde", "--")):
            axes.plot(data[f"critical_{form}"], y, color=CRITICAL, linewidth=1.0, linestyle=style)
    at = data.isel(point=np.isfinite(data[f"{name}_measured"].values))
    axes.plot(at["point_stiffness"], 1 - at["point_momentum"], "o", markersize=3.5, markerfacecolor="white",
              markeredgecolor=BLACK, markeredgewidth=0.8, clip_on=False, zorder=4)  # fmt: skip
    axes.set_title(PANELS[name], loc="left")
    _axes(axes, x, y)
    return shown


def _axes(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    axes.set(xscale="log", yscale="log", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    ticks = [β for β in (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99) if 1 - β >= y[-1]]
    axes.set_yticks([1 - β for β in ticks], [f"{β:g}" for β in ticks])
    axes.set_yticks([], minor=True)


def _contour(axes: Axes, x, y, values: np.ndarray, levels: list[float], style: str) -> None:
    axes.contour(x, y, np.ma.masked_invalid(values), levels=levels, colors=BLACK, linewidths=0.9, linestyles=style)
