"""The network as a function of its layers: loss, gradient and Jacobians. Corlouer et al. (2026), Proposition 3.1.

The teacher is y = M x + ξ, x ~ N(0, 1), ξ ~ N(0, σ²); the network W = W_L … W_1 with W_l [d_l, d_{l−1}]. With

    W_<l = W_{l−1} … W_1,      W_>l = W_L … W_{l+1}      (empty products are 1),      Δ = M − W,

the loss is E ½|y − W x|² = ½ |Δ|² + ½ d_L σ², and its gradient with respect to W_l

    G_l = −W_>lᵀ Δ W_<lᵀ.

Parameters are flattened layer by layer, each ROW by row, so that vec(A X B) = (A ⊗ Bᵀ) vec X and the Jacobian of
vec W with respect to vec W_l is

    J_l = W_>l ⊗ W_<lᵀ,      vec G_l = −J_lᵀ vec Δ,      K_l = J_l J_lᵀ = (W_>l W_>lᵀ) ⊗ (W_<lᵀ W_<l),

K_l the layer's neural tangent operator, [outputs·inputs, outputs·inputs].
The paper stacks columns, where J_l is W_<lᵀ ⊗ W_>l; it prints W_<lᵀ ⊗ W_>lᵀ, and W_<l ⊗ W_>l for J_lᵀ, which is wrong:
for layers that are not square not even the shapes fit.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar, Scalar, Vector

Weights = Sequence[Real[ArrayLike, "_ _"]]
Layer = Float[Array, "_ _"]


class Network(NamedTuple):
    """W_l, W_<l and W_>l of each layer, Δ [outputs, inputs]."""

    weights: tuple[Layer, ...]
    below: tuple[Layer, ...]
    above: tuple[Layer, ...]
    gap: Layer


class SingularTriplets(NamedTuple):
    """M = Σ_α s_α u_α v_αᵀ: `outputs` u [outputs, modes], `singular_values` s [modes], `inputs` v [inputs, modes]."""

    outputs: Float[Array, "outputs modes"]
    singular_values: Float[Array, " modes"]
    inputs: Float[Array, "inputs modes"]


def singular_triplets(teacher: Real[ArrayLike, "outputs inputs"]) -> SingularTriplets:
    """All min(outputs, inputs) singular triplets of the teacher, descending, those of singular value 0 included.

    The largest entry of each u_α is positive. Where singular values are equal, 0 included, their vectors are one
    choice of many, and so is whatever depends on them; for the same reason derivatives with respect to the teacher
    (not the weights) exist only where the singular values differ, and are NaN elsewhere.
    """
    U, s, Vt = jnp.linalg.svd(_teacher(teacher), full_matrices=False)
    largest = jnp.argmax(jnp.abs(U), axis=0)
    sign = jnp.where(jnp.take_along_axis(U, largest[None, :], axis=0) < 0, -1.0, 1.0)
    return SingularTriplets(U * sign, s, Vt.T * sign)


def population_loss(
    weights: Weights, teacher: Real[ArrayLike, "outputs inputs"], *, label_noise_std: RealScalar = 0.0
) -> Scalar:
    """½ |Δ|² + ½ d_L σ², [], the mean of ½ |y − W x|² over the stream."""
    gap = network(weights, teacher).gap
    return (jnp.sum(gap**2) + gap.shape[0] * label_variance(label_noise_std)) / 2


def population_gradient(weights: Weights, teacher: Real[ArrayLike, "outputs inputs"]) -> Vector:
    """G_1, …, G_L, [parameters], flattened layer by layer, row by row."""
    return flatten(gradients(network(weights, teacher)))


def jacobians(weights: Weights) -> tuple[Layer, ...]:
    """J_l of each layer, [outputs·inputs, d_l d_{l−1}], all matrices flattened row by row."""
    _, below, above = partial_products(weights)
    return tuple(jnp.kron(after, before.T) for before, after in zip(below, above, strict=True))


def neural_tangents(weights: Weights) -> Float[Array, "layers entries entries"]:
    """K_l = J_l J_lᵀ of each layer, [layers, outputs·inputs, outputs·inputs]."""
    _, below, above = partial_products(weights)
    return jnp.stack([jnp.kron(B @ B.T, A.T @ A) for A, B in zip(below, above, strict=True)])


def network(weights: Weights, teacher: Real[ArrayLike, "outputs inputs"]) -> Network:
    """Layers, partial products and gap, checked to fit one another."""
    layers, below, above = partial_products(weights)
    M, W = _teacher(teacher), layers[-1] @ below[-1]
    if M.shape != W.shape:
        raise ValueError(
            f"teacher has shape {M.shape}, but it must be [outputs, inputs] = {W.shape}, as that of the network's "
            "layers W_L … W_1."
        )
    return Network(layers, below, above, M - W)


def partial_products(weights: Weights) -> tuple[tuple[Layer, ...], tuple[Layer, ...], tuple[Layer, ...]]:
    """(W_l, W_<l, W_>l), each l = 1 … L."""
    W = layers(weights)
    below = accumulate(W[:-1], lambda product, layer: layer @ product, initial=jnp.eye(W[0].shape[1]))
    above = accumulate(W[:0:-1], lambda product, layer: product @ layer, initial=jnp.eye(W[-1].shape[0]))
    return W, tuple(below), tuple(above)[::-1]


def layers(weights: Weights) -> tuple[Layer, ...]:
    """The layers as float64, where there is one at least and they can be chained."""
    W = tuple(_checks.float64("weights", layer) for layer in weights)
    shapes = [layer.shape for layer in W]
    fit = all(len(shape) == 2 for shape in shapes) and all(a[0] == b[1] for a, b in pairwise(shapes))
    if not (shapes and fit):
        raise ValueError(f"weights have shapes {shapes}, but they must be [d_l, d_(l−1)], from the inputs on.")
    return W


def gradients(state: Network) -> tuple[Layer, ...]:
    """G_l of each layer."""
    return tuple(pulled_back(state, -state.gap))


def pulled_back(state: Network, change: Layer) -> list[Layer]:
    """W_>lᵀ (change of W) W_<lᵀ of each layer: J_lᵀ applied."""
    return [after.T @ change @ before.T for before, after in zip(state.below, state.above, strict=True)]


def label_variance(label_noise_std: RealScalar) -> Scalar:
    """σ², [], of σ ≥ 0."""
    σ = _checks.shaped("label_noise_std", _checks.float64("label_noise_std", label_noise_std), ())
    return _checks.not_negative("label_noise_std", σ) ** 2


def flatten(blocks: Sequence[Array]) -> Vector:
    """One vector, block by block, row by row."""
    return jnp.concatenate([block.reshape(-1) for block in blocks])


def _teacher(teacher: Real[ArrayLike, "outputs inputs"]) -> Layer:
    M = _checks.float64("teacher", teacher)
    if M.ndim != 2:
        raise ValueError(f"teacher has shape {M.shape}, but it must be a matrix, [outputs, inputs].")
    return M
