"""Where the stationary law is a point mass: end points and zeros of the drift at which the density is not integrable.

Near a point w₀ at which D vanishes, with ε = |w − w₀|, the density of zero current behaves as

    p ~ ε^κ,        κ = lim d ln p / d ln ε,        ln p = ∫ 2μ/D − ln D.

If κ ≤ −1 it has no integral: the process ends in w₀, and the stationary law is a Dirac mass there. Example: a mode of a
deep linear network without label noise, D ∝ (s − w)² and μ ∝ s − w, has κ = −2 − 1/(βL s^{2−2/L}) at w₀ = s
[Corlouer et al. (2026), Proposition 5.1]. κ = ±∞ stands for essential singularities; if D(w₀) > 0, κ = 0.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sgdynamics import _checks
from sgdynamics._types import RealScalar
from sgdynamics.theory.fokker_planck import _panels
from sgdynamics.theory.fokker_planck._panels import Coefficient

RESOLUTION = 1e-7
"""In units of upper − lower: how close to a point its exponents are taken. Narrower peaks count as point masses."""


def local_exponent(
    drift: Coefficient, diffusion: Coefficient, point: RealScalar, *, distance: RealScalar
) -> Float[Array, ""]:
    """κ of p ~ |w − point|^κ between `distance` and 4 `distance` from the point, []; not integrable if κ ≤ −1.

    `distance` is signed: positive to look at the right of the point. It must be small against the scale of drift
    and diffusion, and large against the rounding of the point.

    **Raises** `ValueError` for a `distance` of 0, and for coefficients that are not finite, or a negative diffusion.
    """
    point, distance = _checks.float64("point", point), _checks.float64("distance", distance)
    distance = _checks.require("distance", distance, distance != 0, allowed="different from 0")
    return exponents(drift, diffusion, point[None], distance)[0][0]


def exponents(drift: Coefficient, diffusion: Coefficient, w: Array, ε: Array) -> tuple[Array, Array]:
    """κ on one side of each point, and the exponent of D, [points]."""
    at, offset = _around(w, ε)
    return _exponents(_panels.drift_at(drift, at), _panels.diffusion_at(diffusion, at), offset)


@jax.jit
def _around(w: Array, ε: Array) -> tuple[Array, Array]:
    # nodes in ln ε, in which a power law is constant; the two ends for ln D
    u = jnp.asarray([*_panels.gauss_legendre().nodes, -1.0, 1.0])
    offset = ε * 2 ** (1 + u)
    return w[:, None] + offset[None, :], offset


@jax.jit
def _exponents(μ: Array, D: Array, offset: Array) -> tuple[Array, Array]:
    D = jnp.maximum(D, 1e-200)
    slope = (_panels.ratio(μ, D) * offset[None, :])[:, :-2] @ jnp.asarray(_panels.gauss_legendre().weights)
    of_diffusion = jnp.log(D[:, -1] / D[:, -2]) / jnp.log(4.0)
    return slope - of_diffusion, of_diffusion


def drift_zeros(
    drift: Coefficient, edges: Float[Array, " edges"]
) -> tuple[Bool[Array, " panels"], Float[Array, " panels"]]:
    """For each panel: whether it has a stable zero of the drift, from + to −, and where (differentiable)."""
    μ = jax.lax.stop_gradient(_panels.drift_at(drift, edges))
    root = falling_root(lambda w: _panels.drift_at(drift, w), edges[:-1], edges[1:])
    return (μ[:-1] > 0) & (μ[1:] <= 0), newton(lambda w: _panels.drift_at(drift, w), root)


def falling_root(function: Coefficient, a: Array, b: Array) -> Array:
    """Where `function` falls from positive at a to not positive at b, to rounding, [points], no derivatives."""

    def narrow(bracket):
        w = _subdivide(*bracket)
        return _bracket(w, jax.lax.stop_gradient(function(w)))

    a, b = _panels.repeat(11, narrow, jax.lax.stop_gradient((a, b)))
    return (a + b) / 2


@jax.jit
def _subdivide(a: Array, b: Array) -> Array:
    return a[:, None] + (b - a)[:, None] * jnp.linspace(0.0, 1.0, 33)[None, :]


@jax.jit
def _bracket(w: Array, values: Array) -> tuple[Array, Array]:
    # the first is positive by assumption, the last is not
    last = jnp.clip(jnp.sum(jnp.cumprod(values > 0, axis=1), axis=1) - 1, 0, w.shape[1] - 2)
    return tuple(jnp.take_along_axis(w, (last + k)[:, None], axis=1)[:, 0] for k in (0, 1))


def newton(function: Coefficient, root: Array) -> Array:
    """`root`, with the derivatives that f(root) = 0 implies."""
    root = jax.lax.stop_gradient(root)
    value, slope = jax.jvp(function, (root,), (jnp.ones_like(root),))
    return _step(root, value, slope)


@jax.jit
def _step(root: Array, value: Array, slope: Array) -> Array:
    slope = jax.lax.stop_gradient(slope)
    # the value itself is rounding
    value = value - jax.lax.stop_gradient(value)
    return root - jnp.where(slope != 0, value / jnp.where(slope != 0, slope, 1.0), 0.0)
