"""Fig. 21 of Kühn and Rosenow: τ(λ) at each setting, and λ_cross and τ_SGD over the slides' formulas."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, simulation, theory

LABELS = {"learning_rate": "learning rate $η$", "batch_size": "batch size $S$", "momentum": "momentum $β$"}
RATIOS = (("crossover", "$λ_{cross}$", COLOURS[0], "o"), ("flat_time", "$τ_{SGD}$", COLOURS[1], "s"))


def fig21(data: xr.Dataset) -> Figure:
    """One column for each hyperparameter."""
    names = data.attrs["axes"]
    figure, axes = panels(2, len(names), width=3.2, height=2.7)
    for column, name in enumerate(names):
        _times(axes[0, column], data, name)
        _ratios(axes[1, column], data, name)
    axes[0, 0].set_ylabel("correlation time $τ$  [step]")
    axes[1, 0].set_ylabel("measured over the slides' formula")
    kinds = [
        Line2D([], [], color=colour, marker=marker, markerfacecolor="white", label=f"{label}: SGD; exact theory")
        for _, label, colour, marker in RATIOS
    ]
    kinds += [
        Line2D([], [], color=GREY, linestyle="--", label="theory for $M(1 - β) ≫ 1$ (slides)"),
        Line2D([], [], color=BLACK, label="upper row: exact $τ(λ)$ (18)"),
    ]
    figure.legend(handles=kinds, loc="outside lower center", ncols=2)
    return figure


def _times(axes: Axes, data: xr.Dataset, name: str) -> None:
    λ = data["curvature"]
    for i, (value, colour) in enumerate(zip(data[name].values, COLOURS, strict=False)):
        at = f"times_{name}_{i}"
        theory(axes, λ, data[f"{at}_exact"], None, colour)
        label = f"{LABELS[name][-3:]} = {value:g}"
        simulation(axes, λ, data[at], data[f"{at}_error"], label, colour, markersize=3, linestyle="none")
    τ = data[[f"times_{name}_{i}" for i in range(data.sizes[name])]].to_dataarray()
    axes.set(xscale="log", yscale="log", xlabel="curvature $λ$  [1/t]", ylim=(float(τ.min()) / 10, float(τ.max()) * 2))
    axes.legend(loc="lower left")


def _ratios(axes: Axes, data: xr.Dataset, name: str) -> None:
    x = data[name]
    axes.axhline(1, color=GREY, linestyle="--")
    for quantity, _, colour, marker in RATIOS:
        at = f"{quantity}_{name}"
        theory(axes, x, data[f"{at}_exact"], None, colour)
        simulation(axes, x, data[at], data[f"{at}_error"], None, colour, marker)
    axes.set(xlabel=LABELS[name], ylim=(0.85, 1.15))
