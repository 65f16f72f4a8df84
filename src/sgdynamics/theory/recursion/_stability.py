"""Where the second moments of minibatch SGD and of its SDE stay bounded. The criterion: `_mode_pairs`."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Real

from sgdynamics import _checks
from sgdynamics._types import Matrix, RealScalar, Scalar
from sgdynamics.theory.recursion._mode_pairs import (
    ModePairs,
    continuous_pairs,
    discrete_pairs,
    eigenmodes,
    largest_eigenvalue,
    read,
    underdamped_pairs,
)
from sgdynamics.theory.recursion._model import Examples, scatter


def criticality(pairs: ModePairs, stable: Bool[Array, ""]) -> Scalar:
    return jnp.where(stable, pairs.criticality(), jnp.inf)


@jax.jit
def discrete_criticality(x: Examples, **settings: Scalar) -> Scalar:
    return criticality(*discrete_pairs(x, **settings))


@jax.jit
def continuous_criticality(x: Examples, **settings: Scalar) -> Scalar:
    return criticality(*continuous_pairs(x, **settings))


@jax.jit
def underdamped_criticality(x: Examples, **settings: Scalar) -> Scalar:
    return criticality(*underdamped_pairs(x, **settings))


def provided_stable(M, x, criticality, settings: dict[str, Scalar], continuous: bool = False, limit=None):
    """M, or the error that there is no stationary law, naming the largest stable learning rate."""
    η = settings["learning_rate"]
    remedy = "Beyond it the second moments of SGD grow without limit: reduce it, or enlarge the batch."
    allowed = "small enough for a stationary covariance"
    if _checks.is_concrete(criticality) and not bool(criticality < 1):
        rest = {name: value for name, value in settings.items() if name != "learning_rate"}
        largest = limit(x, **rest) if limit else largest_stable_learning_rate(x, **rest, continuous=continuous)
        allowed = f"below the largest stable learning rate, {float(largest):.4g}"
    return _checks.provided(M, "learning_rate", η, criticality < 1, allowed=allowed, remedy=remedy)


def provided_solved(M, residual):
    """M, or an error where rounding or slow convergence spoiled it (within rounding of instability)."""
    return _checks.provided(
        M, "learning_rate", residual, residual < 1e-8, allowed="further from the limit of stability: the "
        "number shown is the relative residual of the stationary equation",
    )  # fmt: skip


def largest_stable_learning_rate(
    x: Real[ArrayLike, "samples inputs"],
    *,
    sampling_factor: RealScalar,
    momentum: RealScalar = 0.0,
    weight_decay: RealScalar = 0.0,
    continuous: bool = False,
) -> Scalar:
    """The learning rate at which the second moments cease to be bounded, [] (∞ for an SDE without noise).

    Without momentum, M − T(M) > 0 for some M > 0 reads K M + M K > η Z(M), Z(M) = K M K + 𝒩(M) (the SDE has
    Z = 𝒩): the limit is 1/(largest eigenvalue of Z relative to K·+·K). With momentum, bisection on the
    criticality below the limit of the mean, 2 (1 + β)/k_max.
    """
    x = _checks.float64("x", x)
    c = _checks.not_negative("sampling_factor", _checks.float64("sampling_factor", sampling_factor))
    β = _checks.momentum("momentum", _checks.float64("momentum", momentum))
    wd = _checks.not_negative("weight_decay", _checks.float64("weight_decay", weight_decay))
    if continuous or (_checks.is_concrete(β) and bool(β == 0)):
        return _linear_limit(x, c, wd, continuous)
    return _bisected_limit(x, c, β, wd)


@eqx.filter_jit
def _linear_limit(x: Examples, c: Scalar, weight_decay: Scalar, continuous: bool) -> Scalar:
    h, V, _ = eigenmodes(x)
    k = h + weight_decay
    sums = k[:, None] + k[None, :]
    root = jnp.where(sums > 0, 1 / jnp.sqrt(jnp.where(sums > 0, sums, 1)), 0)
    hh, kk = h[:, None] * h[None, :], 0 if continuous else k[:, None] * k[None, :]
    modes = x @ V

    def relative(M: Matrix) -> Matrix:
        W = root * M
        return root * (kk * W + c * (scatter(modes, read(modes, W)) - hh * W))

    largest = largest_eigenvalue(relative, jnp.diag(jnp.where(k > 0, k, 0)))
    return jnp.where(largest > 0, 1 / largest, jnp.inf)


@jax.jit
def _bisected_limit(x: Examples, c: Scalar, momentum: Scalar, weight_decay: Scalar) -> Scalar:
    k = eigenmodes(x)[0][-1] + weight_decay

    def halve(_, bounds: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = bounds
        middle = (low + high) / 2
        stable = discrete_criticality(
            x, learning_rate=middle, sampling_factor=c, momentum=momentum, weight_decay=weight_decay
        ) < 1  # fmt: skip
        return jnp.where(stable, middle, low), jnp.where(stable, high, middle)

    bounds = (jnp.zeros_like(k), 2 * (1 + momentum) / k)
    return jax.lax.fori_loop(0, 24, halve, bounds)[0]


@jax.jit
def underdamped_limit(x: Examples, *, sampling_factor: Scalar, momentum: Scalar, weight_decay: Scalar) -> Scalar:
    """The learning rate at which the second moments of the SDE with momentum cease to be bounded.

    The responses are at most those of the overdamped equation, whose limit is therefore below; they grow with the
    learning rate, and in each mode of its own in proportion to it.
    """
    least = (1 - momentum) * _linear_limit(x, sampling_factor, weight_decay, continuous=True)

    def halve(_, bounds: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = bounds
        middle = (low + high) / 2
        stable = underdamped_criticality(
            x, learning_rate=least * jnp.exp2(middle), sampling_factor=sampling_factor, momentum=momentum,
            weight_decay=weight_decay,
        ) < 1  # fmt: skip
        return jnp.where(stable, middle, low), jnp.where(stable, high, middle)

    bounds = (jnp.zeros_like(least), 40 * jnp.ones_like(least))
    return least * jnp.exp2(jax.lax.fori_loop(0, 30, halve, bounds)[0])
