"""Second moments of two modes i, j of SGD with momentum and epoch noise, averaged over the position in the epoch.

θ_k − θ_{k−1} = u_k = β u_{k−1} − α θ_{k−1} − η δg_k in each mode, α = ηh, with E[δg_i δg_j] = C_ij times (2) of
complete epochs. As Σ_h w_h = ½ (`_response`), each moment is a sum over the lags h of w_h times differences of the
response's correlations, in which what diverges for flat modes has cancelled by (*). With the means A, B of each mode,
s = α_i + α_j and

    Δ = (1 − β)² [(1 + β) s − α_i α_j] + β (α_i − α_j)²,

    E θ_iθ_j = η² C_ij/(2Δ) {(1 − β²)(α_i A_i + α_j A_j) − β [B_i (α_j − β α_i) + B_j (α_i − β α_j)]},
    E u_iu_j = η² C_ij/(2Δ) {(1 − β) s (α_i A_i + α_j A_j) + B_i [(1 − β)² s − α_i (α_j − β α_i)] + (i ↔ j)},
    E θ_iu_j = η² C_ij/(2Δ) {(α_i − β α_j)(α_i A_i + α_j A_j) − β (1 − β) s B_i + B_j [(1 − β) s − α_j (α_i − β α_j)]}.

For one mode the first two are (14)-(17) of Kühn and Rosenow:

    σ_θ² = η² C [(1 + β) A − β B] / D,   σ_u² = η² C [2α A + (2(1 − β) − α) B] / D,   D = (1 − β)(2(1 + β) − α).

Numerators and Δ vanish alike where both modes are flat; both are divided by s here, with the limit at s = 0, so that
no curvature is too small. White noise has (1 − β²), (1 − β) s and α_i − β α_j for the braces over 2.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics.theory.epochs._response import Means

Field = Float[Array, "..."]


class Pair(NamedTuple):
    """α of two modes, β; all of one shape."""

    first: Field
    second: Field
    momentum: Field


class Moments(NamedTuple):
    """Of two modes, in units of η² C_ij: E θ_iθ_j, E θ_iu_j, E u_iθ_j, E u_iu_j."""

    weights: Field
    weight_velocity: Field
    velocity_weight: Field
    velocities: Field


def complete_epochs(pair: Pair, first: Means, second: Means) -> Moments:
    """For noise that sums to nothing over each epoch."""
    α, γ, β = pair
    s, a, c = shares(pair)  # the modes' shares of s
    (A, B), (E, F) = first, second
    slow = a * A + c * E
    below = 2 * _denominator(pair)
    cross_first, cross_second = a - β * c, c - β * a
    weights = (1 - β**2) * slow - β * (B * cross_second + F * cross_first)
    velocities = (1 - β) * s * slow + B * ((1 - β) ** 2 - α * cross_second) + F * ((1 - β) ** 2 - γ * cross_first)
    forth = s * cross_first * slow - β * (1 - β) * B + F * ((1 - β) - γ * cross_first)
    back = s * cross_second * slow - β * (1 - β) * F + B * ((1 - β) - α * cross_second)
    return Moments(weights / below, forth / below, back / below, velocities / below)


def white(pair: Pair) -> Moments:
    """For independent noises. Where both modes are flat the weights' moment, which grows for ever, is given as 0."""
    _, _, β = pair
    s, a, c = shares(pair)
    below = _denominator(pair)
    relaxing = jnp.where(s > 0, 1 / jnp.where(s > 0, s, 1), 0)
    return Moments((1 - β**2) * relaxing / below, (a - β * c) / below, (c - β * a) / below, (1 - β) / below)


def shares(pair: Pair) -> tuple[Field, Field, Field]:
    """s, α_i/s and α_j/s: a half each where both are flat."""
    α, γ, _ = pair
    s = α + γ
    first = jnp.where(s > 0, α / jnp.where(s > 0, s, 1), 0.5)
    return s, first, 1 - first


def _denominator(pair: Pair) -> Field:
    """Δ/s, positive below the limit of stability: (1 − β²)(1 − β) and terms of order α."""
    α, γ, β = pair
    _, a, c = shares(pair)
    inner = a * (1 + β - γ / 2) + c * (1 + β - α / 2)  # = 1 + β − α_i α_j/s, in positive terms
    return (1 - β) ** 2 * inner + β * (α - γ) * (a - c)
