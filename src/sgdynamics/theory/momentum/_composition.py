"""Powers of 2 × 2 matrices as two numbers each: Aⁿ at any n, also where the eigenvalues of A coincide.

With A = 1 + E the characteristic equation is E² = −a E − b, a = −tr E and b = det E, and

    Aⁿ = (1 − b W_n) + p_n E,      W_1 = 0, p_1 = 1,
    W_{n+m} = W_n + W_m − b W_n W_m + p_n p_m,
    p_{n+m} = r_n p_m + r_m p_n − a p_n p_m,
    r_{n+m} = r_n r_m − b p_n p_m,      r_n = 1 − b W_n, carried along for its digits where it is small.

p_n is (z₁ⁿ − z₂ⁿ)/(z₁ − z₂), det(A)^{(n−1)/2} times the Chebyshev polynomial U_{n−1} of tr A/(2 √det A). Only sums and
products occur: nothing special happens at z₁ = z₂, at det A = 0 or at b = 0, for values and derivatives alike.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

T = TypeVar("T")


class Power(NamedTuple):
    """W_n, p_n and r_n = 1 − b W_n of Aⁿ = r_n + p_n E."""

    moved: Float[Array, "..."]
    crossing: Float[Array, "..."]
    left: Float[Array, "..."]


def none(like: Float[Array, "..."]) -> Power:
    """A⁰."""
    return Power(jnp.zeros_like(like), jnp.zeros_like(like), jnp.ones_like(like))


def one(like: Float[Array, "..."]) -> Power:
    """A¹."""
    return Power(jnp.zeros_like(like), jnp.ones_like(like), jnp.ones_like(like))


def product(first: Power, second: Power, a: Float[Array, "..."], b: Float[Array, "..."]) -> Power:
    """Aⁿ Aᵐ."""
    both = first.crossing * second.crossing
    moved = first.moved + second.moved - b * first.moved * second.moved + both
    # while little has moved, its rounding is smaller than that of what is left; later the other way round
    early = jnp.abs(b * moved) < 0.5
    return Power(
        moved,
        first.left * second.crossing + second.left * first.crossing - a * both,
        jnp.where(early, 1 - b * moved, first.left * second.left - b * both),
    )


def power(n: Int[Array, "..."], a: Float[Array, "..."], b: Float[Array, "..."]) -> Power:
    """Aⁿ for each n ≥ 0; n, a and b of one shape."""
    return repeated(lambda first, second: product(first, second, a, b), one(a), none(a), n)


def repeated(compose: Callable[[T, T], T], once: T, never: T, times: Int[Array, "..."]) -> T:
    """`once` composed with itself, by binary powers; every leaf of the shape of `times`."""

    def bit(carry: tuple[T, T], i: Array):
        done, chunk = carry
        taken, needed = (times >> i) & 1 == 1, times >> i > 1
        done = _where(taken, compose(done, chunk), done)
        # squares that nothing needs would overflow where the motion is unstable
        return (done, _where(needed, compose(chunk, chunk), chunk)), None

    bits = jnp.arange(jnp.iinfo(times.dtype).bits - 1, dtype=times.dtype)
    return jax.lax.scan(bit, (never, once), bits)[0][0]


def _where(condition: Array, this: T, that: T) -> T:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), this, that)
