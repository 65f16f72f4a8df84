"""Where replicas start: a point, a matrix of points, a state, a law to draw from, or a function of a key."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics._types import PRNGKey
from sgdynamics.dynamics import AbstractDynamics, Descent
from sgdynamics.ensemble._core import Replicas


def starts(
    dynamics: AbstractDynamics, initial: Any, replicas: int, key: PRNGKey
) -> tuple[Float[Array, "replicas parameters"], Float[Array, "replicas parameters"] | None]:
    """Positions, and velocities where `initial` has them."""
    _no_network(dynamics, initial)
    draw = getattr(initial, "draw", initial if callable(initial) else None)
    if initial is None:
        initial = dynamics.initial_position()
    elif draw is not None:
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(replicas, dtype=jnp.uint32))
        initial = eqx.filter_vmap(draw)(keys)
    position, velocity = (initial.position, initial.velocity) if is_state(initial) else (initial, None)
    if not dynamics.takes_velocity and (draw is not None or isinstance(dynamics, Descent)):
        # of a law over (θ, v), a process without velocity takes θ; a Descent makes its velocity from its memory
        velocity = None
    parameters = dynamics.initial_position().shape[0]
    velocity = None if velocity is None else _per_replica("velocity", velocity, replicas, parameters)
    return _per_replica("position", position, replicas, parameters), velocity


def remembering(replicas: Replicas, memory: Any) -> Replicas:
    """The replicas with the memory of an earlier run (an optimiser's, say), where it is of the same kind."""
    own = replicas.states.memory
    if memory is None or jax.tree.structure(memory) != jax.tree.structure(own):
        return replicas
    if any(
        jnp.shape(a) not in (b.shape, b.shape[1:]) for a, b in zip(*map(jax.tree.leaves, (memory, own)), strict=True)
    ):
        return replicas
    memory = jax.tree.map(lambda a, b: jnp.broadcast_to(jnp.asarray(a, b.dtype), b.shape), memory, own)
    return eqx.tree_at(lambda r: r.states.memory, replicas, memory)


def _no_network(dynamics: AbstractDynamics, initial: Any) -> None:
    """An error for a network, or another module that says nothing of a start.

    A module of one's own that draws a start may be called; one of the kind that is trained here is called on inputs.
    """
    if not isinstance(initial, eqx.Module) or is_state(initial) or hasattr(initial, "draw"):
        return
    network = getattr(getattr(dynamics, "problem", None), "network", None)
    if not callable(initial) or type(initial) is type(network):
        raise ValueError(
            f"initial is a {type(initial).__name__}, but it must be θ [parameters] or [replicas, parameters], a State, "
            "a Prediction, or a function of a key. For a network give its parameters: "
            "sgdynamics.Problem(network, data).parameters; to go on from a run its `.state`."
        )


def is_state(initial: Any) -> bool:
    return hasattr(initial, "position") and hasattr(initial, "velocity")


def _per_replica(what: str, x: Any, replicas: int, parameters: int) -> Float[Array, "replicas parameters"]:
    x = jnp.asarray(x)
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))
    if x.shape not in ((parameters,), (replicas, parameters)):
        raise ValueError(
            f"initial has a {what} of shape {x.shape}, but it must be [parameters] = {(parameters,)} or "
            f"[replicas, parameters] = {(replicas, parameters)}."
        )
    return jnp.broadcast_to(x, (replicas, parameters))
