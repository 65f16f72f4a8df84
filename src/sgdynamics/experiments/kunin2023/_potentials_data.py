"""H.4's process as data: both potentials about the mean, and what was measured."""

import numpy as np

from sgdynamics.experiments._variables import Variable, measurement, variable
from sgdynamics.experiments.kunin2023._potentials_theory import PotentialsConfig, Theory, swept_area
from sgdynamics.statistics import Estimate

GRID = 40  # points along each axis, as in H.4
CLOUD = 400  # replicas drawn
TURN = np.linspace(0, 2 * np.pi, 181)


def potentials(config: PotentialsConfig, theory: Theory) -> dict[str, Variable]:
    """Both potentials about b, and the ellipses of two standard deviations of their Gibbs laws."""
    (A, _, b), (Q, U) = config.matrices, theory.recipe
    axis = _axis(theory)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    quadratic = lambda matrix: np.einsum("xyi,ij,xyj->xy", points, matrix, points) / 2
    circle = np.stack([np.cos(TURN), np.sin(TURN)], axis=-1)
    ellipse = lambda covariance: b[None, :] + 2 * circle @ np.linalg.cholesky(covariance).T
    at, around = ("x1", "x2"), ("angle", "component")
    return {
        "original": variable(at, quadratic(A), "original potential Φ", "x²/t"),
        "modified": variable(at, quadratic(U), "modified potential Ψ", "x²"),
        "force": variable((*at, "component"), -points @ (Q @ U).T, "velocity of the stationary current", "x/t"),
        "ellipse_original": variable(around, ellipse(theory.original), "2σ of the Gibbs law of Φ", "x"),
        "ellipse_modified": variable(around, ellipse(theory.covariance), "2σ of the Gibbs law of Ψ", "x"),
    }


def measured(config: PotentialsConfig, estimates: dict, area: Estimate) -> dict[str, Variable]:
    """What the ensemble says, and theory beside it."""
    paths = np.asarray(estimates["paths"].values)
    expected = swept_area(_fine(config), config.rates, config.circulation, config.inverse_temperature)
    matrix = ("component", "other_component")
    return {
        "cloud": variable(("replica", "component"), paths[-1, :CLOUD], "replicas at one time", "x"),
        "path": variable(("time", "component"), paths[:, 0], "one replica", "x"),
        **measurement("mean", "component", estimates["mean"], "mean of x", "x"),
        **measurement("covariance", matrix, estimates["covariance"], "covariance of x", "x²"),
        **measurement("area", "lag", area, "area swept in a lag", "x²"),
        "area_theory": variable("any_lag", expected, "area swept in a lag, theory", "x²"),
    }


def coordinates(config: PotentialsConfig, theory: Theory) -> dict[str, Variable]:
    """Of `potentials` and `measured`."""
    axis, b = _axis(theory), config.mean
    values = {
        "x1": (b[0] + axis, "x₁", "x"),
        "x2": (b[1] + axis, "x₂", "x"),
        "angle": (TURN, "angle on the ellipse", "rad"),
        "component": (np.array([1, 2]), "component of x", "1"),
        "other_component": (np.array([1, 2]), "component of x", "1"),
        "replica": (np.arange(min(CLOUD, config.replicas)), "replica", "1"),
        "time": (np.asarray(path_steps(config)) * config.time_step, "time", "t"),
        "lag": (np.asarray(config.lags) * config.time_step, "lag", "t"),
        "any_lag": (_fine(config), "lag", "t"),
    }
    return {name: variable(name, *described) for name, described in values.items()}


def path_steps(config: PotentialsConfig) -> tuple[int, ...]:
    """The steps of the path that is drawn: two relaxation times of the slower direction, at most."""
    return tuple(range(0, min(config.steps, round(2 / (min(config.rates) * config.time_step))) + 1))


def _axis(theory: Theory) -> np.ndarray:
    """Four standard deviations to either side of b."""
    half = 4 * np.sqrt(max(np.max(theory.covariance.diagonal()), np.max(theory.original.diagonal())))
    return np.linspace(-half, half, GRID)


def _fine(config: PotentialsConfig) -> np.ndarray:
    return np.linspace(0, max(config.lags) * config.time_step, 101)
