"""The stationary law of (4) in closed form, where Hessian and noise commute: H C = C H [(8)-(11), (43)-(47)].

With K = H + λ, c₀ = 2/(η(1 + β)), κ = 1 − β² and D_vv = c₀ (1 − β) C:

    U = [[c₀ C⁻¹ K, 0], [0, C⁻¹]],      Q = [[0, −C], [C, 0]],      B = U⁻¹ = [[K⁻¹ C / c₀, 0], [0, C]],
    Cov θ = η/(2(1 − β)) K⁻¹ C,      Cov v = C/(1 − β²),      Cov(θ, v) = 0,
    Ψ = Ψ_θ + Ψ_v,      Ψ_θ = ½ c₀ (θ − μ)ᵀ C⁻¹ K (θ − μ),      Ψ_v = ½ vᵀ C⁻¹ v,
    j = −Q U x = (v, −c₀ K (θ − μ)).

The paper has C = σ² H/S. B solves (19) only if K⁻¹ C = C K⁻¹, for it must be symmetric; elsewhere Cov(θ, v) ≠ 0 and
`decomposition(..., form="sde")` is the law. Where C is singular, C⁻¹ is the inverse on its range: Ψ and j then leave
out the noiseless directions, flat ones included.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks, _linalg
from sgdynamics._types import Matrix, RealScalar
from sgdynamics.theory._arguments import (
    Hyperparameters,
    attracting,
    hessian_and_noise,
    hyperparameters,
    single,
)
from sgdynamics.theory.momentum._decomposition import Decomposition, inverse_on_range
from sgdynamics.theory.momentum._phase_space import inverse_temperature

NOT_COMMUTING = 1e-8  # of |H| |C|


def commuting_decomposition(
    hessian: Real[ArrayLike, "parameters parameters"],
    noise_covariance: Real[ArrayLike, "parameters parameters"],
    *,
    learning_rate: RealScalar,
    momentum: RealScalar,
    weight_decay: RealScalar = 0.0,
    mean: Real[ArrayLike, " parameters"] | None = None,
) -> Decomposition:
    """U, Q, D and B of the SDE (4) over (θ, v), [2 parameters], for H C = C H [(43)]; κ = 1 − β².

    **Raises** `ValueError` where H and C do not commute, and where there is no stationary law.
    """
    K, C, setting = _commuting(hessian, noise_covariance, learning_rate, momentum, weight_decay)
    zero, c0, β = jnp.zeros_like(C), setting.stiffness, setting.momentum
    D = jnp.block([[zero, zero], [zero, setting.friction * C]])
    Q = jnp.block([[zero, -C], [C, zero]])
    B = jnp.block([[_over(K, C) / c0, zero], [zero, C]])
    U = jnp.block([[c0 * _modified(K, C), zero], [zero, _inverse(C)]])
    μ = jnp.zeros(len(C)) if mean is None else _checks.float64("mean", mean)
    μ = _checks.shaped("mean", μ, (len(C),))
    return Decomposition(D, Q, U, B, inverse_temperature(β), jnp.concatenate([μ, jnp.zeros_like(μ)]))


def commuting_covariance(
    hessian: Real[ArrayLike, "parameters parameters"],
    noise_covariance: Real[ArrayLike, "parameters parameters"],
    *,
    learning_rate: RealScalar,
    momentum: RealScalar,
    weight_decay: RealScalar = 0.0,
) -> tuple[Matrix, Matrix]:
    """(Cov θ, Cov v) of the SDE for H C = C H, [parameters, parameters] each [(8)]; Cov(θ, v) = 0."""
    K, C, setting = _commuting(hessian, noise_covariance, learning_rate, momentum, weight_decay)
    η, β, _ = setting
    return η / (2 * (1 - β)) * _over(K, C), C / (1 - β**2)


def position_loss(
    position: Real[ArrayLike, "*points parameters"],
    hessian: Real[ArrayLike, "parameters parameters"],
    noise_covariance: Real[ArrayLike, "parameters parameters"],
    *,
    learning_rate: RealScalar,
    momentum: RealScalar,
    weight_decay: RealScalar = 0.0,
) -> Float[Array, "*points"]:
    """Ψ_θ = ½ c₀ θᵀ C⁻¹ K θ at `position` θ − μ, [*points] [(10), (45)]; isotropic if C ∝ H and λ = 0."""
    K, C, setting = _commuting(hessian, noise_covariance, learning_rate, momentum, weight_decay)
    return _quadratic("position", position, setting.stiffness * _modified(K, C))


def velocity_loss(
    velocity: Real[ArrayLike, "*points parameters"], noise_covariance: Real[ArrayLike, "parameters parameters"]
) -> Float[Array, "*points"]:
    """Ψ_v = ½ vᵀ C⁻¹ v, [*points] [(11), (46)]."""
    _, C = hessian_and_noise(noise_covariance, noise_covariance)
    return _quadratic("velocity", velocity, _inverse(C))


def _commuting(
    hessian, noise_covariance, learning_rate, momentum, weight_decay
) -> tuple[Matrix, Matrix, Hyperparameters]:
    H, C = hessian_and_noise(hessian, noise_covariance)
    setting = single(hyperparameters(learning_rate, momentum, weight_decay))
    size = jnp.max(jnp.abs(H)) * jnp.max(jnp.abs(C)) * len(H)
    C = _checks.provided(
        C, "noise_covariance", C, jnp.max(jnp.abs(H @ C - C @ H)) <= NOT_COMMUTING * size,
        allowed="of the same eigenvectors as hessian (hessian @ noise_covariance symmetric)",
        remedy='For any other noise use `momentum.decomposition(..., form="sde")` or `momentum.phase_space`.',
    )  # fmt: skip
    return attracting(H, C, setting), C, setting


def _over(K: Matrix, C: Matrix) -> Matrix:
    """K⁻¹ C, of K X + X K = 2C: symmetric, and 0 where K and C both are."""
    X = _linalg.lyapunov(K, 2 * C)
    return (X + X.T) / 2


def _modified(K: Matrix, C: Matrix) -> Matrix:
    """C⁻¹ K."""
    U = _inverse(C) @ K
    return (U + U.T) / 2


def _inverse(C: Matrix) -> Matrix:
    largest = jnp.max(jax.lax.stop_gradient(jnp.diagonal(C)))
    return inverse_on_range(C, jnp.full(len(C), jnp.sqrt(jnp.where(largest > 0, largest, 1))))


def _quadratic(name: str, points: ArrayLike, matrix: Matrix) -> Array:
    x = _checks.float64(name, points)
    if x.shape[-1:] != matrix.shape[:1]:
        raise ValueError(f"{name} has shape {x.shape}, but its last axis must be {len(matrix)} long.")
    return jnp.sum(x * (x @ matrix), axis=-1) / 2
