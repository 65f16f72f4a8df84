"""The host's side of a run: where replicas start, chunk after chunk of the pure core, progress, warnings."""

import time
import warnings
from collections.abc import Callable
from math import gcd
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PyTree

from sgdynamics import _checks
from sgdynamics._random import is_threefry
from sgdynamics._types import PRNGKey
from sgdynamics.dynamics import SGD, AbstractDynamics, Descent, State
from sgdynamics.ensemble import _devices, _kernels
from sgdynamics.ensemble._compiled import Compiled
from sgdynamics.ensemble._core import Kernel, Replicas, Sums, advance, evolve, is_statistic, repeat, replicate
from sgdynamics.ensemble._provenance import provenance
from sgdynamics.ensemble._starts import remembering, starts
from sgdynamics.statistics import AbstractStatistic, Groups, Records

CHUNK_SECONDS = 0.5
# Unrecorded steps are made in blocks of so many: where a kernel goes to its own variables and back, and where
# replicas are struck out, must not depend on how a run is cut into chunks.
BLOCK = 64


class Ensemble(eqx.Module):
    """What a run leaves.

    - estimates: in the structure of the statistics that were asked for; each has `.value` and `.standard_error`
    - state: the replicas' last `State`, leading axis replicas; `simulate(initial=...)` takes it
    - alive: [replicas], false for replicas that diverged
    - provenance: how the run was made, as plain values that JSON can hold
    """

    estimates: PyTree
    state: State
    alive: Bool[Array, " replicas"]
    provenance: dict[str, Any] = eqx.field(static=True)

    @property
    def diverged(self) -> int:
        """The number of replicas that diverged."""
        return int(jnp.sum(~self.alive))


def simulate(
    dynamics: AbstractDynamics,
    statistics: PyTree[AbstractStatistic],
    *,
    replicas: int,
    steps: int,
    key: PRNGKey,
    burn_in: int = 0,
    every: int = 1,
    initial: Any = None,
    dtype: Any = None,
    groups: int = 32,
    kernel: Kernel | None = None,
    progress: bool | Callable[[int], None] = False,
) -> Ensemble:
    """Runs independent replicas of a dynamics, and gathers statistics on the way.

    Arguments
    - statistics: one of `sgdynamics.statistics`, or a tree (list, dict, …) of them.
    - replicas: how many; replica r draws from `key` folded by r, whatever else runs beside it.
    - burn_in, steps, every: `burn_in` steps that are not recorded, then `steps` steps with a record after
      every `every`-th. Steps count learning rates, also of a stochastic differential equation. With
      `samplers.Epochs`, `every` should share no factor with the batches per epoch, so that records meet every
      position in the epoch, and equally often if their number is a multiple of the batches per epoch.
    - initial: where replicas start: θ [parameters] or [replicas, parameters], a `State` (of one replica or of
      all), a `Prediction` (a draw from its law for each replica), a callable key -> θ, or None: the dynamics' own.
      A run that goes on from `.state` needs a new key: steps are numbered from 0 again, and with the old key it
      would draw the same minibatches again. With `samplers.Epochs` it begins a new epoch: end the run before on a
      whole one, or the noise of the part that was cut off does not cancel, and flat directions diffuse.
    - dtype: float32 unless told; data, hyperparameters and θ are cast on entry.
    - groups: of replicas, between which errors are measured. On several CPU devices (the command line makes one of
      every core) replicas are shared out by whole groups of equal size: where `groups` does not divide `replicas`, one
      device does it all.
    - kernel: the form of the loop; None: chosen by cost (`ensemble.choose`).
    - progress: True for a bar, or a callable that is told how many steps were just done.

    A replica that diverges (non-finite, or too large for its fourth power to be summed: 5·10⁷ in float32) is counted
    out, reported and never averaged in. Memory does not depend on `steps`; a new learning rate or new `steps` compile
    nothing anew. Raises `ValueError` for bad arguments, before anything runs. Warns of replicas that diverged, and of
    records that miss positions in the epoch.
    """
    replicas, steps = _checks.count("replicas", replicas), _checks.count("steps", steps)
    burn_in, every = _checks.count("burn_in", burn_in, least=0), _checks.count("every", every)
    groups = _checks.count("groups", groups)
    if every > steps:
        raise ValueError(f"every = {every}, but it must be at most steps = {steps}, or nothing is recorded.")
    _records_meet_every_position(dynamics, steps, every)
    dtype = _precision(dtype)
    if kernel is None:
        kernel = _kernels.choose(dynamics, every=every, dtype=dtype, replica_steps=replicas * (burn_in + steps))
    _addressed(key)
    start_key, run_key = jax.random.split(key)
    positions, velocities = starts(dynamics, initial, replicas, start_key)
    memory = getattr(initial, "memory", None)
    record = provenance(dynamics, initial, kernel, dtype, replicas, steps, burn_in, every, groups, key)
    dynamics, statistics, kernel, positions, velocities = cast(
        (dynamics, statistics, kernel, positions, velocities), dtype
    )
    run = Run(dynamics, statistics, kernel, replicas, steps, burn_in, every, groups)
    started = time.perf_counter()
    with Reporter(progress, burn_in + steps) as report:
        ensemble, sums = run(positions, velocities, memory, run_key, report)
    record |= {"devices": run.devices, "seconds": time.perf_counter() - started}
    return _conclude(statistics, ensemble, sums, record)


class Run:
    """The plan of a run and its compiled pieces, called chunk by chunk."""

    def __init__(self, dynamics, statistics, kernel, replicas, steps, burn_in, every, groups):
        self.dynamics, self.statistics, self.kernel = dynamics, statistics, kernel
        self.burn_in, self.every, self.records, self.rest = burn_in, every, steps // every, steps % every
        self.groups = Groups(replicas, groups)
        for leaf in jax.tree.leaves(statistics, is_leaf=is_statistic):
            if not is_statistic(leaf):
                raise ValueError(f"statistics holds {leaf!r}, but every leaf must be one of sgdynamics.statistics.")
        self.mesh = _devices.mesh_for(self.groups)
        if self.mesh is not None:
            pieces = _devices.everywhere((dynamics, statistics, kernel), self.mesh)
            self.dynamics, self.statistics, self.kernel = *pieces[:2], _devices.Spread(pieces[2], self.mesh)

    @property
    def devices(self) -> int:
        """How many devices share the replicas."""
        return 1 if self.mesh is None else self.mesh.size

    def __call__(self, positions, velocities, memory, key, report) -> tuple[Replicas, Sums]:
        replicas, sums = self.started(positions, velocities, memory, key, report)

        def record(carry, start, length):
            replicas, sums = carry
            return _evolve(self.dynamics, self.statistics, replicas, sums, start, length, _int(self.every), self.kernel)

        carry = _chunked(record, (replicas, sums), self.records, report, self.every, alive=lambda c: c[0].alive)
        replicas, sums = carry
        replicas = self._unrecorded(replicas, self.rest, report)
        return (replicas, sums) if self.mesh is None else _devices.gathered((replicas, sums))

    def started(self, positions, velocities, memory, key, report) -> tuple[Replicas, Sums]:
        """The replicas after their burn-in, and empty sums, each where it belongs."""
        if self.mesh is not None:
            positions, velocities = _devices.spread((positions, velocities), self.mesh)
            key = _devices.everywhere(key, self.mesh)
        replicas = remembering(_replicate(self.dynamics, positions, velocities, key), memory)
        replicas = replicas if self.mesh is None else _devices.spread(replicas, self.mesh)
        self._sums_of(replicas, self.groups)  # the statistics' own checks, before anything runs
        replicas = self._unrecorded(replicas, self.burn_in, report)
        sums = _open(self.statistics, replicas, self.groups, _int(self.records), self.every)
        if self.mesh is None:
            return replicas, sums
        twice = Groups(2 * self.groups.replicas, 2 * self.groups.count)
        double = lambda x: jax.ShapeDtypeStruct((2 * x.shape[0], *x.shape[1:]), x.dtype) if x.ndim else x
        return replicas, _devices.spread_sums(sums, self.mesh, self._sums_of(jax.tree.map(double, replicas), twice))

    def _unrecorded(self, replicas: Replicas, steps: int, report) -> Replicas:
        def blocks_of(size):
            return lambda replicas, start, length: _advance(self.dynamics, replicas, length, _int(size), self.kernel)

        alive = lambda replicas: replicas.alive
        replicas = _chunked(blocks_of(BLOCK), replicas, steps // BLOCK, report, BLOCK, alive)
        return _chunked(blocks_of(steps % BLOCK), replicas, min(steps % BLOCK, 1), report, steps % BLOCK, alive)

    def _sums_of(self, replicas: Replicas, groups: Groups) -> PyTree:
        """The shapes of the sums."""
        opened = lambda replicas: _open(self.statistics, replicas, groups, self.records, self.every)
        return eqx.filter_eval_shape(opened, replicas)


@eqx.filter_jit
def _replicate(dynamics, positions, velocities, key):
    return replicate(dynamics, positions, velocities, key)


@Compiled
def _advance(dynamics, replicas, blocks, block, kernel):
    return repeat(blocks, lambda replicas, i: advance(dynamics, replicas, block, kernel), replicas)


@eqx.filter_jit
def _open(statistics, replicas, groups, records, every):
    records = Records(records, every)
    one = lambda statistic: statistic.init(replicas.states, replicas.alive, groups, records)
    return jax.tree.map(one, statistics, is_leaf=is_statistic)


@Compiled
def _evolve(dynamics, statistics, replicas, sums, first_record, records, every, kernel):
    return evolve(dynamics, statistics, replicas, sums, first_record=first_record, records=records, every=every,
                  kernel=kernel)  # fmt: skip


def _chunked(piece: Callable, carry: Any, total: int, report, weight: int, alive: Callable) -> Any:
    """`piece(carry, start, length)` until `total` is done, in chunks of about half a second.

    Lengths are traced, so that all chunks share one program; how a run is cut changes nothing. Where no replica
    is left alive the rest is not computed.
    """
    done, length = 0, 1
    while done < total:
        length = min(length, total - done)
        started = time.perf_counter()
        carry = jax.block_until_ready(piece(carry, _int(done), _int(length)))
        seconds = time.perf_counter() - started
        done += length
        report(length * weight)
        if not bool(jnp.any(alive(carry))):
            return carry
        length = max(1, int(length * min(8.0, CHUNK_SECONDS / max(seconds, 1e-4))))
    return carry


def _records_meet_every_position(dynamics: AbstractDynamics, steps: int, every: int) -> None:
    """Warns where they do not, of descent whose noise has a period. (A differential equation's noise is white; one
    record alone has one position however it is made.)"""
    if not isinstance(dynamics, SGD | Descent) or steps < 2 * every:
        return
    period = dynamics.sampler.period(dynamics.problem.data)
    shared = gcd(every, period)
    if shared > 1:
        warnings.warn(
            f"every = {every} shares the factor {shared} with the {period} batches per epoch of {dynamics.sampler}: "
            f"records fall on {period // shared} of the {period} positions in the epoch only, where the variance of "
            "the weights may be a hundred times smaller than its average over the epoch, or half as large again. "
            f"Use every = 1, or one that shares no factor with {period}.",
            stacklevel=3,
        )


def _addressed(key: PRNGKey) -> None:
    """An error for keys that, mapped over replicas, do not draw what each draws alone."""
    if not is_threefry(key):
        raise ValueError(
            f"key is one of {jax.random.key_impl(key)}, but it must be one of threefry2x32: mapped over replicas, "
            'other generators draw from the first key alone. Make it with jax.random.key(seed, impl="threefry2x32").'
        )


def _precision(dtype: Any) -> np.dtype:
    dtype = jnp.dtype(jnp.float32 if dtype is None else dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"dtype = {dtype}, but it must be a floating-point type.")
    if dtype == jnp.float64 and not jax.config.jax_enable_x64:
        raise ValueError(
            "dtype = float64, but jax_enable_x64 = False. "
            'Add `jax.config.update("jax_enable_x64", True)` at the start of your program.'
        )
    return dtype


def _int(value: int) -> Array:
    return jnp.asarray(value, jnp.int32)


def cast(tree: PyTree, dtype) -> PyTree:
    """The tree with its floating-point arrays in another precision."""
    inexact = lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x
    return jax.tree.map(inexact, tree)


def _conclude(statistics, replicas: Replicas, sums: Sums, provenance: dict[str, Any]) -> Ensemble:
    diverged = int(jnp.sum(~replicas.alive))
    provenance |= {"diverged": diverged, "steps_done": int(replicas.step)}
    if diverged:
        warnings.warn(
            f"{diverged} of {replicas.alive.size} replicas diverged. They are not averaged in, and groups in which "
            "one diverged after the first record are left out. Lower the learning rate, or start nearer.",
            stacklevel=3,
        )
    finalise = lambda statistic, sums: statistic.finalise(sums)
    estimates = jax.tree.map(finalise, statistics, sums, is_leaf=is_statistic)
    return Ensemble(estimates, replicas.states, replicas.alive, provenance)


class Reporter:
    """What `report(steps)` does with progress: a bar, the caller's function, or nothing."""

    def __init__(self, progress: bool | Callable[[int], None], total: int):
        self.bar = _bar(total) if progress is True else None
        self.report = self.bar.update if self.bar else progress if callable(progress) else lambda steps: None

    def __enter__(self) -> Callable[[int], Any]:
        return self.report

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.close()


def _bar(total: int):
    from tqdm import tqdm

    return tqdm(total=total, unit="step", desc="simulate")
