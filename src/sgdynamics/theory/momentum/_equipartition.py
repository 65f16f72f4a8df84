"""Potential and kinetic energy in the stationary state [App. G.3].

With k = h + λ a mode of curvature h has, for the noise variance C of the minibatch gradient along it,

    ½ k Var θ = ½ m Var v = η C/(4(1 − β)) · 1/(1 − η k/(2(1 + β))),      m = η(1 + β)/2,

where the last factor, 1 in the SDE, is exact for the steps (2): equipartition holds in discrete time, mode by mode. It
follows from Var(v) = η^{-2} E(θ_k − θ_{k−1})² and the autocorrelation of θ after one step, 1 − η k/(1 + β) for any C:
the modes of K move by themselves, so that noise correlated between them does not enter. The paper has C = σ² h/S.

Hence E L_λ = L_λ(μ) + E K with L_λ = ½ (θ − μ₀)ᵀ H (θ − μ₀) + ½ λ |θ|², minimal at μ = (H + λ)⁻¹ H μ₀:

    L_λ(μ) = ½ (μ − μ₀)ᵀ H (μ − μ₀) + ½ λ |μ|² = ½ λ μ₀ᵀ μ.

The paper prints ½ λ |μ|², because it writes μ for both minima.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar, Scalar, Vector
from sgdynamics.theory._arguments import (
    broadcast,
    hyperparameters,
    not_repelling,
    restoring,
    single,
    stable,
    variance,
)
from sgdynamics.theory._arguments import curvature as checked_curvature
from sgdynamics.theory._arguments import form as known_form

RANK = 1e-12  # of the largest curvature: smaller ones are flat
EQUIPARTITION_FORMS = ("exact", "sde")
MINIMUM_FORMS = ("exact", "published")


class Energies(NamedTuple):
    """Expected energies in units of the loss: of position, above its minimum, and of velocity."""

    potential: Array
    kinetic: Array


def equipartition(
    curvature: Real[ArrayLike, "*modes"],
    noise_variance: Real[ArrayLike, "*modes"],
    *,
    learning_rate: Real[ArrayLike, "*settings"],
    momentum: Real[ArrayLike, "*settings"],
    weight_decay: Real[ArrayLike, "*settings"] = 0.0,
    form: str = "exact",
) -> Energies:
    """Both energies of each mode, equal to each other: arguments of any shapes that broadcast; sum over modes for all.

    - `curvature`: h ≥ 0 without weight decay; `noise_variance`: C_ii in the basis of the Hessian's eigenvectors.
    - `form`: "exact" in discrete time, or "sde" as published.

    A mode that has neither curvature nor noise has energy 0. **Raises** for noise where h + λ = 0, and in the form
    "exact" beyond the limit of stability.
    """
    known_form(form, EQUIPARTITION_FORMS)
    h, C = checked_curvature(curvature), variance(noise_variance)
    h, C, η, β, λ = broadcast(h, C, *hyperparameters(learning_rate, momentum, weight_decay))
    C = _checks.require(
        "noise_variance", C, (C <= 0) | (h + λ > 0), allowed="0 where curvature and weight_decay are both 0",
        remedy="There the variance grows without limit: leave those modes out, or add weight decay.",
    )  # fmt: skip
    energy = η * C / (4 * (1 - β))
    if form == "exact":
        η = stable(η, β, h + λ)
        energy = energy / (1 - η * (h + λ) / (2 * (1 + β)))
    return Energies(energy, energy)


def energies(
    hessian: Real[ArrayLike, "parameters parameters"],
    phase_covariance: Real[ArrayLike, "phase phase"],
    *,
    learning_rate: RealScalar,
    momentum: RealScalar,
    weight_decay: RealScalar = 0.0,
) -> Energies:
    """½ tr(K Cov θ) and η(1 + β)/4 · tr Cov v, [] each, of any law of (θ, v) about the minimum at rest.

    `phase_covariance`: E[(θ − μ, v)(θ − μ, v)ᵀ], [2 parameters, 2 parameters].
    """
    H = _checks.symmetric("hessian", _checks.float64("hessian", hessian))
    setting = single(hyperparameters(learning_rate, momentum, weight_decay))
    d = len(H)
    M = _checks.shaped("phase_covariance", _checks.float64("phase_covariance", phase_covariance), (2 * d, 2 * d))
    K = restoring(H, setting.weight_decay)
    kinetic = setting.learning_rate * (1 + setting.momentum) / 4 * jnp.trace(M[d:, d:])
    return Energies(jnp.sum(K * M[:d, :d]) / 2, kinetic)


def kinetic_energy(
    velocity: Real[ArrayLike, "*points parameters"], *, learning_rate: RealScalar, momentum: RealScalar
) -> Float[Array, "*points"]:
    """K(v) = ½ m |v|² with m = η(1 + β)/2, [*points]."""
    v = _checks.float64("velocity", velocity)
    η, β, _ = single(hyperparameters(learning_rate, momentum))
    return η * (1 + β) / 4 * jnp.sum(v**2, axis=-1)


def regularised_minimum(
    hessian: Real[ArrayLike, "parameters parameters"],
    minimum: Real[ArrayLike, " parameters"],
    *,
    weight_decay: RealScalar,
) -> Vector:
    """μ = (H + λ)⁻¹ H μ₀, [parameters]: of loss and weight decay; `minimum`: μ₀ of the loss alone.

    Without weight decay μ = μ₀. H may be singular: with λ > 0 the flat directions decay to 0.
    """
    H = _checks.symmetric("hessian", _checks.float64("hessian", hessian))
    μ0 = _checks.shaped("minimum", _checks.float64("minimum", minimum), H.shape[:1])
    λ = _checks.shaped("weight_decay", _checks.float64("weight_decay", weight_decay), ())
    λ = _checks.not_negative("weight_decay", λ)
    K = not_repelling(restoring(H, λ))
    return μ0 - λ * jnp.linalg.pinv(K, hermitian=True, rtol=RANK) @ μ0


def minimum_loss(
    hessian: Real[ArrayLike, "parameters parameters"],
    minimum: Real[ArrayLike, " parameters"],
    *,
    weight_decay: RealScalar,
    form: str = "exact",
) -> Scalar:
    """L_λ(μ) − L(μ₀), []: what E L_λ exceeds the kinetic energy by [G.3].

    - `minimum`: μ₀, that of the loss without weight decay, [parameters].
    - `form`: "exact", ½ (μ − μ₀)ᵀ H (μ − μ₀) + ½ λ |μ|²; "published", ½ λ |μ|².
    """
    known_form(form, MINIMUM_FORMS)
    μ = regularised_minimum(hessian, minimum, weight_decay=weight_decay)
    μ0, H, λ = (_checks.float64("minimum_loss", x) for x in (minimum, hessian, weight_decay))
    decay = λ * jnp.sum(μ**2) / 2
    return decay if form == "published" else decay + (μ - μ0) @ H @ (μ - μ0) / 2
