"""The draws of `jax.random`, inside a Pallas kernel: the same bits for the same keys.

A kernel has no keys, only numbers: a key is the pair of its two words, each an array [block, 1], and a
draw is addressed by its place in the array that `jax.random` would return. With T the twenty rounds of threefry and
T(k; h, l) = (a, b) the two words for key k and the 64-bit counter (h, l),

    fold_in(k, n)          T(k; 0, n)
    split(k)[i]            T(k; 0, i), the same function
    bits(k)[i]             a ⊕ b of T(k; 0, i), or a 2³² + b where 64 bits are asked for
    normal(k)[i]           √2 erf⁻¹(u), u uniform in (−1, 1) from as many of the upper bits as a mantissa has

(JAX's layout of counters with `jax_threefry_partitionable`, its default.)
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree, UInt32

from sgdynamics._random import Words, threefry
from sgdynamics.ensemble._normals import uniform


def drawable(keys: Key[Array, " replicas"]) -> bool:
    """Whether these keys' draws are the ones that are made here."""
    return str(jax.random.key_impl(keys)) == "threefry2x32" and bool(jax.config.jax_threefry_partitionable)


def fold_in(key: Words, number: Int[Array, "..."]) -> Words:
    """`jax.random.fold_in(key, number)`, and as well `jax.random.split(key)[number]`."""
    low = jnp.broadcast_to(number.astype(jnp.uint32), jnp.broadcast_shapes(key[0].shape, number.shape))
    return threefry(key, jnp.zeros_like(low), low)


def bits(key: Words, places: UInt32[Array, "*block"]) -> UInt32[Array, "*block"]:
    """`jax.random.bits(key, shape, uint32)` at these places of the flattened array."""
    a, b = threefry(key, jnp.zeros_like(places), places)
    return a ^ b


def normal(key: Words, places: UInt32[Array, "*block"], dtype) -> Float[Array, "*block"]:
    """`jax.random.normal(key, shape, dtype)` at these places of the flattened array, in 32 or 64 bits."""
    a, b = threefry(key, jnp.zeros_like(places), places)
    return np.sqrt(2).astype(dtype) * jax.lax.erf_inv(uniform(a, b, dtype))


def together(function: Callable[[], PyTree[Array]]) -> PyTree[Array]:
    """`function()`, computed once by the threads together: a loop that is run once.

    Triton takes elementwise arithmetic for cheap, and would draw again in every thread whatever that thread needs
    later; across the results of such a loop it does not.
    """
    nothing = jax.tree.map(lambda result: jnp.zeros(result.shape, result.dtype), jax.eval_shape(function))
    body = lambda carry: (~carry[0], function())
    return jax.lax.while_loop(lambda carry: carry[0], body, (jnp.array(True), nothing))[1]
