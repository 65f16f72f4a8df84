"""Fig. 5: histogram of the first mode at the end of training with label noise, and three laws."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory


def fig5(data: xr.Dataset) -> Figure:
    """One panel for each depth, in standard deviations of (18) from the singular value."""
    depths = data.attrs["depths"]
    figure, (row,) = panels(1, len(depths), width=4.4)
    for axes, depth in zip(row, depths, strict=True):
        _panel(axes, data, f"L{depth}")
        axes.set(title=f"L = {depth},  √V = {float(data[f'scale_L{depth}']):.3f}", xlabel="(w − s) / √V")
    row[0].set_ylabel("density  [1/√V]")
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _panel(axes: Axes, data: xr.Dataset, label: str) -> None:
    density, z = data[f"density_{label}"], data["z"]
    simulation(axes, data["bin"], density, data[f"density_{label}_error"], "SGD", BLACK)
    theory(axes, z, data[f"normal_{label}"], "normal law: the network's mean, variance (18)", COLOURS[0])
    theory(axes, z, data[f"one_mode_{label}"], "(16): one mode alone", COLOURS[1], linewidth=0.9)
    published(axes, z, data[f"published_{label}"], "normal law centred at (17) as printed")
    axes.axvline(0, color=GREY, linestyle=":", linewidth=1, label="s; without label noise all of SGD")
    axes.set_ylim(0, None)
