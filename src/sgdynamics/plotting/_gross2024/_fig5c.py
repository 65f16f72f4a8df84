"""Fig. 5(c): extreme eigenvalues against the number of samples."""

import xarray as xr
from matplotlib.figure import Figure

from sgdynamics.plotting._style import COLOURS, GREY, panels, published, simulation, theory


def fig5c(data: xr.Dataset) -> Figure:
    """The largest eigenvalues in one colour, the smallest in the other, those of Q in a third."""
    figure, axes = panels(width=5.6, height=4.4)
    axes, excess, measured = axes[0, 0], data["excess"], data["measured_excess"]
    for name, colour, alpha in (("largest", COLOURS[0], 1.0), ("smallest", COLOURS[1], 0.5)):
        at, first = data.sel(extreme=name), name == "largest"
        theory(axes, excess, at["frozen"], f"{name} of M (2.30), mean over data", colour)
        theory(axes, excess, at["circulation"], f"{name} |eigenvalue| of Q (2.31)", COLOURS[2], alpha=alpha)
        published(axes, excess, at["balanced"], "detailed balance (2.33)" if first else None)
        axes.plot(measured, at["exact"], "_", color=colour, markersize=11, label="exact law" if first else None)
        simulation(axes, measured, at["sgd"], at["sgd_error"], "SGD, one data set" if first else None, colour)
    axes.axhline(1, color=GREY, linestyle=":", label="isotropic (2.34)")
    axes.set(xlabel="P/N − 1", ylabel="extreme eigenvalues  [ησ²/(2S)]", xscale="log", yscale="log")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
