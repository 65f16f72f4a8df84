"""Fig. 6(b): the perturbed loss along covariance modes, and its relation to the variance."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import COLOURS, GREY, legend, panels, published, simulation, theory


def fig6b(data: xr.Dataset) -> Figure:
    """Perturbed loss by mode; rank correlation of variance and curvature against the learning rate."""
    figure, axes = panels(1, 2, width=4.8, height=3.6)
    _perturbation(axes[0, 0], data)
    _correlation(axes[0, 1], data)
    return figure


def _perturbation(axes: Axes, data: xr.Dataset) -> None:
    mode = data["mode"]
    theory(axes, mode, data["perturbation_exact"], "exact law, mean over data")
    simulation(
        axes,
        mode,
        data["perturbation_sgd"],
        data["perturbation_sgd_error"],
        "SGD, its own covariance's modes",
        alpha=0.8,
    )
    axes.axhline(float(data["perturbation_iid"]), color=GREY, linestyle="--", label="i.i.d. inputs")
    axes.set(title="(a) perturbed loss along the modes of the covariance")
    axes.set(xlabel="covariance mode, largest variance first", ylabel="δL / θ²  [loss/weight²]")
    axes.set_ylim(bottom=0)
    legend(axes)


def _correlation(axes: Axes, data: xr.Dataset) -> None:
    rate = data["learning_rate"]
    for form, colour in (("exact", COLOURS[0]), ("lyapunov", GREY)):
        error = data[f"correlation_{form}_error"]
        axes.errorbar(rate, data[f"correlation_{form}"], error, fmt="none", ecolor=colour, capsize=2)
    theory(axes, rate, data["correlation_exact"], "SGD, exact theory")
    published(axes, rate, data["correlation_lyapunov"], "frozen noise (2.30)")
    simulation(
        axes, [float(data["sgd_learning_rate"])], [float(data["correlation_sgd"])],
        [float(data["correlation_sgd_error"])], "SGD", COLOURS[1],
    )  # fmt: skip
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.set(title="(b) is a direction of large variance steep?", xscale="log")
    axes.set(xlabel="learning rate η  [t/step]", ylabel="rank correlation, variance and curvature")
    legend(axes)
