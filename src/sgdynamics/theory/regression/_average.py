"""Averages over Gaussian data sets: double descent, and the fluctuations that do not take part in it.

x_μ ~ N(0, σ_x² 1), y_μ = u·x_μ + ε_μ, ε ~ N(0, σ²), weights u independent of mean 0 and variance σ_u², N ≠ P.
With E tr (XᵀX)⁻¹ = N/(σ_x² (P−N−1)) (inverse Wishart), X⁺X a projector on random P directions for N > P, and the
leverage Π_μμ of X X⁺ distributed as Beta(N/2, (P−N)/2):

                                   N < P                        N > P
    E L*                           ½σ² (1 − N/P)                0
    E ½(σ² + σ_x²|w*−u|²)          ½σ² (1 + N/(P−N−1))          ½[σ² + σ_x²(N−P) σ_u² + σ² P/(N−P−1)]
    E |w*|²/N                      σ_u² + σ²/(σ_x²(P−N−1))      (P/N) [σ_u² + σ²/(σ_x²(N−P−1))]
    E tr M of (2.30)               (ησ²/2S) N (P−N)/(P+2)       0

the last from tr M = (η/2) tr(H⁻¹C) = (η/2S) Σ_μ r_μ² Π_μμ, where r_μ has variance σ²(1 − Π_μμ) given the inputs.
For |P − N| ≤ 1 the averages of w* are infinite.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar

Sizes = Real[ArrayLike, "*sizes"]


def mean_final_loss(samples: Sizes, inputs: Sizes, *, label_noise_std: RealScalar) -> Float[Array, "*sizes"]:
    """E L*, the average training loss of the minimum."""
    P, N = _sizes(samples, inputs)
    return _square("label_noise_std", label_noise_std) / 2 * jnp.maximum(1 - N / P, 0)


def mean_population_loss(
    samples: Sizes,
    inputs: Sizes,
    *,
    label_noise_std: RealScalar,
    teacher_std: RealScalar = 1.0,
    input_variance: RealScalar | None = None,
) -> Float[Array, "*sizes"]:
    """E ½(σ² + σ_x²|w* − u|²): the average loss of the minimum on fresh data; `input_variance` 1/N unless told."""
    P, N = _sizes(samples, inputs)
    σ2, σu2, σx2 = _variances(N, label_noise_std, teacher_std, input_variance)
    missed = jnp.maximum(N - P, 0) * σx2 * σu2
    return (σ2 + missed + σ2 * jnp.minimum(N, P) * _inverse(jnp.abs(P - N) - 1)) / 2


def mean_square_weight(
    samples: Sizes,
    inputs: Sizes,
    *,
    label_noise_std: RealScalar,
    teacher_std: RealScalar = 1.0,
    input_variance: RealScalar | None = None,
) -> Float[Array, "*sizes"]:
    """E |w*|²/N, the spatial variance of the minimum's weights about 0; `input_variance` 1/N unless told."""
    P, N = _sizes(samples, inputs)
    σ2, σu2, σx2 = _variances(N, label_noise_std, teacher_std, input_variance)
    return jnp.minimum(P / N, 1) * (σu2 + σ2 / σx2 * _inverse(jnp.abs(P - N) - 1))


def mean_total_variance(
    samples: Sizes, inputs: Sizes, *, label_noise_std: RealScalar, learning_rate: RealScalar, batch_size: RealScalar
) -> Float[Array, "*sizes"]:
    """E tr M of (2.30), sampling with replacement: greatest at N = P/2, and 0 from N = P on."""
    P, N = _sizes(samples, inputs)
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    S = _checks.positive("batch_size", _checks.float64("batch_size", batch_size))
    return η * _square("label_noise_std", label_noise_std) / (2 * S) * N * jnp.maximum(P - N, 0) / (P + 2)


def _sizes(samples: Sizes, inputs: Sizes) -> tuple[Array, Array]:
    P = _checks.positive("samples", _checks.float64("samples", samples))
    N = _checks.positive("inputs", _checks.float64("inputs", inputs))
    shape = jnp.broadcast_shapes(P.shape, N.shape)
    return jnp.broadcast_to(P, shape), jnp.broadcast_to(N, shape)


def _variances(N: Array, noise: RealScalar, teacher: RealScalar, inputs: RealScalar | None) -> tuple[Array, ...]:
    """(σ², σ_u², σ_x²)."""
    σx2 = 1 / N if inputs is None else _checks.positive("input_variance", _checks.float64("input_variance", inputs))
    return _square("label_noise_std", noise), _square("teacher_std", teacher), σx2


def _square(name: str, value: RealScalar) -> Array:
    return _checks.not_negative(name, _checks.float64(name, value)) ** 2


def _inverse(x: Array) -> Array:
    """1/x, ∞ for x ≤ 0."""
    return jnp.where(x > 0, 1 / jnp.where(x > 0, x, 1), jnp.inf)
