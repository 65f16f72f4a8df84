"""Fig. 14 of Kühn and Rosenow: correlations of the gradient noise at the start of training."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, simulation, theory

OWN, SPECTATORS, WHITE = COLOURS[0], COLOURS[2], COLOURS[1]
MARKERS = "os^Dv<>"
SHOWN = 30


def fig14(data: xr.Dataset) -> Figure:
    """One column for each momentum, with the autocorrelation at the largest rate; sums against the rate; losses."""
    momenta = data.attrs["momenta"]
    figure, axes = panels(2, max(2, len(momenta)), width=4.0, height=3.0)
    for panel, β in zip(axes[0], momenta, strict=False):
        _autocorrelation(panel, data, f"momentum_{β:g}")
        panel.set_title(f"β = {β:g}, η = {float(data['rate'][-1]) * (1 - β):.3g} [t]")
    _sums(axes[1, 0], data, momenta)
    _losses(axes[1, 1], data, momenta)
    for unused in (*axes[0, len(momenta) :], *axes[1, 2:]):
        unused.remove()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _autocorrelation(axes: Axes, data: xr.Dataset, label: str) -> None:
    h = data["lag"]
    thin = slice(None, None, max(1, h.size // SHOWN))
    theory(axes, h, data["static"], "fixed weights (2)", BLACK, linewidth=0.9)
    theory(axes, h, data[f"{label}_path"], "moving weights, drift alone", SPECTATORS)
    for name, colour, marker, words in (
        ("spectators", SPECTATORS, "s", "spectators, along the same path"),
        ("own", OWN, "o", "SGD in epochs"),
        ("with_replacement", WHITE, "^", "SGD with replacement"),
    ):
        values, errors = data[f"{label}_{name}"][thin], data[f"{label}_{name}_error"][thin]
        simulation(axes, h[thin], values, errors, words, colour, marker)
    axes.axhline(0, color=GREY, linewidth=0.6, zorder=0)
    axes.set(xlabel="lag h  [steps]", ylabel="autocorrelation of the noise  [1 at h = 0]")


def _sums(axes: Axes, data: xr.Dataset, momenta: list[float]) -> None:
    """Filled: SGD's own noise; open: spectators."""
    rate = data["rate"]
    for i, (β, marker) in enumerate(zip(momenta, MARKERS, strict=False)):
        row = data.isel(momentum=i)
        theory(axes, rate, row["sum_path"], None, SPECTATORS, linestyle=("-", "--", ":")[i % 3])
        simulation(axes, rate, row["sum_spectators"], row["sum_spectators_error"], None, SPECTATORS, marker)
        simulation(axes, rate, row["sum_own"], row["sum_own_error"], f"β = {β:g}", OWN, marker)
    axes.axhline(-0.5, color=BLACK, linewidth=0.9)
    axes.set(xlabel="η/(1 − β)  [t]", ylabel="sum of the autocorrelation, h ≥ 1", xlim=(0, None))
    axes.legend(loc="upper left")


def _losses(axes: Axes, data: xr.Dataset, momenta: list[float]) -> None:
    M = data.attrs["batches"]
    for i, β in enumerate(momenta):
        label = f"β = {β:g}"
        axes.plot(
            data["step"] / M, data[f"momentum_{β:g}_loss"], color=OWN, linestyle=("-", "--", ":")[i % 3], label=label
        )
    axes.set(xlabel="epochs", ylabel="loss, mean over replicas", ylim=(0, None), xticks=np.arange(4))
    axes.legend(loc="upper right")
