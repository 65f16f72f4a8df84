"""Deep linear networks, f(x) = W_L … W_2 W_1 x, and how they start.

    DeepLinear             independent normal entries of variance 1/d_{l−1}
    small                  of variance min(d_l, d_{l−1})^{−γ}; γ > 1 is the saddle-to-saddle regime, γ = 3 deep in it
                           (Corlouer et al., App. H.2; Jacot et al. 2021)
    balanced               W_{l+1}ᵀ W_{l+1} = W_l W_lᵀ exactly, at the same matrix W = W_L … W_1 as `small`
    aligned                balanced, and W diagonal in the teacher's singular bases, W = U diag(w) Vᵀ, with given
                           mode amplitudes w (Corlouer et al., assumptions A1 and A2)

A balanced network with W = U diag(w) Vᵀ of rank r ≤ min(d_0 … d_L) has the layers

    W_l = Q_l diag(w^{1/L}) Q_{l−1}ᵀ,        Q_0 = V,  Q_L = U,  every Q_l [d_l, r] of orthonormal columns,

where the hidden Q_1 … Q_{L−1} are free: they are drawn uniformly.
"""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._linalg import orthonormal
from sgdynamics._types import PRNGKey, RealScalar


class AbstractLinearMap(eqx.Module):
    """A network that is linear in its input (not, in general, in its parameters)."""

    @abstractmethod
    def matrix(self) -> Float[Array, "outputs inputs"]:
        """The matrix W with f(x) = W x."""


class DeepLinear(AbstractLinearMap):
    """L layers without bias or nonlinearity, f(x) = W_L … W_1 x, W_l of shape [d_l, d_{l−1}].

    `widths` = (d_0, …, d_L); entries are drawn with variance 1/d_{l−1}. θ is W_1, …, W_L, each row by row.
    Other starts: `DeepLinear.small`, `.balanced`, `.aligned`; from given layers: `DeepLinear.of`.
    """

    weights: tuple[Float[Array, "_ _"], ...]

    def __init__(self, widths: Sequence[int], *, key: PRNGKey):
        shapes = [(after, before) for before, after in pairwise(checked(widths))]
        self.weights = _normal(key, shapes, [1 / before for _, before in shapes])

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        for weight in self.weights:
            x = weight @ x
        return x

    def matrix(self) -> Float[Array, "outputs inputs"]:
        product = self.weights[0]
        for weight in self.weights[1:]:
            product = weight @ product
        return product

    @staticmethod
    def of(weights: Sequence[Real[ArrayLike, "_ _"]]) -> "DeepLinear":
        """The network of these layers W_1, …, W_L. Raises `ValueError` where they cannot be chained."""
        layers = tuple(_checks.finite("weights", jnp.asarray(W, jnp.result_type(float))) for W in weights)
        widths = _chained(layers)
        return eqx.tree_at(lambda network: network.weights, DeepLinear(widths, key=jax.random.key(0)), layers)

    @staticmethod
    def small(widths: Sequence[int], *, key: PRNGKey, exponent: RealScalar = 3.0) -> "DeepLinear":
        """Independent normal entries of variance min(d_l, d_{l−1})^{−γ}, γ = `exponent`."""
        shapes = [(after, before) for before, after in pairwise(checked(widths))]
        γ = _checks.finite("exponent", exponent)
        return DeepLinear.of(_normal(key, shapes, [float(min(shape)) ** -γ for shape in shapes]))

    @staticmethod
    def balanced(widths: Sequence[int], *, key: PRNGKey, exponent: RealScalar = 3.0) -> "DeepLinear":
        """An exactly balanced network with the matrix W of `DeepLinear.small(widths, key=key, exponent=exponent)`."""
        matrix = DeepLinear.small(widths, key=key, exponent=exponent).matrix()
        return DeepLinear.aligned(matrix, jnp.linalg.svd(matrix, compute_uv=False)[: min(widths)], widths, key=key)

    @staticmethod
    def aligned(
        teacher: Real[ArrayLike, "outputs inputs"],
        amplitudes: Sequence[float] | Real[ArrayLike, " modes"],
        widths: Sequence[int],
        *,
        key: PRNGKey,
    ) -> "DeepLinear":
        """An exactly balanced network, aligned with the matrix M = `teacher`: W = Σ_α w_α u_α v_αᵀ.

        - amplitudes: w_α ≥ 0 of the teacher's singular triplets, in descending order of the singular values;
          those left out are 0. No more than the narrowest width.
        - key: decides the hidden bases Q_1 … Q_{L−1}.

        Raises `ValueError` where the teacher does not fit the widths, or amplitudes are too many or negative.
        """
        M = _checks.finite("teacher", jnp.asarray(teacher, jnp.result_type(float)))
        if M.shape != (widths[-1], widths[0]):
            raise ValueError(
                f"teacher has shape {M.shape}, but it must be [outputs, inputs] = {(widths[-1], widths[0])}: "
                f"widths = {tuple(widths)} run from the inputs to the outputs."
            )
        w = _checks.not_negative("amplitudes", jnp.asarray(amplitudes, M.dtype))
        if w.ndim != 1:
            raise ValueError(f"amplitudes has shape {w.shape}, but it must be [modes].")
        rank, depth = w.shape[0], len(checked(widths)) - 1
        if rank > min(widths):
            raise ValueError(f"amplitudes are {rank}, but a network of widths {tuple(widths)} has rank {min(widths)}.")
        U, _, Vt = jnp.linalg.svd(M, full_matrices=False)
        # a key apart from those of the weights of `small`, which are `key` folded by the layer
        keys = jax.random.split(jax.random.fold_in(key, 1 << 30), depth)
        hidden = [orthonormal(k, width, rank) for k, width in zip(keys[1:], widths[1:-1], strict=True)]
        bases = [Vt[:rank].T, *hidden, U[:, :rank]]
        return DeepLinear.of([(after * w[None, :] ** (1 / depth)) @ before.T for before, after in pairwise(bases)])


def checked(widths: Sequence[int]) -> tuple[int, ...]:
    """Widths from the inputs to the outputs, each a whole number."""
    if len(widths) < 2:
        raise ValueError(f"widths = {tuple(widths)}, but it must name at least the inputs and the outputs.")
    return tuple(_checks.count("widths", width) for width in widths)


def _normal(key: PRNGKey, shapes: list[tuple[int, int]], variances: list) -> tuple[Array, ...]:
    keys = jax.random.split(key, len(shapes))
    return tuple(
        jax.random.normal(k, shape) * jnp.sqrt(jnp.asarray(variance, jnp.result_type(float)))
        for k, shape, variance in zip(keys, shapes, variances, strict=True)
    )


def _chained(layers: tuple[Array, ...]) -> tuple[int, ...]:
    shapes = [layer.shape for layer in layers]
    fit = all(len(shape) == 2 for shape in shapes) and all(a[0] == b[1] for a, b in pairwise(shapes))
    if not (shapes and fit):
        raise ValueError(f"weights have shapes {shapes}, but they must be [d_l, d_(l−1)], from the inputs on.")
    return (shapes[0][1], *(shape[0] for shape in shapes))
