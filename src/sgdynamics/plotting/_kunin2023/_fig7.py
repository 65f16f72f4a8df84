"""Fig. 7: displacement, and the exponent fitted to it over the length of the trajectory."""

import xarray as xr
from matplotlib.figure import Figure

from sgdynamics.plotting._style import COLOURS, GREY, panels, simulation, theory

RUNS = {"digits": "digits, stationary", "bands": "two bands, stationary", "resumed": "two bands, resumed away"}


def fig7(data: xr.Dataset) -> Figure:
    """Left the displacement in units of its stationary end, right the exponent; one colour for each run."""
    figure, axes = panels(1, 2, width=4.0, height=3.2)
    distance, exponent = axes[0]
    for (name, label), colour in zip(RUNS.items(), COLOURS, strict=False):
        k, end = data[f"step_{name}"], float(data[f"{name}_saturation"])
        curve = lambda which, name=name, end=end: data[f"{name}_{which}"] / end
        theory(distance, k, curve("exact"), None, colour)
        simulation(distance, k, curve("displacement"), curve("displacement_error"), label, colour, markersize=3)
        values, errors = data[f"{name}_exponent"], data[f"{name}_exponent_error"]
        theory(exponent, data[f"any_length_{name}"], data[f"{name}_exponent_exact"], None, colour)
        simulation(exponent, data[f"length_{name}"], values, errors, None, colour)
    for level in (0, 1, 2):
        exponent.axhline(level, color=GREY, linestyle=":", linewidth=0.8, zorder=0)
    distance.plot([], [], color=GREY, label="lines: exact")
    distance.set(xscale="log", yscale="log", xlabel="distance k  [step]", ylabel="E|Δ_k|²  [2 tr Cov θ]")
    exponent.set(xscale="log", xlabel="length T of the trajectory  [step]", ylabel="exponent c, fitted from T/3 to T",
                 yticks=(0, 0.5, 1, 1.5, 2))  # fmt: skip
    figure.legend(*distance.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
