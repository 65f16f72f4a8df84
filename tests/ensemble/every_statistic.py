"""One of every kind of statistic."""

import jax.numpy as jnp

import sgdynamics as sgd
from sgdynamics import statistics as S


def every_statistic(problem: sgd.Problem, *, velocities: bool) -> dict[str, S.AbstractStatistic]:
    """By name; those of the velocity only where there is one. For runs of 30 steps, a record every 3."""
    kinds = {
        "mean": S.Mean(),
        "loss": S.Loss(problem),
        "variance": S.Variance(),
        "kurtosis": S.Kurtosis(),
        "covariance": S.Covariance(),
        "halves": S.Halves(S.Covariance()),
        "histogram": S.Histogram(jnp.linspace(-2.0, 2.0, 6)),
        "autocovariance": S.Autocovariance((0, 3, 12)),
        "displacement": S.Displacement((3, 9)),
        "global displacement": S.GlobalDisplacement((3, 9, 24)),
        "snapshots": S.Snapshots((9, 30)),
        "first passage": S.FirstPassage(0.3),
        "extrema": S.Extrema(),
        "spectrum": S.PowerSpectrum(4),
    }
    if velocities:
        plane = S.PhaseSpace(jnp.eye(problem.parameters.size)[:, :1])
        kinds |= {"phase space": S.Covariance(plane), "angular velocity": S.AngularVelocity(plane, lag=3)}
    return kinds
