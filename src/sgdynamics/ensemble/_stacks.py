"""Layers of small matrices with replicas in the last axis: products, and the layouts that make them fast on CPUs.

With layers W_l of shape [d_l, d_{l−1}, replicas], a product of small matrices is a sum of a few long products of
numbers, where `vmap` makes thousands of matrix products too small to be fast. (This is for the products of the deep
linear kernels, which are known and written by hand; `_replicas_last` goes through any network's program.) What was
measured to matter:

- Layers of equal shape lie in one array, a stack: they are updated in one program
  that comes after all that reads them, else XLA copies them first.
- XLA's CPU compiler fuses a product into each of its consumers and computes it once for each. A division is dear
  enough not to be: `once(x, one)` is x / 1, where the compiler cannot know that it is 1.
- LLVM unrolls an inner loop of few numbers and then finds no vectors in it: stacks have longer rows than replicas.
- Blocks of few replicas are taken through all the steps in turn: they fit in a core's own cache, and no program is so
  large that XLA splits it among threads, which costs more than it gains here.
"""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from sgdynamics.ensemble._fence import always

BLOCK = 32
# as many numbers in a row are not unrolled
LONG_ROW = 128

# [rows, columns, replicas]; 1 for one that is the same for all
Matrices = Float[Array, "_ _ _"]
# [width, replicas], or [width, examples, replicas] where there are several
Vectors = Float[Array, "_ _"] | Float[Array, "_ _ _"]
Stack = Float[Array, "_ _ _ _"]


def in_blocks(
    function: Callable[..., Sequence[Array] | Array],
    keys: Key[Array, " replicas"],
    *parts: Float[Array, "replicas parameters"],
) -> list[Float[Array, "replicas parameters"]]:
    """`function(keys, *parts)` block by block, on parts [parameters, replicas of the block], and so its results.

    Of threefry's keys only: others draw otherwise in blocks (`_normals.one_stream` raises).
    """
    count = keys.shape[0]
    blocks = -(-count // BLOCK)
    size = -(-count // blocks)
    if count % blocks:
        # the last block is filled up with its last replica
        members = np.minimum(np.arange(blocks * size), count - 1)
        keys, parts = keys[members], [part[members] for part in parts]
    # all at once: inside the loop over blocks the same transpositions take four times as long
    parts = [jnp.swapaxes(part.reshape(blocks, size, -1), 1, 2) for part in parts]
    keys = keys.reshape(blocks, size)
    if blocks == 1:
        results = [result[None] for result in function(keys[0], *(part[0] for part in parts))]
    else:
        results = jax.lax.map(lambda block: list(function(*block)), (keys, *parts))
    return [jnp.swapaxes(result, 1, 2).reshape(blocks * size, -1)[:count] for result in results]


def runtime_one(step: Int[Array, ""], dtype) -> Array:
    """1, though the compiler does not know."""
    return jnp.where(always(step), jnp.ones((), dtype), 2 * jnp.ones((), dtype))


def once(x: Array, one: Array) -> Array:
    """x, computed once whatever becomes of it, as long as the uses are products, not sums."""
    return x / one


def cut(θ: Float[Array, "parameters replicas"], shapes: Sequence[tuple[int, int]]) -> list[Matrices]:
    """W_1, …, W_L from θ, which is all of them row by row."""
    ends = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
    return [part.reshape(*shape, -1) for part, shape in zip(jnp.split(θ, ends), shapes, strict=True)]


def flat(layers: Sequence[Matrices]) -> Float[Array, "parameters replicas"]:
    """θ of every replica."""
    return jnp.concatenate([W.reshape(-1, W.shape[-1]) for W in layers])


class Stacks(eqx.Module):
    """Where each layer lies in θ, and among the stacks.

    A stack is stored as [layers, rows, columns/t, t · replicas], which are the same numbers in longer rows.

    - shapes: of the layers, from the inputs on
    - groups: for every stack, the layers in it
    """

    shapes: tuple[tuple[int, int], ...] = eqx.field(static=True)
    groups: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    replicas: int = eqx.field(static=True)

    def __init__(self, weights: Sequence[Array], replicas: int):
        self.shapes, self.replicas = tuple((W.shape[0], W.shape[1]) for W in weights), replicas
        groups = {shape: [l for l, other in enumerate(self.shapes) if other == shape] for shape in self.shapes}
        self.groups = tuple(tuple(group) for group in groups.values())

    def stack(self, layers: Sequence[Matrices]) -> list[Stack]:
        return [self._long(jnp.stack([layers[l] for l in group])) for group in self.groups]

    def cut(self, θ: Float[Array, "parameters replicas"]) -> list[Stack]:
        """The stacks in θ; where all layers are of one shape, they are the same numbers in the same order."""
        if len(self.groups) == 1:
            return [self._long(θ.reshape(len(self.shapes), *self.shapes[0], -1))]
        return self.stack(cut(θ, self.shapes))

    def flat(self, stacks: Sequence[Stack]) -> Float[Array, "parameters replicas"]:
        """The inverse of `cut`."""
        return stacks[0].reshape(-1, self.replicas) if len(self.groups) == 1 else flat(self.layers(stacks))

    def layers(self, stacks: Sequence[Stack]) -> list[Matrices]:
        """W_1, …, W_L."""
        layers = {}
        for group, stack in zip(self.groups, stacks, strict=True):
            W = stack.reshape(len(group), *self.shapes[group[0]], self.replicas)
            layers |= {l: W[i] for i, l in enumerate(group)}
        return [layers[l] for l in range(len(self.shapes))]

    def outer(self, errors: Sequence[Vectors], inputs: Sequence[Vectors]) -> list[Stack]:
        """Σ_s e_l(s) a_l(s)ᵀ for every layer."""
        return [self._outer([errors[l] for l in group], [inputs[l] for l in group]) for group in self.groups]

    def _outer(self, errors: Sequence[Vectors], inputs: Sequence[Vectors]) -> Stack:
        layers, rows, columns = len(errors), errors[0].shape[0], inputs[0].shape[0]
        times = self._times(columns)
        # not `tile`, which XLA indexes by remainders
        E = jnp.concatenate([jnp.stack(errors)] * times, -1).reshape(layers, rows, 1, -1, times * self.replicas)
        A = jnp.moveaxis(jnp.stack(inputs).reshape(layers, columns, -1, self.replicas), 1, 2)
        A = A.reshape(layers, 1, -1, columns // times, times * self.replicas)
        return sum(E[..., s, :] * A[:, :, s] for s in range(A.shape[2]))

    def _long(self, W: Float[Array, "_ _ _ _"]) -> Stack:
        times = self._times(W.shape[2])
        return W.reshape(*W.shape[:2], W.shape[2] // times, times * self.replicas)

    def _times(self, columns: int) -> int:
        """t: the fewest columns in a row that make it long."""
        return next(
            t for t in range(1, columns + 1) if (columns % t == 0 and t * self.replicas >= LONG_ROW) or t == columns
        )


# --- products -------------------------------------------------------------------------------------------------


def apply(W: Matrices, a: Vectors) -> Vectors:
    """W a."""
    each = lambda j: W[:, j].reshape(W.shape[0], *[1] * (a.ndim - 2), -1)
    return sum(each(j) * a[None, j] for j in range(W.shape[1]))


def apply_transposed(W: Matrices, e: Vectors) -> Vectors:
    """Wᵀ e."""
    return apply(jnp.swapaxes(W, 0, 1), e)


def product(A: Matrices, B: Matrices) -> Matrices:
    """A B."""
    return sum(A[:, j, None] * B[None, j] for j in range(A.shape[1]))


def transposed_product(A: Matrices, B: Matrices) -> Matrices:
    """Aᵀ B."""
    return sum(A[j, :, None] * B[j, None] for j in range(A.shape[0]))


def product_transposed(A: Matrices, B: Matrices) -> Matrices:
    """A Bᵀ."""
    return sum(A[:, j, None] * B[None, :, j] for j in range(A.shape[1]))


def products(layers: Sequence[Matrices], one: Array) -> list[Matrices]:
    """W_1, W_2 W_1, …, W_L … W_1."""
    made = [layers[0]]
    for W in layers[1:]:
        made.append(once(product(W, made[-1]), one))
    return made


def pulled_back(layers: Sequence[Matrices], before: Sequence[Matrices], S: Matrices, one: Array) -> list[Matrices]:
    """W_>lᵀ S W_<lᵀ for every layer; `before` are `products(layers)`."""
    pulled = []
    for l in range(len(layers) - 1, 0, -1):
        pulled.append(product_transposed(S, before[l - 1]))
        S = once(transposed_product(layers[l], S), one)
    return [S, *pulled[::-1]]
