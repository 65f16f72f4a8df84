"""Fig. 3(a): eigenvalues of the covariance of the gradient noise."""

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory


def fig3a(data: xr.Dataset) -> Figure:
    """One colour for each number of samples."""
    figure, axes = panels(width=6.4, height=4.2)
    axes, rank = axes[0, 0], data["rank"]
    for ratio, colour in zip(data.attrs["ratios"], (*COLOURS, BLACK), strict=False):
        at = f"at_{ratio:g}"
        theory(axes, rank, data[f"{at}_exact"], None, colour)
        theory(axes, rank, data[f"{at}_frozen"], None, BLACK, linewidth=0.6)
        published(axes, rank, data[f"{at}_hessian"], linewidth=0.8)
        value, error = data[f"{at}_sgd"], data[f"{at}_sgd_error"]
        simulation(axes, rank, value, error, f"{ratio:g}", colour, markersize=2.5)
    axes.set(xlabel="rank of the eigenvalue", ylabel="eigenvalue of the gradient noise  [$σ^2σ_x^2/S$]", yscale="log")
    kinds = [
        Line2D([], [], color=COLOURS[0], label="noise expected of the same data"),
        Line2D([], [], color=BLACK, linewidth=0.6, label="additive noise (2.17), average over data"),
        Line2D([], [], color=GREY, linestyle="--", label="Hessian approximation (2.20)"),
    ]
    ratios = axes.get_legend_handles_labels()[0]
    figure.legend(handles=ratios, title="P/N  (points: SGD)", loc="outside right upper")
    figure.legend(handles=kinds, loc="outside lower center", ncols=2)
    return figure
