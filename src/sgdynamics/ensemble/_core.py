"""The replicas' loop: a pure function of the replicas and the statistics' sums.

    repeat `records` times:  take every replica `every` steps on;  strike out the diverged;  update the sums

It can be jitted, differentiated, mapped over hyperparameters and sharded over replicas: inside there is no
collective, no host transfer, and nothing whose size depends on the number of steps. Replica r draws from the
run's key folded by r, and in step k from that key folded by k: how a run is cut into pieces changes nothing.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from sgdynamics._types import PRNGKey, Step
from sgdynamics.dynamics import AbstractDynamics, State
from sgdynamics.statistics import AbstractStatistic

Sums: TypeAlias = PyTree


class Replicas(eqx.Module):
    """An ensemble between two steps.

    - states: a `State` with a leading axis of replicas
    - keys: the replicas' own keys, the same in every step
    - alive: false for replicas that have diverged, for good
    - step: the number of steps done
    """

    states: State
    keys: Key[Array, " replicas"]
    alive: Bool[Array, " replicas"]
    step: Step


Kernel: TypeAlias = Callable[[AbstractDynamics, Replicas, Int[Array, ""] | int], State]


def replicate(
    dynamics: AbstractDynamics,
    positions: Float[Array, "replicas parameters"],
    velocities: Float[Array, "replicas parameters"] | None,
    key: PRNGKey,
) -> Replicas:
    """Replicas at given positions (and velocities), before their first step."""
    states = (
        jax.vmap(dynamics.init)(positions) if velocities is None else jax.vmap(dynamics.init)(positions, velocities)
    )
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(positions.shape[0], dtype=jnp.uint32))
    return Replicas(states, keys, bounded(states), jnp.zeros((), jnp.int32))


def bounded(states: State) -> Bool[Array, " replicas"]:
    """Whether a replica is still to be counted: finite, and small enough that fourth powers can be summed."""
    largest = jnp.finfo(states.position.dtype).max ** 0.2
    parts = [states.position] if states.velocity is None else [states.position, states.velocity]
    return jnp.all(jnp.stack([jnp.all(jnp.abs(part) < largest, axis=1) for part in parts]), axis=0)


def repeat(times: Int[Array, ""] | int, body: Callable[[Any, Int[Array, ""]], Any], carry: Any) -> Any:
    """`body(carry, i)` for i = 0 … times − 1.

    A Python integer gives a scan, which can be differentiated backwards; a traced one a loop that is compiled
    once for every length.
    """
    if isinstance(times, int):
        indices = jnp.arange(times, dtype=jnp.int32)
        return jax.lax.scan(lambda carry, i: (body(carry, i), None), carry, indices)[0]
    return jax.lax.fori_loop(jnp.zeros_like(times), times, lambda i, carry: body(carry, i), carry)


def reference_kernel(dynamics: AbstractDynamics, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
    """The definition: every replica's own `step`, mapped."""
    one_step = jax.vmap(dynamics.step, in_axes=(0, None, 0))
    body = lambda states, i: one_step(states, replicas.step + i, replicas.keys)
    return repeat(steps, body, replicas.states)


def advance(
    dynamics: AbstractDynamics,
    replicas: Replicas,
    steps: Int[Array, ""] | int,
    kernel: Kernel = reference_kernel,
    *,
    keep: bool = False,
) -> Replicas:
    """All replicas, `steps` steps on; those that have diverged are struck out, unless they are to be kept."""
    states = kernel(dynamics, replicas, steps)
    alive = replicas.alive if keep else replicas.alive & bounded(states)
    return Replicas(states, replicas.keys, alive, replicas.step + steps)


def evolve(
    dynamics: AbstractDynamics,
    statistics: PyTree[AbstractStatistic],
    replicas: Replicas,
    sums: Sums,
    *,
    first_record: Int[Array, ""] | int,
    records: Int[Array, ""] | int,
    every: Int[Array, ""] | int,
    kernel: Kernel = reference_kernel,
    keep: bool = False,
) -> tuple[Replicas, Sums]:
    """`records` records, `every` steps apart, of a run whose next record is number `first_record`."""

    def body(carry, i):
        replicas, sums = carry
        replicas = advance(dynamics, replicas, every, kernel, keep=keep)
        return replicas, update(statistics, sums, replicas, first_record + i)

    return repeat(records, body, (replicas, sums))


def is_statistic(x: Any) -> bool:
    return isinstance(x, AbstractStatistic)


def update(statistics: PyTree[AbstractStatistic], sums: Sums, replicas: Replicas, record: Int[Array, ""]) -> Sums:
    """Every statistic's sums, with the present states added."""
    one = lambda statistic, sums: statistic.update(sums, replicas.states, replicas.alive, record)
    return jax.tree.map(one, statistics, sums, is_leaf=is_statistic)
