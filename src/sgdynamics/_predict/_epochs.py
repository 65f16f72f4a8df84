"""SGD with shuffled epochs: the frozen law of `_harmonic`, and on linear regression what the frozen noise leaves out.

Where the model is linear and its data are finite, the noise that depends on θ shifts the mean of the weights, changes
their covariance in its first order, and does not cancel over an epoch in its second, which is most of the variance of
flat directions (`theory.epochs.regression_means`, `_corrections`, `_second_order`). The mean and the covariance of the
records of whole epochs are

    ⟨E w_l⟩,      ⟨cov w_l⟩ + cov_l (E w_l),      averages over the position l.

The second order takes residuals as independent of the inputs (P ≫ N): where N/P is a half it is up to twice too large
in the softest modes. Correlations in time, velocities and `law` stay those of the frozen noise.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics import _checks
from sgdynamics._predict._harmonic import harmonic
from sgdynamics._predict._prediction import Prediction
from sgdynamics._predict._settings import constant
from sgdynamics.data import Dataset
from sgdynamics.dynamics import SGD
from sgdynamics.theory import epochs as theory

MOST_WORK = 2e9  # multiplications, of the second order
LARGEST = 0.5  # of the second order, relative to frozen noise


def shuffled(sgd: SGD, at: Any, modes: int | None, form: str | None) -> Prediction:
    """The law of `sgd`, whose sampler is `Epochs`, averaged over the position in the epoch."""
    frozen = harmonic(sgd, at, modes)
    return frozen if form == "frozen" or modes is not None or not _is_known(sgd) else _second_order(sgd, frozen)


def _is_known(sgd: SGD) -> bool:
    """One output, no weight decay, whole epochs, and no more work than is worth while."""
    problem, λ = sgd.problem, sgd.weight_decay
    if not (problem.is_linear_regression and type(problem.data) is Dataset):
        return False
    if callable(λ) or (_checks.is_concrete(λ) and bool(λ != 0)):
        return False
    samples, inputs = problem.data.x.shape
    work = (samples // sgd.sampler.batch_size) ** 2 * samples * inputs**2
    return problem.parameters.size == inputs and samples % sgd.sampler.batch_size == 0 and work < MOST_WORK


def _second_order(sgd: SGD, frozen: Prediction) -> Prediction:
    V, d = _moving(frozen), len(frozen.mean)
    x, y = sgd.problem.data.x.astype(jnp.float64) @ V, sgd.problem.data.y.reshape(-1).astype(jnp.float64)
    η, β = constant(sgd, "learning_rate"), constant(sgd, "momentum")
    η = _checks.provided(η, "weight_decay", sgd.weight_decay, sgd.weight_decay == 0,
                         allowed="0 inside a compiled program", remedy="Use form='frozen' there.")  # fmt: skip
    setting = {"learning_rate": η, "batch_size": sgd.sampler.batch_size, "momentum": β}
    means = theory.regression_means(x, y, **setting)
    static, second = theory.regression_covariances(x, y, **setting), theory.regression_second_order(x, y, **setting)
    positions = static + theory.regression_corrections(x, y, **setting)[0] + _small(second, static)
    mean = jnp.mean(means, axis=0)
    spread = means - mean[None]
    into = frozen.modes.vectors.T @ V
    covariance = into @ (jnp.mean(positions, axis=0) + spread.T @ spread / len(means)) @ into.T
    phase = frozen.known_phase_covariance
    between = frozen.start()[1]
    between = between.at[:d, :d].add(into @ (positions[0] - static[0]) @ into.T)
    return dataclasses.replace(
        frozen, mean=frozen.mean + V @ mean, known_covariance=covariance,
        known_phase_covariance=None if phase is None else phase.at[:d, :d].set(covariance), 
        known_start=(frozen.mean + V @ means[0], between),
        form="second order in the multiplicative noise, average over the epoch; velocities and correlations frozen",
    )  # fmt: skip


def _moving(frozen: Prediction) -> Float[Array, "parameters moving"]:
    """The modes that move, [parameters, modes]: all inside a compiled program, where their number must be known."""
    V, h = frozen.modes.vectors, frozen.modes.curvatures
    return V[:, jnp.flatnonzero(h > 0, size=int(jnp.sum(h > 0)))] if _checks.is_concrete(h) else V


def _small(second: Array, static: Array) -> Array:
    """The second order, where it does not exceed the variance that it adds to: beyond, all orders matter."""
    size = jnp.trace(jnp.mean(second, axis=0)) / jnp.trace(jnp.mean(static, axis=0))
    return _checks.provided(
        second, "what the noise's dependence on θ adds to the variance, relative to frozen noise,", size,
        size <= LARGEST, allowed=f"at most {LARGEST}, for an expansion",
        remedy="Reduce the learning rate, simulate, use theory.epochs.regression_moments for a very small data set, or "
        "form='frozen', which leaves it out.",
    )  # fmt: skip
