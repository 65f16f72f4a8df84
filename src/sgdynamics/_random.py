"""Threefry-2x32 with its twenty rounds written out: the same bits as JAX's, several times faster on CPUs.

JAX compiles the rounds as a loop on CPUs; written out they fuse and vectorise. As a key implementation of its own
it serves all of `jax.random`: `unrolled(keys)` are the same keys, with the same draws to the last bit. Where JAX
writes the rounds out itself, keys are left as they are.

The other side of fusing: XLA may draw again for every use of a draw. Use unrolled keys only behind a fence, such
as a `lax.cond` on a predicate that the compiler cannot know.

Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC 2011), Sec. 4. The layout of
counters is JAX's with `jax_threefry_partitionable`, its default.
"""

from collections.abc import Sequence
from functools import cache
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import random as extend
from jaxtyping import Array, Key, UInt32

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
WORDS_APART = 32

Words: TypeAlias = tuple[UInt32[Array, "..."], UInt32[Array, "..."]]


def threefry(key: UInt32[Array, "2"] | Words, high: UInt32[Array, "*n"], low: UInt32[Array, "*n"]) -> Words:
    """The two words of the block of each 64-bit counter; the key's two words may be arrays that broadcast with it."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(PARITY))
    x, y = high + schedule[0], low + schedule[1]
    for i in range(5):
        for rotation in ROTATIONS[i % 2]:
            x = x + y
            y = x ^ ((y << jnp.uint32(rotation)) | (y >> jnp.uint32(32 - rotation)))
        x = x + schedule[(i + 1) % 3]
        y = y + schedule[(i + 2) % 3] + jnp.uint32(i + 1)
    return x, y


def _blocks(key: UInt32[Array, "2"], shape: tuple[int, ...]) -> tuple[Array, Array]:
    size = int(np.prod(shape))
    if size >= 2**32:
        raise ValueError(f"shape = {shape} asks for {size} draws from one key, but there are fewer than 2³² of them.")
    low = jnp.arange(size, dtype=jnp.uint32).reshape(shape)
    return threefry(key, jnp.zeros_like(low), low)


def _random_bits(key: UInt32[Array, "2"], bit_width: int, shape: tuple[int, ...]) -> Array:
    x, y = _blocks(key, shape)
    if bit_width == 64:
        return (x.astype(jnp.uint64) << jnp.uint64(32)) | y.astype(jnp.uint64)
    return (x ^ y).astype(f"uint{bit_width}")


def _split(key: UInt32[Array, "2"], shape: tuple[int, ...]) -> Array:
    return jnp.stack(_blocks(key, shape), axis=-1)


def _fold_in(key: UInt32[Array, "2"], data: UInt32[Array, ""]) -> UInt32[Array, "2"]:
    return jnp.stack(threefry(key, jnp.uint32(0), data.astype(jnp.uint32)))


_UNROLLED = extend.define_prng_impl(
    key_shape=(2,),
    seed=extend.threefry_prng_impl.seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="sgdynamics_unrolled_threefry2x32",
    tag="utfr",
)


def unrolled(keys: Key[Array, "*n"]) -> Key[Array, "*n"]:
    """The same keys with the rounds written out; keys of another generator, or layout, as they are."""
    is_jaxs = str(jax.random.key_impl(keys)) == "threefry2x32"
    if is_jaxs and jax.config.jax_threefry_partitionable and jax.default_backend() == "cpu" and rolled_by_jax():
        return jax.random.wrap_key_data(jax.random.key_data(keys), impl=_UNROLLED)
    return keys


def is_threefry(keys: Key[Array, "*n"]) -> bool:
    """Whether the keys draw by threefry, JAX's or this module's: then each draws the same alone and mapped over."""
    kind = jax.random.key_impl(keys)
    return str(kind) == "threefry2x32" or kind == _UNROLLED


@cache
def rolled_by_jax() -> bool:
    """Whether JAX's own threefry is still a loop on CPUs: read off the program that it makes."""
    key = jax.ShapeDtypeStruct((), jax.random.key(0, impl="threefry2x32").dtype)
    bits = jax.jit(lambda key: jax.random.bits(key, (8,), jnp.uint32))
    return "while" in bits.trace(key).lower(lowering_platforms=("cpu",)).as_text()


def words(keys: Key[Array, " n"], size: int) -> Sequence[Array] | UInt32[Array, "size n"]:
    """The words of `jax.random.bits(key, (size,))` of each key: word by word an array over the keys.

    With the keys in the last axis every operation is on long vectors, which CPUs need. A few words are each a program
    of their own; many are one array.
    """
    if jax.random.key_impl(keys) != _UNROLLED:
        return jax.vmap(lambda key: jax.random.bits(key, (size,), jnp.uint32))(keys).T
    key = tuple(jnp.unstack(jax.random.key_data(keys), axis=-1))
    if size <= WORDS_APART:
        blocks = [threefry(key, jnp.uint32(0), jnp.uint32(i)) for i in range(size)]
        return [x ^ y for x, y in blocks]
    counter = jnp.broadcast_to(jnp.arange(size, dtype=jnp.uint32)[:, None], (size, *keys.shape))
    x, y = threefry((key[0][None, :], key[1][None, :]), jnp.zeros_like(counter), counter)
    return x ^ y
