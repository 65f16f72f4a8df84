"""Modes of the SDE of momentum: damped oscillators (5), App. F.2.

Position a and velocity b along an eigenvector of the Hessian, of curvature h, with weight decay λ:

    d(a, b) = −S (a, b) dt + (0, √N dW),  S = [[0, −1], [ω², 2γ]],  γ = (1 − β)/(η(1 + β)),  ω² = 2(h + λ)/(η(1 + β)),

N = η c₀² C, C the variance of the minibatch gradient along the eigenvector. Between the stationary state and a definite
start lies Cov(t) = D − e^{−St} D e^{−Sᵀt}, D = diag(η C/(2(1 − β)(h + λ)), C/(1 − β²)), which holds κ⁻¹ already. It is
computed as N times the integrals of `_response`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics.theory import _arguments
from sgdynamics.theory.momentum._response import Oscillator, accumulated, matrix, oscillator, response, root

Reals = Real[ArrayLike, "..."]
Floats = Float[Array, "..."]


def damping(learning_rate: Reals, momentum: Reals) -> Floats:
    """γ = (1 − β)/(η(1 + β)), per unit of t [App. F.2]."""
    η, β, _ = _arguments.broadcast(*_arguments.hyperparameters(learning_rate, momentum))
    return (1 - β) / (η * (1 + β))


def natural_frequency(curvature: Reals, *, learning_rate: Reals, momentum: Reals, weight_decay: Reals = 0.0) -> Floats:
    """ω = √(2(h + λ)/(η(1 + β))), rad per unit of t, of the mode without damping [App. F.2]."""
    return jnp.sqrt(_oscillator(curvature, learning_rate, momentum, weight_decay).square)


def damping_ratio(curvature: Reals, *, learning_rate: Reals, momentum: Reals, weight_decay: Reals = 0.0) -> Floats:
    """ζ = γ/ω = (1 − β)/√(2η(1 + β)(h + λ)): below 1 the mode oscillates. Raises where h + λ = 0."""
    mode = _oscillator(curvature, learning_rate, momentum, weight_decay)
    restoring = "Without a restoring force nothing oscillates: leave those modes out."
    square = _checks.require("curvature", mode.square, mode.square > 0, allowed="> 0", remedy=restoring)
    return mode.damping / jnp.sqrt(square)


def oscillation_frequency(
    curvature: Reals, *, learning_rate: Reals, momentum: Reals, weight_decay: Reals = 0.0
) -> Floats:
    """√(ω² − γ²), rad per unit of t; 0 from critical damping on, where its slope jumps from infinity to 0."""
    s2 = _oscillator(curvature, learning_rate, momentum, weight_decay).discriminant
    return root(-s2)


def decay_rate(curvature: Reals, *, learning_rate: Reals, momentum: Reals, weight_decay: Reals = 0.0) -> Floats:
    """Of the slowest part of the motion, per unit of t: γ where it oscillates, else γ − √(γ² − ω²), to all digits."""
    mode = _oscillator(curvature, learning_rate, momentum, weight_decay)
    overdamped = mode.square / (mode.damping + root(mode.discriminant))
    return jnp.where(mode.discriminant > 0, overdamped, mode.damping)


def propagator(
    t: Reals, curvature: Reals, *, learning_rate: Reals, momentum: Reals, weight_decay: Reals = 0.0
) -> Float[Array, "... 2 2"]:
    """e^{−St} of (position, velocity), [..., 2, 2], for t ≥ 0 [App. F.2]; all arguments broadcast.

    - `t`: time, learning_rate × step. `curvature`: h ≥ 0, without weight decay.

    **Raises** `ValueError` for negative times or curvatures and hyperparameters outside η > 0, 0 ≤ β < 1, λ ≥ 0.
    """
    t, mode = _at(t, curvature, learning_rate, momentum, weight_decay)
    return _propagator(t, mode)


def mean_at(
    t: Reals,
    position: Reals,
    velocity: Reals,
    curvature: Reals,
    *,
    learning_rate: Reals,
    momentum: Reals,
    weight_decay: Reals = 0.0,
) -> tuple[Floats, Floats]:
    """(a(t), b(t)) from `position` a(0), relative to the minimum, and `velocity` b(0) [(5)]; all broadcast."""
    t, mode = _at(t, curvature, learning_rate, momentum, weight_decay)
    a, b = _checks.float64("position", position), _checks.float64("velocity", velocity)
    a, b, t, *rest = _arguments.broadcast(a, b, t, *mode)
    F = _propagator(t, Oscillator(*rest))
    return F[..., 0, 0] * a + F[..., 0, 1] * b, F[..., 1, 0] * a + F[..., 1, 1] * b


def covariance_at(
    t: Reals,
    curvature: Reals,
    noise_variance: Reals,
    *,
    learning_rate: Reals,
    momentum: Reals,
    weight_decay: Reals = 0.0,
) -> Float[Array, "... 2 2"]:
    """Covariance of (position, velocity) at t from a definite start, [..., 2, 2] [App. F.2]; all arguments broadcast.

    - `noise_variance`: C of the minibatch gradient along the eigenvector, batch size included.

    Its first entry grows as N t³/3, then, without curvature, as η C t/(1 − β)².
    """
    t, mode = _at(t, curvature, learning_rate, momentum, weight_decay)
    setting = _arguments.hyperparameters(learning_rate, momentum)
    N = setting.learning_rate * setting.stiffness**2
    C, N, t, *rest = _arguments.broadcast(_arguments.variance(noise_variance), N, t, *mode)
    return (C * N)[..., None, None] * _spread(t, Oscillator(*rest))


def velocity_correlation(
    lag: Reals, curvature: Reals, *, learning_rate: Reals, momentum: Reals, weight_decay: Reals = 0.0
) -> Floats:
    """C_l: E[b(t + lag) b(t)]/E b² in the stationary state, `lag` of either sign in units of t [App. G.2].

    Its integral over all lags is 0: overdamped modes too turn negative (Sec. 8 has them stay positive).
    """
    lag = jnp.abs(_checks.float64("lag", lag))
    t, mode = _at(lag, curvature, learning_rate, momentum, weight_decay)
    return _correlation(t, mode)


@jax.jit
def _propagator(t: Floats, mode: Oscillator) -> Float[Array, "... 2 2"]:
    F = response(t, mode)
    return matrix(F.position, F.crossing, -mode.square * F.crossing, F.velocity)


@jax.jit
def _spread(t: Floats, mode: Oscillator) -> Float[Array, "... 2 2"]:
    sums, mixed = accumulated(t, mode), response(t, mode).crossing ** 2 / 2
    return matrix(sums.position, mixed, mixed, sums.velocity)


@jax.jit
def _correlation(t: Floats, mode: Oscillator) -> Floats:
    return response(t, mode).velocity


def _oscillator(curvature: Reals, learning_rate: Reals, momentum: Reals, weight_decay: Reals) -> Oscillator:
    setting = _arguments.hyperparameters(learning_rate, momentum, weight_decay)
    h, η, β, λ = _arguments.broadcast(_arguments.curvature(curvature), *setting)
    return oscillator(η, β, h + λ)


def _at(t: Reals, curvature: Reals, learning_rate: Reals, momentum: Reals, weight_decay: Reals):
    """The time and the oscillator, of one shape."""
    t = _checks.not_negative("t", _checks.float64("t", t), remedy="Only the later law is determined.")
    t, *mode = _arguments.broadcast(t, *_oscillator(curvature, learning_rate, momentum, weight_decay))
    return t, Oscillator(*mode)
