"""How much memory a run needs, from shapes alone, and how much there is.

A run has four phases, and needs the largest of them. With S the states of all replicas (position, velocity, memory,
key), Z the sums of all groups, and lower case s, z for what one device has of them (S and Z on one device):

    start      positions as they are drawn, in the precision of the run, as copied to every device; s
    opening    s, and S and Z on every device, where there are several; z
    records    4 s: at the start of the run, at the start of the records, before and after a chunk (no buffer is given
               up before the next is filled); 3 z: opened, before and after a chunk; the loop's workspace
    end        s, z; S and Z on one device and twice in the host's memory, where there are several devices; what the
               estimates are made by

Positions as they were given to the run, and copies of data, hyperparameters and kernel, are there in all of them. The
workspace is the largest sum of arrays that live at one time in the program of the loop (`_live`), as if everything but
products, gathers and the like were fused into what uses it.

Measured on linear regression, on one and two CPU devices: the workspace is 1.2 to 1.3 times what the compiler's own
analysis says of three kernels, the total 1.00 to 1.22 times the most that a run takes (resident memory).
"""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import psutil
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal
from jax.sharding import Mesh
from jaxtyping import PyTree

from sgdynamics import _checks
from sgdynamics.dynamics import AbstractDynamics
from sgdynamics.ensemble import _devices, _kernels
from sgdynamics.ensemble._core import Kernel, evolve, is_statistic, replicate
from sgdynamics.ensemble._layout import Layout
from sgdynamics.ensemble._pieces import resized
from sgdynamics.ensemble._run import Refused
from sgdynamics.statistics import AbstractStatistic, Groups, Records

SMALL = 2**26
NEGLIGIBLE = 0.05
"""Of what is there: a run whose states and sums, taken generously, are smaller is not looked at more closely."""


@dataclasses.dataclass(frozen=True)
class Memory:
    """What a run needs, in bytes, phase by phase and part by part: on each device or, on CPUs, on all devices of this
    process, which share the machine's memory."""

    phases: Mapping[str, Mapping[str, int]]

    @property
    def largest(self) -> str:
        """The phase that needs most."""
        return max(self.phases, key=lambda phase: sum(self.phases[phase].values()))

    @property
    def parts(self) -> Mapping[str, int]:
        """The parts of that phase."""
        return self.phases[self.largest]

    @property
    def total(self) -> int:
        """What the run needs."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        names = list(dict.fromkeys(name for parts in self.phases.values() for name in parts))
        rows = [["MiB", *self.phases]]
        rows += [[name, *(_mib(parts.get(name, 0)) for parts in self.phases.values())] for name in names]
        rows += [["total", *(_mib(sum(parts.values())) for parts in self.phases.values())]]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        line = lambda row: "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
        return "\n".join(map(line, rows))


def memory(
    dynamics: AbstractDynamics,
    statistics: PyTree[AbstractStatistic],
    *,
    replicas: int,
    groups: int = 32,
    every: int = 1,
    dtype: Any = None,
    kernel: Kernel | None = None,
    mesh: Mesh | None = None,
) -> Memory:
    """What `simulate` with the same arguments needs beyond what is there already; nothing is allocated.

    `print` gives a table, in MiB. Raises `ValueError` for bad arguments, and where a statistic refuses the sizes.
    """
    replicas, groups = _checks.count("replicas", replicas), _checks.count("groups", groups)
    every = _checks.count("every", every)
    dtype = np.dtype(jnp.float32 if dtype is None else dtype)
    if kernel is None:
        kernel = _kernels.choose(dynamics, every=every, dtype=dtype)
    return _Run(dynamics, statistics, kernel, every, dtype, mesh).memory(Groups(replicas, groups))


def check(
    dynamics: AbstractDynamics,
    statistics: PyTree[AbstractStatistic],
    groups: Groups,
    every: int,
    dtype: np.dtype,
    kernel: Kernel,
    mesh: Mesh | None,
) -> None:
    """An error where the run needs more memory than there is, with the number of replicas that would fit."""
    there = available(_device(_devices.mesh_for(groups, mesh)))
    run = _Run(dynamics, statistics, kernel, every, dtype, mesh)
    # hosts differ in what else they do: where one refuses, all do
    small = there is None or run.rough(groups) <= max(SMALL, NEGLIGIBLE * there)
    refusal = None if small else _judged(run, groups, there)
    if _devices.any_process(refusal is not None):
        raise Refused(refusal or "another process has too little memory for this run.")


def _judged(run: "_Run", groups: Groups, there: int) -> str | None:
    needed = run.memory(groups)
    return _refusal(run, groups, needed, there) if needed.total > there else None


def _refusal(run: "_Run", groups: Groups, needed: Memory, there: int) -> str:
    parts = sorted(((size, name) for name, size in needed.parts.items()), reverse=True)
    listed = ", ".join(f"{name} {_gib(size)}" for size, name in parts if size >= 0.01 * needed.total)
    size = lambda replicas, count: run.memory(Groups(replicas, count)).total
    most = _largest(groups.replicas, lambda replicas: size(replicas, groups.count), there)
    remedy = f"At most {most} replicas fit" if most else "Not even one replica fits"
    if 2 * sum(size for size, name in parts if name.startswith(("sums", "estimates"))) > needed.total:
        fewer = _largest(groups.count, lambda count: size(groups.replicas, count), there, least=2)
        remedy += f", or as many in groups = {fewer}" if fewer else ""
        remedy += "; sums are smaller of=statistics.Projection(directions)"
    return (
        f"replicas = {groups.replicas} need {_gib(needed.total)} of memory ({needed.largest}: {listed}), "
        f"but {_gib(there)} are available. {remedy}."
    )


def _largest(beyond: int, size: Callable[[int], int], there: int, least: int = 1) -> int | None:
    """A number from `least` to `beyond` − 1 whose size, which grows with it, comes close to what is there and not
    beyond; None where `least` is too large already."""
    if least >= beyond or size(least) > there:
        return None
    low, high, at_low, at_high = least, beyond, size(least), size(beyond)
    while at_low < 0.97 * there and high - low > max(1, 0.01 * low):
        share = 0.99 * (there - at_low) / max(at_high - at_low, 1)
        middle = min(max(low + int(share * (high - low)), low + 1), high - 1)
        found = size(middle)
        low, at_low, high, at_high = (middle, found, high, at_high) if found <= there else (low, at_low, middle, found)
    return low


# --- what a run needs ---------------------------------------------------------------------------------------------


_sizes_of: dict[Any, tuple[int, int]] = {}


class _Run:
    """What does not depend on the number of replicas and groups; arrays are shapes of the run's precision."""

    def __init__(self, dynamics, statistics, kernel, every: int, dtype: np.dtype, mesh: Mesh | None):
        self.every, self.dtype, self.mesh = every, dtype, mesh
        given = dynamics, statistics, kernel
        self.dynamics, self.statistics, self.kernel = jax.tree.map(self._cast, given)
        changed = [x for x in jax.tree.leaves(given) if eqx.is_inexact_array(x) and x.dtype != dtype]
        self.casts = sum(x.size for x in changed) * dtype.itemsize
        self.parameters = dynamics.initial_position().shape[0]

    def _cast(self, x: Any) -> Any:
        if not eqx.is_array(x):
            return x
        return jax.ShapeDtypeStruct(x.shape, self.dtype if eqx.is_inexact_array(x) else x.dtype)

    def rough(self, groups: Groups) -> int:
        """A generous guess of the total on all devices, at the cost of a few milliseconds."""
        states, sums = self._sizes(groups)
        examples = self._batch() * groups.replicas * self.parameters * self.dtype.itemsize
        return 2 * self.casts + 20 * states + 2 * examples + 10 * sums

    def _sizes(self, groups: Groups) -> tuple[int, int]:
        """The bytes of states and of sums; known at once for a run of the same shapes as an earlier one."""
        leaves, structure = jax.tree.flatten((self.dynamics, self.statistics))
        kind = structure, tuple(leaves), groups, self.every
        try:
            known = _sizes_of.get(kind)
        except TypeError:  # what cannot be hashed
            return self._sizes_anew(groups)
        if known is None:
            known = _sizes_of[kind] = self._sizes_anew(groups)
        return known

    def _sizes_anew(self, groups: Groups) -> tuple[int, int]:
        return _bytes(self._replicas(groups.replicas)), sum(self._sums(groups).values())

    def _batch(self) -> int:
        sampler = getattr(self.dynamics, "sampler", None)
        data = getattr(getattr(self.dynamics, "problem", None), "data", None)
        return getattr(sampler, "batch_size", None) or getattr(data, "samples", 0)

    def memory(self, groups: Groups) -> Memory:
        """What a run of so many replicas would need."""
        mesh = _devices.mesh_for(groups, self.mesh)
        many = mesh is not None
        own = Layout(groups, mesh.size).own if many else groups
        copies = _sharing(mesh)
        everything = self.dynamics, self.statistics, self.kernel
        data = self.casts + (copies * _bytes(everything) if many else 0)
        start = groups.replicas * self.parameters * self.dtype.itemsize
        drawn = groups.replicas * self.parameters * jnp.result_type(float).itemsize
        whole, states = _bytes(self._replicas(groups.replicas)), copies * _bytes(self._replicas(own.replicas))
        all_sums, sums = self._sums(groups), {k: copies * size for k, size in self._sums(own).items()}
        total, common = sum(all_sums.values()), {"data": data, "start": start}
        several = lambda size: size if many else 0
        return Memory(
            {
                "start": {"data": data, "start": start + drawn + several(copies * start), "states": states}
                | {"copies": several(copies * whole)},
                "opening": common | {"states": 2 * states} | sums | {"copies": several(copies * (whole + total))},
                "records": common
                | {"states": 4 * states}
                | {name: 3 * size for name, size in sums.items()}
                | {"workspace": copies * self.workspace(own)},
                "end": common
                | {"states": 2 * states}
                | sums
                | {"copies": several(3 * (whole + total)), "estimates": self._finalising(groups)},
            }
        )

    def workspace(self, groups: Groups) -> int:
        """The loop's, on one device: what lives beside its arguments and results."""
        replicas = self._replicas(groups.replicas)
        sums = jax.tree.map(lambda s: self._opened(s, groups), self.statistics, is_leaf=is_statistic)
        arguments = self.dynamics, self.statistics, self.kernel, replicas, sums
        return _traced(_loop, arguments) - _bytes((replicas, sums))

    def _finalising(self, groups: Groups) -> int:
        """The largest estimate's, and the results of all."""
        needed = [
            _traced(lambda statistic, sums: statistic.conclude(sums), (s, self._opened(s, groups)))
            for s in jax.tree.leaves(self.statistics, is_leaf=is_statistic)
        ]
        return sum(needed)

    def _replicas(self, number: int) -> Any:
        return resized(self._two, number)

    @cached_property
    def _two(self) -> Any:
        positions = jax.ShapeDtypeStruct((2, self.parameters), self.dtype)
        key = jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32"))
        two = lambda dynamics, positions, key: replicate(dynamics, positions, None, key)
        return eqx.filter_eval_shape(two, self.dynamics, positions, key)

    def _sums(self, groups: Groups) -> dict[str, int]:
        """The bytes of each statistic's sums."""
        leaves, _ = jax.tree_util.tree_flatten_with_path(self.statistics, is_leaf=is_statistic)
        named = {f"sums of {type(s).__name__}{jax.tree_util.keystr(path)}": s for path, s in leaves}
        return {name: _bytes(self._opened(statistic, groups)) for name, statistic in named.items()}

    def _opened(self, statistic: AbstractStatistic, groups: Groups) -> Any:
        replicas = self._replicas(groups.replicas)
        opened = lambda s, r: s.init(r.states, r.alive, groups, Records(jnp.int32(1), self.every))
        return eqx.filter_eval_shape(opened, statistic, replicas)


def _loop(dynamics, statistics, kernel, replicas, sums, number):
    numbers = {"first_record": number, "records": number, "every": number}
    return evolve(dynamics, statistics, replicas, sums, kernel=kernel, **numbers)


def _sharing(mesh: Mesh | None) -> int:
    """How many devices share the memory that is looked at."""
    if mesh is None or _device(mesh).platform != "cpu":
        return 1
    return sum(device.process_index == jax.process_index() for device in mesh.devices.flat)


def _bytes(tree: Any) -> int:
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree) if hasattr(x, "dtype"))


# --- the workspace of a program -----------------------------------------------------------------------------------

# what is not fused into what uses it, and asks for its operands whole
MATERIALISED = {
    "dot_general", "conv_general_dilated", "gather", "scatter", "scatter-add", "sort", "top_k", "concatenate",
    "cumsum", "dynamic_update_slice", "cholesky", "triangular_solve", "eigh", "fft",
}  # fmt: skip


def _traced(function: Any, arguments: Any) -> int:
    arrays, static = eqx.partition(arguments, lambda x: hasattr(x, "shape") and hasattr(x, "dtype"))
    leaves, structure = jax.tree.flatten(arrays)

    def program(number, *leaves):
        more = (number,) if function is _loop else ()
        return function(*eqx.combine(jax.tree.unflatten(structure, leaves), static), *more)

    outputs = lambda *leaves: jax.tree.leaves(eqx.filter(program(*leaves), eqx.is_array))
    return _live(jax.make_jaxpr(outputs)(jax.ShapeDtypeStruct((), jnp.int32), *leaves).jaxpr)


def _live(program: Jaxpr) -> int:
    """The largest sum of the sizes of arrays that a program has made and still needs, results included."""
    last, whole = _uses(program)
    alive, worst = {}, 0
    for i, operation in enumerate(program.eqns):
        made = {v: _size_of(v) for v in operation.outvars if v in whole}
        inside = max(map(_live, _programs(operation)), default=0)
        loops = operation.primitive.name in ("while", "scan")
        beside = inside + sum(made.values()) if loops else max(inside, sum(made.values()))
        worst = max(worst, sum(alive.values()) + beside)
        alive = {v: size for v, size in (alive | made).items() if last.get(v, -1) > i}
    return worst


def _uses(program: Jaxpr) -> tuple[dict[Any, int], set[Any]]:
    """Where each array is used for the last time, and which arrays are not fused into all that uses them."""
    last, whole = {}, set()
    for i, operation in enumerate(program.eqns):
        opaque = operation.primitive.name in MATERIALISED or any(True for _ in _programs(operation))
        used = [v for v in operation.invars if not isinstance(v, Literal)]
        last |= dict.fromkeys(used, i)
        whole |= {*used, *operation.outvars} if opaque else set()
    results = [v for v in program.outvars if not isinstance(v, Literal)]
    last |= dict.fromkeys(results, len(program.eqns))
    return last, whole | set(results)


def _programs(operation: JaxprEqn) -> Iterator[Jaxpr]:
    """The programs inside an operation, except those that run inside a processor."""
    if operation.primitive.name == "pallas_call":
        return
    for value in operation.params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, ClosedJaxpr | Jaxpr):
                yield getattr(one, "jaxpr", one)


def _size_of(variable: Any) -> int:
    aval = variable.aval
    return math.prod(aval.shape) * aval.dtype.itemsize if hasattr(aval, "shape") else 0


# --- what is there ------------------------------------------------------------------------------------------------


def available(device: Any) -> int | None:
    """The bytes that a device has left; None where it does not tell. Devices of a CPU share what the machine and the
    container have left."""
    if device.platform == "cpu":
        return min([psutil.virtual_memory().available, *_left_in_containers()])
    told = device.memory_stats() or {}
    return told["bytes_limit"] - told["bytes_in_use"] if {"bytes_limit", "bytes_in_use"} <= told.keys() else None


def _device(mesh: Mesh | None) -> Any:
    if mesh is None:
        return _kernels._device()
    return next(d for d in mesh.devices.flat if d.process_index == jax.process_index())


CGROUPS, MEMBERSHIP = pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/proc/self/cgroup")
FILES = {"": ("memory.max", "memory.current", "inactive_file"),
         "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")}  # fmt: skip


def _left_in_containers() -> Iterator[int]:
    """What is left of the limits of the control groups that this process is in, of both versions.

    Files that were read and not written lately count as used, but give way: they are left as well.
    """
    for controllers, folder in _memberships():
        limit, usage, idle = FILES[controllers]
        for place in (folder, *folder.parents):
            limited, used = _number(place / limit), _number(place / usage)
            if limited is not None and used is not None:
                yield max(0, limited - used + _statistic(place / "memory.stat", idle))
            if place in (CGROUPS, CGROUPS / controllers):
                break


def _memberships() -> Iterable[tuple[str, pathlib.Path]]:
    """Kinds and folders of this process's groups, or the topmost ones, where it cannot see its own."""
    try:
        lines = [line.split(":", 2) for line in MEMBERSHIP.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in lines:
        if controllers in FILES:
            top = CGROUPS / controllers
            own = top / path.lstrip("/")
            yield controllers, own if own.is_dir() else top


def _number(path: pathlib.Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # absent, or "max"
        return None


def _statistic(path: pathlib.Path, name: str) -> int:
    try:
        return next((int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(f"{name} ")), 0)
    except (OSError, ValueError):
        return 0


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"
