"""App. G.3: the mass of equal energies in total and mode by mode, the kinetic energy, and the constant of the loss."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

MARKERS = "osD^vP"


def equipartition(data: xr.Dataset) -> Figure:
    """One colour and marker for each weight decay, in the second panel one colour for each momentum."""
    figure, axes = panels(2, 2, width=3.8, height=3.0)
    decays = list(zip(data.attrs["weight_decays"], COLOURS, MARKERS, strict=False))
    _mass(axes[0, 0], data, decays)
    _modes(axes[0, 1], data, decays)
    _over(axes[1, 0], data, decays, "kinetic", "kinetic energy  [loss]")
    _over(axes[1, 1], data, decays, "offset", "expected loss − kinetic energy  [loss]")
    axes[1, 0].set_ylim(bottom=0)
    axes[1, 1].set_ylim(bottom=0)
    figure.legend(loc="outside right center")
    return figure


def _mass(axes: Axes, data: xr.Dataset, decays: list) -> None:
    away = 1 - data["line"]
    theory(axes, away, 1 - away / 2, "m = η(1 + β)/2", BLACK)
    for level, name in ((1.0, "m = η, m = η/2"), (0.5, None)):
        axes.axhline(level, color=GREY, linestyle=":", label=name)
    for i, (λ, colour, marker) in enumerate(decays):
        values, errors = data[f"at_{λ:g}_mass"], data[f"at_{λ:g}_mass_error"]
        more = {"marker": marker, "markersize": 8 - 3 * i, "markerfacecolor": "none"}
        simulation(axes, 1 - data["momentum"], values, errors, f"SGD, λ = {λ:g}", colour, **more)
    _over_momentum(axes)
    axes.set(ylabel="mass of equal energies  [η]", ylim=(0.4, 1.1))


def _modes(axes: Axes, data: xr.Dataset, decays: list) -> None:
    """Of every mode, over its curvature; small shifts keep the momenta apart."""
    axes.axhline(1, color=BLACK)
    momenta = data["momentum"].values
    shifts = np.geomspace(0.97, 1.03, len(momenta))
    for i, (β, shift) in enumerate(zip(momenta, shifts, strict=True)):
        colour = COLOURS[(2 + i) % len(COLOURS)]
        for j, (λ, _, marker) in enumerate(decays):
            values, errors = (data[f"at_{λ:g}_masses{end}"].sel(momentum=β) * 2 / (1 + β) for end in ("", "_error"))
            label = None if j else f"β = {β:g}, single modes"
            simulation(axes, data[f"at_{λ:g}_curvature"] * shift, values, errors, label, colour, marker, markersize=3)
    axes.set(xlabel="curvature k = h + λ  [1/t]", xscale="log", ylabel="potential / kinetic energy of a mode")


def _over(axes: Axes, data: xr.Dataset, decays: list, name: str, label: str) -> None:
    first = name == "kinetic"
    for i, (λ, colour, marker) in enumerate(decays):
        at = f"at_{λ:g}_{name}"
        theory(axes, 1 - data["line"], data[f"{at}_exact"], None if i or not first else "exact law", colour)
        published(axes, 1 - data["line"], data[f"{at}_printed"], None if i or not first else "as printed")
        simulation(axes, 1 - data["momentum"], data[at], data[f"{at}_error"], None, colour, marker)
    _over_momentum(axes)
    axes.set(ylabel=label)


def _over_momentum(axes: Axes) -> None:
    axes.set(xlabel="1 − β, with momentum β", xscale="log")
    axes.invert_xaxis()
