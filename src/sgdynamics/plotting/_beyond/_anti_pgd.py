"""Anti-PGD on a network: trace of the Hessian, training loss, test loss."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, simulation, theory

KINDS = {
    "anti_pgd": ("Anti-PGD", COLOURS[0]),
    "pgd": ("PGD, equal σ", COLOURS[1]),
    "weak_pgd": ("PGD, equal excess loss", COLOURS[2]),
}
PANELS = (
    ("trace", "tr H at θ  [loss/w²]"),
    ("objective", "training loss + ½λ|θ|²  [loss]"),
    ("test_loss", "test loss  [loss]"),
)


def anti_pgd(data: xr.Dataset) -> Figure:
    """One panel each, over the steps from the minimum; dotted: gradient descent, which stays."""
    figure, axes = panels(columns=3, width=3.4, height=3.0)
    for (what, label), one, start in zip(PANELS, axes[0], data.attrs["start"], strict=False):
        _panel(one, data, what, label, start)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    law = Line2D([], [], color=BLACK, label="theory, order σ² (fails for PGD, equal σ)")
    figure.legend([*handles, law], [*labels, law.get_label()], loc="outside lower center", ncols=6)
    return figure


def _panel(axes: Axes, data: xr.Dataset, what: str, label: str, start: float) -> None:
    """Lines: theory to order σ², beyond which PGD of equal σ fluctuates."""
    data = data.isel(record=np.r_[: data.sizes["record"] - data.attrs["late"] + 1, -1])
    step = data["record"]
    axes.axhline(start, color=GREY, linestyle=":", label="gradient descent")
    for name, (words, colour) in KINDS.items():
        if f"{name}_{what}_law" in data:
            theory(axes, step, data[f"{name}_{what}_law"], None, colour)
        simulation(axes, step, data[f"{name}_{what}"], data[f"{name}_{what}_error"], words, colour, markersize=3)
    last = float(step[-1])
    if f"anti_pgd_{what}_at_z" in data:
        at_z, error = data[f"anti_pgd_{what}_at_z"], data[f"anti_pgd_{what}_at_z_error"]
        simulation(axes, [1.5 * last], [at_z], [error], "Anti-PGD, at z = θ − ξ", COLOURS[0], "s")
    axes.set(xscale="symlog", xlabel="step", ylabel=label, xlim=(0, 2 * last))
    axes.set_xticks([0, *(10**k for k in range(1 + int(np.log10(last))))])
