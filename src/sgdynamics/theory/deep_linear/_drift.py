"""Drift of the mode amplitudes: Corlouer et al. (2026), Proposition 3.4 and Appendix D, and what discrete steps add.

For the SDE dθ = −∇L dt + √(β Σ) dB, β = learning_rate / batch_size, Itô's formula gives w_α = u_αᵀ W v_α the drift

    μ_α = +(u_α ⊗ v_α)ᵀ Σ_l K_l vec Δ + (β/2) tr(Σ Hess w_α),

the first part being −a_αᵀ ∇L with ∇L = −Jᵀ vec Δ. The paper prints it with a minus, which is wrong: the amplitudes
would run away from the teacher's. w_α is linear in each layer, so only different layers l > m contribute to the second,

    D²w_α[H_l, H_m] = u_αᵀ W_>l H_l W_{l−1} … W_{m+1} H_m W_<m v_α                                                (25)

(the printed matrix of (l, m) is right; that of (m, l) is its transpose). With the noise ξ_l = −W_>lᵀ S W_<lᵀ of
Proposition 3.2 and

    P_l = W_>l W_>lᵀ,   N_m = W_<mᵀ W_<m,   T_lm = W_<lᵀ (W_{l−1} … W_{m+1}) W_>mᵀ,   C = Δ Δᵀ + σ²,
    E[S T S] = C Tᵀ + tr(Δ T) Δ,

half the trace is the sum over l > m, and both parts are read off from the drift of W itself, a matrix
[outputs, inputs]: μ_α = u_αᵀ (F + I) v_α,

    F = Σ_l P_l Δ N_l,        I = β Σ_{l>m} P_l [C T_lmᵀ + tr(Δ T_lm) Δ] N_m.

**Not in the paper:** gradient descent's steps are finite, and w_α(θ − η∇L) is beyond the flow by, per unit of t,

    (η/2) ∇Lᵀ (Hess w_α) ∇L = η Σ_{l>m} u_αᵀ P_l Δ T_lm Δ N_m v_α,        η = learning_rate,

to the second order in η, and exactly for two layers. It is of the order of the Itô part where batches are small; the
mean step of SGD has all three.
"""

from collections.abc import Iterator

import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics._types import RealScalar
from sgdynamics.theory.deep_linear._modes import Teacher
from sgdynamics.theory.deep_linear._network import (
    Layer,
    Network,
    Weights,
    label_variance,
    network,
    singular_triplets,
)
from sgdynamics.theory.deep_linear._noise import rate, size

DRIFT_FORMS = ("exact", "published")


def mode_drift(
    weights: Weights,
    teacher: Teacher,
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    label_noise_std: RealScalar,
    form: str = "exact",
) -> tuple[Float[Array, " modes"], Float[Array, " modes"]]:
    """(gradient part, Itô part), each [modes], amplitude per unit of t; their sum is the SDE's drift of w_α.

    `form`: "exact", or "published", whose gradient part has the sign of the printed Proposition 3.4.
    The modes are all min(outputs, inputs) of `singular_triplets`. **Raises** `ValueError` for layers that do not fit,
    hyperparameters out of range, or an unknown form.
    """
    if form not in DRIFT_FORMS:
        raise ValueError(f"form = {form!r}, but it must be one of {', '.join(DRIFT_FORMS)}.")
    state, β = network(weights, teacher), rate(learning_rate) / size(batch_size)
    gradient = _along(teacher, _gradient_drift(state))
    ito = _along(teacher, β * _ito_drift(state, label_variance(label_noise_std)))
    return (gradient if form == "exact" else -gradient), ito


def discretisation_drift(weights: Weights, teacher: Teacher, *, learning_rate: RealScalar) -> Float[Array, " modes"]:
    """(η/2) ∇Lᵀ (Hess w_α) ∇L, [modes], amplitude per unit of t: what finite steps add to the mean drift.

    (E w_α(k+1) − w_α(k)) / η of SGD is the sum of `mode_drift` and of this, for one or two layers exactly, for more up
    to O(η²).
    """
    state, η = network(weights, teacher), rate(learning_rate)
    Δ, total = state.gap, jnp.zeros_like(state.gap)
    for P, T, N in _pairs(state):
        total += P @ Δ @ T @ Δ @ N
    return _along(teacher, η * total)


def _gradient_drift(state: Network) -> Layer:
    """F: K applied to Δ."""
    total = jnp.zeros_like(state.gap)
    for before, after in zip(state.below, state.above, strict=True):
        total += after @ (after.T @ state.gap @ before.T) @ before
    return total


def _ito_drift(state: Network, variance: Float[Array, ""]) -> Layer:
    """I / β."""
    Δ, total = state.gap, jnp.zeros_like(state.gap)
    C = Δ @ Δ.T + variance * jnp.eye(Δ.shape[0])
    for P, T, N in _pairs(state):
        total += P @ (C @ T.T + jnp.sum(Δ * T.T) * Δ) @ N
    return total


def _pairs(state: Network) -> Iterator[tuple[Layer, Layer, Layer]]:
    """(P_l, T_lm, N_m) of each pair of layers l > m."""
    for m, (before, after) in enumerate(zip(state.below, state.above, strict=True)):
        # W_{l−1} … W_{m+1} W_>mᵀ
        bridge = after.T
        for l in range(m + 1, len(state.weights)):
            P = state.above[l] @ state.above[l].T
            yield P, state.below[l].T @ bridge, before.T @ before
            bridge = state.weights[l] @ bridge


def _along(teacher: Teacher, change: Layer) -> Float[Array, " modes"]:
    """u_αᵀ (change of W) v_α."""
    modes = singular_triplets(teacher)
    return jnp.einsum("om,oi,im->m", modes.outputs, change, modes.inputs)
