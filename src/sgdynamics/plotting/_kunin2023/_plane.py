"""What Figs. 3 and 4 share: a trajectory with the ensemble's ellipse in a plane, and variances over curvature."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, NullFormatter, ScalarFormatter

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, published, simulation, theory

PATH, ELLIPSE = COLOURS[1], BLACK


def trajectory(axes: Axes, data: xr.Dataset, case: str) -> None:
    """One replica's path, its start, and the ensemble's ellipse of two standard deviations."""
    path = data[f"{case}_path"].values
    axes.plot(path[:, 0], path[:, 1], color=PATH, linewidth=0.5, alpha=0.8, zorder=2, label="one replica of SGD")
    x, y = ellipse(data[f"{case}_ellipse"].values)
    axes.plot(x, y, color=ELLIPSE, linewidth=1.4, zorder=4, label="2σ of the ensemble")
    axes.plot(0, 0, "o", color=BLACK, markerfacecolor="white", zorder=5, label="minimum")


def ellipse(covariance: np.ndarray, deviations: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """The points whose distance, in units of the covariance, is so many standard deviations."""
    angle = np.linspace(0, 2 * np.pi, 201)
    values, vectors = np.linalg.eigh(covariance)
    x, y = deviations * vectors @ (np.sqrt(np.maximum(values, 0))[:, None] * np.stack([np.cos(angle), np.sin(angle)]))
    return x, y


def contours(axes: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, levels: int = 9) -> None:
    """Contours at squares of equal steps above the lowest value: equally far apart where the loss is quadratic.

    x runs along the first axis.
    """
    values = values - values.min()
    top = values.max()
    axes.contourf(x, y, values.T, np.linspace(0, 1, levels) ** 2 * top, cmap="Blues", zorder=0, extend="both")
    axes.contour(x, y, values.T, np.linspace(0, 1, levels)[1:] ** 2 * top, colors=GREY, linewidths=0.5, zorder=1)


def variances(axes: Axes, data: xr.Dataset, case: str, labels: tuple[str, str, str]) -> None:
    """Variances over the curvature: measured, law, printed and control, of which the last two are scaled."""
    h, key = data[f"{case}_curvature"], f"{case}_variance"
    theory(axes, h, data[f"{case}_law"], labels[0], linewidth=0.9)
    published(axes, h, data[f"{case}_printed"], labels[1])
    axes.plot(h, data[f"{case}_control"], ":", color=GREY, label=labels[2], zorder=1)
    simulation(axes, h, data[key], data[f"{key}_error"], "SGD")
    axes.set(xscale="log", yscale="log", xlabel="eigenvalue h of the Hessian, with λ  [1/t]")
    for axis, written in (
        (axes.xaxis, ScalarFormatter()),
        (axes.yaxis, LogFormatterSciNotation(labelOnlyBase=False, minor_thresholds=(9, 9))),
    ):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(written)
        axis.set_minor_formatter(NullFormatter())
