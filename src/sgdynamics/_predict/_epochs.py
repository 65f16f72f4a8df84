"""SGD with shuffled epochs: the frozen law of `_harmonic`, and on linear regression what the frozen noise leaves out.

Where the model is linear and its data are finite, the noise that depends on θ shifts the mean of the weights, changes
their covariance in its first order, and does not cancel over an epoch in its second, which is most of the variance of
flat directions (`theory.epochs.regression_means`, `_corrections`, `_second_order`). The mean and the covariance of the
records of whole epochs are

    ⟨E w_l⟩,      ⟨cov w_l⟩ + cov_l (E w_l),      averages over the position l.

Correlations in time, velocities and `law` stay those of the frozen noise; with momentum so does the law of `draw`.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp

from sgdynamics import _checks
from sgdynamics._predict._harmonic import harmonic
from sgdynamics._predict._prediction import Prediction
from sgdynamics._predict._settings import constant
from sgdynamics.data import Dataset
from sgdynamics.dynamics import SGD
from sgdynamics.theory import epochs as theory

MOST_WORK = 1e10  # multiplications, of the second order


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
    x, y = sgd.problem.data.x.astype(jnp.float64), sgd.problem.data.y.reshape(-1).astype(jnp.float64)
    η, β = constant(sgd, "learning_rate"), constant(sgd, "momentum")
    η = _checks.provided(η, "weight_decay", sgd.weight_decay, sgd.weight_decay == 0,
                         allowed="0 inside a compiled program", remedy="Use form='frozen' there.")  # fmt: skip
    setting = {"learning_rate": η, "batch_size": sgd.sampler.batch_size, "momentum": β}
    means = theory.regression_means(x, y, **setting)
    positions = theory.regression_covariances(x, y, **setting) + theory.regression_corrections(x, y, **setting)[0]
    positions = positions + theory.regression_second_order(x, y, **setting)
    mean = jnp.mean(means, axis=0)
    spread = means - mean[None]
    V, d = frozen.modes.vectors, len(mean)
    covariance = V.T @ (jnp.mean(positions, axis=0) + spread.T @ spread / len(means)) @ V
    phase, start = frozen.known_phase_covariance, frozen.known_start_covariance
    if phase is None:
        start = V.T @ positions[0] @ V
    else:
        phase = phase.at[:d, :d].set(covariance)
    form = "second order in the multiplicative noise, average over the epoch; velocities and correlations frozen"
    return dataclasses.replace(
        frozen, mean=frozen.mean + mean, known_covariance=covariance, known_phase_covariance=phase,
        known_start_covariance=start, form=form,
    )  # fmt: skip
