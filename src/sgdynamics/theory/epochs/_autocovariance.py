"""The gradient noise of shuffled epochs at fixed weights (Kühn and Rosenow, Eq. 2).

An epoch is a random order of the P examples, cut into M = ⌊P/S⌋ batches of S; the last P mod S examples of the order
are left out of it. Any two batches of one epoch are disjoint random sets, those of different epochs are independent:

    E[δg_k δg_kᵀ] = C = (P − S)/(S (P − 1)) C₁,      E[δg_j δg_kᵀ] = −ϱ C  in one epoch,  ϱ = S/(P − S),

with C₁ that of one example. At fixed positions j ≠ k it is so whatever their distance; steps k and k + h are in one
epoch for M − |h| of the M positions of k, and the average over the position is Eq. (2),

    C (δ_{h0} − ϱ (M − |h|)/M)  for |h| < M,      0 beyond.

Where S divides P, ϱ = 1/(M − 1), and the M noises of an epoch sum to nothing. Where it does not,
(M − 1) ϱ = 1 − κ with the `left_out` share κ = (P mod S)/(P − S): the noise is κ parts white, 1 − κ parts of complete
epochs, at every position. All second moments below are linear in it, so that they mix in the same parts.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics.theory import _arguments


def noise_autocovariance(
    lag: Real[ArrayLike, "..."], *, batches_per_epoch: Real[ArrayLike, "..."], left_out: Real[ArrayLike, "..."] = 0.0
) -> Float[Array, "..."]:
    """cov(δg_k, δg_{k+lag}) averaged over the position k in the epoch, in units of C (2).

    `batches_per_epoch`: M ≥ 1 (the noise of M = 1 with nothing left out is 0, and so is C); `left_out`: κ in [0, 1].

    **Raises** `ValueError` for fewer than one batch and a share outside [0, 1].
    """
    h, M = _arguments.broadcast(jnp.abs(_checks.float64("lag", lag)), batches(batches_per_epoch))
    h = _checks.require("lag", h, h == jnp.floor(h), allowed="a whole number of steps")
    κ = share(left_out)
    together = jnp.clip(M - h, 0) / M
    return jnp.where(h == 0, 1.0, -(1 - κ) / jnp.maximum(M - 1, 1) * together)


def left_out(samples: int, batch_size: int) -> Float[Array, ""]:
    """κ = (P mod S)/(P − S), the share of the noise that does not cancel over an epoch; 0 where S divides P.

    **Raises** `ValueError` for a batch larger than the data.
    """
    P, S = _checks.count("samples", samples), _checks.count("batch_size", batch_size)
    _checks.require("batch_size", S, S <= P, allowed=f"at most the {P} samples")
    return _checks.float64("left_out", (P % S) / max(P - S, 1))


def batches(value: Real[ArrayLike, "..."]) -> Float[Array, "..."]:
    """M ≥ 1, of any shape, as a float."""
    M = _checks.float64("batches_per_epoch", value)
    allowed = "a whole number ≥ 1: samples // batch_size"
    return _checks.require("batches_per_epoch", M, (M >= 1) & (M == jnp.floor(M)), allowed=allowed)


def share(value: Real[ArrayLike, "..."]) -> Float[Array, "..."]:
    """κ in [0, 1]."""
    κ = _checks.float64("left_out", value)
    return _checks.require("left_out", κ, (κ >= 0) & (κ <= 1), allowed="in [0, 1]: (P mod S)/(P − S)")
