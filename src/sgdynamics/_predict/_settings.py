"""What every law needs from a dynamics, and from a transition."""

from typing import Any, TypeAlias

import jax.numpy as jnp

from sgdynamics import _checks
from sgdynamics._problem import Problem
from sgdynamics._types import Matrix, Scalar, Vector
from sgdynamics.data import FreshLabels
from sgdynamics.dynamics import SGD, Langevin, UnderdampedLangevin
from sgdynamics.samplers import Epochs

Training: TypeAlias = SGD | Langevin | UnderdampedLangevin


def constant(dynamics: Training, name: str) -> Scalar:
    """A hyperparameter; an error where it is a schedule."""
    value = getattr(dynamics, name)
    if callable(value):
        raise ValueError(f"{name} is a schedule, but a stationary law needs a constant {name}.")
    return value.astype(jnp.float64)


def no_fresh_labels(sgd: SGD) -> None:
    """Epochs of data with fresh labels have two noises: one that cancels over the epoch, and one that does not."""
    if isinstance(sgd.sampler, Epochs) and isinstance(sgd.problem.data, FreshLabels):
        raise ValueError(
            "sampler = Epochs with data.FreshLabels has noise that cancels over an epoch in part, for which predict() "
            "has no law. Use WithReplacement or WithoutReplacement, or simulate."
        )


def point(problem: Problem, at: Any) -> Vector:
    """`at` as a parameter vector of this problem."""
    shape = problem.parameters.shape
    if not hasattr(at, "__array__") and not isinstance(at, list | tuple):
        raise ValueError(
            f"at is a {type(at).__name__}, but it must be a flat parameter vector {shape}, as problem.parameters is."
        )
    θ = _checks.shaped("at", _checks.float64("at", at), shape, "It is a flat parameter vector: see problem.parameters.")
    return _checks.finite("at", θ)


def slowest(transition: Matrix) -> Scalar:
    """−ln of the largest modulus of the eigenvalues: the slowest decay, per step."""
    modulus = jnp.max(jnp.abs(jnp.linalg.eigvals(transition)))
    # 1 to rounding: a direction that never relaxes
    return jnp.where(modulus < 1 - 1e-13, -jnp.log(modulus), 0)


def symmetric(M: Matrix) -> Matrix:
    return (M + M.T) / 2
