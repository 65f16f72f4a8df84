"""Random indices, so defined that any kernel on any device can make the same draws.

uniform            ⌊P u / 2³²⌋ for a 32-bit word u: the high word of u·P. No index is likelier than another
                   by more than P/2³² relatively (5·10⁻⁷ for 2,000 samples).
distinct           a uniformly random subset by Floyd's algorithm: for j = P−S … P−1 draw t from 0 … j
                   and keep t, or j where t is already kept. (Bentley and Floyd, CACM 30, 1987)
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt32

from sgdynamics._types import PRNGKey


def high_word(word: UInt32[Array, "*n"], factor: UInt32[Array, "*n"] | int) -> UInt32[Array, "*n"]:
    """The upper 32 bits of the 64-bit product, in 32-bit arithmetic: schoolbook multiplication in base 2¹⁶."""
    factor = jnp.asarray(factor, jnp.uint32)
    a, b = word >> 16, word & 0xFFFF
    p, q = factor >> 16, factor & 0xFFFF
    middle = (a * q & 0xFFFF) + (b * p & 0xFFFF) + (b * q >> 16)
    return a * p + (a * q >> 16) + (b * p >> 16) + (middle >> 16)


def uniform(key: PRNGKey, size: int, samples: int) -> Int[Array, " size"]:
    """`size` independent indices below `samples`."""
    words = jax.random.bits(key, (size,), jnp.uint32)
    return high_word(words, samples).astype(jnp.int32)


def distinct(key: PRNGKey, size: int, samples: int) -> Int[Array, " size"]:
    """A uniformly random subset of `size` different indices below `samples`."""
    last = jnp.arange(samples - size, samples, dtype=jnp.uint32)
    words = jax.random.bits(key, (size,), jnp.uint32)
    draws = high_word(words, last + 1).astype(jnp.int32)

    def keep(i, kept):
        candidate = draws[i]
        taken = jnp.any(kept == candidate)
        return kept.at[i].set(jnp.where(taken, last[i].astype(jnp.int32), candidate))

    return jax.lax.fori_loop(0, size, keep, jnp.full((size,), -1, jnp.int32))
