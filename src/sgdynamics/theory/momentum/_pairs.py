"""Σ_{i,j<n} C(|i − j|) for the velocity correlation C of a damped oscillator, sampled at equal times.

C(j) is an entry of Aʲ, A = e^{−Sτ}, τ the time between samples. The pairs of n and m samples in a row are those within
each and, twice, those across, A U_n U_m: the double sum is built by doubling n, at any n, in all regimes.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sgdynamics.theory.momentum import _composition
from sgdynamics.theory.momentum._response import Oscillator, accumulated, response

Floats = Float[Array, "..."]


class PairSum(NamedTuple):
    """Σ_{i,j<n} C_l(|i − j|), and Aⁿ, A the propagator over one step."""

    total: Floats
    power: _composition.Power


class Sampling(NamedTuple):
    """a and b of A's characteristic equation (`_composition`), and the velocity entry of E = A − 1."""

    a: Floats
    b: Floats
    fall: Floats


def sampling(time: Floats, mode: Oscillator) -> Sampling:
    """A = e^{−Sτ} at τ = `time`; all of one shape."""
    g, G = response(time, mode).crossing, accumulated(time, mode).crossing
    lost, braked = mode.square * G, 2 * mode.damping * g
    return Sampling(2 * lost + braked, mode.square * (g**2 + G * (lost + braked)), -(lost + braked))


def correlation_sum(n: Int[Array, "..."], sampled: Sampling) -> Floats:
    """Σ_{i,j<n} C(|i − j|); all of one shape. U_n = Σ_{i<n} Aⁱ is (p_n + a W_n) + W_n E."""
    a, b, fall = sampled

    def compose(first: PairSum, second: PairSum) -> PairSum:
        x, y = first.power, second.power
        u, w = x.crossing + a * x.moved, y.crossing + a * y.moved
        both = x.moved * y.moved
        constant, along = u * w - b * both, u * y.moved + x.moved * w - a * both
        across = constant - b * along + (constant + (1 - a) * along) * fall
        return PairSum(first.total + second.total + 2 * across, _composition.product(x, y, a, b))

    once = PairSum(jnp.ones_like(a), _composition.one(a))
    return _composition.repeated(compose, once, PairSum(jnp.zeros_like(a), _composition.none(a)), n).total
