"""Fig. 7: balance of the layers during training."""

import xarray as xr
from matplotlib.figure import Figure

from sgdynamics.plotting._style import COLOURS, panels, simulation


def fig7(data: xr.Dataset) -> Figure:
    """r_l and its numerator, means over l; depths in rows."""
    depths = data.attrs["depths"]
    figure, axes = panels(len(depths), 2, width=4.0, height=2.8)
    for row, depth in zip(axes, depths, strict=True):
        for panel, quantity in zip(row, ("ratio", "size"), strict=True):
            for start, colour, marker in (("small", COLOURS[0], "o"), ("balanced", COLOURS[1], "s")):
                name = f"{quantity}_L{depth}_{start}"
                later = data.isel({f"time_L{depth}_{start}": slice(1, None)})  # balanced weights start at 0
                values = (later[f"time_L{depth}_{start}"], later[name], later[f"{name}_error"])
                simulation(panel, *values, f"{start} weights", colour, marker, markersize=3)
            panel.set(yscale="log", title=f"L = {depth}")
        row[0].set_ylabel("imbalance r_l, mean over l")
        row[1].set_ylabel("|B_l|, mean over l  [weight²]")
    for panel in axes[-1]:
        panel.set_xlabel("time  [learning rate × step]")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
