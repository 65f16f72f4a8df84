"""Fig. 6(a): the perturbed loss along covariance modes, the modes' variances, and what ties one to the other."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import COLOURS, GREY, legend, panels, published, simulation, theory


def fig6a(data: xr.Dataset) -> Figure:
    """Curves, spectrum, rank correlation."""
    figure, axes = panels(1, 3, width=4.0, height=3.4)
    _curves(axes[0, 0], data)
    _spectrum(axes[0, 1], data)
    _correlation(axes[0, 2], data)
    return figure


def _curves(axes: Axes, data: xr.Dataset) -> None:
    published(axes, data["size"], data["published"], "½ θ² σ_x², printed")
    for i, colour in zip(range(data.sizes["shown"]), COLOURS, strict=False):
        mode = data.isel(shown=i)
        simulation(axes, data["size"], mode["loss"], None, f"mode {int(mode['shown'])}", colour, alpha=0.8)
    axes.set(title="(a) loss perturbed along modes of SGD's covariance")
    axes.set(xlabel="perturbation θ  [weight]", ylabel="δL(θv)  [loss]")
    legend(axes, loc="upper center")


def _spectrum(axes: Axes, data: xr.Dataset) -> None:
    theory(axes, data["mode"], data["variance_exact"], "exact theory")
    simulation(axes, data["mode"], data["variance_sgd"], data["variance_sgd_error"], "SGD", alpha=0.7)
    axes.set(title="(b) variance of the modes", ylim=(0, None))
    axes.set(xlabel="covariance mode, largest variance first", ylabel="variance  [weight²]")
    legend(axes)


def _correlation(axes: Axes, data: xr.Dataset) -> None:
    simulation(axes, data["ratio"], data["correlation"], data["correlation_error"], "exact law, over data sets")
    axes.axhline(0, color=GREY, linestyle="--", label="no dependence, printed")
    axes.set(title="(c) is a direction of large variance steep?", xscale="log", ylim=(-0.25, 0.25))
    axes.set(xlabel="samples per input P/N", ylabel="rank correlation, variance and curvature")
    axes.set_xticks(data["ratio"].values, [f"{ratio:g}" for ratio in data["ratio"].values])
    axes.minorticks_off()
    legend(axes)
