"""What a stationary linear process minimises, and what turns it: the decomposition of the drift [App. D, E].

For dx = −A (x − μ) dt + √(2κ⁻¹D) dW of stationary covariance κ⁻¹ B, A B + B Aᵀ = 2D (19),

    U = B⁻¹,      Q = A B − D = −Qᵀ,      A = (D + Q) U                              (22),

the stationary density is e^{−κΨ} with the modified loss Ψ = ½ (x − μ)ᵀ U (x − μ) (39), and its current j p with
j = −Q U (x − μ) (40), along the level lines of Ψ and without divergence. Also the right form of the identity (23),

    A Q + Q Aᵀ = A D − D Aᵀ,

where the paper prints A for Aᵀ: see `symmetric_decomposition`. The steps of SGD, E x_{k+1} = (1 − ηA) x_k, have
with their own B = κM

    D = (A B + B Aᵀ)/2 = κ N/(2η) + (η/2) A B Aᵀ,      Q = (A B − B Aᵀ)/2 = −κ (R₁ − R₁ᵀ)/(2η),

R₁ the autocovariance after one step; (22) holds for these, too.

Where B is singular (no noise, directly or through the drift, reaches a direction), the law has no density there. U is
then the inverse on the range of B and 0 beyond (B U B = B, U B U = U), (22) holds for states in the range, and Ψ
sees of any other state only its part in the range: states off the range have probability 0, not a small Ψ.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import Matrix, RealScalar, Scalar, Vector
from sgdynamics.theory._arguments import attracting, hessian_and_noise, hyperparameters, single, stable
from sgdynamics.theory._arguments import form as known_form
from sgdynamics.theory.momentum._phase_space import inverse_temperature, phase_space, recursion
from sgdynamics.theory.ou import OrnsteinUhlenbeck

DECOMPOSITION_FORMS = ("exact", "sde")
RANK = 1e-12  # smaller variances, in units of the largest, are 0


class Decomposition(eqx.Module):
    """A = (D + Q) U, and the law e^{−κΨ} with Ψ = ½ (x − μ)ᵀ U (x − μ).

    - `diffusion`: D, symmetric; `circulation`: Q, antisymmetric; `modified_hessian`: U, symmetric;
      `lyapunov`: B, the inverse of U on its range; all [state, state].
    - `inverse_temperature`: κ, []; `mean`: μ, [state].
    """

    diffusion: Matrix
    circulation: Matrix
    modified_hessian: Matrix
    lyapunov: Matrix
    inverse_temperature: Scalar
    mean: Vector

    def stationary_covariance(self) -> Matrix:
        """κ⁻¹ B, [state, state] [(27)]."""
        return self.lyapunov / self.inverse_temperature

    def modified_loss(self, state: Real[ArrayLike, "*points state"]) -> Float[Array, "*points"]:
        """Ψ at each state, [*points] [(39)]."""
        x = self._from_mean(state)
        return jnp.sum(x * (x @ self.modified_hessian), axis=-1) / 2

    def force(self, state: Real[ArrayLike, "*points state"]) -> Float[Array, "*points state"]:
        """j = −Q U (x − μ), [*points, state]: the stationary current is j p [(40), (47)]."""
        return -self._from_mean(state) @ (self.circulation @ self.modified_hessian).T

    def _from_mean(self, state: Real[ArrayLike, "*points state"]) -> Float[Array, "*points state"]:
        x = _checks.float64("state", state)
        if x.shape[-1:] != self.mean.shape:
            raise ValueError(f"state has shape {x.shape}, but its last axis must be {len(self.mean)} long.")
        return x - jnp.expand_dims(self.mean, tuple(range(x.ndim - 1)))


def process_decomposition(process: OrnsteinUhlenbeck, *, inverse_temperature: RealScalar = 1.0) -> Decomposition:
    """Of any Ornstein-Uhlenbeck process with a stationary law; κ only sets the units of Ψ and D = κN/2."""
    κ = _checks.positive("inverse_temperature", _checks.float64("inverse_temperature", inverse_temperature))
    B = κ * process.stationary_covariance()
    return assembled(process.drift, B, κ, process.mean, jnp.ones_like(process.mean))


def decomposition(
    hessian: Real[ArrayLike, "parameters parameters"],
    noise_covariance: Real[ArrayLike, "parameters parameters"],
    *,
    learning_rate: RealScalar,
    momentum: RealScalar,
    weight_decay: RealScalar = 0.0,
    mean: Real[ArrayLike, " parameters"] | None = None,
    form: str = "exact",
) -> Decomposition:
    """Of SGD with momentum over (θ, v), [2 parameters], κ = 1 − β²: for any H and C.

    `form`: "exact", of the law of the steps and their autocovariance after one step (see above); "sde", of the
    stationary law of (4). `commuting_decomposition` is the latter in closed form for H C = C H.

    **Raises** `ValueError` where there is no stationary law, and as `phase_space` does. For `jax.grad` the range of
    B must not change with the arguments.
    """
    known_form(form, DECOMPOSITION_FORMS)
    H, C = hessian_and_noise(hessian, noise_covariance)
    setting = single(hyperparameters(learning_rate, momentum, weight_decay))
    K = attracting(H, C, setting)
    η, β, λ = setting
    κ = inverse_temperature(β)
    process = phase_space(H, C, learning_rate=η, momentum=β, weight_decay=λ, mean=mean)
    if form == "sde":
        B = κ * process.stationary_covariance()
        return assembled(process.drift, B, κ, process.mean, _units(B))
    η = stable(η, β, jnp.max(jnp.linalg.eigvalsh(jax.lax.stop_gradient(K))))
    steps = recursion(H, C, learning_rate=η, momentum=β, weight_decay=λ)
    B = κ * steps.stationary_covariance()
    return assembled((jnp.eye(len(B)) - steps.transition) / η, B, κ, process.mean, _units(B))


@jax.jit
def assembled(drift: Matrix, lyapunov: Matrix, kappa: Scalar, mean: Vector, units: Vector) -> Decomposition:
    """From A and B; which directions B reaches is judged with the state in `units`."""
    flow = drift @ lyapunov
    U = inverse_on_range(lyapunov, units)
    return Decomposition((flow + flow.T) / 2, (flow - flow.T) / 2, U, lyapunov, kappa, mean)


@jax.jit
def inverse_on_range(B: Matrix, units: Vector) -> Matrix:
    """The pseudo-inverse of B in coordinates divided by `units`, in the original ones."""
    scaled = B / units[:, None] / units[None, :]
    U = jnp.linalg.pinv((scaled + scaled.T) / 2, hermitian=True, rtol=RANK) / units[:, None] / units[None, :]
    return (U + U.T) / 2


def _units(B: Matrix) -> Vector:
    """The root mean square of θ and that of v: with one unit for each, U is also the Moore-Penrose inverse."""
    variance = jnp.mean(jax.lax.stop_gradient(jnp.diagonal(B)).reshape(2, -1), axis=1)
    return jnp.repeat(jnp.sqrt(jnp.where(variance > 0, variance, 1)), len(B) // 2)
