"""Composite Gauss-Legendre quadrature: panels between `edges`, each with NODES nodes on (−1, 1)."""

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgdynamics import _checks

NODES = 16

T = TypeVar("T")
Coefficient = Callable[[Array], Array]


class Rule(NamedTuple):
    """For polynomials of degree < n, by their values at the n Gauss-Legendre nodes of (−1, 1).

    - `nodes`, `weights`: [n]; `primitive`: values to integrals from −1 to each node, [n, n];
    - `coefficients`: values to coefficients in Legendre polynomials, [n, n].
    """

    nodes: np.ndarray
    weights: np.ndarray
    primitive: np.ndarray
    coefficients: np.ndarray


@cache
def gauss_legendre(count: int = NODES) -> Rule:
    x, weights = np.polynomial.legendre.leggauss(count)
    # the rule is exact for products of degree < 2n, so that projecting needs no inverse
    degrees = np.arange(count) + 0.5
    coefficients = degrees[:, None] * np.polynomial.legendre.legvander(x, count - 1).T * weights[None, :]
    return Rule(x, weights, legendre_integrals(x, count, np) @ coefficients, coefficients)


def legendre_integrals(x, count: int, xp=jnp):
    """∫_{−1}^x P_n = (P_{n+1}(x) − P_{n−1}(x)) / (2n+1) for n < `count`, and x + 1 for n = 0, [*x.shape, count]."""
    P = [xp.ones_like(x), x]
    for n in range(1, count):
        P.append(((2 * n + 1) * x * P[n] - n * P[n - 1]) / (n + 1))
    return xp.stack([x + 1] + [(P[n + 1] - P[n - 1]) / (2 * n + 1) for n in range(1, count)], axis=-1)


@partial(jax.jit, static_argnames="count")
def spread(edges: Float[Array, " edges"], count: int = NODES) -> Float[Array, "panels nodes"]:
    """The nodes of all panels."""
    rule = gauss_legendre(count)
    # from the nearer edge: next to 0 a node keeps its relative accuracy
    left = edges[:-1, None] + jnp.diff(edges)[:, None] * ((1 + rule.nodes) / 2)[None, :]
    right = edges[1:, None] - jnp.diff(edges)[:, None] * ((1 - rule.nodes) / 2)[None, :]
    return jnp.where((rule.nodes < 0)[None, :], left, right)


@jax.custom_jvp
def ratio(μ: Array, D: Array) -> Array:
    """μ/D, with derivatives that do not contain D², which may underflow next to 0."""
    return μ / D


@ratio.defjvp
def _ratio_jvp(primals, tangents):
    (μ, D), (dμ, dD) = primals, tangents
    quotient = μ / D
    return quotient, (dμ - quotient * dD) / D


def drift_at(drift: Coefficient, w: Array) -> Array:
    """drift(w), of the shape of w; an error where it is not finite."""
    return _values("drift", drift, w)


def diffusion_at(diffusion: Coefficient, w: Array) -> Array:
    """diffusion(w), of the shape of w; an error where it is negative or not finite."""
    remedy = "It is the variance per unit of t, needed everywhere inside the domain."
    return _checks.not_negative("diffusion", _values("diffusion", diffusion, w), remedy=remedy)


def _values(name: str, function: Coefficient, w: Array) -> Array:
    values = jnp.asarray(function(w), dtype=jnp.float64)
    if values.shape not in ((), w.shape):
        raise ValueError(
            f"{name} maps points of shape {w.shape} to shape {values.shape}, but it must keep the shape. "
            "It is called with arrays of points."
        )
    values = _checks.finite(name, values)
    return jnp.broadcast_to(values, w.shape)


def interval(lower, upper) -> tuple[Array, Array]:
    a, b = _checks.float64("lower", lower), _checks.float64("upper", upper)
    _checks.shaped("lower", a, ())
    _checks.shaped("upper", b, ())
    return a, _checks.require("upper", b, b > a, allowed="greater than lower")


def repeat(times: int, body: Callable, state: T) -> T:
    """body(…body(state)), as a loop where it is traced: the caller's functions are then compiled once, not often."""
    state = body(state)
    if all(_checks.is_concrete(leaf) for leaf in jax.tree.leaves(state)):
        for _ in range(times - 1):
            state = body(state)
        return state
    return jax.lax.fori_loop(0, times - 1, lambda _, x: body(x), state)
