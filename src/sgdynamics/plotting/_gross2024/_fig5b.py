"""Fig. 5(b): eigenvalues of the weight covariance."""

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory


def fig5b(data: xr.Dataset) -> Figure:
    """One colour for each number of samples."""
    figure, axes = panels(width=6.4, height=4.2)
    axes, rank = axes[0, 0], data["rank"]
    for ratio, colour in zip(data.attrs["ratios"], (*COLOURS, BLACK), strict=False):
        at = f"at_{ratio:g}"
        theory(axes, rank, data[f"{at}_exact"], None, colour)
        theory(axes, rank, data[f"{at}_frozen"], None, BLACK, linewidth=0.6)
        published(axes, rank, data[f"{at}_balanced"])
        simulation(axes, rank, data[f"{at}_sgd"], data[f"{at}_sgd_error"], f"{ratio:g}", colour, alpha=0.8)
    axes.axhline(1, color=GREY, linestyle=":")
    axes.set(xlabel="rank of the eigenvalue", ylabel="eigenvalue of the weight covariance  [ησ²/(2S)]", yscale="log")
    kinds = [
        Line2D([], [], color=COLOURS[0], label="SGD, exact theory"),
        Line2D([], [], color=BLACK, linewidth=0.6, label="frozen noise (2.30), average over data"),
        Line2D([], [], color=GREY, linestyle="--", label="detailed balance (2.33)"),
        Line2D([], [], color=GREY, linestyle=":", label="isotropic (2.34)"),
    ]
    ratios = axes.get_legend_handles_labels()[0]
    figure.legend(handles=ratios, title="P/N  (points: SGD)", loc="outside right upper")
    figure.legend(handles=kinds, loc="outside lower center", ncols=2)
    return figure
