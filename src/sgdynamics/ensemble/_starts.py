"""Where replicas start: a point, a matrix of points, a state, a law to draw from, or a function of a key."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics._types import PRNGKey
from sgdynamics.dynamics import AbstractDynamics


def starts(
    dynamics: AbstractDynamics, initial: Any, replicas: int, key: PRNGKey
) -> tuple[Float[Array, "replicas parameters"], Float[Array, "replicas parameters"] | None]:
    """Positions, and velocities where `initial` has them."""
    draw = getattr(initial, "draw", initial if callable(initial) else None)
    if initial is None:
        initial = dynamics.initial_position()
    elif draw is not None:
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(replicas, dtype=jnp.uint32))
        initial = eqx.filter_vmap(draw)(keys)
    position, velocity = (initial.position, initial.velocity) if is_state(initial) else (initial, None)
    if draw is not None and not dynamics.takes_velocity:
        velocity = None  # of a law over (θ, v), a process without velocity takes θ
    parameters = dynamics.initial_position().shape[0]
    velocity = None if velocity is None else _per_replica("velocity", velocity, replicas, parameters)
    return _per_replica("position", position, replicas, parameters), velocity


def is_state(initial: Any) -> bool:
    return hasattr(initial, "position") and hasattr(initial, "velocity")


def _per_replica(what: str, x: Any, replicas: int, parameters: int) -> Float[Array, "replicas parameters"]:
    x = jnp.asarray(x)
    if x.shape not in ((parameters,), (replicas, parameters)):
        raise ValueError(
            f"initial has a {what} of shape {x.shape}, but it must be [parameters] = {(parameters,)} or "
            f"[replicas, parameters] = {(replicas, parameters)}."
        )
    return jnp.broadcast_to(x, (replicas, parameters))
