"""Modes of SGD with momentum itself, step by step: the exact counterpart of the damped oscillators of (5).

Along an eigenvector of the Hessian, K = h + λ, with gradient noise ξ of variance C,

    v_{k+1} = β v_k − K δ_k − ξ_k,      δ_{k+1} = δ_k + η v_{k+1},      F = [[1 − ηK, ηβ], [−K, β]],

In the stationary state E[δ v] = (η/2) E[v²], and the correlation of v after one step is β − ηK/2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Real

from sgdynamics import _checks
from sgdynamics.theory import _arguments
from sgdynamics.theory.momentum import _composition

Reals = Real[ArrayLike, "..."]
Floats = Float[Array, "..."]


class Step(NamedTuple):
    """η, β and K of one mode."""

    learning_rate: Floats
    momentum: Floats
    restoring: Floats

    @property
    def trace(self) -> Floats:
        """a = −tr(F − 1)."""
        return 1 - self.momentum + self.determinant

    @property
    def determinant(self) -> Floats:
        """b = det(F − 1) = ηK."""
        return self.learning_rate * self.restoring


class Spread(NamedTuple):
    """Covariance of (δ, v) after some steps, in units of C, and their power of F."""

    position: Floats
    mixed: Floats
    velocity: Floats
    power: _composition.Power


def propagator_after(
    steps: Reals, curvature: Reals, *, learning_rate: Reals, momentum: Reals, weight_decay: Reals = 0.0
) -> Float[Array, "... 2 2"]:
    """F^steps of (position, velocity), [..., 2, 2], for whole `steps` ≥ 0, stable or not; all arguments broadcast.

    **Raises** `ValueError` for negative steps or curvatures and hyperparameters outside η > 0, 0 ≤ β < 1, λ ≥ 0.
    """
    return _propagator(*_after(steps, curvature, learning_rate, momentum, weight_decay))


def mean_after(
    steps: Reals,
    position: Reals,
    velocity: Reals,
    curvature: Reals,
    *,
    learning_rate: Reals,
    momentum: Reals,
    weight_decay: Reals = 0.0,
) -> tuple[Floats, Floats]:
    """(δ_k, v_k) from `position` δ_0, relative to the minimum, and `velocity` v_0; all arguments broadcast."""
    n, step = _after(steps, curvature, learning_rate, momentum, weight_decay)
    a, b = _checks.float64("position", position), _checks.float64("velocity", velocity)
    a, b, n, *rest = _arguments.broadcast(a, b, n, *step)
    F = _propagator(n, Step(*rest))
    return F[..., 0, 0] * a + F[..., 0, 1] * b, F[..., 1, 0] * a + F[..., 1, 1] * b


def covariance_after(
    steps: Reals,
    curvature: Reals,
    noise_variance: Reals,
    *,
    learning_rate: Reals,
    momentum: Reals,
    weight_decay: Reals = 0.0,
) -> Float[Array, "... 2 2"]:
    """Covariance of (position, velocity) after `steps` from a definite start, [..., 2, 2]; all arguments broadcast."""
    n, step = _after(steps, curvature, learning_rate, momentum, weight_decay)
    C, n, *rest = _arguments.broadcast(_arguments.variance(noise_variance), n, *step)
    return C[..., None, None] * _spread(n, Step(*rest))


def velocity_correlation_after(
    steps: Reals, curvature: Reals, *, learning_rate: Reals, momentum: Reals, weight_decay: Reals = 0.0
) -> Floats:
    """E[v_{k+steps} v_k]/E v² in the stationary state, for whole `steps` of either sign; all arguments broadcast."""
    n, step = _after(abs(jnp.asarray(steps)), curvature, learning_rate, momentum, weight_decay)
    η = _arguments.stable(step.learning_rate, step.momentum, step.restoring)
    return _correlation(n, step._replace(learning_rate=η))


@jax.jit
def _propagator(n: Int[Array, "..."], step: Step) -> Float[Array, "... 2 2"]:
    done = _composition.power(n, step.trace, step.determinant)
    rows = _rows(done, step)
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def _rows(done: _composition.Power, step: Step) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Entries of Fⁿ = r + p (F − 1)."""
    r, p = done.left, done.crossing
    position = r - step.determinant * p
    velocity = r - (1 - step.momentum) * p
    return (position, step.learning_rate * step.momentum * p), (-step.restoring * p, velocity)


@jax.jit
def _spread(n: Int[Array, "..."], step: Step) -> Float[Array, "... 2 2"]:
    def compose(first: Spread, second: Spread) -> Spread:
        """After the first steps, the second: Fᵐ P Fᵐᵀ + Q_m."""
        (a, b), (c, d) = _rows(second.power, step)
        P = first
        return Spread(
            a * a * P.position + 2 * a * b * P.mixed + b * b * P.velocity + second.position,
            a * c * P.position + (a * d + b * c) * P.mixed + b * d * P.velocity + second.mixed,
            c * c * P.position + 2 * c * d * P.mixed + d * d * P.velocity + second.velocity,
            _composition.product(P.power, second.power, step.trace, step.determinant),
        )

    η = step.learning_rate
    still = jnp.zeros_like(η)
    once = Spread(η**2, η, jnp.ones_like(η), _composition.one(η))
    Q = _composition.repeated(compose, once, Spread(still, still, still, _composition.none(η)), n)
    return jnp.stack([jnp.stack([Q.position, Q.mixed], -1), jnp.stack([Q.mixed, Q.velocity], -1)], -2)


@jax.jit
def _correlation(n: Int[Array, "..."], step: Step) -> Floats:
    done = _composition.power(n, step.trace, step.determinant)
    return done.left - (1 - step.momentum + step.determinant / 2) * done.crossing


def step_of(curvature: Reals, learning_rate: Reals, momentum: Reals, weight_decay: Reals) -> Step:
    setting = _arguments.hyperparameters(learning_rate, momentum, weight_decay)
    h, η, β, λ = _arguments.broadcast(_arguments.curvature(curvature), *setting)
    return Step(η, β, h + λ)


def _after(steps: Reals, curvature: Reals, learning_rate: Reals, momentum: Reals, weight_decay: Reals):
    """The number of steps and the mode, of one shape."""
    n, *mode = _arguments.broadcast(_arguments.whole(steps), *step_of(curvature, learning_rate, momentum, weight_decay))
    return n, Step(*mode)
