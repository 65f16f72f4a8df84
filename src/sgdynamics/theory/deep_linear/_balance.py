"""Balance of neighbouring layers, and how noise destroys it. Corlouer et al. (2026), assumption A1 and Eq. 33.

    B_l = W_l W_lᵀ − W_{l+1}ᵀ W_{l+1},      r_l = |B_l| / (|W_l W_lᵀ| + |W_{l+1}ᵀ W_{l+1}|),      l = 1 … L−1       (33)

with Frobenius norms. For each sample, noise included, W_{l+1}ᵀ g_{l+1} = g_l W_lᵀ: steps along gradients leave B_l
alone to first order, and a step of SGD changes it by exactly

    B_l(k+1) − B_l(k) = η² (g_l g_lᵀ − g_{l+1}ᵀ g_{l+1}).

So gradient flow keeps B_l, as the paper assumes throughout; neither the SDE nor SGD does. In the SDE B_l has no
diffusion but, β = learning_rate / batch_size, the drift

    dB_l/dt = β (E ξ_l ξ_lᵀ − E ξ_{l+1}ᵀ ξ_{l+1}),
    E ξ_l ξ_lᵀ = W_>lᵀ [tr(N_l) C + Δ N_l Δᵀ] W_>l,      E ξ_lᵀ ξ_l = W_<l [tr(P_l C) 1 + Δᵀ P_l Δ] W_<lᵀ,

N_l = W_<lᵀ W_<l, P_l = W_>l W_>lᵀ, C = Δ Δᵀ + σ²; for the mean of SGD the mean gradient adds, also per unit of t,

    η (G_l G_lᵀ − G_{l+1}ᵀ G_{l+1}).

At a minimum, with label noise, the drift is in general not 0, so that the parameters have no stationary law.
"""

from itertools import pairwise

import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics import _checks
from sgdynamics._types import RealScalar
from sgdynamics.theory.deep_linear._modes import Teacher
from sgdynamics.theory.deep_linear._network import (
    Layer,
    Network,
    Weights,
    gradients,
    label_variance,
    layers,
    network,
)
from sgdynamics.theory.deep_linear._noise import rate, size

BALANCE_FORMS = ("sde", "sgd")


def imbalance(weights: Weights) -> Float[Array, " pairs"]:
    """r_l of Eq. 33, [L−1], from 0 (balanced) to 1. Its derivative at exact balance, where there is none, is 0.

    **Raises** `ValueError` for a single layer, or where W_l and W_{l+1} are both 0.
    """
    grams = [(W @ W.T, V.T @ V) for W, V in pairwise(_several(weights))]
    total = jnp.stack([_norm(after) + _norm(before) for after, before in grams])
    total = _checks.require("weights", total, total > 0, allowed="such that no two neighbouring layers are 0")
    return jnp.stack([_norm(after - before) for after, before in grams]) / total


def balances(weights: Weights) -> tuple[Float[Array, "_ _"], ...]:
    """B_l = W_l W_lᵀ − W_{l+1}ᵀ W_{l+1}, [d_l, d_l] each, l = 1 … L−1."""
    return tuple(W @ W.T - V.T @ V for W, V in pairwise(_several(weights)))


def balance_drift(
    weights: Weights,
    teacher: Teacher,
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    label_noise_std: RealScalar,
    form: str = "sde",
) -> tuple[Float[Array, "_ _"], ...]:
    """dB_l/dt, [d_l, d_l] each, l = 1 … L−1.

    `form`: "sde", the drift of the SDE, or "sgd", (E B_l(k+1) − B_l(k)) / learning_rate, both exact.
    **Raises** `ValueError` for a single layer, layers that do not fit, or an unknown form.
    """
    if form not in BALANCE_FORMS:
        raise ValueError(f"form = {form!r}, but it must be one of {', '.join(BALANCE_FORMS)}.")
    state, η = network(_several(weights), teacher), rate(learning_rate)
    left, right = _noise_grams(state, label_variance(label_noise_std))
    drift = [(a - b) / size(batch_size) for a, b in zip(left, right[1:], strict=False)]
    if form == "sgd":
        drift = [d + G @ G.T - H.T @ H for d, (G, H) in zip(drift, pairwise(gradients(state)), strict=True)]
    return tuple(η * d for d in drift)


def _noise_grams(state: Network, variance: Float[Array, ""]) -> tuple[list[Layer], list[Layer]]:
    """E ξ_l ξ_lᵀ and E ξ_lᵀ ξ_l of one sample, of each layer."""
    Δ = state.gap
    C = Δ @ Δ.T + variance * jnp.eye(Δ.shape[0])
    left, right = [], []
    for before, after in zip(state.below, state.above, strict=True):
        left.append(after.T @ (jnp.sum(before**2) * C + (Δ @ before.T) @ (before @ Δ.T)) @ after)
        seen = after.T @ Δ
        inner = jnp.sum(after * (C @ after)) * jnp.eye(Δ.shape[1]) + seen.T @ seen
        right.append(before @ inner @ before.T)
    return left, right


def _several(weights: Weights) -> tuple[Layer, ...]:
    W = layers(weights)
    if len(W) < 2:
        raise ValueError(f"weights are {len(W)} layer, but balance compares neighbouring layers: give 2 or more.")
    return W


def _norm(M: Layer) -> Float[Array, ""]:
    """Frobenius norm, with derivative 0 at 0."""
    square = jnp.sum(M**2)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
