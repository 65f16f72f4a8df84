"""The demonstration's picture: stationary variances, how many substeps make the SDE, a displaced start."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, legend, panels, published, simulation, theory

SGD, SDE = COLOURS[0], COLOURS[1]


def demo(data: xr.Dataset) -> Figure:
    """Four panels, from the stored result alone."""
    figure, axes = panels(2, 2, width=4.6, height=3.4)
    _variances(axes[0, 0], data)
    _ratios(axes[0, 1], data)
    _substeps(axes[1, 0], data)
    _relaxation(axes[1, 1], data)
    return figure


def _variances(axes: Axes, data: xr.Dataset) -> None:
    rank = np.arange(1, data.sizes["gaussian_principal"] + 1)
    theory(axes, rank, data["gaussian_principal_exact"], "SGD, exact theory", SGD)
    for kind, colour, marker in (("sgd", SGD, "o"), ("sde", SDE, "s")):
        variance, error = data[f"gaussian_principal_{kind}"], data[f"gaussian_principal_{kind}_error"]
        simulation(axes, rank, variance, error, kind.upper(), colour, marker, alpha=0.8)
    axes.set(title="(a) teacher-student data: stationary variances")
    axes.set(xlabel="principal direction of the exact law", ylabel="variance  [weight²]")
    legend(axes)


def _ratios(axes: Axes, data: xr.Dataset) -> None:
    h, exact = data["digits_curvature"], data["digits_mode_exact"]
    theory(axes, h, exact / exact, "SGD, exact theory", SGD)
    theory(axes, h, data["digits_mode_multiplicative"] / exact, "SDE, theory", SDE)
    published(axes, h, data["digits_mode_lyapunov"] / exact, "frozen noise (2.30)")
    for kind, colour, marker in (("sgd", SGD, "o"), ("sde", SDE, "s")):
        ratio, error = data[f"digits_mode_{kind}"] / exact, data[f"digits_mode_{kind}_error"] / exact
        simulation(axes, h, ratio, error, kind.upper(), colour, marker, alpha=0.8)
    axes.set(title="(b) digits: variance of each mode of the Hessian", xscale="log")
    axes.set(xlabel="curvature h of the mode  [1/t]", ylabel="variance / exact theory of SGD")
    legend(axes, ncols=2)


def _substeps(axes: Axes, data: xr.Dataset) -> None:
    n, exact = data["substeps"], float(data["digits_mode_exact"][-1])
    axes.axhline(1, color=SGD, label="SGD, exact theory")
    axes.axhline(float(data["digits_mode_multiplicative"][-1]) / exact, color=SDE, label="SDE, theory")
    theory(axes, data["substeps_fine"], data["substeps_theory"] / exact, "Euler-Maruyama, theory", BLACK)
    simulation(axes, n, data["substeps_measured"] / exact, data["substeps_error"] / exact, "Euler-Maruyama", BLACK)
    axes.set(title="(c) digits, stiffest mode: one substep is SGD", xscale="log")
    axes.set(xlabel="Euler-Maruyama substeps in a step", ylabel="variance / exact theory of SGD")
    axes.set_xticks(n.values, [str(int(k)) for k in n.values])
    axes.minorticks_off()
    legend(axes)


def _relaxation(axes: Axes, data: xr.Dataset) -> None:
    steps = data["relaxation_step"]
    fine = np.geomspace(float(steps[0]), float(steps[-1]), 200)
    for i, colour in zip(range(data.sizes["relaxation_mode"]), COLOURS, strict=False):
        mode = data.isel(relaxation_mode=i)
        rate, start = float(mode["relaxation_rate"]), float(mode["relaxation_start"])
        theory(axes, fine, np.exp(-rate * fine), None, colour)
        measured, error = mode["relaxation_measured"] / start, mode["relaxation_error"] / abs(start)
        simulation(axes, steps, measured, error, f"ηh = {rate:.2g}", colour)
    axes.set(title="(d) digits: a displaced start relaxes (lines: Eq. 2.27)", xscale="log")
    axes.set(xlabel="step", ylabel="mean displacement / its start")
    legend(axes, title="SGD", loc="lower left")
