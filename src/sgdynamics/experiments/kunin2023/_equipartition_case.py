"""The case of App. G.3: one data set at one setting, the energies of its states, and what they give together."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import sgdynamics as sgd
from sgdynamics.statistics import Estimate
from sgdynamics.theory import momentum as theory


class Energies(eqx.Module):
    """The observable (½ k_i δ_i², ½ w_i², L_λ), [2 modes + 1], with δ and w along the modes."""

    problem: sgd.Problem
    mean: Float[Array, " inputs"]
    curvatures: Float[Array, " modes"]
    modes: Float[Array, "inputs modes"]
    weight_decay: Float[Array, ""]
    name: str = eqx.field(static=True, default="energies")

    def __call__(self, state: Any) -> Float[Array, " energies"]:
        θ = state.position
        δ, w = ((x @ self.modes) for x in (θ - self.mean, state.velocity))
        loss = self.problem.loss(θ) + self.weight_decay / 2 * jnp.sum(θ**2)
        return jnp.concatenate([self.curvatures * δ**2 / 2, w**2 / 2, loss[None]])


@dataclass(frozen=True)
class Case:
    """One data set at one setting: its modes, softest first, and its exact law."""

    descent: sgd.SGD
    prediction: sgd.Prediction
    hessian: np.ndarray
    curvatures: np.ndarray
    modes: np.ndarray
    minimum: np.ndarray
    η: float
    β: float
    λ: float

    @property
    def mass(self) -> float:
        """m."""
        return self.η * (1 + self.β) / 2

    @property
    def kinetic(self) -> float:
        """E K of the exact law."""
        return self.mass / 2 * float(np.trace(np.asarray(self.prediction.velocity_covariance)))

    @property
    def energies(self) -> "Energies":
        """What is measured."""
        mean, k, V = self.prediction.mean, jnp.asarray(self.curvatures), jnp.asarray(self.modes)
        return Energies(self.descent.problem, mean, k, V, jnp.asarray(self.λ))

    @property
    def residual_loss(self) -> float:
        """L(μ₀)."""
        return float(self.descent.problem.loss(jnp.asarray(self.minimum)))

    def constant(self, form: str) -> float:
        """What E L_λ exceeds E K by, "exact" or "published"."""
        above = theory.minimum_loss(self.hessian, self.minimum, weight_decay=self.λ, form=form)
        return self.residual_loss + float(above)


def _parts(values: Array) -> tuple[Array, Array, Array]:
    """(potential energies [modes], ½ w² [modes], E L_λ)."""
    d = (len(values) - 1) // 2
    return values[:d], values[d : 2 * d], values[-1]


def kinetic(case: Case, measured: Estimate) -> Estimate:
    """E K."""
    return measured.map(lambda e: case.mass * jnp.sum(_parts(e)[1]))


def masses(case: Case, measured: Estimate) -> Estimate:
    """The mass at which the two energies of a mode are equal, in units of η, [modes]."""
    return measured.map(lambda e: _parts(e)[0] / _parts(e)[1] / case.η)


def mass(case: Case, measured: Estimate) -> Estimate:
    """That of all modes, with the potential energy from the loss itself: (E L_λ − L_λ(μ))/E ½|v|²."""
    constant = case.constant("exact")
    return measured.map(lambda e: (_parts(e)[2] - constant) / jnp.sum(_parts(e)[1]) / case.η)


def offset(case: Case, measured: Estimate) -> Estimate:
    """E L_λ − E K."""
    return measured.map(lambda e: _parts(e)[2] - case.mass * jnp.sum(_parts(e)[1]))
