"""Spectra of random data: the Marchenko-Pastur law of H, and the projector X⁺X of (2.18).

x_μi independent, of variance σ² (1/N unless told), P, N → ∞ at fixed q = N/P: the non-zero eigenvalues of
H = XᵀX/P fill [σ²(1 − √q)², σ²(1 + √q)²] with density √((b − h)(h − a)) / (2π σ² q h). The slowest rate of
the text after (2.27), σ²(√(P/N) − 1)², is the edge of XXᵀ/N instead, P/N times larger.

For Gaussian data X X⁺ (samples × samples) projects on a uniformly random N-dimensional space; its
off-diagonal elements have variance N(P−N) / (P(P−1)(P+2)), exactly. (The text's P^{-1.8}N^{-1} and the
caption of Fig. 2 contradict each other.)
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar, Scalar


def spectral_edges(
    samples: RealScalar, inputs: RealScalar, *, input_variance: RealScalar | None = None
) -> tuple[Scalar, Scalar]:
    """(a, b): edges of the non-zero spectrum of H, [] each; 1/inputs is the variance unless told."""
    q, σ2 = _ratio(samples, inputs, input_variance)
    return σ2 * (1 - jnp.sqrt(q)) ** 2, σ2 * (1 + jnp.sqrt(q)) ** 2


def spectral_density(
    eigenvalue: Real[ArrayLike, "*shape"],
    samples: RealScalar,
    inputs: RealScalar,
    *,
    input_variance: RealScalar | None = None,
) -> Float[Array, "*shape"]:
    """Marchenko-Pastur density of H's eigenvalues at `eigenvalue` > 0; its integral is min(1, P/N)."""
    q, σ2 = _ratio(samples, inputs, input_variance)
    a, b = spectral_edges(samples, inputs, input_variance=input_variance)
    h = _checks.positive("eigenvalue", _checks.float64("eigenvalue", eigenvalue))
    inside = (h - a) * (b - h)
    within = inside > 0
    root = jnp.where(within, jnp.sqrt(jnp.where(within, inside, 1)), 0)
    return root / (2 * jnp.pi * σ2 * q * h)


def projector_variance(samples: RealScalar, inputs: RealScalar) -> Scalar:
    """Variance of off-diagonal elements of the projector of (2.18), Gaussian data, []; 0 for N ≥ P. Exact."""
    P, N = _checks.float64("samples", samples), _checks.float64("inputs", inputs)
    P = _checks.require("samples", P, P >= 2, allowed="≥ 2")
    N = jnp.minimum(_checks.positive("inputs", N), P)
    return N * (P - N) / (P * (P - 1) * (P + 2))


def _ratio(samples: RealScalar, inputs: RealScalar, variance: RealScalar | None) -> tuple[Array, Array]:
    """(N/P, σ²)."""
    P = _checks.positive("samples", _checks.float64("samples", samples))
    N = _checks.positive("inputs", _checks.float64("inputs", inputs))
    σ2 = 1 / N if variance is None else _checks.float64("input_variance", variance)
    return N / P, _checks.positive("input_variance", σ2)
