"""The stationary excess loss over learning rates and momenta."""

import xarray as xr
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, panels, published, simulation, theory


def sweep(data: xr.Dataset) -> Figure:
    """(a) the excess loss against the learning rate, for each momentum; (b) the same over that of frozen noise."""
    figure, axes = panels(1, 2, width=4.2, height=3.4)
    loss, ratio = axes[0]
    η = data["learning_rate"].values
    for i, β in enumerate(data["momentum"].values):
        at, colour, marker = data.isel(momentum=i), COLOURS[i % len(COLOURS)], "os^vDX"[i % 6]
        simulation(loss, η, at["excess_loss"], at["excess_loss_error"], f"SGD, β = {β:g}", colour, marker)
        theory(loss, η, at["exact"], None, colour)
        published(loss, η, at["frozen"], "frozen noise" if i == 0 else None)
        simulation(
            ratio, η, at["excess_loss"] / at["frozen"], at["excess_loss_error"] / at["frozen"], None, colour, marker
        )
        theory(ratio, η, at["exact"] / at["frozen"], None, colour)
    theory(loss, [], [], "exact", BLACK)
    published(ratio, η, [1.0] * len(η))
    loss.set(xscale="log", yscale="log", xlabel="learning rate η", ylabel="excess loss  E L − L(w*)  [L]")
    ratio.set(xscale="log", xlabel="learning rate η", ylabel="excess loss / that of frozen noise")
    loss.legend()
    return figure
