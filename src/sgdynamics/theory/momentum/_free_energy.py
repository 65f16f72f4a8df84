"""The free energy of a normal law along the Fokker-Planck flow of a linear process [App. E].

With the modified loss Ψ = ½ (x − μ)ᵀ U (x − μ), U = (κM)⁻¹, M the stationary covariance, and for p = N(m, P) in d
dimensions, H(p) = ½ log det(2πe P):

    F(p) = E_p Ψ − κ⁻¹ H(p) = κ⁻¹ KL(p ‖ p_ss) + F(p_ss),      F(p_ss) = −κ⁻¹ ½ log det(2π M)      [(34), Thm. 2],
    KL = ½ [tr(M⁻¹P) − d − log det(M⁻¹P) + (m − μ)ᵀ M⁻¹ (m − μ)].

Along the flow of dx = −A (x − μ) dt + √(2κ⁻¹D) dW the current of p is −[(D + Q) ∇Ψ + κ⁻¹ D ∇ log p] p. The part
of Q has no divergence where Ψ does not change, and leaves F alone; what remains is

    dF/dt = −E_p[gᵀ D g],      g = ∇Ψ + κ⁻¹ ∇ log p = U (x − μ) − κ⁻¹ P⁻¹ (x − m)
          = −(m − μ)ᵀ U D U (m − μ) − tr[(U − κ⁻¹P⁻¹) D (U − κ⁻¹P⁻¹) P] ≤ 0.

D may be singular: in phase space noise drives the velocity only, so that dF/dt vanishes at instants, as where only
the position is off its stationary law, while F goes on falling just after.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import Matrix, RealScalar, Scalar
from sgdynamics.theory.ou import OrnsteinUhlenbeck

SMALLEST_PIVOT = 1e-14  # a variance given the others, in units of itself: less is rounding


def relative_entropy(
    process: OrnsteinUhlenbeck,
    mean: Real[ArrayLike, "*times parameters"],
    covariance: Real[ArrayLike, "*times parameters parameters"],
) -> Float[Array, "*times"]:
    """KL(p ‖ p_ss) ≥ 0 of p = N(mean, covariance) to the stationary law, in nats, [*times].

    Accurate also where p is close to p_ss. **Raises** where either law has no density.
    """
    return _relative_entropy(_stationary(process), *_law(process, mean, covariance))


def free_energy(
    process: OrnsteinUhlenbeck,
    mean: Real[ArrayLike, "*times parameters"],
    covariance: Real[ArrayLike, "*times parameters parameters"],
    *,
    inverse_temperature: RealScalar = 1.0,
) -> Float[Array, "*times"]:
    """F(p) = E_p Ψ − κ⁻¹ H(p) of p = N(mean, covariance), [*times], with Ψ normalised to 0 at the mean of p_ss.

    For phase space κ is `momentum.inverse_temperature(momentum)`, as in `decomposition`; `process.mean_at(t, x0)` and
    `process.covariance_at(t, initial)` follow the flow. **Raises** where either law has no density.
    """
    κ = _kappa(inverse_temperature)
    M = _stationary(process)
    return (_relative_entropy(M, *_law(process, mean, covariance)) - _half_log_determinant(M)) / κ


def equilibrium_free_energy(process: OrnsteinUhlenbeck, *, inverse_temperature: RealScalar = 1.0) -> Scalar:
    """F(p_ss) = −κ⁻¹ log ∫ e^{−κΨ}, []: the least there is."""
    return -_half_log_determinant(_stationary(process)) / _kappa(inverse_temperature)


def free_energy_rate(
    process: OrnsteinUhlenbeck,
    mean: Real[ArrayLike, "*times parameters"],
    covariance: Real[ArrayLike, "*times parameters parameters"],
    *,
    inverse_temperature: RealScalar = 1.0,
) -> Float[Array, "*times"]:
    """dF/dt ≤ 0 where the process has the law N(mean, covariance), per unit of t, [*times]."""
    κ = _kappa(inverse_temperature)
    M = _stationary(process)
    offset, P = _law(process, mean, covariance)
    return _rate(M, process.noise, offset, P) / κ


@jax.jit
def _rate(M: Matrix, noise: Matrix, offset: Array, P: Array) -> Float[Array, "*times"]:
    """κ dF/dt: κ g has the mean M⁻¹(m − μ) and the covariance G Gᵀ of G = (M⁻¹ − P⁻¹) L = M⁻¹ (P − M) L⁻ᵀ."""
    L = jnp.linalg.cholesky(P)
    systematic = _solve(M, offset[..., None])
    G = _solve(M, jnp.swapaxes(_lower(L, P - _under(M, P)), -1, -2))
    return -(_square(systematic, noise) + _square(G, noise)) / 2


@jax.jit
def _relative_entropy(M: Matrix, offset: Array, P: Array) -> Float[Array, "*times"]:
    L = _under(jnp.linalg.cholesky(M), P)
    half = _lower(L, P - _under(M, P))
    excess = _lower(L, jnp.swapaxes(half, -1, -2))
    shift = jnp.sum(_lower(L, offset[..., None]) ** 2, axis=(-2, -1))
    return (_spread((excess + jnp.swapaxes(excess, -1, -2)) / 2) + shift) / 2


@jax.custom_jvp
def _spread(excess: Array) -> Float[Array, "*times"]:
    """tr E − log det(1 + E) of E = L⁻¹ P L⁻ᵀ − 1, by its eigenvalues, so that small differences keep their digits."""
    δ = jnp.linalg.eigvalsh(excess)
    return jnp.sum(δ - jnp.log1p(δ), axis=-1)


@_spread.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """tr[(1 + E)⁻¹ E dE]: no eigenvectors, for equal eigenvalues are the rule."""
    (E,), (dE,) = primals, tangents
    slope = jnp.linalg.solve(E + _under(jnp.eye(E.shape[-1]), E), E)
    return _spread(E), jnp.sum(jnp.swapaxes(slope, -1, -2) * dE, axis=(-2, -1))


@jax.jit
def _half_log_determinant(M: Matrix) -> Scalar:
    """½ log det(2π M)."""
    return jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(M)))) + len(M) * jnp.log(2 * jnp.pi) / 2


def _stationary(process: OrnsteinUhlenbeck) -> Matrix:
    remedy = "Leave out the directions that no noise reaches, directly or through the drift."
    M = process.stationary_covariance()
    return _checks.provided(
        M, "process.noise", process.noise, _has_density(M), allowed="such that the stationary law has a density",
        remedy=remedy,
    )  # fmt: skip


def _law(process: OrnsteinUhlenbeck, mean: ArrayLike, covariance: ArrayLike) -> tuple[Array, Array]:
    """m − μ and P, of the same leading axes."""
    m, P = _checks.float64("mean", mean), _checks.float64("covariance", covariance)
    d = len(process.mean)
    P = _checks.shaped("covariance", P, (*P.shape[:-2], d, d))
    m = _checks.shaped("mean", m, (*P.shape[:-2], d), remedy="One mean for each covariance.")
    P = _checks.require(
        "covariance", P, _has_density(P), allowed="positive definite",
        remedy="A law without density has an infinite free energy: start with a small variance in every direction.",
    )  # fmt: skip
    return m - jnp.broadcast_to(process.mean, m.shape), P


@jax.jit
def _has_density(P: Array) -> Array:
    """Whether every variance, given those before it, is more than rounding."""
    P = jax.lax.stop_gradient(P)
    pivots = jnp.diagonal(jnp.linalg.cholesky(P), axis1=-2, axis2=-1) ** 2
    variances = jnp.diagonal(P, axis1=-2, axis2=-1)
    return jnp.all((pivots > SMALLEST_PIVOT * variances) & (variances > 0))


def _kappa(inverse_temperature: RealScalar) -> Scalar:
    κ = _checks.float64("inverse_temperature", inverse_temperature)
    return _checks.positive("inverse_temperature", _checks.shaped("inverse_temperature", κ, ()))


def _square(G: Array, noise: Matrix) -> Array:
    """tr(Gᵀ N G)."""
    return jnp.sum(G * (_under(noise, G) @ G), axis=(-2, -1))


def _under(M: Matrix, like: Array) -> Array:
    return jnp.broadcast_to(M, (*like.shape[:-2], *M.shape))


def _lower(L: Array, X: Array) -> Array:
    return jax.scipy.linalg.solve_triangular(L, X, lower=True)


def _solve(M: Matrix, X: Array) -> Array:
    return jnp.linalg.solve(_under(M, X), X)
