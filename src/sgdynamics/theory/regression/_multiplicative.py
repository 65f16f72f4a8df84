"""Purely multiplicative noise in one dimension: Gross et al. (2.21)-(2.24), geometric Brownian motion.

Without label noise w̃ = w − u obeys, for one input of moments m₂ = ⟨x²⟩, m₄ = ⟨x⁴⟩ and κ = m₄ − m₂²,

    SDE   dw̃ = −m₂ w̃ dt + √(η κ/S) w̃ dW:      ⟨w̃⟩ = w̃₀ e^{−m₂ t},
          Var w̃ = w̃₀² e^{−2 m₂ t} (e^{(ηκ/S) t} − 1);              bounded for η κ/S < 2 m₂
    SGD   ⟨w̃⟩ = w̃₀ aᵏ, ⟨w̃²⟩ = w̃₀² (a² + η²κ/S)ᵏ, a = 1 − η m₂;      bounded for η (m₂² + κ/S) < 2 m₂.

Gaussian inputs of an infinite sample have κ = 2 m₂²: the limits are m₂ < S/η (as printed below (2.24)) and
η m₂ (1 + 2/S) < 2. For finite P, m₄ is the sample's moment, and κ not 2 m₂² (the text says otherwise).
Sampling with replacement, S = batch size.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar, Scalar
from sgdynamics.theory.regression._noise import sampling_factor


def geometric_moments(
    time: Real[ArrayLike, "*times"],
    initial: RealScalar,
    *,
    second_moment: RealScalar,
    fourth_moment: RealScalar | None = None,
    learning_rate: RealScalar,
    batch_size: RealScalar,
) -> tuple[Float[Array, "*times"], Float[Array, "*times"]]:
    """(mean, variance) of w̃ at `time` under the SDE (2.24), each of the shape of `time`.

    `fourth_moment`: ⟨x⁴⟩, 3⟨x²⟩² (Gaussian) if None. **Raises** `ValueError` for ⟨x⁴⟩ < ⟨x²⟩².
    """
    m2, κ = _moments(second_moment, fourth_moment)
    η, c = _settings(learning_rate, batch_size)
    t, w0 = _checks.float64("time", time), _checks.float64("initial", initial)
    t = _checks.not_negative("time", t)
    mean = w0 * jnp.exp(-m2 * t)
    return mean, mean**2 * jnp.expm1(η * c * κ * t)


def geometric_moments_after(
    steps: Int[ArrayLike, "*steps"],
    initial: RealScalar,
    *,
    second_moment: RealScalar,
    fourth_moment: RealScalar | None = None,
    learning_rate: RealScalar,
    batch_size: RealScalar,
) -> tuple[Float[Array, "*steps"], Float[Array, "*steps"]]:
    """(mean, variance) of w̃ after `steps` steps of SGD, exact, each of the shape of `steps`."""
    m2, κ = _moments(second_moment, fourth_moment)
    η, c = _settings(learning_rate, batch_size)
    k = _checks.not_negative("steps", jnp.asarray(steps))
    w0 = _checks.float64("initial", initial)
    a = 1 - η * m2
    k = k.astype(a.dtype)
    mean, added = w0 * a**k, η**2 * c * κ
    direct = w0**2 * (a**2 + added) ** k - mean**2
    # the difference loses its digits where the noise is weak
    weak = added < a**2
    ratio = jnp.where(weak, added / jnp.where(weak, a**2, 1), 0)
    return mean, jnp.where(weak, mean**2 * jnp.expm1(k * jnp.log1p(ratio)), direct)


def largest_stable_geometric_rate(
    second_moment: RealScalar,
    fourth_moment: RealScalar | None = None,
    *,
    batch_size: RealScalar,
    continuous: bool = False,
) -> Scalar:
    """The learning rate from which on ⟨w̃²⟩ does not decay: 2 m₂ / (m₂² + κ/S) for SGD, 2 m₂ S/κ for the SDE.

    Gaussian inputs: 2 / (m₂ (1 + 2/S)) and S/m₂.
    """
    m2, κ = _moments(second_moment, fourth_moment)
    noise = sampling_factor(1, batch_size) * κ
    return 2 * m2 / (noise if continuous else m2**2 + noise)


def _moments(second: RealScalar, fourth: RealScalar | None) -> tuple[Scalar, Scalar]:
    """(m₂, κ)."""
    m2 = _checks.positive("second_moment", _checks.float64("second_moment", second))
    if fourth is None:
        return m2, 2 * m2**2
    m4 = _checks.float64("fourth_moment", fourth)
    # rounding may put m₄ of a constant |x| just below
    m4 = _checks.require("fourth_moment", m4, m4 >= m2**2 * (1 - 1e-12), allowed="≥ second_moment²")
    return m2, jnp.maximum(m4 - m2**2, 0)


def _settings(learning_rate: RealScalar, batch_size: RealScalar) -> tuple[Scalar, Scalar]:
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    return η, sampling_factor(1, batch_size)
