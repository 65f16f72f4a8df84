"""Normal numbers for all replicas at once, [numbers, replicas]: those of `jax.random.normal`, from the same bits.

    z = √2 erf⁻¹(u),        u uniform in (−1, 1), from as many of the upper bits as a mantissa has

`jax.vmap` over keys makes [replicas, numbers], whose rows are too short for long vectors. Here keys are two arrays of
words [streams, replicas], and one row of numbers is one block of threefry for all the replicas. Where JAX lays
threefry's counters out otherwise, keys are mapped over: each draws what it draws alone. Keys of other generators do not
(what one of `rbg` draws depends on the keys that are mapped over with it, here those of its block): they are refused.

On CPUs u and z are cheaper made one after the other than in one program, and no program may be so large that XLA
splits it among threads: many numbers are made in pieces, by a loop. And what is in a loop's carry is computed once,
however often it is used: hence a `Pipeline`.
"""

from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt32

from sgdynamics._random import is_threefry, threefry
from sgdynamics._types import Step
from sgdynamics.ensemble._fence import fence

# rows of 32 replicas: with threefry's hundred operations a number, half of what XLA would split
PIECE = 24
PRECISIONS = ("float32", "float64")

Keys: TypeAlias = tuple[UInt32[Array, "_ replicas"], UInt32[Array, "_ replicas"]] | Key[Array, "_ replicas"]
Uniforms: TypeAlias = Float[Array, "_ _ replicas"]


def drawn_in(dtype) -> bool:
    """Whether numbers of this type are made here."""
    return jnp.dtype(dtype).name in PRECISIONS


def one_stream(keys: Key[Array, " replicas"]) -> Keys:
    """The replicas' keys, as the functions here take them."""
    keys = addressed(keys)
    if str(jax.random.key_impl(keys)) == "threefry2x32" and jax.config.jax_threefry_partitionable:
        data = jax.random.key_data(keys)
        return data[None, :, 0], data[None, :, 1]
    return keys[None]


def addressed(keys: Key[Array, " replicas"]) -> Key[Array, " replicas"]:
    """The keys, where each draws the same alone as among others: kernels that go by blocks need such."""
    if not is_threefry(keys):
        raise ValueError(
            f"keys are of {jax.random.key_impl(keys)}, but in blocks of replicas they must be of threefry2x32, which "
            'draws the same for a replica in any company. Use jax.random.key(seed, impl="threefry2x32"), or the '
            "`reference_kernel`."
        )
    return keys


def fold_in(keys: Keys, number: Int[Array, ""]) -> Keys:
    """`jax.random.fold_in` of one stream of keys."""
    if not isinstance(keys, tuple):
        return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys[0], number)[None]
    counter = jnp.full_like(keys[0], number.astype(jnp.uint32))
    return threefry(keys, jnp.zeros_like(counter), counter)


def split(keys: Keys, streams: int, used: int) -> Keys:
    """The first `used` keys of `jax.random.split(key, streams)` of one stream of keys."""
    if not isinstance(keys, tuple):
        return jax.vmap(lambda key: jax.random.split(key, streams))(keys[0]).T[:used]
    counter = jnp.broadcast_to(jnp.arange(used, dtype=jnp.uint32)[:, None], (used, keys[0].shape[1]))
    return threefry(keys, jnp.zeros_like(counter), counter)


def uniforms(keys: Keys, sizes: Sequence[int], dtype) -> Uniforms:
    """What `normals` makes normal: for each replica sizes[i] numbers of its i-th key."""
    pieces = -(-sum(sizes) // PIECE)
    rows = -(-sum(sizes) // pieces)
    unused = pieces * rows - sum(sizes)
    if not isinstance(keys, tuple):
        draw = lambda key, size: jax.random.uniform(key, (size,), dtype, minval=_lowest(dtype), maxval=1)
        u = [jax.vmap(partial(draw, size=size), out_axes=1)(keys[i]) for i, size in enumerate(sizes)]
        return jnp.pad(jnp.concatenate(u), ((0, unused), (0, 0))).reshape(pieces, rows, -1)
    stream = np.append(np.repeat(np.arange(len(sizes)), sizes), np.zeros(unused, int))
    counter = np.concatenate([np.arange(size) for size in (*sizes, unused)])
    table = jnp.asarray(np.stack([stream, counter]).astype(np.uint32).reshape(2, pieces, rows, 1).swapaxes(0, 1))

    def piece(table: UInt32[Array, "2 rows 1"]) -> Float[Array, "rows replicas"]:
        stream, counter = table
        key = _chosen(stream, keys[0]), _chosen(stream, keys[1])
        counter = jnp.broadcast_to(counter, key[0].shape)
        x, y = threefry(key, jnp.zeros_like(counter), counter)
        return uniform(x, y, dtype)

    return piece(table[0])[None] if pieces == 1 else jax.lax.map(piece, table)


def normals(u: Uniforms, shapes: Sequence[tuple[int, ...]]) -> list[Float[Array, "..."]]:
    """`jax.random.normal(key, shapes[i])` of every replica's i-th key, replicas last."""
    normal = lambda u: np.sqrt(2).astype(u.dtype) * jax.lax.erf_inv(u)
    z = (normal(u) if u.shape[0] == 1 else jax.lax.map(normal, u)).reshape(-1, u.shape[-1])
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])
    return [part.reshape(*shape, -1) for part, shape in zip(jnp.split(z, ends), shapes, strict=False)]


class Pipeline(eqx.Module):
    """Draws that come down a loop's carry: in step k the keys of step k + 2 are made, the uniform numbers of step
    k + 1, and of those of step k the normal ones.

    - keys: the replicas'; they are folded by the step and split into `streams` (1: not split)
    - shapes: of the draws from the first of the streams
    """

    keys: Keys
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    streams: int = eqx.field(static=True)
    dtype: jnp.dtype = eqx.field(static=True)

    def start(self, step: Step) -> tuple[Keys, Uniforms] | None:
        """The carry before step number `step`; None where nothing is drawn."""
        if not self.shapes:
            return None
        # here nothing is in a carry yet: without fences keys would be made again for every number drawn from them
        folded = fence(step, lambda step: (self._folded(step), self._folded(step + 1)), step)
        now, after = fence(step, lambda folded: tuple(self._split(keys) for keys in folded), folded)
        return after, fence(step, lambda keys: self._uniforms(keys), now)

    def next(self, carry: tuple[Keys, Uniforms] | None, step: Step) -> tuple[Keys, Uniforms] | None:
        """The carry after it."""
        return (self._keys(step + 2), self._uniforms(carry[0])) if carry else None

    def normals(self, carry: tuple[Keys, Uniforms] | None) -> list[Float[Array, "..."]]:
        """The draws of the step."""
        return normals(carry[1], self.shapes) if carry else []

    def _keys(self, step: Step) -> Keys:
        return self._split(self._folded(step))

    def _folded(self, step: Step) -> Keys:
        return fold_in(self.keys, step)

    def _split(self, keys: Keys) -> Keys:
        return keys if self.streams == 1 else split(keys, self.streams, len(self.shapes))

    def _uniforms(self, keys: Keys) -> Uniforms:
        return uniforms(keys, [int(np.prod(shape)) for shape in self.shapes], self.dtype)


def _chosen(stream: UInt32[Array, "rows 1"], word: UInt32[Array, "streams replicas"]) -> UInt32[Array, "rows replicas"]:
    """Each row's own stream."""
    chosen = jnp.broadcast_to(word[:1], (stream.shape[0], word.shape[1]))
    for i in range(1, word.shape[0]):
        chosen = jnp.where(stream == i, word[i][None], chosen)
    return chosen


def uniform(x: Array, y: Array, dtype) -> Array:
    """`jax.random.uniform` in (−1, 1) from a block's two words."""
    one, lowest = np.ones((), dtype), _lowest(dtype)
    width, mantissa = jnp.finfo(dtype).bits, jnp.finfo(dtype).nmant
    word = (x.astype(jnp.uint64) << np.uint64(32)) | y.astype(jnp.uint64) if width == 64 else x ^ y
    unused = word.dtype.type(width - mantissa)
    fraction = jax.lax.bitcast_convert_type((word >> unused) | one.view(word.dtype), dtype) - one
    return jnp.maximum(lowest, fraction * (one - lowest) + lowest)


def _lowest(dtype) -> np.floating:
    """The number after −1, where `jax.random.normal` begins; the width of the interval to 1 rounds to 2."""
    return np.nextafter(np.dtype(dtype).type(-1), np.dtype(dtype).type(1))
