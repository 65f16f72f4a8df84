"""The stochastic differential equation of SGD with momentum in a quadratic loss, in the eigenbasis of the Hessian:

    dδ = v dt,      dv = −c₀ (h δ + (1 − β) v) dt + c₀ √η C^{1/2} dW,      c₀ = 2/(η (1 + β))   [Kunin et al., (3)-(4)].

For a pair of modes the stationary moments obey E[δ_i v_j] + E[v_i δ_j] = 0, and with it

    E[v_i v_j] = c₀ h_j M_ij + c₀ (1 − β) E[δ_i v_j] = c₀ h_i M_ij + c₀ (1 − β) E[v_i δ_j],
    c₀ (h_i E[δ_i v_j] + h_j E[v_i δ_j]) + 2 c₀ (1 − β) E[v_i v_j] = c₀² η C_ij,

which gives, with no condition that C and H commute (under which it is Kunin et al., (8)),

    M_ij       = E[δ_i δ_j] = 4 η (1 − β) C_ij / {4 (1 − β)² (h_i + h_j) + η (1 + β) (h_i − h_j)²},
    E[δ_i v_j] = M_ij (h_i − h_j) / (2 (1 − β)),
    E[v_i v_j] = M_ij (h_i + h_j) / (η (1 + β)).

The law after a time t from 0 is ∫₀ᵗ e^{−A_i s} N_ij e^{−A_jᵀ s} ds, A = [[0, −1], [c₀ h, c₀ (1 − β)]]
(`_linalg.pair_transition`): a sum of covariances, exact in all three regimes of damping and between them.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._linalg import pair_transition
from sgdynamics._types import RealScalar, Scalar
from sgdynamics.theory.harmonic._modes import (
    Blocks,
    Modes,
    Pairs,
    Small,
    congruence,
    covariance,
    joined,
    mode_noise,
    split,
    stiffness,
)
from sgdynamics.theory.ou import OrnsteinUhlenbeck


class HarmonicUnderdamped(eqx.Module):
    """dδ = v dt, dv = −c₀ (h δ + (1 − β) v) dt + c₀ √η C^{1/2} dW in mode coordinates, c₀ = 2/(η (1 + β)).

    - `curvature`: h ≥ 0, [modes]: eigenvalues of the Hessian of the loss plus weight decay.
    - `noise`: C, [modes, modes]: covariance of the minibatch gradient in the basis of its eigenvectors.
    - `learning_rate`: η > 0, []; `momentum`: β in [0, 1), []. Time t = learning_rate × step.

    The same law as `ou.OrnsteinUhlenbeck` over (δ, v), for thousands of modes. Phase space is (δ, v), all of δ first.
    A mode of curvature exactly 0 stays where it is once its velocity has died out, and no noise may reach it. All
    methods are differentiable in both modes with respect to all arrays. There is a stationary law at every learning
    rate: what the equation does not know is the limit of stability of SGD itself (`HarmonicDescent`).

    **Raises** `ValueError` for negative curvature, a `noise` that is no covariance, or noise where the curvature is 0.
    """

    curvature: Float[Array, " modes"]
    noise: Float[Array, "modes modes"]
    learning_rate: Scalar
    momentum: Scalar

    def __init__(
        self,
        curvature: Real[ArrayLike, " modes"],
        noise: Real[ArrayLike, "modes modes"],
        *,
        learning_rate: RealScalar,
        momentum: RealScalar = 0.0,
    ):
        self.curvature = stiffness("curvature", curvature)
        self.noise = mode_noise(noise, "curvature", self.curvature)
        self.momentum = _checks.momentum("momentum", _checks.float64("momentum", momentum))
        self.learning_rate = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))

    def stationary_covariance(self) -> Float[Array, "modes modes"]:
        """M of δ, [modes, modes]; 0 in modes of curvature 0: the limit of `covariance_at` from 0."""
        return _position(self.curvature, self.noise, self.learning_rate, self.momentum)

    def velocity_covariance(self) -> Float[Array, "modes modes"]:
        """E[v vᵀ], [modes, modes]."""
        return _blocks(self.curvature, self.noise, self.learning_rate, self.momentum)[1, 1]

    def phase_covariance(self) -> Float[Array, "phase phase"]:
        """The covariance of (δ, v), [2 modes, 2 modes]."""
        return joined(_blocks(self.curvature, self.noise, self.learning_rate, self.momentum))

    def circulation(self) -> Float[Array, "modes modes"]:
        """E[δ vᵀ], antisymmetric, per unit of t: the block of the positions of Q = A P − N/2 over (δ, v) (`ou`).

        It is −(R' − R'ᵀ)/2 with the autocovariance R's slope at lag 0+, the same as of `HarmonicDescent` per M.
        """
        return _blocks(self.curvature, self.noise, self.learning_rate, self.momentum)[0, 1]

    def autocovariance(self, lag: Real[ArrayLike, "*lags"]) -> Float[Array, "*lags modes modes"]:
        """E[δ(t+lag) δ(t)ᵀ] in the stationary state, [*lags, modes, modes]; negative lags are the transposes."""
        lag = _checks.float64("lag", lag)
        E, _ = pair_transition(self.mode_drift(), None, jnp.abs(lag))
        M, crossed = (self._under(x, lag.ndim) for x in (self.stationary_covariance(), self.circulation()))
        R = M + E[..., 0, 0, None] * M - E[..., 0, 1, None] * crossed
        return jnp.where(lag[..., None, None] < 0, jnp.swapaxes(R, -1, -2), R)

    def mean_at(
        self, t: Real[ArrayLike, "*times"], initial: Real[ArrayLike, " coordinates"]
    ) -> Float[Array, "*times phase"]:
        """E (δ, v) at `t` from `initial`: (δ, v), [2 modes], or δ at rest, [modes]."""
        x, modes = _checks.float64("initial", initial), len(self.curvature)
        x = jnp.concatenate([x, jnp.zeros_like(x)]) if x.shape == (modes,) else x
        x = _checks.shaped("initial", x, (2 * modes,), remedy=f"Or ({modes},), for a start at rest.")
        E, _ = pair_transition(self.mode_drift(), None, _time(t))
        moved = jnp.einsum("...iab,bi->...ai", E, x.reshape(2, modes))
        return moved.reshape(*moved.shape[:-2], 2 * modes) + self._under(x, moved.ndim - 2)

    def covariance_at(
        self, t: Real[ArrayLike, "*times"], initial: Real[ArrayLike, "coordinates coordinates"] | None = None
    ) -> Float[Array, "*times phase phase"]:
        """Cov (δ, v) at `t`, [*times, 2 modes, 2 modes].

        `initial`: that of (δ, v), [2 modes, 2 modes], or of δ at rest, [modes, modes]; 0 if None.
        """
        P = None if initial is None else self._phase_matrix(initial)
        return _spread(self.mode_drift(), self._entering(), _time(t), P)

    def decay(self) -> Float[Array, " modes"]:
        """The rate at which each mode relaxes in the end, per unit of t; 0 where the curvature is 0.

        γ = c₀ (1 − β)/2 where it oscillates, γ − √(γ² − c₀ h) where it does not.
        """
        return _decay(self.curvature, self.learning_rate, self.momentum)

    def slowest_rate(self) -> Scalar:
        """The smallest decay among modes of curvature > 0, per unit of t; infinite where there is none."""
        return jnp.min(jnp.where(self.curvature > 0, self.decay(), jnp.inf))

    def mode_drift(self) -> Float[Array, "modes 2 2"]:
        """A_i = [[0, −1], [c₀ h_i, c₀ (1 − β)]] of each mode's (δ, v), [modes, 2, 2]."""
        c0, one = self._c0(), jnp.ones_like(self.curvature)
        rows = [[0 * one, -one], [c0 * self.curvature, c0 * (1 - self.momentum) * one]]
        return jnp.stack([jnp.stack(row, -1) for row in rows], -2)

    def mode_noise(self) -> Float[Array, "phase phase"]:
        """N, [2 modes, 2 modes]: the noise of (δ, v) per unit of t, which enters at the velocities."""
        return joined(self._entering())

    def process(self) -> OrnsteinUhlenbeck:
        """The same process over (δ, v) by dense linear algebra, for some hundred modes and for tests."""
        A = self.mode_drift()
        drift = jnp.block([[jnp.diag(A[:, a, b]) for b in (0, 1)] for a in (0, 1)])
        return OrnsteinUhlenbeck(drift, self.mode_noise())

    def _c0(self) -> Scalar:
        return 2 / (self.learning_rate * (1 + self.momentum))

    def _entering(self) -> Blocks:
        """The same in blocks of positions and velocities."""
        rate = self._c0() ** 2 * self.learning_rate * self.noise
        still = jnp.zeros_like(rate)
        return jnp.stack([jnp.stack([still, still]), jnp.stack([still, rate])])

    def _phase_matrix(self, initial) -> Float[Array, "phase phase"]:
        P, modes = _checks.float64("initial", initial), len(self.curvature)
        P = jnp.pad(P, (0, modes)) if P.shape == (modes, modes) else P
        P = _checks.shaped("initial", P, (2 * modes,) * 2, remedy=f"Or {(modes, modes)}, for a start at rest.")
        return covariance("initial", P)

    def _under(self, x: Array, leading: int) -> Array:
        return jnp.expand_dims(x, tuple(range(leading)))


def _time(t: Real[ArrayLike, "*times"]) -> Float[Array, "*times"]:
    return _checks.not_negative("t", _checks.float64("t", t), remedy="Only the later law is determined.")


@jax.jit
def _position(h: Modes, C: Pairs, learning_rate: Scalar, momentum: Scalar) -> Pairs:
    η, β = learning_rate, momentum
    difference, total = h[:, None] - h[None, :], h[:, None] + h[None, :]
    below = 4 * (1 - β) ** 2 * total + η * (1 + β) * difference**2
    return 4 * η * (1 - β) * C / jnp.where(below > 0, below, 1)  # there is no noise where it is 0


@jax.jit
def _blocks(h: Modes, C: Pairs, learning_rate: Scalar, momentum: Scalar) -> Blocks:
    """The stationary covariance of (δ, v)."""
    M = _position(h, C, learning_rate, momentum)
    crossed = M * (h[:, None] - h[None, :]) / (2 * (1 - momentum))
    velocity = M * (h[:, None] + h[None, :]) / (learning_rate * (1 + momentum))
    return jnp.stack([jnp.stack([M, crossed]), jnp.stack([-crossed, velocity])])


@jax.jit
def _spread(A: Small, N: Blocks, t: Float[Array, "*times"], initial) -> Float[Array, "*times phase phase"]:
    E, Q = pair_transition(A, N, t)
    flat = _joined_each(Q, t.ndim)
    if initial is None:
        return flat
    P = split(initial)
    moved = jax.lax.map(lambda e: joined(congruence(e, P)), E.reshape(-1, *A.shape)).reshape(flat.shape)
    return flat + moved + jnp.expand_dims(initial, tuple(range(t.ndim)))


def _joined_each(Q: Float[Array, "*times 2 2 modes modes"], leading: int) -> Float[Array, "*times phase phase"]:
    """`joined` of each, symmetric to the last digit."""
    Q = jnp.moveaxis(Q, leading + 1, leading + 2)
    modes = Q.shape[-1]
    Q = Q.reshape(*Q.shape[:leading], 2 * modes, 2 * modes)
    return (Q + jnp.swapaxes(Q, -1, -2)) / 2


@jax.jit
def _decay(h: Modes, learning_rate: Scalar, momentum: Scalar) -> Modes:
    c0 = 2 / (learning_rate * (1 + momentum))
    γ = c0 * (1 - momentum) / 2
    discriminant = γ**2 - c0 * h
    root = jnp.where(discriminant > 0, jnp.sqrt(jnp.where(discriminant > 0, discriminant, 1)), 0)
    return jnp.where(discriminant > 0, c0 * h / (γ + root), γ)
