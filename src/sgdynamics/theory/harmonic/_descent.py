"""SGD with momentum in a quadratic loss, with the gradient noise of its minimum, in the eigenbasis of the Hessian:

    v_{k+1} = β v_k − h δ_k − ξ_k,      δ_{k+1} = δ_k + η v_{k+1},      cov ξ = C.

Each mode is the autoregression δ_{k+1} = (1 + β − η h) δ_k − β δ_{k−1} − η ξ_k. Two of them, of roots z_i and z_j',
have E[δ_i δ_j] = η² C_ij (1 − β²) / Π (1 − z_i z_j'), a product over the four pairs of roots, and R_1, E[δ_i(k+1)
δ_j(k)], obeys (1 − β²) R_1 = (1 − β² − η h_i + β η h_j) M. With v_k = (δ_k − δ_{k−1})/η all else follows:

    M_ij      = E[δ_i δ_j] = η (1 − β²) C_ij / {(1 − β)² [(1 + β)(h_i + h_j) − η h_i h_j] + η β (h_i − h_j)²},
    E[δ_i v_j] = M_ij (h_i − β h_j) / (1 − β²),
    E[v_i v_j] = M_ij (h_i + h_j) / (η (1 + β)),
    −(R_1 − R_1ᵀ)_ij / (2η) = M_ij (h_i − h_j) / (2 (1 − β)).

Both terms of the denominator are sums of positive terms below the limit of stability, η h < 2 (1 + β): no digits are
lost, for curvatures as small and momenta as high as may be. For equal modes M = η C / [h (1 − β)(2 − η h/(1 + β))].
The law after some steps from 0 is M − F M Fᵀ = −(E M + M Eᵀ + E M Eᵀ) with F = 1 + E.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar, Scalar
from sgdynamics.theory.harmonic._modes import (
    Blocks,
    Modes,
    Pairs,
    Small,
    congruence,
    covariance,
    each,
    joined,
    mode_noise,
    powers,
    split,
    stiffness,
)
from sgdynamics.theory.recursion import LinearRecursion


class HarmonicDescent(eqx.Module):
    """v ← β v − h δ − ξ, δ ← δ + η v with cov ξ = C, in mode coordinates.

    - `curvature`: h ≥ 0, [modes]: eigenvalues of the Hessian of the loss plus weight decay.
    - `noise`: C, [modes, modes]: covariance of the minibatch gradient in the basis of its eigenvectors.
    - `learning_rate`: η > 0, []; `momentum`: β in [0, 1), [].

    The same law as `recursion.LinearRecursion` over (δ, v), for thousands of modes. Phase space is (δ, v), all of δ
    first, also without momentum. A mode of curvature exactly 0 stays where it is, and no noise may reach it: give 0
    for what is 0 to rounding, since smaller curvatures mean larger variances. All methods are differentiable in both
    modes with respect to all arrays.

    **Raises** `ValueError` for negative curvature, a `noise` that is no covariance, noise where the curvature is 0, or
    a learning rate of 2 (1 + β)/max h or more.
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
        β = _checks.momentum("momentum", _checks.float64("momentum", momentum))
        η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
        self.momentum = β
        self.learning_rate = _stable(η, 2 * (1 + β) / jnp.max(self.curvature))

    def stationary_covariance(self) -> Float[Array, "modes modes"]:
        """M of δ, [modes, modes]; 0 in modes of curvature 0: the limit of `covariance_after` from 0."""
        return _position(self.curvature, self.noise, self.learning_rate, self.momentum)

    def velocity_covariance(self) -> Float[Array, "modes modes"]:
        """E[v vᵀ], [modes, modes]."""
        return _velocity(self.curvature, self.noise, self.learning_rate, self.momentum)

    def phase_covariance(self) -> Float[Array, "phase phase"]:
        """The covariance of (δ, v), [2 modes, 2 modes]."""
        return _phase(self.curvature, self.noise, self.learning_rate, self.momentum)

    def circulation(self) -> Float[Array, "modes modes"]:
        """−(R_1 − R_1ᵀ)/(2 learning_rate), R_1 the autocovariance after one step: antisymmetric, per unit of t.

        As the learning rate goes to 0 it tends to Q = A M − N/2 of `ou`, with A = h and N = η C; with momentum to
        that of the overdamped process, A = h/(1 − β) and N = η C/(1 − β)².
        """
        h = self.curvature
        return (h[:, None] - h[None, :]) / (2 * (1 - self.momentum)) * self.stationary_covariance()

    def autocovariance(self, lag: Int[ArrayLike, "*lags"]) -> Float[Array, "*lags modes modes"]:
        """E[δ_{k+lag} δ_kᵀ] for whole lags (negative: transposes), [*lags, modes, modes]."""
        lag = jnp.asarray(lag)
        return _lagged(self.curvature, self.noise, self.learning_rate, self.momentum, lag)

    def mean_after(
        self, steps: Int[ArrayLike, "*steps"], initial: Real[ArrayLike, " coordinates"]
    ) -> Float[Array, "*steps phase"]:
        """E (δ, v) after `steps` from `initial`: (δ, v), [2 modes], or δ at rest, [modes]."""
        x = _checks.float64("initial", initial)
        modes = len(self.curvature)
        x = jnp.concatenate([x, jnp.zeros_like(x)]) if x.shape == (modes,) else x
        x = _checks.shaped("initial", x, (2 * modes,), remedy=f"Or ({modes},), for a start at rest.")
        E = powers(_excess(self.curvature, self.learning_rate, self.momentum), _whole(steps))
        moved = jnp.einsum("...iab,bi->...ai", E, x.reshape(2, modes))
        return moved.reshape(*moved.shape[:-2], 2 * modes) + jnp.expand_dims(x, tuple(range(moved.ndim - 2)))

    def covariance_after(
        self, steps: Int[ArrayLike, "*steps"], initial: Real[ArrayLike, "coordinates coordinates"] | None = None
    ) -> Float[Array, "*steps phase phase"]:
        """Cov (δ, v) after `steps`, [*steps, 2 modes, 2 modes].

        `initial`: that of (δ, v), [2 modes, 2 modes], or of δ at rest, [modes, modes]; 0 if None.
        """
        modes = len(self.curvature)
        P = jnp.zeros((modes, modes)) if initial is None else _checks.float64("initial", initial)
        P = jnp.pad(P, (0, modes)) if P.shape == (modes, modes) else P
        P = _checks.shaped("initial", P, (2 * modes,) * 2, remedy=f"Or {(modes, modes)}, for a start at rest.")
        P = P if initial is None else covariance("initial", P)
        return _spread(self.curvature, self.noise, self.learning_rate, self.momentum, _whole(steps), P)

    def decay(self) -> Float[Array, " modes"]:
        """−log of the modulus of each mode's larger root, per step; 0 where the curvature is 0."""
        return _decay(self.learning_rate * self.curvature, self.momentum)

    def slowest_rate(self) -> Scalar:
        """The smallest decay among modes of curvature > 0, per unit of t; infinite where there is none."""
        moving = jnp.where(self.curvature > 0, self.decay(), jnp.inf)
        return jnp.min(moving) / self.learning_rate

    def recursion(self) -> LinearRecursion:
        """The same process over (δ, v) by dense linear algebra, for some hundred modes and for tests."""
        h, η, β = self.curvature, self.learning_rate, self.momentum
        one = jnp.eye(len(h))
        T = jnp.block([[one - jnp.diag(η * h), η * β * one], [-jnp.diag(h), β * one]])
        kick = jnp.array([η, 1.0])
        return LinearRecursion(T, jnp.kron(kick[:, None] * kick[None, :], self.noise))


def _stable(learning_rate: Scalar, largest: Scalar) -> Scalar:
    allowed = "below the largest stable learning rate, 2 (1 + momentum) / max curvature"
    if _checks.is_concrete(largest):
        allowed = f"below the largest stable learning rate, 2 (1 + momentum) / max curvature = {_checks.shown(largest)}"
    return _checks.require(
        "learning_rate", learning_rate, learning_rate < largest, allowed=allowed,
        remedy="Beyond it the stiffest mode grows without limit: reduce it.",
    )  # fmt: skip


def _whole(steps: Int[ArrayLike, "*steps"]) -> Int[Array, "*steps"]:
    return _checks.not_negative("steps", jnp.asarray(steps), remedy="Only the later law is determined.")


@jax.jit
def _position(h: Modes, C: Pairs, learning_rate: Scalar, momentum: Scalar) -> Pairs:
    η, β = learning_rate, momentum
    half = 1 + β - η * h / 2  # > 0: the denominator is a sum of positive terms
    restoring = h[:, None] * half[None, :] + half[:, None] * h[None, :]
    below = (1 - β) ** 2 * restoring + η * β * (h[:, None] - h[None, :]) ** 2
    return η * (1 - β**2) * C / jnp.where(below > 0, below, 1)  # there is no noise where it is 0


def _crossed(h: Modes, momentum: Scalar) -> Pairs:
    """(h_i − β h_j)/(1 − β²), exact for equal modes and without momentum."""
    difference = h[:, None] - h[None, :]
    return momentum / (1 - momentum**2) * difference + h[:, None] / (1 + momentum)


@jax.jit
def _velocity(h: Modes, C: Pairs, learning_rate: Scalar, momentum: Scalar) -> Pairs:
    M = _position(h, C, learning_rate, momentum)
    return M * (h[:, None] + h[None, :]) / (learning_rate * (1 + momentum))


@jax.jit
def _phase(h: Modes, C: Pairs, learning_rate: Scalar, momentum: Scalar) -> Float[Array, "phase phase"]:
    return joined(_blocks(h, C, learning_rate, momentum))


def _blocks(h: Modes, C: Pairs, learning_rate: Scalar, momentum: Scalar) -> Blocks:
    """The stationary covariance of (δ, v)."""
    M = _position(h, C, learning_rate, momentum)
    cross = M * _crossed(h, momentum)
    velocity = _velocity(h, C, learning_rate, momentum)
    return jnp.stack([jnp.stack([M, cross]), jnp.stack([cross.T, velocity])])


def _excess(h: Modes, learning_rate: Scalar, momentum: Scalar) -> Small:
    """E of the modes' transitions 1 + E of (δ, v) over one step."""
    η, β = learning_rate, momentum
    one = jnp.ones_like(h)
    return jnp.stack([jnp.stack([-η * h, η * β * one], -1), jnp.stack([-h, (β - 1) * one], -1)], -2)


@jax.jit
def _lagged(h: Modes, C: Pairs, learning_rate: Scalar, momentum: Scalar, lag) -> Float[Array, "*lags modes modes"]:
    M = _position(h, C, learning_rate, momentum)
    velocity = _crossed(h, momentum).T  # E[v_i δ_j] in units of M_ij
    E = powers(_excess(h, learning_rate, momentum), jnp.abs(lag))

    def at(n, E):
        R = M * (1 + E[:, 0, 0, None] + E[:, 0, 1, None] * velocity)
        return jnp.where(n < 0, R.T, R)

    return each(at, lag, E)


@jax.jit
def _spread(h, C, learning_rate, momentum, steps, initial) -> Float[Array, "*steps phase phase"]:
    M, P = _blocks(h, C, learning_rate, momentum), split(initial)

    def at(n, E):
        return initial + joined(congruence(E, P - M))

    return each(at, steps, powers(_excess(h, learning_rate, momentum), steps))


@jax.jit
def _decay(α: Modes, momentum: Scalar) -> Modes:
    """−log |z| of the larger root of z² − (1 + β − α) z + β, from its distance 1 − |z|, which keeps its digits."""
    β = momentum
    trace = 1 + β - α
    discriminant = (1 - β - α) ** 2 - 4 * α * β  # of the roots; never negative by rounding at β = 0
    real = discriminant >= 0
    root = jnp.where(discriminant > 0, jnp.sqrt(jnp.where(discriminant > 0, discriminant, 1)), 0)
    product = jnp.where(trace > 0, α, 2 * (1 + β) - α)
    distance = 2 * product / (2 - jnp.abs(trace) + root)
    oscillating = jnp.log(jnp.where(real, 1, β)) / 2
    at_once = real & (distance >= 1)  # the one mode without momentum that one step takes to its minimum
    overdamped = jnp.log1p(-jnp.where(real & ~at_once, distance, 0))
    return jnp.where(at_once, jnp.inf, -jnp.where(real, overdamped, oscillating))
