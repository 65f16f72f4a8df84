"""SGD with momentum near a minimum, as a linear process over (θ, v), with the gradient noise of the minimum.

With K = H + λ and c₀ = 2/(η(1 + β)), the SDE (4), (42) is dx = −A (x − μ) dt + √N dW, N = 2κ⁻¹ D,

    A = [[0, −1], [c₀ K, c₀ (1 − β)]],      N = [[0, 0], [0, η c₀² C]],      μ = ((H + λ)⁻¹ b, 0).

In the paper C = Σ/S, κ = S(1 − β²) and D_vv = c₀ (1 − β) Σ: here the batch size S is part of C, so that
κ = 1 − β² goes with D_vv = c₀ (1 − β) C. The steps (2) themselves are x_{k+1} − μ = T (x_k − μ) + (η ξ, ξ),

    T = [[1 − η K, η β], [−K, β]],      cov ξ = C,

exact in discrete time. (v_k is the velocity that led to θ_k: θ_k − θ_{k−1} = η v_k.)
"""

import jax.numpy as jnp
from jaxtyping import ArrayLike, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar, Scalar
from sgdynamics.theory._arguments import hessian_and_noise, hyperparameters, restoring, single
from sgdynamics.theory.ou import OrnsteinUhlenbeck
from sgdynamics.theory.recursion import LinearRecursion


def inverse_temperature(momentum: RealScalar) -> Scalar:
    """κ = 1 − β², []: the density of the stationary law is e^{−κΨ}, Ψ the modified loss [after (42)]."""
    return 1 - _checks.momentum("momentum", _checks.float64("momentum", momentum)) ** 2


def phase_space(
    hessian: Real[ArrayLike, "parameters parameters"],
    noise_covariance: Real[ArrayLike, "parameters parameters"],
    *,
    learning_rate: RealScalar,
    momentum: RealScalar,
    weight_decay: RealScalar = 0.0,
    mean: Real[ArrayLike, " parameters"] | None = None,
) -> OrnsteinUhlenbeck:
    """The SDE of momentum over (θ, v), [2 parameters] [(4), (42)]; time is learning_rate × step.

    - `hessian`: H, [parameters, parameters], without weight decay; any signs. `stationary_covariance()` then
      raises where there is none: negative curvature, or noise where the curvature is 0.
    - `noise_covariance`: C of the minibatch gradient, [parameters, parameters], batch size included.
    - `mean`: the minimum of loss and weight decay together, [parameters]; 0 unless given.

    **Raises** `ValueError` for a Hessian that is not symmetric, a C that is no covariance, or hyperparameters
    outside η > 0, 0 ≤ β < 1, λ ≥ 0.
    """
    H, C = hessian_and_noise(hessian, noise_covariance)
    setting = single(hyperparameters(learning_rate, momentum, weight_decay))
    one, zero = jnp.eye(len(H)), jnp.zeros_like(H)
    A = jnp.block([[zero, -one], [setting.stiffness * restoring(H, setting.weight_decay), setting.friction * one]])
    N = jnp.block([[zero, zero], [zero, setting.learning_rate * setting.stiffness**2 * C]])
    if mean is None:
        return OrnsteinUhlenbeck(A, N)
    μ = _checks.shaped("mean", _checks.float64("mean", mean), H.shape[:1])
    return OrnsteinUhlenbeck(A, N, jnp.concatenate([μ, jnp.zeros_like(μ)]))


def recursion(
    hessian: Real[ArrayLike, "parameters parameters"],
    noise_covariance: Real[ArrayLike, "parameters parameters"],
    *,
    learning_rate: RealScalar,
    momentum: RealScalar,
    weight_decay: RealScalar = 0.0,
) -> LinearRecursion:
    """The steps of SGD with momentum over (θ − μ, v), [2 parameters]: exact in discrete time [(2)].

    Arguments and errors as for `phase_space`. The noise is frozen at its value in the minimum; where the learning
    rate is 2 (1 + momentum) / curvature or more, `stationary_covariance()` raises.
    """
    H, C = hessian_and_noise(hessian, noise_covariance)
    η, β, λ = single(hyperparameters(learning_rate, momentum, weight_decay))
    K, one = restoring(H, λ), jnp.eye(len(H))
    T = jnp.block([[one - η * K, η * β * one], [-K, β * one]])
    kick = jnp.stack([η, jnp.ones_like(η)])
    return LinearRecursion(T, jnp.kron(kick[:, None] * kick[None, :], C))
