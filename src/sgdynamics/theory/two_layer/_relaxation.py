"""Relaxation of the modes of Γ: Gross et al. (2024), (3.39)-(3.42).

With Γ = R Ω Rᵀ and χ = Rᵀ z the modes are independent, each of rate σ_x² ω (`relaxation_rates`):

    dχ = −σ_x² ω χ dt + σ_R √ω dW      (3.39; the scan lacks σ_x²),      σ_R² = η σ_x² σ_e²/S,
    Var χ(t) = e^{−2σ_x²ωt} Var χ(0) + κ (1 − e^{−2σ_x²ωt}),      κ = η σ_e²/2S      (3.41), (3.42),
    E χ(t + lag) χ(t) = e^{−σ_x² ω lag} Var χ(t)      (3.40).

All that moves ends with the variance κ, whatever its rate; where ω = 0 everything stays as it began.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar
from sgdynamics.theory.two_layer._arguments import broadcast, equilibrium_variance


def mode_variance(
    t: Real[ArrayLike, "*modes"],
    initial: Real[ArrayLike, "*modes"],
    rate: Real[ArrayLike, "*modes"],
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    residual_variance: RealScalar,
) -> Float[Array, "*modes"]:
    """Var χ(t) of (3.41) from `initial` = Var χ(0); `rate` = σ_x² ω ≥ 0, per unit of t; broadcast."""
    κ = equilibrium_variance(learning_rate, batch_size, residual_variance)
    t, initial, rate = broadcast(
        *(_checks.not_negative(name, _checks.float64(name, value))
          for name, value in {"t": t, "initial": initial, "rate": rate}.items())
    )  # fmt: skip
    return initial * jnp.exp(-2 * rate * t) - κ * jnp.expm1(-2 * rate * t)


def mode_autocovariance(
    lag: Real[ArrayLike, "*modes"],
    t: Real[ArrayLike, "*modes"],
    initial: Real[ArrayLike, "*modes"],
    rate: Real[ArrayLike, "*modes"],
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    residual_variance: RealScalar,
) -> Float[Array, "*modes"]:
    """E χ(t + lag) χ(t) of (3.40), lag ≥ 0; with `initial` = η σ_e²/2S the stationary one, at any t; broadcast."""
    variance = mode_variance(
        t, initial, rate,
        learning_rate=learning_rate, batch_size=batch_size, residual_variance=residual_variance,
    )  # fmt: skip
    lag, rate, variance = broadcast(
        _checks.not_negative("lag", _checks.float64("lag", lag)), _checks.float64("rate", rate), variance
    )
    return jnp.exp(-rate * lag) * variance
