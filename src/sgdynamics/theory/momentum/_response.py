"""The damped oscillator's response to a kick, and its integrals over time, in all three regimes at once.

d(a, b) = −S (a, b) dt with S = [[0, −1], [ω², 2γ]]; g(t) is the position after a kick of 1 to the velocity at time 0:

    e^{−St} = [[1 − ω² G, g], [−ω² g, ġ]],      G = ∫₀ᵗ g,      g = e^{−γt} sinh(st)/s,      s² = γ² − ω².

e^{−γt} cosh(st) and g are even in s: a power series in (st)² near critical damping, decaying exponentials with the slow
rate as ω²/(γ + s) above it, sine and cosine below. G, ∫₀ᵗ g² and ∫₀ᵗ ġ² are built from t 2⁻⁶⁴ by doubling the time,

    G(2t) = G (2 − ω² G) + g²,      Q(2t) = Q + e^{−St} Q e^{−Sᵀt},      Q = [[∫g², g²/2], [g²/2, ∫ġ²]]:

closed forms would lose all digits at short times, or where the damping is weak, and do not exist without curvature.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Floats = Float[Array, "..."]
DOUBLINGS = 64
"""Rates times t up to 10¹³ start from below 10⁻⁶, where three terms of a series are exact."""


class Oscillator(NamedTuple):
    """γ, ω² and γ² − ω²."""

    damping: Floats
    square: Floats
    discriminant: Floats


class Response(NamedTuple):
    """Entries of e^{−St}: `position` [0, 0], `crossing` g [0, 1], `velocity` [1, 1]; [1, 0] is −ω² g."""

    position: Floats
    crossing: Floats
    velocity: Floats


class Accumulated(NamedTuple):
    """∫₀ᵗ g, ∫₀ᵗ g² and ∫₀ᵗ ġ²."""

    crossing: Floats
    position: Floats
    velocity: Floats


def oscillator(learning_rate: Floats, momentum: Floats, restoring: Floats) -> Oscillator:
    """The oscillator of `restoring` = h + λ; all of one shape."""
    η, β, K = learning_rate, momentum, restoring
    unit = η * (1 + β)
    return Oscillator((1 - β) / unit, 2 * K / unit, ((1 - β) ** 2 - 2 * unit * K) / unit**2)


def response(t: Floats, mode: Oscillator) -> Response:
    """e^{−St}; all of one shape."""
    z = mode.discriminant * t**2
    near = _near_critical(t, jnp.where(jnp.abs(z) <= 1, z, 0), mode)
    above = _overdamped(t, jnp.sqrt(jnp.where(z > 1, mode.discriminant, 1)), mode)
    below = _underdamped(t, jnp.sqrt(jnp.where(z < -1, -mode.discriminant, 1)), mode)
    chosen = [jnp.where(z > 1, a, jnp.where(z < -1, b, c)) for a, b, c in zip(above, below, near, strict=True)]
    return Response(*chosen)


@jax.jit
def accumulated(t: Floats, mode: Oscillator) -> Accumulated:
    """The integrals of the response; all of one shape."""

    def twice(carry: Accumulated, time: Floats):
        F = response(time, mode)
        pull = mode.square * F.crossing
        mixed = F.crossing**2 / 2
        G = carry.crossing * (1 + F.position) + F.crossing**2
        θθ = (1 + F.position**2) * carry.position + 2 * F.position * F.crossing * mixed + F.crossing**2 * carry.velocity
        vv = (1 + F.velocity**2) * carry.velocity - 2 * pull * F.velocity * mixed + pull**2 * carry.position
        return Accumulated(G, θθ, vv), None

    halvings = jnp.exp2(-jnp.arange(DOUBLINGS, 0, -1, dtype=t.dtype))
    start = _at_first(t * halvings[0], mode)
    return jax.lax.scan(lambda carry, part: twice(carry, t * part), start, halvings)[0]


def _at_first(t: Floats, mode: Oscillator) -> Accumulated:
    """The integrals at very short times, from g = t − γ t² + (4γ² − ω²) t³/6."""
    γ, ω2 = mode.damping, mode.square
    bend = (4 * γ**2 - ω2) * t**2
    return Accumulated(
        t**2 * (1 / 2 - γ * t / 3 + bend / 24),
        t**3 * (1 / 3 - γ * t / 2 + (3 * (γ * t) ** 2 + bend) / 15),
        t * (1 - 2 * γ * t + (4 * (γ * t) ** 2 + bend) / 3),
    )


def _near_critical(t: Floats, z: Floats, mode: Oscillator) -> Response:
    """cosh √z and sinh(√z)/√z from their power series, |z| ≤ 1."""
    cosh = sinhc = jnp.ones_like(z)
    for n in range(10, 0, -1):
        cosh, sinhc = 1 + z / (2 * n * (2 * n - 1)) * cosh, 1 + z / (2 * n * (2 * n + 1)) * sinhc
    fading = jnp.exp(-mode.damping * t)
    turning = mode.damping * t * sinhc
    return Response(fading * (cosh + turning), fading * t * sinhc, fading * (cosh - turning))


def _overdamped(t: Floats, s: Floats, mode: Oscillator) -> Response:
    fast = mode.damping + s
    slow = mode.square / fast
    remaining, gone = jnp.exp(-slow * t), -jnp.expm1(-2 * s * t)
    return Response(
        remaining * ((2 - gone) + mode.damping * gone / s) / 2,
        remaining * gone / (2 * s),
        (fast * jnp.exp(-fast * t) - slow * remaining) / (2 * s),
    )


def _underdamped(t: Floats, α: Floats, mode: Oscillator) -> Response:
    fading, cos, sin = jnp.exp(-mode.damping * t), jnp.cos(α * t), jnp.sin(α * t) / α
    return Response(fading * (cos + mode.damping * sin), fading * sin, fading * (cos - mode.damping * sin))


def matrix(a: Floats, b: Floats, c: Floats, d: Floats) -> Float[Array, "... 2 2"]:
    """[[a, b], [c, d]]."""
    return jnp.stack([jnp.stack([a, b], -1), jnp.stack([c, d], -1)], -2)


def root(x: Floats) -> Floats:
    """√x where x > 0, otherwise 0, also its derivative."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)
