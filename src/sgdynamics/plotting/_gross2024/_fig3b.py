"""Fig. 3(b): spectra of the gradient noise and of its Hessian approximation."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

UNIT = "[$σ^2σ_x^2/S$]"


def fig3b(data: xr.Dataset) -> Figure:
    """Spectra; their ends; the distance of the matrices."""
    figure, axes = panels(1, 3, width=3.6, height=3.4)
    _spectra(axes[0, 0], data)
    _ends(axes[0, 1], data)
    _distance(axes[0, 2], data)
    kinds = [
        Line2D([], [], color=BLACK, label="(2.17), average over data"),
        Line2D([], [], color=GREY, linestyle="--", label="Hessian approximation (2.20)"),
    ]
    figure.legend(handles=kinds, loc="outside lower center", ncols=2)
    return figure


def _spectra(axes: Axes, data: xr.Dataset) -> None:
    rank = data["rank"]
    for ratio, colour in zip(data.attrs["shown"], COLOURS, strict=False):
        value, error = data[f"noise_{ratio:g}"], data[f"noise_{ratio:g}_error"]
        theory(axes, rank, value, f"P/N = {ratio:g}", colour)
        axes.fill_between(rank, value - error, value + error, color=colour, alpha=0.3, linewidth=0)
        axes.plot(rank, data[f"hessian_{ratio:g}"], "--", color=colour, linewidth=1.0)
    axes.set(xlabel="rank of the eigenvalue", ylabel=f"eigenvalue  {UNIT}", yscale="log")
    axes.legend(loc="lower left")


def _ends(axes: Axes, data: xr.Dataset) -> None:
    for name, colour, marker in (("largest", COLOURS[3], "^"), ("smallest", COLOURS[4], "v")):
        simulation(axes, data["ratio"], data[name], data[f"{name}_error"], name, colour, marker, linestyle="-")
        published(axes, data["ratio"], data[f"{name}_hessian"], marker=marker, markersize=3)
    axes.set(xlabel="samples per input  P/N", ylabel=f"extreme eigenvalues  {UNIT}", xscale="log", yscale="log")
    axes.legend(loc="lower right")


def _distance(axes: Axes, data: xr.Dataset) -> None:
    theory(axes, data["ratio"], data["distance_leading"], "leading order", COLOURS[5])
    simulation(axes, data["ratio"], data["distance"], data["distance_error"], "drawn data sets", COLOURS[5])
    axes.set(xlabel="samples per input  P/N", ylabel="distance of (2.17) from (2.20), relative")
    axes.set(xscale="log", yscale="log")
    axes.legend(loc="lower left")
