"""What every law needs from a dynamics, and from a transition."""

import jax.numpy as jnp

from sgdynamics._types import Matrix, Scalar
from sgdynamics.dynamics import SGD, Langevin
from sgdynamics.samplers import Epochs


def constant(dynamics: SGD | Langevin, name: str) -> Scalar:
    """A hyperparameter; an error where it is a schedule."""
    value = getattr(dynamics, name)
    if callable(value):
        raise ValueError(f"{name} is a schedule, but a stationary law needs a constant {name}.")
    return value.astype(jnp.float64)


def no_epochs(sgd: SGD) -> None:
    """Epochs have correlated noise, which no law here knows."""
    if isinstance(sgd.sampler, Epochs):
        raise ValueError(
            "sampler = Epochs has anti-correlated noise, for which predict() has no law. "
            "Use WithReplacement or WithoutReplacement, or simulate."
        )


def slowest(transition: Matrix) -> Scalar:
    """−ln of the largest modulus of the eigenvalues: the slowest decay, per step."""
    modulus = jnp.max(jnp.abs(jnp.linalg.eigvals(transition)))
    # 1 to rounding: a direction that never relaxes
    return jnp.where(modulus < 1 - 1e-13, -jnp.log(modulus), 0)


def symmetric(M: Matrix) -> Matrix:
    return (M + M.T) / 2
