"""Fig. 2(b): entries of the matrix K, ordered by magnitude."""

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory


def fig2b(data: xr.Dataset) -> Figure:
    """P K against the rank; one colour for each number of samples, on linear and on logarithmic axes."""
    figure, axes = panels(1, 2, width=3.8, height=3.6)
    samples = [int(P) for P in data.attrs["samples"]]
    colours = dict(zip(samples, (*COLOURS, BLACK, "#999933"), strict=False))
    for panel in axes[0]:
        for P, colour in colours.items():
            x = data[f"at_{P}_rank"]
            theory(panel, x, data[f"at_{P}_law"], None, colour, linewidth=1.0)
            value, error = data[f"at_{P}"], data[f"at_{P}_error"]
            simulation(panel, x, value, error, None, colour, markersize=2.5)
        published(panel, data["fraction"], data["white"])
        panel.set_xlabel("fraction of entries that are smaller")
    axes[0, 0].set(ylabel="P × entry of K, ordered  [output²]")
    axes[0, 1].set(yscale="log")
    handles = [Line2D([], [], color=c, marker="o", markersize=2.5, label=f"{P}") for P, c in colours.items()]
    kinds = [
        Line2D([], [], color=BLACK, label="exact law, quantiles"),
        Line2D([], [], color=BLACK, marker="o", markerfacecolor="white", linestyle="none", label="data sets, mean"),
        Line2D([], [], color=GREY, linestyle="--", label="squared label noise (printed, without the 1/P of K)"),
    ]
    figure.legend(handles=handles, title="P", loc="outside right upper")
    figure.legend(handles=kinds, loc="outside lower center", ncols=3)
    return figure
