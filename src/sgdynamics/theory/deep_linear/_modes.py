"""Amplitudes of the teacher's modes, and how they diffuse: Corlouer et al. (2026), Proposition 3.3, Appendix C.

The teacher's singular triplets M = Σ_α s_α u_α v_αᵀ define the amplitudes w_α = u_αᵀ W v_α and, of crossed modes,
w_αγ = u_αᵀ W v_γ. With respect to the layers

    ∂w_α/∂W_l = A_l = (W_>lᵀ u_α)(W_<l v_α)ᵀ,      a_α = (A_1, …, A_L) = Jᵀ (u_α ⊗ v_α)                          (24)

(row by row; the paper's index runs to N where L is meant), and the SDE gives dw_α dw_β the rate, β the temperature
learning_rate / batch_size,

    D_αβ = β a_αᵀ Σ a_β                                                                                    (28), (29)
         = β (u_α ⊗ v_α)ᵀ Σ_lm K_l E[vec S vec Sᵀ] K_m (u_β ⊗ v_β),

the second form with the neural tangent operators, as the paper has it without label noise. One matrix for each mode
does both,

    K (u_α ⊗ v_α) = vec B_α,      B_α = J a_α = Σ_l (W_>l W_>lᵀ u_α)(W_<lᵀ W_<l v_α)ᵀ.

Off the diagonal D_αβ is how w_α and w_β fluctuate together (the paper's "cross-mode diffusion"); the diffusion of
the crossed amplitudes w_αγ themselves is `cross_amplitude_diffusion`. For Langevin dynamics with the isotropic noise
of covariance v 1 (Remark after Proposition 3.4)

    D_αβ = learning_rate v a_αᵀ a_β = learning_rate v (u_α ⊗ v_α)ᵀ Σ_l K_l (u_β ⊗ v_β),

and the Itô drift, which the Remark calls proportional to the trace of the Hessian of w_α, is 0: w_α is linear in each
layer.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar
from sgdynamics.theory.deep_linear._network import (
    Network,
    Weights,
    label_variance,
    network,
    neural_tangents,
    singular_triplets,
)
from sgdynamics.theory.deep_linear._noise import products, rate, size

Teacher = Real[ArrayLike, "outputs inputs"]


def mode_amplitudes(weights: Weights, teacher: Teacher) -> Float[Array, " modes"]:
    """w_α = u_αᵀ W v_α, [modes], of all min(outputs, inputs) modes of `singular_triplets`, descending.

    Those of singular value 0 are included; where singular values are equal, the amplitudes depend on the choice made
    among their vectors.
    """
    return jnp.diagonal(cross_mode_amplitudes(weights, teacher))


def cross_mode_amplitudes(weights: Weights, teacher: Teacher) -> Float[Array, "modes modes"]:
    """u_αᵀ W v_γ, [modes, modes]; the diagonal holds the modes' own amplitudes."""
    state, modes = network(weights, teacher), singular_triplets(teacher)
    return modes.outputs.T @ (state.weights[-1] @ state.below[-1]) @ modes.inputs


def mode_sensitivities(weights: Weights, teacher: Teacher) -> Float[Array, "modes parameters"]:
    """a_α = ∂w_α/∂θ, [modes, parameters] (24)."""
    state, modes = network(weights, teacher), singular_triplets(teacher)
    blocks = [
        jnp.einsum("pm,qm->mpq", after.T @ modes.outputs, before @ modes.inputs).reshape(len(modes.singular_values), -1)
        for before, after in zip(state.below, state.above, strict=True)
    ]
    return jnp.concatenate(blocks, axis=1)


def mode_diffusion(
    weights: Weights,
    teacher: Teacher,
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    label_noise_std: RealScalar,
) -> Float[Array, "modes modes"]:
    """D_αβ (28), (29), [modes, modes], amplitude² per unit of t; neither Σ nor K is ever formed."""
    state, modes = network(weights, teacher), singular_triplets(teacher)
    B = _tangents(state, modes.outputs, modes.inputs)
    temperature = rate(learning_rate) / size(batch_size)
    return temperature * products(state.gap, label_variance(label_noise_std), B, B)


def neural_tangent_mode_diffusion(
    weights: Weights,
    teacher: Teacher,
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    label_noise_std: RealScalar,
) -> Float[Array, "modes modes"]:
    """D_αβ by the dense neural tangent operators, [modes, modes]: the form of Proposition 3.3, with label noise."""
    state, modes = network(weights, teacher), singular_triplets(teacher)
    directions = jnp.einsum("om,im->oim", modes.outputs, modes.inputs).reshape(state.gap.size, -1)
    B = (jnp.sum(neural_tangents(weights), axis=0) @ directions).T.reshape(-1, *state.gap.shape)
    temperature = rate(learning_rate) / size(batch_size)
    return temperature * products(state.gap, label_variance(label_noise_std), B, B)


def cross_amplitude_diffusion(
    weights: Weights,
    teacher: Teacher,
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    label_noise_std: RealScalar,
) -> Float[Array, "modes modes"]:
    """Variance of u_αᵀ W v_γ per unit of t, [modes, modes]; the diagonal is that of `mode_diffusion`."""
    state, modes = network(weights, teacher), singular_triplets(teacher)
    temperature, variance = rate(learning_rate) / size(batch_size), label_variance(label_noise_std)

    def row(u):
        B = _tangents(state, jnp.broadcast_to(u[:, None], (len(u), len(modes.singular_values))), modes.inputs)
        return jax.vmap(lambda X: products(state.gap, variance, X[None], X[None])[0, 0])(B)

    # mode by mode: all pairs at once would need modes² matrices
    return temperature * jax.lax.map(row, modes.outputs.T)


def isotropic_mode_diffusion(
    weights: Weights, teacher: Teacher, *, learning_rate: RealScalar, noise_variance: RealScalar
) -> Float[Array, "modes modes"]:
    """learning_rate · v · a_αᵀ a_β, [modes, modes], of dθ = −∇L dt + √(learning_rate · v) dB; v = `noise_variance`."""
    v = _checks.shaped("noise_variance", _checks.float64("noise_variance", noise_variance), ())
    a = mode_sensitivities(weights, teacher)
    return rate(learning_rate) * _checks.not_negative("noise_variance", v) * (a @ a.T)


def _tangents(
    state: Network, u: Float[Array, "outputs modes"], v: Float[Array, "inputs modes"]
) -> Float[Array, "modes outputs inputs"]:
    """B = Σ_l (W_>l W_>lᵀ u)(W_<lᵀ W_<l v)ᵀ of each pair."""
    total = jnp.zeros((u.shape[1], *state.gap.shape))
    for before, after in zip(state.below, state.above, strict=True):
        total += jnp.einsum("om,im->moi", after @ (after.T @ u), before.T @ (before @ v))
    return total
