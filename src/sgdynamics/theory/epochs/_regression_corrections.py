"""Epoch shuffling of linear regression: the weights' covariance to first order in the multiplicative noise.

The covariance has a part of first order in dH_l (symbols: `_regression_model`), from three batches' moments. With
b = r x, one batch's third moments are c₃ = (P−S)(P−2S)/(S²(P−1)(P−2)) times those of one example, and as the batches of
an epoch sum to nothing, those of two equal batches and another are q = −1/(M−1) of these, of three others
s = 2/((M−1)(M−2)). With G_l = Σ_{n<l} AⁿF, and R_n the weights' part of AⁿF,

    Θ_n = c₃ (1/P) Σ_μ r_μ² [(x_μᵀ R_n x_μ) x_μ x_μᵀ − x_μ x_μᵀ R_n H] = E b_l (dH_l R_n b_l)ᵀ,      A_l = Σ_{n<l} Θ_n,
    U_l = E b_l (dH_l δ_l)ᵀ = η q A_l,     Y_l = E z_l (dH_l δ_l)ᵀ = η² [(q − s) Σ_{n<l} AⁿF Θ_n + s G_l A_l],
    W_l = E b_l z¹_lᵀ,   W_{l+1} = W_l Aᵀ − η² s A_l Fᵀ,     z¹ the first order of z, z¹_{l+1} = A z¹_l − ηF dH_l δ_l:

    D_l = E z_l z¹_lᵀ,   D_{l+1} = A D_l Aᵀ − η A Y_l Fᵀ + η F W_l Aᵀ − η² F U_l Fᵀ,  D_M = D_0;  M_l gains D_l + D_lᵀ.

The second order: `_regression_floor`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar
from sgdynamics.theory.epochs._regression_model import Epoch, cyclic, epoch, transposed


def regression_corrections(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
    momentum: RealScalar = 0.0,
) -> tuple[Float[Array, "positions inputs inputs"], Float[Array, "positions inputs inputs"]]:
    """What first order in the multiplicative noise adds to `regression_covariances`, `regression_gradient_covariances`.

    For batch sizes that divide the number of samples. **Raises** as `regression_covariances` does.
    """
    e = epoch(x, y, learning_rate, batch_size, momentum)
    P, S, M, η, N = len(e.x), e.batch_size, e.batches, e.rate, e.x.shape[1]
    _checks.require("batch_size", S, P % S == 0, allowed=f"a divisor of the {P} samples")
    H, A, F, Θ = e.hessian, e.transition, e.kick, _third_moments(e)
    q, s = -1 / max(M - 1, 1), 2 / max((M - 1) * (M - 2), 1)
    sums = _before(Θ)
    U, Y = η * q * sums, η**2 * ((q - s) * _before(e.responses @ Θ) + s * e.sums @ sums)
    W = _earlier(A, F, η**2 * s * sums)
    D = cyclic(A, -η * A @ Y @ F.T + η * F @ W @ A.T - η**2 * F @ U @ F.T)[:, :N, :N]
    of_gradients = H @ Y[:, :N] + H @ D @ H - U - W[..., :N] @ H
    return D + transposed(D), of_gradients + transposed(of_gradients)


def _third_moments(e: Epoch) -> Float[Array, "positions inputs inputs"]:
    """Θ_n for n = 0 … M−1."""
    P, S, x, R, r2 = len(e.x), e.batch_size, e.x, e.weights(e.responses), e.residuals**2
    c3 = (P - S) * (P - 2 * S) / (S**2 * max((P - 1) * (P - 2), 1))
    same = jnp.einsum("nm,m,mi,mj->nij", jnp.einsum("mi,nij,mj->nm", x, R, x), r2, x, x)
    return c3 * (same - jnp.einsum("m,mi,mj->ij", r2, x, x) @ R @ e.hessian) / P


@jax.jit
def _earlier(A: Array, F: Array, sums: Array) -> Array:
    """W_l of W_{l+1} = W_l Aᵀ − sums_l Fᵀ from W_0 = 0, for l = 0 … M−1."""
    return jax.lax.scan(lambda W, a: (W @ A.T - a @ F.T, W), jnp.zeros_like(F.T), sums)[1]


def _before(terms: Array) -> Array:
    """Sums of the terms before each."""
    return jnp.cumsum(terms, axis=0) - terms
