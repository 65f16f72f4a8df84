"""Averages over Gaussian data sets: leverages, residual weights, and the noise covariance of (2.17).

x_μ ~ N(0, σ_x² 1), labels' noise N(0, σ²), N ≤ P. The leverage ℓ_μ, the diagonal of the projector X⁺X of (2.18),
and the length of the same example are

    1 − ℓ_μ = a/(a + b),   |x_μ|² = σ_x² b,      a ~ χ²_{P−N},  b ~ χ²_N  independent,

because ℓ = q/(1 + q), with q = xᵀ A⁻¹ x of the other examples' A = Σ x xᵀ, and xᵀ A⁻¹ x = |x|²/(σ_x² χ²_{P−N}). Given
the inputs a residual is normal of variance σ²(1 − ℓ_μ). With a/(a + b) ~ Beta((P−N)/2, N/2), independent of a + b:

    Var ℓ = 2N(P−N) / (P²(P+2)),     E P K_μμ = σ² (1 − N/P),     E (P K_μμ)² = 3σ⁴ (P−N)(P−N+2) / (P(P+2)),
    E C = (σ² σ_x²/S) E[ab/(a + b)]/N 1 = (σ² σ_x²/S) (P−N)/(P+2) 1:

less than (1 − N/P) times the mean of (2.20), because examples of large |x| have large leverage.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar

Sizes = Real[ArrayLike, "*sizes"]


def leverage_variance(samples: Sizes, inputs: Sizes) -> Float[Array, "*sizes"]:
    """Variance of a diagonal element of the projector of (2.18), whose mean is N/P; 0 for N ≥ P. Exact."""
    P, N = _sizes(samples, inputs)
    return 2 * N * (P - N) / (P**2 * (P + 2))


def mean_residual_weight(samples: Sizes, inputs: Sizes, *, label_noise_std: RealScalar) -> Float[Array, "*sizes"]:
    """E K_μμ of (2.18), factor 1/P included."""
    P, N = _sizes(samples, inputs)
    return _variance(label_noise_std) * (1 - N / P) / P


def mean_square_residual_weight(
    samples: Sizes, inputs: Sizes, *, label_noise_std: RealScalar
) -> Float[Array, "*sizes"]:
    """E K_μμ² of (2.18), factor 1/P² included."""
    P, N = _sizes(samples, inputs)
    return 3 * _variance(label_noise_std) ** 2 * (P - N) * (P - N + 2) / (P**3 * (P + 2))


def mean_noise_variance(
    samples: Sizes,
    inputs: Sizes,
    *,
    label_noise_std: RealScalar,
    batch_size: RealScalar,
    input_variance: RealScalar | None = None,
) -> Float[Array, "*sizes"]:
    """The number c in E C(w*) = c 1, sampling with replacement; `input_variance` is 1/N unless told."""
    P, N = _sizes(samples, inputs)
    σx2 = 1 / N if input_variance is None else _checks.float64("input_variance", input_variance)
    S = _checks.positive("batch_size", _checks.float64("batch_size", batch_size))
    return _variance(label_noise_std) * _checks.positive("input_variance", σx2) / S * (P - N) / (P + 2)


def _sizes(samples: Sizes, inputs: Sizes) -> tuple[Array, Array]:
    """(P, N) of one shape, N no more than P."""
    P = _checks.positive("samples", _checks.float64("samples", samples))
    N = _checks.positive("inputs", _checks.float64("inputs", inputs))
    shape = jnp.broadcast_shapes(P.shape, N.shape)
    P, N = jnp.broadcast_to(P, shape), jnp.broadcast_to(N, shape)
    return P, jnp.minimum(N, P)


def _variance(std: RealScalar) -> Array:
    return _checks.not_negative("label_noise_std", _checks.float64("label_noise_std", std)) ** 2
