"""Noise that depends on θ, in the late phase: what of it does not cancel over an epoch, and how far it is from θ*'s.

Near the minimum, with δ = θ − θ*, g_n and H_n gradient and Hessian of one example, and δg_n = g_n − ∇L, δH_n = H_n − H,

    ∇ℓ_n(θ) − ∇L(θ) = δg_n(θ*) + δH_n δ + …

Every example comes once in an epoch, so that the δg_n sum to nothing. The second term does not: with δ̄ the
epoch's mean,

    Σ_k δH_k δ_k = Σ_k δH_k (δ_k − δ̄),

which the weights of that epoch decide. It is new in every epoch: of the noise's variance, the part

    W_i = (P − S)/(S (P − 1)) Var_n pᵢᵀH_n (δ − δ̄)

acts as white noise, and adds ηW_i/(2 (1 − β) λ_i) to σ_θ,i². Below some curvature λ_f that is more than what
anti-correlated noise leaves, and σ_θ,i² no longer falls with λ. Where the leading modes, which make most of W, are far
above λ_cross, P λ_f is a property of the network: η, S and β drop out.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from sgdynamics._types import PRNGKey
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.kuehn2025 import _late_gradients as gradients
from sgdynamics.experiments.kuehn2025._late_phase import Minimum, Modes, Setting, frozen_noise, law
from sgdynamics.statistics import Estimate
from sgdynamics.theory import epochs as theory

_epochs = once(theory.stationary_variances)


def white_share(
    minimum: Minimum, setting: Setting, modes: Int[np.ndarray, " modes"], key: PRNGKey, draws: int = 64
) -> Estimate:
    """W_i of `modes`, over independent draws of δ − δ̄ with the frozen law's variances along all modes."""
    h = np.maximum(minimum.curvatures, 1e-9)
    δ = _normal(minimum, within_epoch(h, frozen_noise(minimum, setting, "epochs"), setting), key, draws)
    found = gradients.of_hessians(minimum.problem, minimum.parameters, δ, jnp.asarray(minimum.vectors[:, modes]))
    return over_realisations(setting.factor("epochs") * np.asarray(found))


def expected_surroundings(
    minimum: Minimum, setting: Setting, sampling: str, modes: Int[np.ndarray, " modes"], key: PRNGKey, draws: int
) -> tuple[Modes, Modes]:
    """C_ii(θ) and pᵀ(∇²L + λ)p as the frozen law has them: averages over θ of its variances, in the modes that are
    not softer than those watched."""
    h = minimum.curvatures
    σ2 = law(np.maximum(h, 1e-9), frozen_noise(minimum, setting, sampling), setting, sampling)[0]
    θ = minimum.parameters[None] + _normal(minimum, σ2 * (h >= h[modes[-1]]), key, draws)
    V, S = minimum.vectors[:, modes], setting.batch_size
    left = None if sampling == "replacement" else jnp.ones((draws, minimum.samples))
    more = gradients.excesses(minimum.problem, θ, minimum.parameters, jnp.asarray(V), left, S)
    stiffness = gradients.stiffnesses(minimum.problem, θ[: -(-draws // 2)], jnp.asarray(V.T)) + minimum.weight_decay
    noise = frozen_noise(minimum, setting, sampling)[modes] + np.mean(np.asarray(more), axis=0)
    return noise, np.mean(np.asarray(stiffness), axis=0)


def _normal(minimum: Minimum, variances: Modes, key: PRNGKey, draws: int) -> Float[jax.Array, "draws parameters"]:
    """Independent along the modes."""
    z = np.asarray(jax.random.normal(key, (draws, len(variances)), jnp.float64))
    return jnp.asarray(z * np.sqrt(np.maximum(variances, 0)) @ minimum.vectors.T)


def within_epoch(curvatures: Any, noise: Any, setting: Setting) -> Modes:
    """E Σ_k (δ_k − δ̄)²/(M − 1) of one epoch's weights before each step, with frozen noise.

    δ̄ is what the gradient's sum moves over an epoch: ηλM δ̄ = −[(1 − β)(δ_M − δ_0) + β (u_M − u_0)]. Nothing is
    left out here: it changes δ̄ by its share κ only.
    """
    h, C = np.asarray(curvatures, float), np.asarray(noise, float)
    η, β, M = setting.learning_rate, setting.momentum, setting.batches
    average = np.asarray(_epochs(h, C, **setting.step, batches_per_epoch=M, left_out=0.0)[0])
    T = np.moveaxis(np.array([[1 - η * h, β + 0 * h], [-η * h, β + 0 * h]]), -1, 0)
    P, TM = _start(T, C, η, M), np.linalg.matrix_power(T, M)
    along = np.array([1 - β, β])
    change = 2 * np.einsum("a,mab,b->m", along, P - TM @ P, along)
    return (average - change / (η * h * M) ** 2) * M / (M - 1)


def _start(T: np.ndarray, C: Modes, η: float, M: int) -> np.ndarray:
    """Covariance of (δ, u) between two epochs, [modes, 2, 2]: of T^M P T^Mᵀ + the noise of an epoch."""
    kicks = [np.full((len(C), 2), -η)]
    for _ in range(M - 1):
        kicks.append(np.einsum("mab,mb->ma", T, kicks[-1]))
    r = np.array(kicks) - np.mean(kicks, axis=0)
    P, power = M / (M - 1) * np.einsum("kma,kmb,m->mab", r, r, C), np.linalg.matrix_power(T, M)
    for _ in range(60):  # Σ_e T^{Me} … T^{Me}ᵀ by doubling
        P, power = P + power @ P @ np.swapaxes(power, 1, 2), power @ power
    return P
