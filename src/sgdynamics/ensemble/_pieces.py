"""The compiled pieces of a run: start, steps without records, open the sums, records; on one device or on many.

On many devices each piece is one program that every device runs on its own share of the replicas and of the sums. Only
opening the sums looks at all replicas (their mean is the sums' point of reference), and only between two programs.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, PyTree

from sgdynamics._types import PRNGKey
from sgdynamics.dynamics import AbstractDynamics
from sgdynamics.ensemble import _devices
from sgdynamics.ensemble._compiled import Compiled
from sgdynamics.ensemble._core import Kernel, Replicas, Sums, advance, evolve, is_statistic, repeat, replicate
from sgdynamics.ensemble._layout import REPLICAS, Cut, Layout, cuts
from sgdynamics.ensemble._starts import remembering
from sgdynamics.statistics import AbstractStatistic, Groups, Records

Start: TypeAlias = tuple[Array, Array | None, Any]
"""Positions, velocities and memory of all replicas: the latter two where there are any."""


class Task(eqx.Module):
    """What is simulated and recorded, and how."""

    dynamics: AbstractDynamics
    statistics: PyTree[AbstractStatistic]
    kernel: Kernel
    groups: Groups = eqx.field(static=True)
    records: int = eqx.field(static=True)
    every: int = eqx.field(static=True)
    keep: bool = eqx.field(static=True)

    def sums_of(self, replicas: PyTree, groups: Groups) -> PyTree:
        """The shapes of the sums."""
        opened = lambda replicas: _open(self.statistics, replicas, groups, self.records, self.every)
        return eqx.filter_eval_shape(opened, replicas)


class OneDevice:
    """The pieces, all replicas together."""

    devices, layout = 1, None

    def __init__(self, task: Task):
        self.task = task

    def start(self, start: Start, key: PRNGKey) -> Replicas:
        """The replicas before their first step, after the statistics' own checks."""
        replicas = _start(self.task.dynamics, start, key, self.task.keep)
        self.sums = Plain(self.task, jax.eval_shape(lambda replicas: replicas, replicas))
        return replicas

    def open(self, replicas: Replicas) -> Sums:
        """Empty sums."""
        task = self.task
        return _open(task.statistics, replicas, task.groups, number(task.records), task.every)

    def advance(self, replicas: Replicas, blocks: int, block: int) -> Replicas:
        """`blocks` times `block` steps on."""
        return _advance(self.task.dynamics, replicas, number(blocks), number(block), self.task.kernel, self.task.keep)

    def record(self, replicas: Replicas, sums: Sums, first: int, length: int) -> tuple[Replicas, Sums]:
        """`length` records more, the first of them number `first`."""
        task = self.task
        return _evolve(task.dynamics, task.statistics, replicas, sums, number(first), number(length),
                       number(task.every), task.kernel, task.keep)  # fmt: skip

    def whole(self, replicas: Replicas, sums: Sums) -> tuple[Replicas, Sums]:
        """Replicas and sums as one device has them."""
        return replicas, sums

    def place(self, x: Any, cut: Cut | None) -> Array:
        """An array as one device has it, brought to where it belongs."""
        return jnp.asarray(x)

    def gather(self, arrays: Sequence[Array]) -> Sums:
        """The sums, as they go from piece to piece, of these arrays."""
        return jax.tree.unflatten(self.sums.structure, arrays)


class Plain:
    """The sums as one device has them: their structure, and how their arrays are cut for many. Made from the shapes of
    the replicas, with the statistics' own checks."""

    def __init__(self, task: Task, replicas: Replicas):
        self.task, self.replicas = task, replicas
        self.structure = self.structure_for(task.groups)

    def structure_for(self, groups: Groups) -> Any:
        return jax.tree.structure(self._shapes(groups))

    @cached_property
    def cuts(self) -> tuple[Cut | None, ...]:
        return cuts(self._shapes)

    def _shapes(self, groups: Groups) -> PyTree:
        return self.task.sums_of(resized(self.replicas, groups.replicas), groups)


class Shares(eqx.Module):
    """How replicas and sums are cut into shares: a program's constants."""

    mesh: Mesh = eqx.field(static=True)
    layout: Layout = eqx.field(static=True)
    cuts: tuple[Cut | None, ...] = eqx.field(static=True)
    structure: Any = eqx.field(static=True)

    def constrained(self, x: Array, cut: Cut | None) -> Array:
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, _devices.spec(cut)))

    def laid(self, replicas: Replicas) -> Replicas:
        """The replicas, spread over the devices; padding is dead."""
        one = lambda x: self.constrained(self.layout.lay(x, _cut(x)), _cut(x))
        replicas = jax.tree.map(one, replicas)
        alive = self.constrained(replicas.alive & self.layout.filled(), REPLICAS)
        return eqx.tree_at(lambda r: r.alive, replicas, alive)

    def lifted(self, replicas: Replicas) -> Replicas:
        """All the replicas, on every device."""
        return jax.tree.map(lambda x: self.constrained(self.layout.lift(x, _cut(x)), None), replicas)

    def specs(self, replicas: Replicas) -> Replicas:
        return jax.tree.map(lambda x: _devices.spec(_cut(x)), replicas)

    @property
    def of_sums(self) -> tuple:
        return tuple(map(_devices.spec, self.cuts))


class ManyDevices:
    """The pieces, each device with its own share. The sums go from piece to piece as a tuple of their arrays: their
    structure, which knows the number of replicas, is one for a device's share and another for all."""

    def __init__(self, task: Task, mesh: Mesh):
        self.task, self.mesh, self.layout = task, mesh, Layout(task.groups, mesh.size)
        self.everywhere = _devices.everywhere((task.dynamics, task.statistics, task.kernel), mesh)

    @property
    def devices(self) -> int:
        return self.mesh.size

    def start(self, start: Start, key: PRNGKey) -> Replicas:
        """The replicas before their first step, a share on each device."""
        started = lambda key: _start.__wrapped__(self.task.dynamics, start, key, False)
        self.sums = Plain(self.task, jax.eval_shape(started, key))
        own = self.sums.structure_for(self.layout.own)
        self.shares = Shares(self.mesh, self.layout, self.sums.cuts, own)
        start, key = _devices.everywhere((start, key), self.mesh)
        return _start_shares(self.everywhere[0], start, key, self.task.keep, self.shares)

    def open(self, replicas: Replicas) -> Sums:
        task = self.task
        return _open_shares(self.everywhere[1], replicas, task.groups, self._number(task.records), task.every,
                            self.shares)  # fmt: skip

    def advance(self, replicas: Replicas, blocks: int, block: int) -> Replicas:
        dynamics, _, kernel = self.everywhere
        numbers = self._number(blocks), self._number(block)
        return _advance_shares(dynamics, replicas, *numbers, kernel, self.task.keep, self.shares)

    def record(self, replicas: Replicas, sums: Sums, first: int, length: int) -> tuple[Replicas, Sums]:
        dynamics, statistics, kernel = self.everywhere
        numbers = self._number(first), self._number(length), self._number(self.task.every)
        return _evolve_shares(dynamics, statistics, replicas, sums, *numbers, kernel, self.task.keep, self.shares)

    def whole(self, replicas: Replicas, sums: Sums) -> tuple[Replicas, Sums]:
        """Replicas and sums as one device has them, without those that pad the shares, in every process."""
        lift = lambda x, cut: self.layout.lift(_devices.gathered(x), cut)
        replicas = jax.tree.map(lambda x: jnp.asarray(lift(x, _cut(x))), replicas)
        if sums is None:
            return replicas, None
        arrays = [jnp.asarray(lift(x, cut)) for x, cut in zip(sums, self.shares.cuts, strict=True)]
        return replicas, jax.tree.unflatten(self.sums.structure, arrays)

    def place(self, x: Any, cut: Cut | None) -> Array:
        return _devices.placed(self.layout.lay(jnp.asarray(x), cut), self.mesh, cut)

    def gather(self, arrays: Sequence[Array]) -> Sums:
        return tuple(arrays)

    def _number(self, value: int) -> Array:
        return _devices.placed(number(value), self.mesh)


def pieces(task: Task, mesh: Mesh | None) -> OneDevice | ManyDevices:
    """The pieces of a run on the devices that share out its replicas."""
    mesh = _devices.mesh_for(task.groups, mesh)
    return OneDevice(task) if mesh is None else ManyDevices(task, mesh)


def arrays_of(replicas: Replicas, sums: Sums) -> list[Array]:
    """All that changes in a run, in a row; keys do not change."""
    return jax.tree.leaves((eqx.tree_at(lambda r: r.keys, replicas, None), sums))


def resumed(
    pieces: OneDevice | ManyDevices, start: Replicas, arrays: Sequence[Any], layout: Layout | None, recording: bool
) -> tuple[Replicas, Sums]:
    """Replicas and sums of which `arrays_of` were `arrays`, laid out by `layout`; `start` is the run's own."""
    changing = eqx.tree_at(lambda r: r.keys, start, None)
    where = [_cut(x) for x in jax.tree.leaves(changing)]
    count = len(where)
    where += pieces.sums.cuts if recording else ()
    lift = lambda x, cut: x if layout is None else layout.lift(x, cut)
    placed = [pieces.place(lift(x, cut), cut) for x, cut in zip(arrays, where, strict=True)]
    replicas = jax.tree.unflatten(jax.tree.structure(changing), placed[:count])
    # padding, which is dead from the start, comes back as a copy of another replica
    alive = replicas.alive & start.alive
    replicas = Replicas(replicas.states, start.keys, alive, replicas.step)
    return replicas, pieces.gather(placed[count:]) if recording else None


def resized(replicas: Replicas, number: int) -> Replicas:
    """The shapes of so many replicas."""
    one = lambda x: jax.ShapeDtypeStruct((number, *x.shape[1:]) if x.ndim else (), x.dtype)
    return jax.tree.map(one, replicas)


def number(value: int) -> Array:
    return jnp.asarray(value, jnp.int32)


def _cut(x: Any) -> Cut | None:
    return REPLICAS if x.ndim else None


@eqx.filter_jit
def _start(dynamics, start, key, keep):
    positions, velocities, memory = start
    replicas = remembering(replicate(dynamics, positions, velocities, key), memory)
    return eqx.tree_at(lambda r: r.alive, replicas, jnp.ones_like(replicas.alive)) if keep else replicas


@eqx.filter_jit
def _open(statistics, replicas, groups, records, every):
    records = Records(records, every)
    one = lambda statistic: statistic.init(replicas.states, replicas.alive, groups, records)
    return jax.tree.map(one, statistics, is_leaf=is_statistic)


@Compiled
def _advance(dynamics, replicas, blocks, block, kernel, keep=False):
    return repeat(blocks, lambda replicas, i: advance(dynamics, replicas, block, kernel, keep=keep), replicas)


@Compiled
def _evolve(dynamics, statistics, replicas, sums, first_record, records, every, kernel, keep=False):
    return evolve(dynamics, statistics, replicas, sums, first_record=first_record, records=records, every=every,
                  kernel=kernel, keep=keep)  # fmt: skip


@eqx.filter_jit
def _start_shares(dynamics, start, key, keep, shares):
    return shares.laid(_start.__wrapped__(dynamics, start, key, keep))


@eqx.filter_jit
def _open_shares(statistics, replicas, groups, records, every, shares):
    sums = _open.__wrapped__(statistics, shares.lifted(replicas), groups, records, every)
    lay = lambda x, cut: shares.constrained(shares.layout.lay(x, cut), cut)
    return tuple(map(lay, jax.tree.leaves(sums), shares.cuts))


@Compiled
def _advance_shares(dynamics, replicas, blocks, block, kernel, keep, shares):
    body = lambda common, replicas: _advance.function(*common[:1], replicas, *common[1:], keep=keep)
    specs = shares.specs(replicas)
    return _on_each(shares.mesh, body, (dynamics, blocks, block, kernel), (replicas,), (specs,), specs)


@Compiled
def _evolve_shares(dynamics, statistics, replicas, sums, first_record, records, every, kernel, keep, shares):
    def body(common, replicas, sums):
        dynamics, statistics, *numbers, kernel = common
        sums = jax.tree.unflatten(shares.structure, sums)
        replicas, sums = _evolve.function(dynamics, statistics, replicas, sums, *numbers, kernel, keep=keep)
        return replicas, tuple(jax.tree.leaves(sums))

    specs = shares.specs(replicas), shares.of_sums
    common = dynamics, statistics, first_record, records, every, kernel
    return _on_each(shares.mesh, body, common, (replicas, sums), specs, specs)


def _on_each(mesh: Mesh, body: Callable, common: Any, shares: tuple, specs: tuple, out: Any) -> Any:
    """`body(common, *shares)` on every device: with its own share of `shares`, and all of `common`."""
    arrays, static = eqx.partition(common, eqx.is_array)
    own = lambda arrays, *shares: body(eqx.combine(arrays, static), *shares)
    everywhere = jax.tree.map(lambda x: _devices.EVERYWHERE, arrays)
    on_each = jax.shard_map(own, mesh=mesh, in_specs=(everywhere, *specs), out_specs=out, check_vma=False)
    return on_each(arrays, *shares)
