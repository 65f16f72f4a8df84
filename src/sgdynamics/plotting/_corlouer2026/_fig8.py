"""Fig. 8: Frobenius norms of the layers."""

import xarray as xr
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, panels, simulation


def fig8(data: xr.Dataset) -> Figure:
    """|W_l|, mean over l; one panel for each depth."""
    depths = data.attrs["depths"]
    figure, (row,) = panels(1, len(depths), width=4.0)
    for panel, depth, expected in zip(row, depths, data.attrs["balanced_norms"], strict=True):
        for start, colour, marker in (("small", COLOURS[0], "o"), ("balanced", COLOURS[1], "s")):
            name, time = f"norm_L{depth}_{start}", data[f"time_L{depth}_{start}"]
            simulation(panel, time, data[name], data[f"{name}_error"], f"{start} weights", colour, marker, markersize=3)
        panel.axhline(expected, color=BLACK, linewidth=1, label="balanced, all modes learned: √(Σ s^(2/L))")
        panel.set(title=f"L = {depth}", xlabel="time  [learning rate × step]", ylabel="|W_l|, mean over l  [weight]")
        panel.set_ylim(bottom=0)
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
