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

from sgdynamics import _checks
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
    *,
    first: Int[Array, ""] | int = 0,
) -> Replicas:
    """Replicas at given positions (and velocities), before their first step; `first`: the number of the first one."""
    states = (
        jax.vmap(dynamics.init)(positions) if velocities is None else jax.vmap(dynamics.init)(positions, velocities)
    )
    numbers = jnp.asarray(first).astype(jnp.uint32) + jnp.arange(positions.shape[0], dtype=jnp.uint32)
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, numbers)
    return Replicas(states, keys, bounded(states), jnp.zeros((), jnp.int32))


def bounded(states: State) -> Bool[Array, " replicas"]:
    """Whether a replica is still to be counted: finite, and small enough that fourth powers can be summed."""
    largest = jnp.finfo(states.position.dtype).max ** 0.2
    parts = [states.position] if states.velocity is None else [states.position, states.velocity]
    return jnp.all(jnp.stack([jnp.all(jnp.abs(part) < largest, axis=1) for part in parts]), axis=0)


def repeat(
    times: Int[Array, ""] | int,
    body: Callable[[Any, Int[Array, ""]], Any],
    carry: Any,
    *,
    block: int | None = None,
) -> Any:
    """`body(carry, i)` for i = 0 … times − 1.

    A Python integer gives a scan, which can be differentiated backwards; a traced one a loop that is compiled
    once for every length. `block`: backwards, only every so-manieth carry is remembered, and what lies between is
    computed again: in memory times/block + block takes the place of `times`.
    """
    if not isinstance(times, int):
        return jax.lax.fori_loop(jnp.zeros_like(times), times, lambda i, carry: body(carry, i), carry)
    from_to = lambda carry, first, count: jax.lax.scan(
        lambda carry, i: (body(carry, first + i), None), carry, jnp.arange(count, dtype=jnp.int32)
    )[0]
    if block is None:
        return from_to(carry, jnp.int32(0), times)
    # inside a scan nothing can merge what is computed again with what was computed before
    one = jax.checkpoint(lambda carry, b: from_to(carry, b * block, block), prevent_cse=False)
    blocks, rest = divmod(times, block)
    carry = jax.lax.scan(lambda carry, b: (one(carry, b), None), carry, jnp.arange(blocks, dtype=jnp.int32))[0]
    return from_to(carry, jnp.int32(blocks * block), rest)


def reference_kernel(
    dynamics: AbstractDynamics, replicas: Replicas, steps: Int[Array, ""] | int, *, block: int | None = None
) -> State:
    """The definition: every replica's own `step`, mapped. `block`: see `repeat`."""
    one_step = jax.vmap(dynamics.step, in_axes=(0, None, 0))
    body = lambda states, i: one_step(states, replicas.step + i, replicas.keys)
    return repeat(steps, body, replicas.states, block=block)


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
    block: int | None = None,
) -> tuple[Replicas, Sums]:
    """`records` records, `every` steps apart, of a run whose next record is number `first_record`.

    `block`: of records, see `repeat`.
    """

    def body(carry, i):
        replicas, sums = carry
        replicas = advance(dynamics, replicas, every, kernel, keep=keep)
        return replicas, update(statistics, sums, replicas, first_record + i)

    return repeat(records, body, (replicas, sums), block=block)


def is_statistic(x: Any) -> bool:
    return isinstance(x, AbstractStatistic)


def check_statistics(statistics: PyTree) -> list[AbstractStatistic]:
    """The statistics of a tree in a row; an error where it holds anything else."""
    leaves = jax.tree.leaves(statistics, is_leaf=is_statistic)
    for leaf in leaves:
        if not is_statistic(leaf):
            raise ValueError(f"statistics holds {leaf!r}, but every leaf must be one of sgdynamics.statistics.")
    return leaves


def check_times(steps: int, every: int, burn_in: int) -> tuple[int, int, int]:
    """The three as counts; an error where nothing would be recorded, or where a step's number does not fit."""
    steps, every = _checks.count("steps", steps), _checks.count("every", every)
    burn_in = _checks.count("burn_in", burn_in, least=0)
    if burn_in + steps >= 2**31:
        raise ValueError(
            f"burn_in + steps = {burn_in + steps}, but a step's number must be below 2³¹. Go on from `.state` in "
            "another run, with another key."
        )
    if every > steps:
        raise ValueError(f"every = {every}, but it must be at most steps = {steps}, or nothing is recorded.")
    return steps, every, burn_in


def update(statistics: PyTree[AbstractStatistic], sums: Sums, replicas: Replicas, record: Int[Array, ""]) -> Sums:
    """Every statistic's sums, with the present states added."""
    one = lambda statistic, sums: statistic.update(sums, replicas.states, replicas.alive, record)
    return jax.tree.map(one, statistics, sums, is_leaf=is_statistic)
