"""Epoch shuffling of linear regression: the second order of the multiplicative noise, and the floor of flat directions.

Noise at the minimum cancels over an epoch, so that a flat direction hardly fluctuates. The noise that comes of the
fluctuations does not, as they differ from position to position: δ¹ of z¹_{l+1} = A z¹_l − ηF dH_l δ_l, δ the frozen
process. With b and dH as independent Gaussian fields (moments by pairs: exact for P → ∞ and label noise independent of
x; measured errors about 3/P), the symbols of `_regression_model` and B_{nl} = E δ_n z_lᵀ, n ≤ l,

    B_{nn} = M_n (the weights' rows),     B_{n,l+1} = B_{nl} Aᵀ − η²ϱ G_n C Fᵀ,
    Z_l = E z¹_l (dH_l δ_l)ᵀ = ηϱc Σ_{n<l} A^{l−1−n} F K(B_{nl}),
    D_{l+1} = A D_l Aᵀ + η²c F K(M_l) Fᵀ − η (A Z_l Fᵀ + F Z_lᵀ Aᵀ),     D_M = D_0,       D = E z¹ z¹ᵀ, the floor.

As many dH are in E z² zᵀ, z²_{l+1} = A z²_l − ηF dH_l δ¹_l. With X_l = E z²_l b_jᵀ of a batch j ≥ l,

    S_l = E dH_l δ¹_l z_lᵀ = ηϱc Σ_{n<l} K(R_{l−1−n}) B_{nl},
    s_l = E dH_l δ¹_l b_jᵀ = −η²ϱ²c Σ_{n<l} K(R_{l−1−n}) G_n C,     X_{l+1} = A X_l − ηF s_l,     X_0 = 0,
    Q_{l+1} = A Q_l Aᵀ − ηF S_l Aᵀ + ηA X_l Fᵀ − η²F s_l Fᵀ,     Q_M = Q_0,     Q = E z² zᵀ,

and M_l gains D_l + Q_l + Q_lᵀ. Q is small: as dH sums to nothing over an epoch, it leaves the mean curvature alone.

**Limit** ηhM → 0 without momentum, for S a divisor of P: the frozen process is a bridge, E δ_n δ_lᵀ =
η² C n (M−l)/(M−1), n ≤ l, and D the same at every position,

    H D + D H = η³ c K(C) M (M+1)/(12 (M−1)).

For Gaussian inputs, label noise, M ≫ 1 and S ≪ P, C = cσ²H and K(C) = H C H + H tr(H C), that is (η/4S)(Σ h² + h²)/h
times the frozen variance of a mode, η²M cσ²h/6. The mean tends to −(η/2) H⁻¹ E[dH_B g_B], g_B the batch gradient at w*.
Momentum turns η into η/(1−β) where its memory is short against an epoch, M (1−β) ≫ 1.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks, _linalg
from sgdynamics._types import RealScalar
from sgdynamics.theory.epochs._regression import frozen
from sgdynamics.theory.epochs._regression_model import Epoch, cyclic, epoch, transposed


def regression_floor(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
    momentum: RealScalar = 0.0,
) -> Float[Array, "positions inputs inputs"]:
    """D_l, covariance of w that the multiplicative noise of the frozen fluctuations makes, [positions, inputs, inputs].

    What is left of flat directions' variance. For many samples P, any batch size; work of order M² P. **Raises**
    as `regression_covariances` does.
    """
    e = epoch(x, y, learning_rate, batch_size, momentum)
    M = frozen(e)
    return _weights(e, _added_floor(e, M, _sources(e, M).floor))


def regression_second_order(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
    momentum: RealScalar = 0.0,
) -> Float[Array, "positions inputs inputs"]:
    """All that second order in the multiplicative noise adds to the covariance of w, `regression_floor` included,
    [positions, inputs, inputs].

    For many samples P, any batch size; work of order M² P. **Raises** as `regression_covariances` does.
    """
    e = epoch(x, y, learning_rate, batch_size, momentum)
    M = frozen(e)
    sources = _sources(e, M)
    rest = _added_rest(e, sources)
    return _weights(e, _added_floor(e, M, sources.floor) + rest + transposed(rest))


class Sources(NamedTuple):
    """At all positions: `floor` Z_l, `rest` S_l, `rest_of_batch` s_l and `later` X_l."""

    floor: Array
    rest: Array
    rest_of_batch: Array
    later: Array


def _weights(e: Epoch, added: Array) -> Float[Array, "positions inputs inputs"]:
    """The weights' part of what is added in every step, kept up over the epochs."""
    N = e.x.shape[1]
    return cyclic(e.transition, added)[:, :N, :N]


def _added_floor(e: Epoch, M: Array, Z: Array) -> Array:
    """What a step adds to D_l."""
    A, F, N = e.transition, e.kick, e.x.shape[1]
    cross = A @ Z @ F.T
    own = e.rate**2 * e.factor * F @ e.scatter(M[:, :N, :N]) @ F.T
    return own - e.rate * (cross + transposed(cross))


def _added_rest(e: Epoch, sources: Sources) -> Array:
    """What a step adds to Q_l."""
    A, F, η = e.transition, e.kick, e.rate
    return η * A @ sources.later @ F.T - η * F @ sources.rest @ A.T - η**2 * F @ sources.rest_of_batch @ F.T


@eqx.filter_jit
def _sources(e: Epoch, M: Array) -> Sources:
    """From pairs of positions n < l, one l after the other."""
    A, F, η, N, positions = e.transition, e.kick, e.rate, e.x.shape[1], jnp.arange(e.batches)
    scale, of_responses = η * e.anticorrelation * e.factor, e.scatter(e.weights(e.responses))
    with_noise = -η * e.anticorrelation * e.weights(e.sums) @ e.noise  # E δ_n b_jᵀ, j ≥ n

    def at(carry, l):
        B, X = carry
        gone, since = (positions < l)[:, None, None], jnp.maximum(l - 1 - positions, 0)
        Z = scale * jnp.sum(jnp.where(gone, e.responses[since] @ e.scatter(B[..., :N]), 0), axis=0)
        change = jnp.where(gone, of_responses[since], 0)
        S, s = scale * jnp.sum(change @ B, axis=0), scale * jnp.sum(change @ with_noise, axis=0)
        later = jnp.where((positions <= l)[:, None, None], B @ A.T + η * with_noise @ F.T, B)
        return (later, A @ X - η * F @ s), Sources(Z, S, s, X)

    return jax.lax.scan(at, (e.weights(M), jnp.zeros_like(F)), positions)[1]


def regression_flat_floor(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
    momentum: RealScalar = 0.0,
) -> Float[Array, "inputs inputs"]:
    """The limit of `regression_floor` for ηhM → 0, [inputs, inputs]; with momentum for M (1−β) ≫ 1 as well.

    For batch sizes that divide the number of samples. **Raises** as `regression_covariances` does, and where H has an
    eigenvalue 0 with noise.
    """
    e = epoch(x, y, learning_rate, batch_size, momentum)
    P, S, M, η = len(e.x), e.batch_size, e.batches, e.rate / (1 - jnp.asarray(momentum, jnp.float64))
    _checks.require("batch_size", S, P % S == 0, allowed=f"a divisor of the {P} samples")
    source = e.scatter(e.noise)
    return η**3 * e.factor * M * (M + 1) / (12 * max(M - 1, 1)) * _linalg.symmetric_lyapunov(
        e.hessian, (source + source.T) / 2
    )  # fmt: skip


def flat_floor(
    curvatures: Real[ArrayLike, " modes"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
    momentum: RealScalar = 0.0,
) -> Float[Array, " modes"]:
    """Floor of each mode in units of its frozen variance, (η/4S)(Σ h² + h²)/h with η/(1−β) for η, [modes].

    `curvatures`: all of the Hessian's eigenvalues. For Gaussian inputs, label noise, S ≪ P and ηhM ≪ 1. Where it is
    above 1, C ∝ H has ceased to make the variance of flat directions ∝ h. **Raises** `ValueError` for curvatures ≤ 0,
    and other values out of range.
    """
    h = _checks.positive("curvatures", _checks.float64("curvatures", curvatures))
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    β = _checks.momentum("momentum", _checks.float64("momentum", momentum))
    return η / (4 * _checks.count("batch_size", batch_size) * (1 - β)) * (jnp.sum(h**2) + h**2) / h


def regression_flat_mean(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
    momentum: RealScalar = 0.0,
) -> Float[Array, " inputs"]:
    """The limit of `regression_means` for ηhM → 0, −(η/2) H⁻¹ E[dH_B g_B] where S divides P, [inputs].

    With momentum β for any M: ηϱ/M Σ_l Σ_{n<l} (1 − βⁿ⁺¹)/(1−β) in place of η/2. **Raises** as `regression_covariances`
    does.
    """
    e = epoch(x, y, learning_rate, batch_size, momentum)
    β, ages = jnp.asarray(momentum, jnp.float64), jnp.arange(1.0, e.batches)
    responses = (1 - β**ages) / (1 - β) * (e.batches - ages)
    scale = e.rate * e.anticorrelation * e.factor / (e.batches * len(e.x)) * jnp.sum(responses)
    return jnp.linalg.solve(e.hessian, scale * (e.residuals * jnp.sum(e.x**2, axis=1)) @ e.x)
