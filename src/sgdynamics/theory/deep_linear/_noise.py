"""Covariance of the gradient's noise: Corlouer et al. (2026), Proposition 3.2 and Appendix B.

A sample (x, ε) of residual r = Δ x + ε has the gradient −W_>lᵀ r xᵀ W_<lᵀ, and so the noise ξ_l = −W_>lᵀ S W_<lᵀ with
S = r xᵀ − Δ of mean 0. For normal x, by Isserlis' theorem,

    E S_ij S_kl = C_ik δ_jl + Δ_il Δ_kj,      C = Δ Δᵀ + σ²,      i.e.      E[S ⟨S, B⟩] = C B + Δ Bᵀ Δ,

and the covariance of the gradient of one sample is, with matrices flattened row by row and J_l of Proposition 3.1,

    Σ_lm = J_lᵀ E[vec S vec Sᵀ] J_m = J_lᵀ (Δ ⊗ 1)(1 + T)(Δ ⊗ 1)ᵀ J_m + (W_>lᵀ Σ_q W_>m) ⊗ (W_<l W_<mᵀ),

T the permutation vec B → vec Bᵀ, Σ_q = σ² 1; a minibatch divides it by its size. It is never of more than
outputs·inputs dimensions. Applied to v = (V_1, …, V_L) it costs no more than the network itself:

    B = J v = Σ_l W_>l V_l W_<l,      (Σ v)_l = W_>lᵀ (C B + Δ Bᵀ Δ) W_<lᵀ,
    aᵀ Σ b = ½ ⟨Y_a + Y_aᵀ, Y_b + Y_bᵀ⟩ + σ² ⟨B_a, B_b⟩,      Y = Δᵀ B.

The paper's boxed forms are right where J_l is; the label noise's variance is σ_q², not σ_q. In the unboxed steps of
Appendix A.2 the covariance of the accumulated noise should be t Σ. Inputs that are white but not normal change 1 + T
by their fourth cumulants.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import Matrix, RealScalar, Scalar, Vector
from sgdynamics.theory.deep_linear._network import (
    Layer,
    Network,
    Weights,
    flatten,
    jacobians,
    label_variance,
    network,
    pulled_back,
)


def noise_covariance(
    weights: Weights,
    teacher: Real[ArrayLike, "outputs inputs"],
    *,
    label_noise_std: RealScalar,
    batch_size: RealScalar = 1,
) -> Matrix:
    """Σ / batch_size of the minibatch gradient, [parameters, parameters].

    **Raises** `ValueError` for layers that cannot be chained, a teacher of another shape, negative `label_noise_std`,
    or a `batch_size` that is not positive.
    """
    state, σ2, b = network(weights, teacher), label_variance(label_noise_std), size(batch_size)
    outputs, inputs = state.gap.shape
    labels = σ2 * jnp.eye(outputs * inputs)
    same = jnp.kron(state.gap @ state.gap.T, jnp.eye(inputs))
    # entry (ij, kl) is Δ_il Δ_kj
    crossed = jnp.einsum("il,kj->ijkl", state.gap, state.gap).reshape(same.shape)
    J = jnp.concatenate(jacobians(weights), axis=1)
    return J.T @ (same + crossed + labels) @ J / b


def apply_noise_covariance(
    weights: Weights,
    teacher: Real[ArrayLike, "outputs inputs"],
    vector: Real[ArrayLike, " parameters"],
    *,
    label_noise_std: RealScalar,
    batch_size: RealScalar = 1,
) -> Vector:
    """`noise_covariance(...) @ vector`, [parameters], without the matrix."""
    state, σ2, b = network(weights, teacher), label_variance(label_noise_std), size(batch_size)
    Δ, B = state.gap, _pushed("vector", state, vector)
    return flatten(pulled_back(state, (Δ @ (Δ.T @ B) + σ2 * B + Δ @ B.T @ Δ) / b))


def noise_quadratic_form(
    weights: Weights,
    teacher: Real[ArrayLike, "outputs inputs"],
    a: Real[ArrayLike, " parameters"],
    b: Real[ArrayLike, " parameters"] | None = None,
    *,
    label_noise_std: RealScalar,
    batch_size: RealScalar = 1,
) -> Scalar:
    """aᵀ Σ b / batch_size, [], without the matrix; b = a unless given."""
    state, σ2, count = network(weights, teacher), label_variance(label_noise_std), size(batch_size)
    A = _pushed("a", state, a)[None]
    B = A if b is None else _pushed("b", state, b)[None]
    return products(state.gap, σ2, A, B)[0, 0] / count


def products(
    gap: Layer, variance: Scalar, A: Float[Array, "m outputs inputs"], B: Float[Array, "n outputs inputs"]
) -> Float[Array, "m n"]:
    """E ⟨S, A_m⟩⟨S, B_n⟩ of one sample, [m, n]."""
    Y, Z = (jnp.einsum("oi,moj->mij", gap, X) for X in (A, B))
    Y, Z = (X + jnp.swapaxes(X, 1, 2) for X in (Y, Z))
    return jnp.einsum("mij,nij->mn", Y, Z) / 2 + variance * jnp.einsum("moi,noi->mn", A, B)


def size(batch_size: RealScalar) -> Scalar:
    """The batch size, [], > 0."""
    b = _checks.shaped("batch_size", _checks.float64("batch_size", batch_size), ())
    return _checks.positive("batch_size", b)


def rate(learning_rate: RealScalar) -> Scalar:
    """The learning rate, [], > 0."""
    η = _checks.shaped("learning_rate", _checks.float64("learning_rate", learning_rate), ())
    return _checks.positive("learning_rate", η)


def _pushed(argument: str, state: Network, vector: Real[ArrayLike, " parameters"]) -> Layer:
    """Σ_l W_>l V_l W_<l, the change of W when the parameters change by `vector`."""
    sizes = [layer.size for layer in state.weights]
    v = _checks.shaped(
        argument, _checks.float64(argument, vector), (sum(sizes),), remedy="One entry for each parameter."
    )
    change, start = jnp.zeros_like(state.gap), 0
    for layer, before, after in zip(state.weights, state.below, state.above, strict=True):
        change += after @ v[start : start + layer.size].reshape(layer.shape) @ before
        start += layer.size
    return change
