"""`simulate`: arguments checked, replicas started, the run driven to its end, estimates, warnings."""

import contextlib
import logging
import os
import pathlib
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from math import gcd
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.sharding import Mesh
from jaxtyping import Array, Bool, PyTree

from sgdynamics import _checks
from sgdynamics._random import is_threefry
from sgdynamics._types import PRNGKey
from sgdynamics.dynamics import SGD, AbstractDynamics, Descent, State
from sgdynamics.ensemble import _devices, _kernels, _memory, _results
from sgdynamics.ensemble._checkpoints import Checkpoint, Checkpoints, saving_for
from sgdynamics.ensemble._configuration import Table, table
from sgdynamics.ensemble._core import Kernel, Replicas, Sums, bounded, check_statistics, check_times, is_statistic
from sgdynamics.ensemble._divergence import Policy, Stop, check_policy
from sgdynamics.ensemble._pieces import ManyDevices, OneDevice, Task, pieces
from sgdynamics.ensemble._progress import Reporter
from sgdynamics.ensemble._provenance import provenance
from sgdynamics.ensemble._run import AbstractWatcher, Point, Stage, drive, stages, steps_of
from sgdynamics.ensemble._starts import starts
from sgdynamics.ensemble._trajectories import Frames, Trajectories
from sgdynamics.statistics import AbstractStatistic, Groups

_log = logging.getLogger(__name__)


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

    def to_xarray(self, *, state: bool = False, groups: bool = False) -> xr.Dataset:
        """The estimates with their errors, and the provenance, as a data set: axes named, units and long names.
        `state`: also where the replicas are; `groups`: also every group's own (pseudo-)values."""
        return _results.to_xarray(self, state=state, groups=groups)

    def save(
        self, path: str | os.PathLike, *, state: bool = False, groups: bool = False, overwrite: bool = False
    ) -> pathlib.Path:
        """Writes `to_xarray` to `path`, whole or not at all: netCDF (".nc") or zarr (".zarr"), opened again by
        `xarray.open_dataset`. Raises `ValueError` for other endings, and where `path` is taken."""
        return _results.save(self, path, state=state, groups=groups, overwrite=overwrite)


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
    mesh: Mesh | None = None,
    checkpoint: str | os.PathLike | Checkpoint | None = None,
    trajectories: Trajectories | None = None,
    divergence: Policy = "drop",
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
    - groups: of replicas, between which errors are measured.
    - kernel: the form of the loop; None: chosen by cost (`ensemble.choose`).
    - mesh: the devices that share out the replicas, whole groups each, of this process or of all that
      `jax.distributed` has brought together: `jax.make_mesh((n,), ("replicas",))`. None: all there are, as far as
      they shorten the work (of CPUs, the command line makes every core a device). Numbers need not divide. Every
      process calls `simulate` alike, and has the whole result.
    - checkpoint: a folder in which the run keeps what it has come to, every minute (`Checkpoint` sets how often, and
      how many are kept), with a heartbeat and a log. The same call again goes on from there, also on other devices;
      after the end, it gives the result at once. SIGTERM and SIGINT end it with a checkpoint, by `Interrupted`.
    - trajectories: a file to which every replica's path is written while the run goes on, `ensemble.Trajectories`.
    - divergence: what becomes of a run where a replica diverges (non-finite, or too large for its fourth power to be
      summed: 5·10⁷ in float32). "drop": it is counted out, reported and never averaged in. "stop": `DivergenceError`.
      "keep": it is averaged in like all others, and may make estimates infinite or nan.
    - progress: True for a bar, or a callable that is told how many steps were just done.

    Memory does not depend on `steps`; a new learning rate or new `steps` compile nothing anew. Raises `ValueError` for
    bad arguments, and where memory does not suffice (`ensemble.memory`), before anything runs. Warns of replicas that
    diverged, and of records that miss positions in the epoch.
    """
    replicas, groups = _checks.count("replicas", replicas), _checks.count("groups", groups)
    steps, every, burn_in = check_times(steps, every, burn_in)
    _records_meet_every_position(dynamics, steps, every)
    dtype = _precision(dtype)
    check_policy(divergence)
    _devices.check_mesh(mesh)
    check_statistics(statistics)
    if kernel is None:
        kernel = _kernels.choose(dynamics, every=every, dtype=dtype, replica_steps=replicas * (burn_in + steps))
    _addressed(key)
    _memory.check(dynamics, statistics, Groups(replicas, groups), every, dtype, kernel, mesh)
    start_key, run_key = jax.random.split(key)
    positions, velocities = starts(dynamics, initial, replicas, start_key)
    memory = getattr(initial, "memory", None)
    sizes = {"replicas": replicas, "groups": groups, "burn_in": burn_in, "steps": steps, "every": every}
    how = {"dtype": dtype.name, "x64": jax.config.jax_enable_x64, "divergence": divergence}
    given = {"dynamics": dynamics, "statistics": statistics, "initial": initial, "key": key}  # before they are cast
    configuration = cache(lambda: table(**given, kernel=_kernels.name(kernel), **how, **sizes))
    record = provenance(dynamics, initial, kernel, dtype, replicas, steps, burn_in, every, groups, key)
    dynamics, statistics, kernel, positions, velocities = cast(
        (dynamics, statistics, kernel, positions, velocities), dtype
    )
    task = Task(dynamics, statistics, kernel, Groups(replicas, groups), steps // every, every, divergence == "keep")
    run = pieces(task, mesh)
    _log.info("%s, %d replicas: kernel %s on %d devices", record["dynamics"], replicas, record["kernel"], run.devices)
    plan = stages(burn_in, steps // every, every, steps % every)
    started = time.perf_counter()
    start = run.start((positions, velocities, memory), run_key)
    point = _driven(run, plan, start, checkpoint, trajectories, divergence, progress, configuration, record)
    record |= {"devices": run.devices, "processes": jax.process_count(), "divergence": divergence}
    record |= {"seconds": time.perf_counter() - started}
    return _conclude(statistics, *run.whole(point.replicas, point.sums), record)


def _driven(
    run: OneDevice | ManyDevices,
    plan: Sequence[Stage],
    start: Replicas,
    checkpoint: str | os.PathLike | Checkpoint | None,
    trajectories: Trajectories | None,
    divergence: Policy,
    progress: bool | Callable[[int], None],
    configuration: Callable[[], Table],
    record: dict[str, Any],
) -> Point:
    """The run at its end, from `start` or from its last checkpoint, under the eyes of those who were asked for."""
    watchers: list[AbstractWatcher] = [Stop(run, start)] if divergence == "stop" else []
    with contextlib.ExitStack() as stack:
        point = Point(0, 0, start)
        if trajectories:
            frames = stack.enter_context(Frames(trajectories, run, plan, start, configuration, record))
            watchers = [frames, *watchers]
        if checkpoint := saving_for(checkpoint, configuration):
            saved = stack.enter_context(Checkpoints(checkpoint, configuration(), run, plan, watchers))
            point, watchers = saved.restored(start), [*watchers, saved]
        if trajectories:
            frames.open(point, goes_on=checkpoint is not None)
        reporter = stack.enter_context(Reporter(progress, steps_of(plan), int(point.replicas.step)))
        point = drive(run, plan, point, [reporter, *watchers])
        if checkpoint:
            saved.finish(point)
        if trajectories:
            frames.finish()
    return point


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
    _checks.key("key", key)
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


def cast(tree: PyTree, dtype) -> PyTree:
    """The tree with its floating-point arrays in another precision."""
    inexact = lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x
    return jax.tree.map(inexact, tree)


def _conclude(statistics, replicas: Replicas, sums: Sums, provenance: dict[str, Any]) -> Ensemble:
    # a replica that was kept is alive, however far it has gone
    diverged = int(jnp.sum(~(replicas.alive & bounded(replicas.states))))
    provenance |= {"diverged": diverged, "steps_done": int(replicas.step)}
    if diverged:
        _warn_of_diverged(diverged, replicas.alive.size, kept=provenance["divergence"] == "keep")
    finalise = lambda statistic, sums: statistic.finalise(sums)
    estimates = jax.tree.map(finalise, statistics, sums, is_leaf=is_statistic)
    return Ensemble(estimates, replicas.states, replicas.alive, provenance)


def _warn_of_diverged(diverged: int, replicas: int, kept: bool) -> None:
    fate = (
        "They are averaged in, as divergence='keep' has it, and estimates may be infinite or nan."
        if kept
        else "They are not averaged in, and groups in which one diverged after the first record are left out."
    )
    warnings.warn(
        f"{diverged} of {replicas} replicas diverged. {fate} Lower the learning rate, or start nearer.", stacklevel=4
    )
