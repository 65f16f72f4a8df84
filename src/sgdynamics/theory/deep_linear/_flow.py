"""Gradient flow of one mode: Corlouer et al. (2026), Eqs. 2, 3, for any depth L ≥ 2 and in closed form.

    dw/dt = L w^{2−2/L} (s − w),        L = 2:  w(t) = s w₀ e^{2st} / (s − w₀ + w₀ e^{2st})              (2), (3)

In u = w/s, τ = L s^{2−2/L} t and c = 1 − 2/L this is du/dτ = u^{1+c} (1 − u). With the logarithmic odds
ℓ = ln(u/(1−u)), dℓ/dτ = u^c, and for w₀ > s with those of q = 1/u, m = ln(q/(1−q)), dm/dτ = q^{−1−c}. So

    τ = T(ℓ) − T(ℓ₀),   T = Φ_{1−c}(u) − u^{−c}/c   (L = 2: T = ℓ),      or      T = Φ_{1+c}(q),

    Φ_b(q) = ∫₀^q x^{b−1}/(1−x) dx = Σ_k q^{b+k}/(b+k) = −ln(1−q) + κ_b − Σ_{k≥1} (1−b)_k/(k! k) (1−q)^k,

the incomplete beta function B(q; b, 0): one series for q < ½, one for q > ½. T is monotone and concave in ℓ, convex
in m: Newton's method from the side where it cannot overshoot always converges. Also

    w(t) = s + (w₀ − s) e^{−ρ},        ρ = ∫₀^τ u^{1+c} dτ,

so that ∂w/∂w₀ = e^{−ρ} (w/w₀)^{2−2/L} is regular at w₀ = s. Derivatives are those of the equation and of its scaling:
∂w/∂t = f(w), ∂w/∂w₀ = f(w)/f(w₀), s ∂w/∂s = w − w₀ ∂w/∂w₀ + (2 − 2/L) t ∂w/∂t.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_sigmoid, sigmoid
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics.theory.deep_linear import _arguments

# 2⁻⁵⁶ is below the rounding of a sum of order 1
TERMS = 56
STEPS = 1000


def gradient_flow(
    time: Real[ArrayLike, "..."],
    initial: Real[ArrayLike, "..."],
    singular_values: Real[ArrayLike, "..."],
    *,
    depth: int,
) -> Float[Array, "..."]:
    """w(t) of gradient flow from w(0) = `initial`, broadcast over all arguments.

    For paths of several modes give the times an axis of their own: `gradient_flow(time[:, None], ...)`.
    Exact to rounding at all times ≥ 0, from below and above s.

    **Raises** `ValueError` for `initial` or `singular_values` not > 0, negative times, `depth` < 2.
    """
    L = _arguments.layers(depth)
    t = _checks.not_negative("time", _checks.float64("time", time), remedy="Flow is followed forwards.")
    w0, s = _arguments.positive(initial=initial, singular_values=singular_values)
    return _flow(L, *_arguments.broadcast(t, w0, s))


def learning_time(
    level: Real[ArrayLike, "..."],
    initial: Real[ArrayLike, "..."],
    singular_values: Real[ArrayLike, "..."],
    *,
    depth: int,
) -> Float[Array, "..."]:
    """Time at which gradient flow from `initial` reaches the amplitude `level`, broadcast over all arguments.

    A fraction f of a mode is learnt at `learning_time(f * s, ...)`.

    **Raises** `ValueError` for a level that flow does not reach: it must lie between `initial` (there the time is 0)
    and the singular value, which is reached only at t → ∞.
    """
    L = _arguments.layers(depth)
    w, w0, s = _arguments.positive(level=level, initial=initial, singular_values=singular_values)
    reached = ((w0 <= w) & (w < s)) | ((s < w) & (w <= w0))
    w = _checks.require(
        "level", w, reached, allowed="between initial and singular_values", remedy="The latter is never reached."
    )
    return _time(L, w, w0, s)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
@partial(jax.jit, static_argnums=0)
def _flow(L: int, t: Array, w0: Array, s: Array) -> Array:
    τ, below, above = L * s ** (2 - 2 / L) * t, w0 < s, w0 > s
    # one of the two branches is solved for a start that does no harm
    rising, falling = jnp.where(below, w0, s / 2), jnp.where(above, w0, 2 * s)
    w = jnp.where(below, s * sigmoid(_rise(L, τ, _odds(rising, s - rising))), s)
    return jnp.where(above, s / sigmoid(_fall(L, τ, _odds(s, falling - s))), w)


@_flow.defjvp
def _(L: int, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (t, w0, s), (dt, dw0, ds) = primals, tangents
    w = _flow(L, t, w0, s)
    in_time = _velocity(L, w, s)
    in_start = _contraction(L, t, w, w0, s) * (w / w0) ** (2 - 2 / L)
    in_target = (w - w0 * in_start + (2 - 2 / L) * t * in_time) / s
    return w, in_time * dt + in_start * dw0 + in_target * ds


@partial(jax.custom_jvp, nondiff_argnums=(0,))
@partial(jax.jit, static_argnums=0)
def _time(L: int, w: Array, w0: Array, s: Array) -> Array:
    below = w0 < s
    lower = [_clock_below(L, _odds(x, s - x)) for x in (jnp.where(below, w, s / 2), jnp.where(below, w0, s / 2))]
    upper = [_clock_above(L, _odds(s, x - s)) for x in (jnp.where(below, 2 * s, w), jnp.where(below, 2 * s, w0))]
    return jnp.where(below, lower[0] - lower[1], upper[0] - upper[1]) / (L * s ** (2 - 2 / L))


@_time.defjvp
def _(L: int, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (w, w0, s), (dw, dw0, ds) = primals, tangents
    t = _time(L, w, w0, s)
    in_level, in_start = 1 / _velocity(L, w, s), -1 / _velocity(L, w0, s)
    in_target = -((2 - 2 / L) * t + w * in_level + w0 * in_start) / s
    return t, in_level * dw + in_start * dw0 + in_target * ds


def _velocity(L: int, w: Array, s: Array) -> Array:
    return L * w ** (2 - 2 / L) * (s - w)


def _contraction(L: int, t: Array, w: Array, w0: Array, s: Array) -> Array:
    """(s − w)/(s − w₀) = e^{−ρ}, ρ = ∫ u^{2−2/L} dτ; by its expansion to first order in 1 − u₀ where that is small."""
    τ, gap = L * s ** (2 - 2 / L) * t, (s - w0) / s
    near = jnp.abs(gap) < 1e-5
    linearised = jnp.exp(-τ + (2 - 2 / L) * gap * -jnp.expm1(-τ))
    return jnp.where(near, linearised, (s - w) / jnp.where(near, s, s - w0))


def _rise(L: int, τ: Array, start: Array) -> Array:
    """ℓ of T(ℓ) = T(ℓ₀) + τ: T is concave and the start too low."""
    target = _clock_below(L, start) + τ
    return _newton(lambda x: (_clock_below(L, x) - target) * sigmoid(x) ** (1 - 2 / L), start)


def _fall(L: int, τ: Array, start: Array) -> Array:
    """m of T(m) = T(m₀) + τ: T is convex, and the start too high by T' ≥ 2^{−a} for m > 0 or by d(q^a)/dτ ≤ a."""
    a = 2 - 2 / L
    target = _clock_above(L, start) + τ
    q = (sigmoid(start) ** a + a * τ) ** (1 / a)
    small = q < 0.5
    odds = _odds(jnp.where(small, q, 0.5), 1 - jnp.where(small, q, 0.5))
    high = jnp.where(small, odds, jnp.maximum(start, 0.0) + 2**a * τ)
    return _newton(lambda x: (_clock_above(L, x) - target) / sigmoid(x) ** a, high)


def _newton(step: Callable[[Array], Array], start: Array) -> Array:
    """The fixed point of x − step(x), until no entry changes by more than rounding."""

    def moving(carry: tuple[Array, Array, Array]) -> Array:
        x, change, count = carry
        return (count < STEPS) & jnp.any(jnp.abs(change) > 1e-14 * (1 + jnp.abs(x)))

    def advance(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, _, count = carry
        change = step(x)
        return x - change, change, count + 1

    return jax.lax.while_loop(moving, advance, (start, jnp.full_like(start, jnp.inf), jnp.zeros((), int)))[0]


def _odds(part: Array, rest: Array) -> Array:
    return jnp.log(part) - jnp.log(rest)


def _clock_below(L: int, odds: Array) -> Array:
    """T(ℓ), up to a constant."""
    if L == 2:
        return odds
    c = 1 - 2 / L
    return _beta(1 - c, odds) - jnp.exp(-c * log_sigmoid(odds)) / c


def _clock_above(L: int, odds: Array) -> Array:
    """T(m), 0 at m → −∞."""
    return _beta(2 - 2 / L, odds)


def _beta(b: float, odds: Array) -> Array:
    """Φ_b(q) as a function of ln(q/(1−q))."""
    small, near, constant = _series(b)
    left, right = jnp.minimum(odds, 0.0), jnp.maximum(odds, 0.0)
    q, gap = sigmoid(left), sigmoid(-right)
    from_zero = q**b * jnp.polyval(jnp.asarray(small), q)
    from_one = -log_sigmoid(-right) + constant - jnp.polyval(jnp.asarray(near), gap)
    return jnp.where(odds < 0, from_zero, from_one)


def _series(b: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Coefficients of the two series, highest power first, and κ_b from their agreement at q = ½."""
    k = np.arange(1, TERMS + 1)
    binomial = np.cumprod((k - b) / k)
    small, near = 1 / (b + np.arange(TERMS + 1))[::-1], np.append((binomial / k)[::-1], 0.0)
    κ = 0.5**b * np.polyval(small, 0.5) + math.log(0.5) + np.polyval(near, 0.5)
    return small, near, float(κ)
