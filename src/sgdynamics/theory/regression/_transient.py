"""Exact moments of SGD's modes on the way to the minimum: beyond (2.27), with the noise of the transient.

In an eigenbasis of H, δ = Vᵀ (w − w*) with curvatures h, examples ξ_μ = Vᵀ x_μ, residuals r_μ = x_μ·w* − y_μ,
m = E δ and M = E δδᵀ, one step with independent batches is

    m ← f ∘ m,   M ← f fᵀ ∘ M + η² c [(1/P) Σ_μ (ξ_μᵀ M ξ_μ + 2 r_μ ξ_μ·m + r_μ²) ξ_μ ξ_μᵀ − h hᵀ ∘ M],   f = 1 − ηh,

(∘ entry by entry; Σ_μ r_μ x_μ = 0): the recursion of `theory.recursion.MinibatchMoments` without momentum, whose
cost in this basis is two products of the size of the data a step. The mean is a pure geometric decay, whatever
the noise; E L = L* + ½ Σ_k h_k (m_k² + Var δ_k) is not, because early on the noise is that of w, not of w*.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar
from sgdynamics.theory.regression._least_squares import data, minimum
from sgdynamics.theory.regression._noise import sampling_factor


def mode_moments_after(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    modes: Real[ArrayLike, "inputs modes"],
    mean: Real[ArrayLike, " modes"],
    variance: Real[ArrayLike, " modes"],
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    records: int,
    every: int = 1,
    replacement: bool = True,
) -> tuple[Float[Array, "records modes"], Float[Array, "records modes"]]:
    """(E δ, Var δ) after 0, `every`, 2 `every`, … steps of SGD, `records` + 1 of them, [records + 1, modes] each.

    - modes: orthonormal eigenvectors of H as columns, all those whose curvature is not 0 at least.
    - mean, variance: of δ = modesᵀ (w − w*) at the start, where the modes are uncorrelated.
    """
    x, y = data(x, y)
    V = _checks.float64("modes", modes)
    m, v = _checks.float64("mean", mean), _checks.not_negative("variance", _checks.float64("variance", variance))
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    c = sampling_factor(len(x), batch_size, replacement)
    ξ, r = x @ V, x @ minimum(x, y) - y
    h = jnp.mean(ξ**2, axis=0)
    f, scale = 1 - η * h, η**2 * c
    decay = jnp.outer(f, f) - scale * jnp.outer(h, h)

    def step(_: Array, moments: tuple[Array, Array]) -> tuple[Array, Array]:
        m, M = moments
        squares = jnp.sum((ξ @ M) * ξ, axis=1) + 2 * r * (ξ @ m) + r**2
        return f * m, decay * M + (ξ.T * (scale / len(ξ) * squares)[None, :]) @ ξ

    def record(moments: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        m, M = moments
        return jax.lax.fori_loop(0, every, step, moments), (m, jnp.diagonal(M) - m**2)

    start = (m, jnp.diag(v) + jnp.outer(m, m))
    return jax.lax.scan(record, start, length=_checks.count("records", records, least=0) + 1)[1]
