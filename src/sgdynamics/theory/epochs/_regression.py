"""Epoch shuffling of linear regression with frozen noise: the weights' law at every position in the epoch.

With H_l replaced by H in `_regression_model` (frozen noise; Kühn and Rosenow, Assumption 2), G_l = Σ_{n<l} AⁿF:

    M_{l+1} = A M_l Aᵀ + η² [F C Fᵀ − ϱ (A G_l C Fᵀ + F C G_lᵀ Aᵀ)],      M_M = M_0,      (covariance of z = (δ, u))
    V_l = C + H M_l H + ϱη (H G_l C + C G_lᵀ H),   the weights' parts,                    (of the batch gradient)
    m_{l+1} = A m_l + η² ϱ c F (1/P) Σ_μ r_μ (x_μᵀ G_l x_μ) x_μ,      m_M = m_0.           (mean, first order)

The last line has −E[dH_l δ_l] with the frozen-noise δ_l: a batch that is yet to come is anti-correlated with the
noise of those that are gone. The mean over positions of M_l is, without momentum and where S divides P, that of noise
with the averaged autocovariance −C (M−j)/(M(M−1)) [Kühn and Rosenow, Eq. 2]. All of this holds as well where the last
P mod S examples of every order are left out, as ϱ = S/(P−S) says all that the batches know of each other.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks, _linalg
from sgdynamics._types import RealScalar
from sgdynamics.theory.epochs._regression_model import Epoch, cyclic, drawn, epoch, transposed
from sgdynamics.theory.regression._least_squares import examples, hessian
from sgdynamics.theory.regression._noise import sampling_factor


def regression_covariances(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
    momentum: RealScalar = 0.0,
) -> Float[Array, "positions inputs inputs"]:
    """Covariance of w before batch l = 0 … M−1 of an epoch, noise frozen, [positions, inputs, inputs].

    For any batch size. **Raises** `ValueError` for batches larger than the data, shapes that do not match, values out
    of range, and where ηH ≥ 2 (1 + β).
    """
    e = epoch(x, y, learning_rate, batch_size, momentum)
    return e.weights(frozen(e))[..., : e.x.shape[1]]


def regression_gradient_covariances(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
    momentum: RealScalar = 0.0,
) -> Float[Array, "positions inputs inputs"]:
    """V_l, covariance of the gradient of batch l = 0 … M−1 of an epoch, noise frozen, [positions, inputs, inputs].

    For any batch size. **Raises** as `regression_covariances` does.
    """
    e = epoch(x, y, learning_rate, batch_size, momentum)
    H, M = e.hessian, e.weights(frozen(e))[..., : e.x.shape[1]]
    cross = e.anticorrelation * e.rate * H @ e.weights(e.sums) @ e.noise
    return e.noise[None] + H @ M @ H + cross + transposed(cross)


def regression_means(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
    momentum: RealScalar = 0.0,
) -> Float[Array, "positions inputs"]:
    """E w − w* before batch l = 0 … M−1 of an epoch, [positions, inputs]; first order in the multiplicative noise.

    For any batch size. Independent batches have none: their mean is w*. **Raises** as `regression_covariances` does.
    """
    e = epoch(x, y, learning_rate, batch_size, momentum)
    A, scale = e.transition, e.rate**2 * e.anticorrelation * e.factor / len(e.x)
    added = scale * jnp.einsum("m,mi,lij,mj,mk->lk", e.residuals, e.x, e.weights(e.sums), e.x, e.x) @ e.kick.T
    return _cyclic_mean(A, added)[:, : e.x.shape[1]]


@jax.jit
def _cyclic_mean(A: Array, added: Float[Array, "positions d"]) -> Float[Array, "positions d"]:
    """m_l of m_{l+1} = A m_l + added_l, m_M = m_0, for l = 0 … M−1."""
    step = lambda m, source: (A @ m + source, m)
    in_one_epoch = jax.lax.scan(step, jnp.zeros_like(A[0]), added)[0]
    whole = jnp.eye(len(A)) - jnp.linalg.matrix_power(A, len(added))
    return jax.lax.scan(step, jnp.linalg.solve(whole, in_one_epoch), added)[1]


def regression_multiplicative_scale(
    x: Real[ArrayLike, "samples inputs"],
    covariance: Real[ArrayLike, "inputs inputs"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
) -> Float[Array, "inputs inputs"]:
    """The size of what frozen noise neglects: the covariance that the multiplicative noise at `covariance` would
    build up if it did not cancel at all over an epoch, X = T X T + η² c K(covariance), T = 1 − ηH.

    For ηhM → 0 half of it is left, see `regression_floor`. Without momentum.
    """
    x = examples(x)
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    S = drawn(batch_size, len(x))
    M = _checks.shaped("covariance", _checks.float64("covariance", covariance), (x.shape[1],) * 2)
    H, c = hessian(x), sampling_factor(len(x), S, replacement=False)
    source = jnp.einsum("mi,ij,mj,mk,ml->kl", x, M, x, x, x) / len(x) - H @ M @ H
    return _linalg.discrete_lyapunov(jnp.eye(len(H)) - η * H, η**2 * c * (source + source.T) / 2)


def frozen(e: Epoch) -> Float[Array, "positions both both"]:
    """M_l, covariance of z."""
    C, F = e.noise, e.kick
    cross = e.transition @ e.sums @ C @ F.T
    added = e.rate**2 * ((F @ C @ F.T)[None] - e.anticorrelation * (cross + transposed(cross)))
    return cyclic(e.transition, added)
