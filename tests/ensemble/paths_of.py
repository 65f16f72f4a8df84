"""Where a kernel's paths end, for the tests that hold them against the reference step's."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sgdynamics.dynamics import AbstractDynamics, State
from sgdynamics.ensemble import advance, cast, replicate


def ones(dynamics: AbstractDynamics, replicas: int, dtype) -> Float[Array, "replicas parameters"]:
    """All replicas at the same place, which is no dynamics' own start."""
    return jnp.ones((replicas, dynamics.initial_position().size), dtype)


def around_the_start(dynamics: AbstractDynamics, replicas: int, dtype) -> Float[Array, "replicas parameters"]:
    """0.8 to 1.2 times the dynamics' own start."""
    return jnp.outer(jnp.linspace(0.8, 1.2, replicas, dtype=dtype), dynamics.initial_position())


def ends(
    dynamics: AbstractDynamics,
    dtype,
    kernel: Callable,
    steps: int = 1000,
    replicas: int = 4,
    *,
    starts: Callable,
    key: Key[Array, ""],
) -> State:
    """The states of all replicas after so many steps by the kernel, in this precision."""
    dynamics, kernel = cast((dynamics, kernel), dtype)
    start = replicate(dynamics, starts(dynamics, replicas, dtype), None, key)
    return jax.jit(lambda steps: advance(dynamics, start, steps, kernel).states)(jnp.int32(steps))


def distance(a: Array, b: Array) -> float:
    """|a − b| relative to |b|."""
    return float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))
