"""Observables: what a statistic looks at, as functions of one replica's state.

An observable is any callable from a state, with its `position` [parameters] and its `velocity` [parameters]
(None where the dynamics has none), to a real array. Those given here are modules or functions, so they may
carry arrays; statistics map them over the replicas.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .. import _checks
from .._types import Mask, Vector

Observable = Callable[[Any], Array]


class Replica(eqx.Module):
    """The state of one replica (mapped over: of all), as observables see it."""

    position: Float[Array, "*replicas parameters"]
    velocity: Float[Array, "*replicas parameters"] | None


def position(state: Any) -> Vector:
    """The parameters θ [parameters] (what statistics look at unless told)."""
    return state.position


def velocity(state: Any) -> Vector:
    """The velocity v [parameters]; a `ValueError` where the dynamics has none."""
    if state.velocity is None:
        raise ValueError(
            "of = velocity, but this dynamics has no velocity. Give the dynamics a momentum, or observe `position`."
        )
    return state.velocity


class Projection(eqx.Module):
    """Coordinates along given directions, Dᵀ(θ − origin), [directions].

    `directions` [parameters, directions] has one direction per column (one vector [parameters] gives a
    scalar); `origin` [parameters] is 0 unless told. Columns need not be orthogonal or normalised.
    """

    directions: Float[Array, "parameters ..."]
    origin: Vector | None = None
    name: str = eqx.field(static=True, default="projection")

    def __init__(self, directions: Any, origin: Any = None):
        self.directions = floating("directions", directions)
        self.origin = None if origin is None else floating("origin", origin)
        self.name = "projection"
        if self.directions.ndim not in (1, 2):
            raise ValueError(f"directions has shape {self.directions.shape}, but it must be [parameters, directions].")
        if self.origin is not None and self.origin.shape != self.directions.shape[:1]:
            raise ValueError(
                f"origin has shape {self.origin.shape}, but it must be [{self.directions.shape[0]}], "
                "as many parameters as directions has rows."
            )

    def __call__(self, state: Any) -> Float[Array, "..."]:
        x = state.position
        if x.shape != self.directions.shape[:1]:
            raise ValueError(
                f"directions has {self.directions.shape[0]} rows, but the state has {x.shape[0]} parameters. "
                "Give one row per parameter."
            )
        if self.origin is not None:
            x = x - self.origin.astype(x.dtype)
        return jnp.matmul(x, self.directions.astype(x.dtype), precision="highest")


class Norm(eqx.Module):
    """The Euclidean distance |θ − origin|, a scalar; `origin` [parameters] is 0 unless told."""

    origin: Vector | None = None
    name: str = eqx.field(static=True, default="norm")

    def __init__(self, origin: Any = None):
        self.origin = None if origin is None else floating("origin", origin)
        self.name = "norm"

    def __call__(self, state: Any) -> Float[Array, ""]:
        x = state.position if self.origin is None else state.position - self.origin.astype(state.position.dtype)
        square = jnp.sum(x**2)
        # the square root has no derivative at 0, where dead replicas are put
        return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def floating(argument: str, value: Any) -> Array:
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        array = array.astype(float)
    return _checks.finite(argument, array)


def name_of(of: Observable | None) -> str | None:
    """How an observable is called in estimates; None for the default one."""
    if of is None:
        return None
    return getattr(of, "name", None) or getattr(of, "__name__", None) or type(of).__name__


def observe(of: Observable | None, states: Any, alive: Mask) -> Float[Array, "replicas ..."]:
    """The observable of every replica; of dead ones, its value at 0.

    Dead replicas are set to 0 *before* the observable: a mask after it alone would let nan through in
    derivatives, as 0 · nan.
    """
    at = jax.tree.map(lambda x: masked(alive, x), Replica(states.position, getattr(states, "velocity", None)))
    x = at.position if of is None else jax.vmap(of)(at)
    if not (isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating)):
        raise ValueError(f"of = {name_of(of)} returns {type(x)}, but it must return one real floating array.")
    return x


def observe_vector(of: Observable | None, states: Any, alive: Mask) -> Float[Array, "replicas components"]:
    """The observable with its components in one axis, row by row; a scalar has one component."""
    x = observe(of, states, alive)
    return x.reshape(x.shape[0], -1)


def masked(keep: Array, x: Array, other: Any = 0) -> Array:
    """`x` where `keep`, whose axes are the leading ones of `x`; elsewhere `other`."""
    return jnp.where(keep.reshape(keep.shape + (1,) * (x.ndim - keep.ndim)), x, other)


def mean_of_living(x: Float[Array, "replicas ..."], alive: Mask) -> Float[Array, "..."]:
    """The mean over living replicas (0 where there are none): a fixed point to accumulate about."""
    living = jnp.maximum(jnp.sum(alive), 1).astype(x.dtype)
    return jax.lax.stop_gradient(jnp.sum(masked(alive, x), axis=0) / living)
