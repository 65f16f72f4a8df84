"""The Langevin equation of a quadratic loss in the eigenbasis of its Hessian:

dδ_i = −a_i δ_i dt + (√N dW)_i,      M_ij = N_ij / (a_i + a_j),      E[δ_i(t+s) δ_j(t)] = e^{−a_i s} M_ij,
Q_ij = (A M − N/2)_ij = (a_i − a_j) M_ij / 2                        [Gross et al. (2.29)-(2.31), Q as in `ou`].
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics.theory.harmonic._modes import covariance, mode_noise, stiffness
from sgdynamics.theory.ou import OrnsteinUhlenbeck


class HarmonicLangevin(eqx.Module):
    """dδ = −a δ dt + √N dW in mode coordinates.

    - `rates`: a ≥ 0, [modes], 1/t: the curvatures, weight decay included.
    - `noise`: N, [modes, modes], covariance per unit of t in the same basis (learning_rate × covariance of the
      minibatch gradient).

    The same law as `ou.OrnsteinUhlenbeck` with a diagonal drift, for thousands of modes. A mode of rate exactly 0
    stays where it is, and no noise may reach it. All methods are differentiable in both modes.

    **Raises** `ValueError` for negative rates, a `noise` that is no covariance, or noise where the rate is 0.
    """

    rates: Float[Array, " modes"]
    noise: Float[Array, "modes modes"]

    def __init__(self, rates: Real[ArrayLike, " modes"], noise: Real[ArrayLike, "modes modes"]):
        self.rates = stiffness("rates", rates)
        self.noise = mode_noise(noise, "rates", self.rates)

    def stationary_covariance(self) -> Float[Array, "modes modes"]:
        """M_ij = N_ij / (a_i + a_j), 0 in modes of rate 0: the limit of `covariance_at` from 0."""
        return self.noise / self._sums()

    def circulation(self) -> Float[Array, "modes modes"]:
        """Q = A M − N/2 = (a_i − a_j) M_ij / 2, antisymmetric, per unit of t; 0 under detailed balance."""
        return (self.rates[:, None] - self.rates[None, :]) * self.stationary_covariance() / 2

    def autocovariance(self, lag: Real[ArrayLike, "*lags"]) -> Float[Array, "*lags modes modes"]:
        """E[δ(t+lag) δ(t)ᵀ] = e^{−a lag} M in the stationary state; negative lags are the transposes."""
        lag = _checks.float64("lag", lag)[..., None]
        factor = jnp.exp(-jnp.abs(lag) * self._as_rows(lag.ndim))
        later = jnp.where(lag[..., None] < 0, factor[..., None, :], factor[..., :, None])
        return later * self._spread(lag.ndim + 1, self.stationary_covariance())

    def mean_at(self, t: Real[ArrayLike, "*times"], initial: Real[ArrayLike, " modes"]) -> Float[Array, "*times modes"]:
        """E δ(t) = e^{−a t} δ(0), [*times, modes]."""
        x = _checks.shaped("initial", _checks.float64("initial", initial), self.rates.shape)
        factor = self._decay(t)
        return factor * self._spread(factor.ndim, x)

    def covariance_at(
        self, t: Real[ArrayLike, "*times"], initial: Real[ArrayLike, "modes modes"] | None = None
    ) -> Float[Array, "*times modes modes"]:
        """Cov δ(t) = e^{−(a_i + a_j) t} P_ij + (1 − e^{−(a_i + a_j) t}) M_ij; P = `initial`, 0 if None."""
        P = jnp.zeros_like(self.noise) if initial is None else _checks.float64("initial", initial)
        P = covariance("initial", _checks.shaped("initial", P, self.noise.shape))
        t = _time(t)[..., None, None]
        sums = self._spread(t.ndim, self.rates[:, None] + self.rates[None, :])
        M = self._spread(t.ndim, self.stationary_covariance())
        return jnp.exp(-sums * t) * self._spread(t.ndim, P) - jnp.expm1(-sums * t) * M

    def slowest_rate(self) -> Float[Array, ""]:
        """The smallest rate above 0, per unit of t; infinite where there is none."""
        return jnp.min(jnp.where(self.rates > 0, self.rates, jnp.inf))

    def process(self) -> OrnsteinUhlenbeck:
        """The same process by dense linear algebra, for some hundred modes and for tests."""
        return OrnsteinUhlenbeck(jnp.diag(self.rates), self.noise)

    def _sums(self) -> Float[Array, "modes modes"]:
        sums = self.rates[:, None] + self.rates[None, :]
        return jnp.where(sums > 0, sums, 1)  # there is no noise there

    def _decay(self, t: Real[ArrayLike, "*times"]) -> Float[Array, "*times modes"]:
        t = _time(t)[..., None]
        return jnp.exp(-t * self._as_rows(t.ndim))

    def _as_rows(self, rank: int) -> Array:
        return self._spread(rank, self.rates)

    def _spread(self, rank: int, x: Array) -> Array:
        """x with leading axes of size 1 up to `rank`."""
        return jnp.expand_dims(x, tuple(range(rank - x.ndim)))


def _time(t: Real[ArrayLike, "*times"]) -> Float[Array, "*times"]:
    return _checks.not_negative("t", _checks.float64("t", t), remedy="Only the later law is determined.")
