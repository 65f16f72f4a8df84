"""Fig. 3(c): the gradient noise in the eigenbasis of the Hessian."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from sgdynamics.plotting._style import panels, simulation, theory

DECADES = 3


def fig3c(data: xr.Dataset) -> Figure:
    """One matrix for each number of samples, and how large off-diagonal entries are."""
    ratios = data.attrs["ratios"]
    figure, axes = panels(1, len(ratios) + 1, width=3.1, height=3.1)
    norm, image = LogNorm(10.0**-DECADES, 1, clip=True), None
    edge = data["mode"].size + 0.5
    for panel, ratio in zip(axes[0], ratios, strict=False):
        matrix = data[f"at_{ratio:g}"].values
        image = panel.imshow(matrix / np.max(matrix), norm=norm, cmap="cividis", extent=(0.5, edge, edge, 0.5))
        panel.set(title=f"P/N = {ratio:g}", xlabel="mode of the Hessian, stiffest first")
    axes[0, 0].set_ylabel("mode of the Hessian")
    figure.colorbar(image, ax=list(axes[0, :-1]), label=r"$\langle|V^TCV|\rangle$ over its maximum", shrink=0.8)
    _sizes(axes[0, -1], data)
    return figure


def _sizes(axes: Axes, data: xr.Dataset) -> None:
    theory(axes, data["fine"], data["typical_leading"], r"$(1-N/P)\sqrt{2/P}$, leading order")
    simulation(axes, data["ratio"], data["typical"], data["typical_error"], "drawn data sets")
    axes.set(xlabel="samples per input  P/N", ylabel=r"rms off-diagonal entry  [$\sqrt{h_ih_j}\,σ^2/S$]", xscale="log")
    axes.set_xticks(data["ratio"].values, [f"{ratio:g}" for ratio in data["ratio"].values])
    axes.minorticks_off()
    axes.set_ylim(0, None)
    axes.legend(loc="lower left")
