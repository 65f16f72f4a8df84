"""Fig. 9(a): the loss along modes of the second layer, and against their variance."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, legend, panels, published, simulation, theory

EXPONENTS = {
    "paper": "the paper: ψ = 2",
    "sgd": "SGD",
    "along": "linear response, SGD's directions",
    "own": "linear response, its directions",
    "sets": "the same, other data sets",
    "spread": "their spread",
    "mean": "their mean, with its error",
}


def fig9a(data: xr.Dataset) -> Figure:
    """One panel of losses for each number of samples, then curvature against variance, and ψ, for all."""
    samples = data.attrs["samples"]
    figure, axes = panels(1, len(samples) + 2, width=3.8, height=3.7)
    for panel, P, colour in zip(axes[0], samples, COLOURS, strict=False):
        _losses(panel, data, P, colour)
    _relation(axes[0, -2], data)
    _exponents(axes[0, -1], data)
    return figure


def _losses(axes: Axes, data: xr.Dataset, P: int, colour: str) -> None:
    mode, at = data["mode"], f"at_{P}"
    theory(axes, mode, data[f"{at}_loss_first"], "first form (3.37)", BLACK)
    theory(axes, mode, data[f"{at}_loss_response"], "linear response, its modes", colour)
    published(axes, mode, data[f"{at}_loss_second"], "second form (3.37)")
    simulation(axes, mode, data[f"{at}_loss"], None, "SGD, principal directions", colour, alpha=0.8)
    axes.set(title=f"loss along modes of W₂, P = {P}", xlabel="mode, largest variance first", ylabel="δL(θ)")
    axes.set_ylim(bottom=0)
    legend(axes)


def _relation(axes: Axes, data: xr.Dataset) -> None:
    for P, colour in zip(data.attrs["samples"], COLOURS, strict=False):
        at = f"at_{P}"
        axes.errorbar(
            data[f"{at}_variance"], data[f"{at}_stiffness"], xerr=data[f"{at}_variance_error"], fmt="o", color=colour,
            markerfacecolor="white", elinewidth=1.0, zorder=3, label=f"SGD, P = {P}",
        )  # fmt: skip
    least = min(float(data[f"at_{P}_stiffness"].min()) for P in data.attrs["samples"]) / 1.5
    y = np.geomspace(least, 6, 200)
    theory(axes, y / (1 + y), y, "m/(1 − m):  ψ from 2 to 0", BLACK)
    published(axes, y[y < 1.2], y[y < 1.2], "second form (3.37): ψ = 2")
    foot = y[y < 30 * least]
    axes.plot(0.05 * (foot / least) ** 2, foot, ":", color=GREY, label="slope of ψ = 4 (Feng and Tu)", zorder=1)
    axes.set(title="curvature against variance along $a_k$", xscale="log", yscale="log", xlim=(least, 2))
    axes.set(xlabel="variance m  [$ησ_e^2/2S$]", ylabel="curvature of the loss  [$σ_x^2 D_2$]")
    legend(axes)


def _exponents(axes: Axes, data: xr.Dataset) -> None:
    """Each P: linear response of every data set on both routes, their mean and spread; SGD on the one measured."""
    samples, names = data.attrs["samples"], {"singular": "$a_k$", "principal": "principal"}
    ticks = {}
    for i, (P, colour) in enumerate(zip(samples, COLOURS, strict=False)):
        for x, (name, words) in enumerate(names.items(), start=2 * i):
            _one_exponent(axes, data, f"at_{P}", name, float(x), colour)
            ticks[x] = f"{words}\nP = {P}"
    ends = [-0.6, len(ticks) - 0.4]
    published(axes, ends, [2, 2], EXPONENTS["paper"])
    axes.set(title="ψ along both kinds of directions", ylabel="ψ", xlim=ends)
    axes.set_xticks(list(ticks), list(ticks.values()))
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.9 * (high - low), high)
    axes.legend([once[label] for label in EXPONENTS.values()], list(EXPONENTS.values()), loc="lower left")


def _one_exponent(axes: Axes, data: xr.Dataset, at: str, name: str, x: float, colour: str) -> None:
    """On the left what holds for the directions of linear response, on the right along those that SGD gave."""
    sets = data[f"{at}_psi_{name}_sets"]
    mean, spread, error = float(sets.mean()), float(sets.std(ddof=1)), float(data[f"{at}_psi_{name}_mean_error"])
    own = data[f"{at}_psi_own" if name == "principal" else f"{at}_psi_singular_response"]
    axes.plot(np.full(sets.size, x - 0.2), sets, ".", color=GREY, markersize=3, label=EXPONENTS["sets"])
    band = [x - 0.35, x - 0.05]
    axes.fill_between(band, mean - spread, mean + spread, color=GREY, alpha=0.25, lw=0, label=EXPONENTS["spread"])
    style = {"color": BLACK, "markersize": 9, "capsize": 2, "zorder": 2.5}
    axes.errorbar(x - 0.2, mean, error, fmt="_", label=EXPONENTS["mean"], **style)
    axes.plot(x - 0.2, own, "D", color=colour, markersize=3.5, label=EXPONENTS["own"])
    response = data[f"{at}_psi_{name}_response"]
    axes.plot(x + 0.08, response, "x", color=colour, label=EXPONENTS["along"])
    simulation(
        axes, x + 0.25, float(data[f"{at}_psi_{name}"]), float(data[f"{at}_psi_{name}_error"]), EXPONENTS["sgd"], colour
    )
