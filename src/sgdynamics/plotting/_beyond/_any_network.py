"""The predicted variances of a network's weights along its Hessian's modes, against an ensemble."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import COLOURS, GREY, panels, published, simulation, theory


def any_network(data: xr.Dataset) -> Figure:
    """(a) variances against curvature, (b) measured over predicted; hollow: modes that had no time to leave the law."""
    figure, axes = panels(1, 2, width=4.4, height=3.4)
    h, tested = data["curvature"].values, int(data.attrs["tested"])
    for i, (η, colour) in enumerate(zip(data.attrs["learning_rates"], COLOURS, strict=False)):
        at = f"at_{η:g}"
        theory(axes[0, 0], h, data[f"{at}_law"], f"predicted, η = {η:g}", colour)
        isotropic = "isotropic noise of the same trace" if i == 0 else None
        published(axes[0, 0], h, data[f"{at}_isotropic"], isotropic)
        for panel, name in ((axes[0, 0], "sgd"), (axes[0, 1], "ratio")):
            _points(panel, data, f"{at}_{name}", slice(0, tested), f"SGD, η = {η:g}", colour, colour)
            _points(panel, data, f"{at}_{name}", slice(tested, None), None, colour, "white")
    axes[0, 1].axhline(1.0, color=GREY, linewidth=0.8)
    axes[0, 0].set(yscale="log", ylabel="variance along the mode  [θ$^2$]")
    axes[0, 1].set(ylabel="measured / predicted variance")
    for panel in axes[0]:
        panel.set(xscale="log", xlabel="curvature h  [1/t]")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    axes[0, 1].set_title("hollow: h t < 10, not tested")
    return figure


def _points(axes: Axes, data: xr.Dataset, name: str, modes: slice, label: str | None, colour: str, fill: str) -> None:
    at = data.isel(mode=modes)
    simulation(axes, at["curvature"], at[name], at[f"{name}_error"], label, colour, markerfacecolor=fill)
