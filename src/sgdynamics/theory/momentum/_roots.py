"""How fast one mode of SGD with momentum decays and turns: the roots of z² − (1 + β − ηK) z + β, K = h + λ.

They turn complex at ηK = (1 − √β)², and then both have the modulus √β: the damping is −ln √β per step. (The SDE has
critical damping at (1 − β)²/(2(1 + β)) and γη = (1 − β)/(1 + β) per step: equal to 0.1 % at β = 0.9; twice too small,
and 1 instead of infinite, at β = 0.) Above ηK = (1 + √β)² they are real again, and negative: the mode alternates.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics.theory import _arguments
from sgdynamics.theory.momentum._discrete_oscillator import step_of
from sgdynamics.theory.momentum._response import root

Reals = Real[ArrayLike, "..."]
Floats = Float[Array, "..."]


def critical_curvature(
    *, learning_rate: Reals, momentum: Reals, weight_decay: Reals = 0.0, form: str = "exact"
) -> Floats:
    """The curvature above which modes oscillate: (1 − √β)²/η − λ; "sde": (1 − β)²/(2η(1 + β)) − λ.

    Negative where weight decay alone makes every mode oscillate.
    """
    _arguments.form(form, ("exact", "sde"))
    η, β, λ = _arguments.broadcast(*_arguments.hyperparameters(learning_rate, momentum, weight_decay))
    # (1 − √β)² without its cancellation at β near 1
    critical = ((1 - β) / (1 + jnp.sqrt(β))) ** 2 if form == "exact" else (1 - β) ** 2 / (2 * (1 + β))
    return critical / η - λ


def decay_per_step(curvature: Reals, *, learning_rate: Reals, momentum: Reals, weight_decay: Reals = 0.0) -> Floats:
    """−ln of the larger root's modulus: −ln √β where the mode oscillates. Infinite where one step reaches 0.

    Continuous at critical damping, where its slope jumps from infinity to 0. Raises at ηK ≥ 2(1 + β).
    """
    η, β, K = step_of(curvature, learning_rate, momentum, weight_decay)
    η = _arguments.stable(η, β, K)
    return _decay(η * K, β)


def oscillation_frequency_per_step(
    curvature: Reals, *, learning_rate: Reals, momentum: Reals, weight_decay: Reals = 0.0
) -> Floats:
    """Argument of the roots, rad per step: 0 up to critical damping, π where the roots are negative."""
    η, β, K = step_of(curvature, learning_rate, momentum, weight_decay)
    return _argument(η * K, β)


def _discriminant(α: Floats, β: Floats) -> Floats:
    """(z₁ − z₂)²: never negative by rounding at β = 0."""
    return (1 - β - α) ** 2 - 4 * α * β


@jax.jit
def _decay(α: Floats, β: Floats) -> Floats:
    """From the distance 1 − |z₁|, which keeps its digits: (1 − |z₁|)(1 − |z₂|) is α, or its mirror image."""
    trace, discriminant = 1 + β - α, _discriminant(α, β)
    real = discriminant >= 0
    distance = 2 * jnp.where(trace > 0, α, 2 * (1 + β) - α) / (2 - jnp.abs(trace) + root(discriminant))
    at_once = real & (distance >= 1)  # momentum 0, ηK = 1
    overdamped = jnp.log1p(-jnp.where(real & ~at_once, distance, 0))
    oscillating = jnp.log(jnp.where(real, 1, β)) / 2
    return jnp.where(at_once, jnp.inf, -jnp.where(real, overdamped, oscillating))


@jax.jit
def _argument(α: Floats, β: Floats) -> Floats:
    trace, discriminant = 1 + β - α, _discriminant(α, β)
    turning = discriminant < 0
    height = jnp.sqrt(jnp.where(turning, -discriminant, 1))
    return jnp.where(turning, jnp.arctan2(height, trace), jnp.where(trace < 0, jnp.pi, 0))
