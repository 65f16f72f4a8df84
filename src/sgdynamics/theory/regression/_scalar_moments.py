"""One input: all moments of the stationary law of SGD, and its power-law tail.

With δ = w − w* and r = y − x w*, a minibatch drawn with replacement makes δ ← a δ + e,

    a = 1 − (η/S) Σ_s x_s²,     e = (η/S) Σ_s r_s x_s,     independent of δ, so that
    E δⁿ (1 − E aⁿ) = Σ_{k<n} binom(n, k) E[aᵏ eⁿ⁻ᵏ] E δᵏ:       exact, as long as E aⁿ < 1 (n even).

The joint moments are those of a sum of S independent pairs: E[aᵏ eˡ]/(k! l!) are the coefficients of the S-th power
of Σ_kl E[(1 − ηx²)ᵏ (ηrx)ˡ] sᵏ tˡ / (k! l! S^{k+l}). For S = 1 the tail falls as P(|δ| > t) ∼ t^{−α} with

    E |1 − ηx²|^α = 1                                                     [Kesten, Acta Math. 131, 207 (1973)]

where some η x² > 2; if none is, the law has bounded support and no tail at all. The whole distribution solves

    F(t) = (1/P) Σ_μ F((t − e_μ)/a_μ)   (1 − F(…) where a_μ < 0),     a_μ = 1 − η x_μ²,  e_μ = η r_μ x_μ,     (S = 1)

here by iteration on a grid that is linear near w* and geometric far from it.
"""

import math

import jax
import jax.numpy as jnp
import jax.scipy
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar, Scalar
from sgdynamics.theory.regression._least_squares import data, minimum

ITERATIONS = 200  # of the equation for the distribution: relaxation by ηm₂ each

Coefficients = Float[Array, "orders orders"]


def scalar_moments(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
    order: int = 4,
) -> Float[Array, " orders"]:
    """E δⁿ for n = 0 … `order` in the stationary state, [order + 1]; sampling with replacement. Exact.

    ∞ for even orders from the first that diverges on. Of odd orders only those below a finite even one are given;
    the others are NaN (E |δ|ⁿ may be finite there, which E aⁿ does not tell).
    **Raises** `ValueError` for more than one input, values out of range.
    """
    order = _checks.count("order", order)
    settings = {"learning_rate": learning_rate, "batch_size": batch_size}
    factors = scalar_joint_moments(x, y, order=order + order % 2, **settings)
    finite, moments = jnp.array(True), [jnp.ones(())]
    for n in range(1, order + 1):
        # that of the even order at or above n; an odd one needs the bound by Jensen
        finite = finite & (factors[n + n % 2, 0] < 1)
        built_up = sum(math.comb(n, k) * factors[k, n - k] * moments[k] for k in range(n))
        value = built_up / jnp.where(finite, 1 - factors[n, 0], 1)
        moments.append(jnp.where(finite, value, jnp.nan if n % 2 else jnp.inf))
    return jnp.stack(moments)


def scalar_joint_moments(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
    order: int,
) -> Coefficients:
    """E[aᵏ eˡ] for k + l ≤ `order`, [order + 1, order + 1], 0 elsewhere; E δⁿ exists where E aⁿ, [n, 0], is below 1."""
    x, y = _one_input(x, y)
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    S, n = _checks.count("batch_size", batch_size), _checks.count("order", order)
    r = y - x @ minimum(x, y)
    a, e = (jnp.concatenate([base**k for k in range(n + 1)], axis=1) for base in (1 - η * x**2, η * r[:, None] * x))
    factorials = jnp.array([math.factorial(k) * float(S) ** k for k in range(n + 1)])
    scale = factorials[:, None] * factorials[None, :]
    known = jnp.arange(n + 1)[:, None] + jnp.arange(n + 1)[None, :] <= n
    one = jnp.where(known, jnp.einsum("mk,ml->kl", a, e) / len(x) / scale, 0)
    series = jax.lax.fori_loop(1, S, lambda _, product: _product(product, one), one)
    factorials = jnp.array([float(math.factorial(k)) for k in range(n + 1)])
    return jnp.where(known, series * factorials[:, None] * factorials[None, :], 0)


def tail_exponent(x: Real[ArrayLike, "samples inputs"], *, learning_rate: RealScalar) -> Scalar:
    """α of the tail P(|δ| > t) ∼ t^{−α} at batch size 1, []; ∞ where the law has bounded support.

    **Raises** where E ln|1 − ηx²| ≥ 0: there is no stationary law.
    """
    x = _checks.float64("x", x)
    x = _checks.shaped("x", x, (len(x), 1), remedy="The tail is known for one input only.")
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    logarithms = jnp.log(jnp.abs(1 - η * x**2)).ravel()
    η = _checks.require("learning_rate", η, jnp.mean(logarithms) < 0, allowed="so small that E ln|1 − ηx²| < 0")
    largest = jnp.max(logarithms)
    growth = lambda α: jax.scipy.special.logsumexp(α * logarithms) - math.log(logarithms.size)
    # growth is convex and 0 at α = 0, negative between that and the root
    highest = math.log(logarithms.size) / jnp.where(largest > 0, largest, 1)

    def halve(_, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        below = growth(middle) < 0
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = jax.lax.fori_loop(0, 60, halve, (jnp.zeros(()), highest))
    return jnp.where(largest > 0, (low + high) / 2, jnp.inf)


def scalar_distribution(
    deviations: Real[ArrayLike, "*points"],
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    resolution: int = 3001,
    reach: float = 1e5,
) -> Float[Array, "*points"]:
    """F(t) = P(δ ≤ t) at batch size 1, in the shape of `deviations`, [weight]; on `resolution` points of a grid.

    The grid reaches `reach` times the largest e_μ; beyond it there is nothing. **Raises** as `tail_exponent` does.
    """
    x, y = _one_input(x, y)
    tail_exponent(x, learning_rate=learning_rate)  # or there is no law
    η = _checks.float64("learning_rate", learning_rate)
    a, e = 1 - η * x[:, 0] ** 2, η * (y - x @ minimum(x, y)) * x[:, 0]
    unit = jnp.max(jnp.abs(e))
    grid = unit * jnp.sinh(jnp.linspace(-1, 1, resolution) * math.asinh(reach))

    def before(F: Array, pair: tuple[Array, Array]) -> Array:
        scaled = jnp.where(pair[0] == 0, 1, pair[0])
        lower = jnp.interp((grid - pair[1]) / scaled, grid, F, left=0.0, right=1.0)
        step = jnp.where(grid >= pair[1], 1.0, 0.0)
        return jnp.where(pair[0] > 0, lower, jnp.where(pair[0] < 0, 1 - lower, step))

    improve = lambda _, F: jnp.mean(jax.lax.map(lambda pair: before(F, pair), (a, e)), axis=0)
    F = jax.lax.fori_loop(0, ITERATIONS, improve, jnp.where(grid > 0, 1.0, 0.0))
    return jnp.interp(_checks.float64("deviations", deviations), grid, F, left=0.0, right=1.0)


def _product(f: Coefficients, g: Coefficients) -> Coefficients:
    """Of two power series in two variables, as far as they are known."""
    return jax.scipy.signal.convolve2d(f, g, precision="highest")[: len(f), : len(f)]


def _one_input(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = data(x, y)
    return _checks.shaped("x", x, (len(x), 1), remedy="All moments close for one input only."), y
