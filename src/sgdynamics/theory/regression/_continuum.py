"""What the continuous theory with frozen noise leaves out, to first order in the learning rate.

SGD's exact law M = (1 − ηH) M (1 − ηH) + η² [C + 𝒩(M)], 𝒩(M) = c [(1/P) Σ_μ (x_μᵀ M x_μ) x_μ x_μᵀ − H M H], is

    H M + M H = η C + η H M H + η 𝒩(M),

so that M = η M₁ + η² (D + K) + O(η³) with three equations of Lyapunov:

    H M₁ + M₁ H = C            (2.30)
    H D + D H = H M₁ H         discrete time; in modes D_ij = h_i h_j/(h_i + h_j) M₁_ij
    H K + K H = 𝒩(M₁)          multiplicative noise; tr K ≈ (c/2) tr H tr M₁ for isotropic M₁ and many samples
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _linalg
from sgdynamics._types import RealScalar
from sgdynamics.theory.regression._least_squares import data, hessian, minimum
from sgdynamics.theory.regression._noise import noise_covariance, sampling_factor

Square = Float[Array, "inputs inputs"]


def continuum_corrections(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    batch_size: RealScalar,
    replacement: bool = True,
) -> tuple[Square, Square, Square]:
    """(M₁, D, K), [inputs, inputs] each: SGD's stationary covariance is η M₁ + η² (D + K) + O(η³).

    **Raises** `ValueError` for shapes that do not match, entries that are not finite, impossible batches.
    """
    x, y = data(x, y)
    H, c = hessian(x), sampling_factor(len(x), batch_size, replacement)
    frozen = noise_covariance(x, y, minimum(x, y), batch_size=batch_size, replacement=replacement)
    M = _linalg.symmetric_lyapunov(H, frozen)
    HMH = H @ M @ H
    scattered = (x.T * jnp.sum((x @ M) * x, axis=1)[None, :]) @ x / len(x)
    return M, _linalg.symmetric_lyapunov(H, HMH), _linalg.symmetric_lyapunov(H, c * (scattered - HMH))
