"""The linear continuous process, first pillar of the theory: the Ornstein-Uhlenbeck process

    dx = −A (x − m) dt + √N dW        (Itô; A = `drift`, N = `noise` per unit of t, m = `mean`).

Law at time t from x₀ of covariance P:   m + F (x₀ − m),   F P Fᵀ + Q,   with
F = e^{−At}, Q = ∫₀ᵗ e^{−As} N e^{−Aᵀs} ds; stationary covariance A M + M Aᵀ = N; circulation
Q = A M − N/2, antisymmetric, 0 under detailed balance (Gardiner, Stochastic Methods, sec. 4.4-4.5;
Gross et al. (2.29)-(2.31), whose Q is 2/learning_rate times this one). For gradient descent
A is the Hessian, N = learning_rate × covariance of the minibatch gradient, t = learning_rate × step.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks, _linalg
from sgdynamics._types import Matrix, RealScalar, Vector


class OrnsteinUhlenbeck(eqx.Module):
    """dx = −drift (x − mean) dt + √noise dW.

    - `drift`: A, [parameters, parameters], 1/t; any matrix, also singular or defective.
    - `noise`: N, [parameters, parameters], covariance per unit of t; symmetric, no negative eigenvalue.
    - `mean`: m, [parameters]; 0 unless given.

    All methods are differentiable in both modes with respect to the three arrays. A drift with eigenvalue
    0 is allowed: then nothing pulls x back there, and `stationary_covariance()` is the limit of
    `covariance_at(t)` from 0, if there is one.

    **Raises** `ValueError` for shapes that do not match, entries that are not finite, or a `noise` that
    is no covariance.
    """

    drift: Matrix
    noise: Matrix
    mean: Vector

    def __init__(
        self,
        drift: Real[ArrayLike, "parameters parameters"],
        noise: Real[ArrayLike, "parameters parameters"],
        mean: Real[ArrayLike, " parameters"] | None = None,
    ):
        self.drift = _checks.square("drift", _checks.float64("drift", drift))
        self.noise = _checks.covariance("noise", _checks.float64("noise", noise), like=self.drift)
        m = jnp.zeros(self.drift.shape[0]) if mean is None else _checks.float64("mean", mean)
        self.mean = _checks.shaped("mean", m, self.drift.shape[:1])

    def stationary_covariance(self) -> Matrix:
        """M of A M + M Aᵀ = N, [parameters, parameters].

        **Raises** where an eigenvalue of the drift has a negative real part, or is 0 with a Jordan block,
        or carries noise (the covariance then grows without limit).
        """
        return _symmetric(_linalg.lyapunov(self.drift, self.noise))

    def circulation(self) -> Matrix:
        """Q = A M − N/2, antisymmetric: the stationary current is −Q M⁻¹ (x − m) p(x) [(2.32), corrected]."""
        return self.drift @ self.stationary_covariance() - self.noise / 2

    def entropy_production(self) -> Float[Array, ""]:
        """2 tr(N⁻¹ Q M⁻¹ Qᵀ) per unit of t, 0 under detailed balance. `noise` must be invertible.

        With D = N/2 the local velocity of the current is −Q M⁻¹ (x − m), and the rate E[uᵀ D⁻¹ u].
        """
        M = self.stationary_covariance()
        Q = self.drift @ M - self.noise / 2
        rate = 2 * jnp.trace(jnp.linalg.solve(self.noise, Q) @ jnp.linalg.solve(M, Q.T))
        lowest = jnp.linalg.eigvalsh(jax.lax.stop_gradient(self.noise))
        invertible = lowest[0] > len(lowest) * jnp.finfo(lowest.dtype).eps * lowest[-1]
        return _checks.provided(
            rate, "noise", self.noise, invertible, allowed="invertible for a finite entropy production"
        )

    def transition(self, t: Real[ArrayLike, "*times"]) -> tuple[Array, Array]:
        """(F, Q) for each t ≥ 0, each [*times, parameters, parameters]: x(t) − m = F (x(0) − m) + N(0, Q)."""
        return _linalg.transition(self.drift, self.noise, _time(t))

    def mean_at(
        self, t: Real[ArrayLike, "*times"], x0: Real[ArrayLike, " parameters"]
    ) -> Float[Array, "*times parameters"]:
        """E x(t) = m + F (x₀ − m), [*times, parameters]."""
        x0 = _checks.shaped("x0", _checks.float64("x0", x0), self.mean.shape)
        F = _linalg.propagator(self.drift, _time(t))
        return jnp.einsum("...ij,j->...i", F, x0 - self.mean) + _under(self.mean, F.ndim - 1)

    def covariance_at(
        self,
        t: Real[ArrayLike, "*times"],
        initial: Real[ArrayLike, "parameters parameters"] | None = None,
    ) -> Float[Array, "*times parameters parameters"]:
        """Cov x(t) = F P Fᵀ + Q, [*times, parameters, parameters]; P = `initial`, 0 if None."""
        F, Q = self.transition(t)
        if initial is None:
            return _symmetric(Q)
        P = _checks.covariance("initial", _checks.float64("initial", initial), like=self.drift)
        return _symmetric(jnp.einsum("...ij,jk,...lk->...il", F, P, F) + Q)

    def autocovariance(self, lag: Real[ArrayLike, "*lags"]) -> Float[Array, "*lags parameters parameters"]:
        """E[δx(t+lag) δx(t)ᵀ] = e^{−A lag} M in the stationary state; negative lags are the transposes."""
        lag = _checks.float64("lag", lag)
        R = _linalg.propagator(self.drift, jnp.abs(lag)) @ _under(self.stationary_covariance(), lag.ndim + 2)
        return jnp.where(lag[..., None, None] < 0, jnp.swapaxes(R, -1, -2), R)


def _symmetric(M: Float[Array, "*times d d"]) -> Float[Array, "*times d d"]:
    return (M + jnp.swapaxes(M, -1, -2)) / 2


def _under(x: Array, rank: int) -> Array:
    """x with leading axes of size 1 up to `rank`."""
    return jnp.expand_dims(x, tuple(range(rank - x.ndim)))


def _time(t: RealScalar | Real[ArrayLike, "*times"]) -> Float[Array, "*times"]:
    return _checks.not_negative("t", _checks.float64("t", t), remedy="Only the later law is determined.")
