"""Whole trajectories, streamed to the disk while a run goes on.

    NAME.zarr.partial     until the end: the frames so far. Under NAME.zarr there is the whole trajectory, or what was
                          there before, never a part
    position              [steps, replicas, parameters], or another observable under its own name; not compressed:
                          zstd made 8 % of random numbers' size, and writing five times slower
    steps                 at which each frame was taken, counted from the start of recording as for statistics

Frame i is taken at record (i + 1)·every − 1, i.e. at step (i + 1)·every·(steps between two records), of all replicas;
one that has been struck out is nan. Frames are held in memory until they fill a chunk of 32 MiB, so that memory does
not depend on the number of steps, and are written earlier where a checkpoint is made. A run that goes on from a
checkpoint drops the frames beyond it and takes them anew: what it leaves is the same to the last bit.
"""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import equinox as eqx
import filelock
import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics import _atomic, _checks, _versions
from sgdynamics.ensemble import _devices
from sgdynamics.ensemble._configuration import Table, differences, table
from sgdynamics.ensemble._core import Replicas
from sgdynamics.ensemble._layout import REPLICAS
from sgdynamics.ensemble._pieces import ManyDevices, OneDevice
from sgdynamics.ensemble._results import ZARR, check_destination
from sgdynamics.ensemble._run import AbstractWatcher, Point, Stage
from sgdynamics.statistics import position
from sgdynamics.statistics._observables import Observable, name_of, observe

CHUNK_BYTES = 2**25
STEPS_CHUNK = 2**16


@dataclasses.dataclass(frozen=True)
class Trajectories:
    """Where the trajectories of a run are kept, and what of them.

    - path: a folder ".zarr", opened by `xarray.open_zarr(path)`: variable `position` [steps, replicas, parameters], or
      that of `of`, with the coordinate `steps`; the attribute `provenance` (JSON) tells how they were made. Until the
      run is over they are in "….zarr.partial", which can be opened too.
    - every: a frame at every `every`-th record.
    - of: the observable of a replica's state, as of a statistic; None: the parameters.
    - overwrite: whether earlier trajectories may be replaced: at the end, where they are whole.

    Each frame ends a chunk of the loop: between frames the run comes back to the host, which takes two milliseconds;
    taking and writing 1,000 replicas of 100 parameters takes as long again (on a core: 200 frames a second, where the
    loop makes 770 steps without them, and the disk takes 1,760).

    Raises `ValueError` where `path` has another ending or is no earlier result; `simulate` raises it where `path` is
    taken, and where the file system has too little room. A run that is cut off leaves its ….partial: with a checkpoint
    the same call goes on from there; without, `overwrite` is needed to begin again.
    """

    path: str | os.PathLike
    every: int = 1
    of: Observable | None = None
    overwrite: bool = False

    def __post_init__(self):
        object.__setattr__(self, "every", _checks.count("every", self.every))
        if pathlib.Path(self.path).suffix != ZARR:
            raise ValueError(f'path = {self.path}, but trajectories need one that ends in "{ZARR}".')
        object.__setattr__(self, "path", check_destination(self.path, overwrite=True))


class Frames(AbstractWatcher):
    """Takes the frames of one run. As a context: a run that fails leaves what it has taken, half-written."""

    def __init__(
        self,
        settings: Trajectories,
        pieces: OneDevice | ManyDevices,
        plan: Sequence[Stage],
        start: Replicas,
        configuration: Callable[[], Table],
        provenance: dict[str, Any],
    ):
        self.settings, self.pieces, self.provenance = settings, pieces, provenance
        self.path = pathlib.Path(settings.path)
        self.partial = self.path.with_name(f"{self.path.name}.partial")
        self.every = settings.every
        (self.number,) = (number for number, stage in enumerate(plan) if stage.recorded)
        self.records, self.steps = plan[self.number].count, plan[self.number].steps
        if self.every > self.records:
            raise ValueError(
                f"trajectories: every = {self.every}, but it must be at most the number of records, {self.records}, "
                "or no frame is taken."
            )
        self.total = self.records // self.every
        of = jax.tree.map(
            lambda x: x.astype(start.states.position.dtype) if eqx.is_inexact_array(x) else x, settings.of
        )
        self.of = None if of is position else of
        self.frame = _shape(self.of, pieces, start)
        self.name = _word(name_of(settings.of) or "position")
        self.configuration = lambda: configuration() | table(trajectories={"every": self.every, "of": settings.of})
        size = CHUNK_BYTES // max(1, self.frame_bytes)
        self.block = min(max(1, size), self.total)
        self.taken = self.stored = 0
        self.whole = False
        self.fresh: set[int] = set()  # blocks that the disk may not have yet
        self.group: Any = None
        self.lock: filelock.FileLock | None = None

    @property
    def frame_bytes(self) -> int:
        return math.prod(self.frame.shape) * self.frame.dtype.itemsize

    def __enter__(self) -> "Frames":
        return self

    def __exit__(self, *_: object) -> None:
        if self.group is not None and not self.whole:
            with contextlib.suppress(OSError):
                self._write()
        self._unlock()

    # --- the store -------------------------------------------------------------------------------------------------

    def open(self, point: Point, goes_on: bool) -> None:
        """Makes the store, or takes up that of the run that was cut off at `point`; `goes_on`: whether the run has
        checkpoints."""
        self.taken = self._frames_by(point)
        extinct = not bool(jnp.any(point.replicas.alive))
        _first_alone(lambda: self._open(goes_on, extinct))

    def _frames_by(self, point: Point) -> int:
        if point.stage == self.number:
            return point.done // self.every
        return self.total if point.stage > self.number else 0

    def _open(self, goes_on: bool, extinct: bool) -> None:
        if self.taken == self.total and self.path.exists() and not self.partial.exists():
            _check_same(self.path, self.configuration(), "overwrite=True does not help: name another path")
            self.whole = True
        elif self.path.exists() and not self.settings.overwrite:
            raise ValueError(f"trajectories: {self.path} exists. Name another, or replace it with overwrite=True.")
        elif self.taken or (self.partial.exists() and goes_on and not self.settings.overwrite):
            self._take_up(extinct)
        else:
            self._make()

    def _make(self) -> None:
        if self.partial.exists() and not self.settings.overwrite:
            raise ValueError(
                f"trajectories: {self.partial} is left of a run that was cut off, or is in use. Replace it with "
                "overwrite=True, or name another path."
            )
        self._check_room(self.total)
        self._take_lock()
        with _atomic.written(self.partial) as new:
            self._create(new)
        self.group, self.buffer = _opened(self.partial), self._empty()

    def _take_up(self, extinct: bool) -> None:
        if not self.partial.exists():
            raise ValueError(
                f"trajectories: the checkpoint has come to frame {self.taken}, but {self.partial} is not there. "
                "Name another checkpoint and begin anew, or go on without trajectories."
            )
        _check_same(self.partial, self.configuration(), "Name another path, or replace it with overwrite=True")
        self._take_lock()
        for left in self.partial.rglob("*.partial"):  # by a process that was killed while it wrote
            left.unlink()
        group = _opened(self.partial)
        there = group[self.name].shape[0]
        # where no replica is left alive the rest is not computed
        self.taken = min(self.taken, there) if extinct else self.taken
        if there < self.taken:
            raise ValueError(
                f"trajectories: the checkpoint has come to frame {self.taken}, but {self.partial} has {there} only. "
                "Name another checkpoint and path, and begin anew."
            )
        self._check_room(self.total - self.taken)
        self.group, self.buffer, self.stored = group, self._empty(), self.taken
        self._resize(self.taken)
        begun = self.taken % self.block
        self.buffer[:begun] = group[self.name][self.taken - begun : self.taken]

    def _create(self, path: pathlib.Path) -> None:
        import zarr

        group = zarr.create_group(path, attributes=self._attributes())
        shape, axes = self.frame.shape, ("steps", "replicas", *_axes(self.settings.of, len(self.frame.shape) - 1))
        rows = min(shape[0], max(1, shape[0] * CHUNK_BYTES // max(1, self.frame_bytes)))
        group.create_array(
            self.name, shape=(0, *shape), dtype=self.frame.dtype, chunks=(self.block, rows, *shape[1:]),
            compressors=None, fill_value=np.nan, dimension_names=axes, attributes=_described(self.settings.of),
        )  # fmt: skip
        group.create_array(
            "steps", shape=(0,), dtype="int64", chunks=(min(self.total, STEPS_CHUNK),), compressors=None, fill_value=0,
            dimension_names=("steps",), attributes={"units": "step", "long_name": "steps"},
        )  # fmt: skip

    def _attributes(self) -> dict[str, str]:
        made = self.provenance | {"versions": _versions.versions(), "commit": _versions.commit()}
        text = lambda value: json.dumps(value, ensure_ascii=False, default=str)
        return {"provenance": text(made), "configuration": text(self.configuration())}

    def _check_room(self, frames: int) -> None:
        """An error where the file system has no room for so many frames more."""
        needed = frames * self.frame_bytes
        free = shutil.disk_usage(next(folder for folder in self.path.parents if folder.exists())).free
        if needed <= free:
            return
        every = self.every * -(-needed // max(free, 1))
        remedy = f"every={every}" if every <= self.records else "less: of=statistics.Projection(directions)"
        raise ValueError(
            f"trajectories: {frames:,} frames of {self.frame.shape[0]:,} replicas take {_size(needed)}, but "
            f"{self.path.parent} has {_size(free)} left. Record {remedy}, or name another disk."
        )

    def _empty(self) -> np.ndarray:
        return np.empty((self.block, *self.frame.shape), self.frame.dtype)

    def _take_lock(self) -> None:
        lock = filelock.FileLock(f"{self.partial}.lock", timeout=0)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            self.lock = lock
        except filelock.Timeout:
            raise ValueError(f"trajectories: {self.partial} is in use by another run. Name another path.") from None

    def _unlock(self) -> None:
        lock, self.lock = self.lock, None
        if lock is not None:
            pathlib.Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    # --- frames ----------------------------------------------------------------------------------------------------

    def patience(self, stage: Stage, done: int) -> int:
        return self.every - done % self.every if stage.recorded else stage.count

    def look(self, point: Point, steps: int) -> None:
        if point.stage != self.number or point.done % self.every or point.done == 0:
            return
        values, alive = self._seen(point.replicas)
        if self.group is not None:
            frame = self.buffer[self.taken % self.block]
            frame[...] = values
            frame[~alive] = np.nan
        self.taken += 1
        if self.taken % self.block == 0:
            _first_alone(self._write)

    def _seen(self, replicas: Replicas) -> tuple[np.ndarray, np.ndarray]:
        """The observable of each replica as one device has it, and who lives."""
        states = replicas.states
        x = states.position if self.of is None else _values(self.of, states.position, states.velocity, replicas.alive)
        layout = self.pieces.layout
        both = _devices.gathered(x), _devices.gathered(replicas.alive)
        values, alive = both if layout is None else (layout.lift(x, REPLICAS) for x in both)
        return values, alive

    def settle(self) -> None:
        """Brings all frames to the disk."""
        _first_alone(self._settle)

    def _settle(self) -> None:
        self._write()
        blocks = [self.partial / self.name / "c" / str(block) for block in self.fresh]
        frames = [path for block in blocks for path in block.rglob("*")]
        for path in (*frames, *(self.partial / "steps").rglob("*"), self.partial / self.name / "zarr.json"):
            _synchronise(path)
        self.fresh.clear()

    def _write(self) -> None:
        """Writes the frames of the block that is being filled; those that were written before once more."""
        if self.group is None or self.stored == self.taken:
            return
        block = self.stored // self.block
        first, last = block * self.block, self.taken
        before = self.stored
        self._resize(last)
        self.group[self.name][first:last] = self.buffer[: last - first]
        self.group["steps"][before:last] = self._steps(before, last)
        self.stored = last
        self.fresh.add(block)

    def _resize(self, frames: int) -> None:
        for array in (self.group[self.name], self.group["steps"]):
            array.resize((frames, *array.shape[1:]))

    def _steps(self, first: int, last: int) -> np.ndarray:
        return (np.arange(first, last, dtype=np.int64) + 1) * (self.every * self.steps)

    def finish(self) -> None:
        """Gives the trajectories their name; where no replica was left alive, the frames not taken are nan."""
        if not self.whole:
            self.settle()
            _first_alone(self._publish)
        self.whole = True

    def _publish(self) -> None:
        first, self.taken = self.stored, self.total
        self._resize(self.total)  # what is not written is nan
        self.group["steps"][first:] = self._steps(first, self.total)
        self.group = None
        with _without_warnings():
            _consolidate(self.partial)
        with _atomic.written(self.path) as whole:
            self.partial.rename(whole)
        self._unlock()


def _first_alone(action: Callable[[], None]) -> None:
    """Does something in the first process for all; where it fails there, it fails in all."""
    error = None
    if jax.process_index() == 0:
        try:
            action()
        except (OSError, ValueError) as failure:
            error = failure
    if _devices.any_process(error is not None):
        raise error or ValueError("trajectories: the first process has failed, and tells why.")


def _shape(of: Observable | None, pieces: OneDevice | ManyDevices, start: Replicas) -> Any:
    """The shape of a frame, [replicas, ...], and its type in files."""
    states = start.states
    x = states.position
    if of is not None:
        x = eqx.filter_eval_shape(_values.__wrapped__, of, states.position, states.velocity, start.alive)
    # files do not know bfloat16
    dtype = np.dtype(np.float32) if x.dtype.kind == "V" else np.dtype(x.dtype)
    return jax.ShapeDtypeStruct((pieces.task.groups.replicas, *x.shape[1:]), dtype)


class _Seen(eqx.Module):
    position: Any
    velocity: Any


@eqx.filter_jit
def _values(of: Observable, position: Any, velocity: Any, alive: Any) -> Any:
    return observe(of, _Seen(position, velocity), alive)


def _check_same(path: pathlib.Path, configuration: Table, remedy: str) -> None:
    """An error where the store at `path` is not of this configuration."""
    try:
        there = json.loads(str(_opened(path).attrs["configuration"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"trajectories: {path} cannot be read ({error}). {remedy}.") from error
    differing = differences(there, configuration)
    if differing:
        raise ValueError(f"trajectories: {path} is of another configuration ({'; '.join(differing)}). {remedy}.")


def _opened(path: pathlib.Path) -> Any:
    import zarr

    return zarr.open_group(path, mode="r+", use_consolidated=False)


def _consolidate(path: pathlib.Path) -> None:
    import zarr

    zarr.consolidate_metadata(path)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # a file of all metadata is no part of the format yet, of which zarr warns; without it `open_zarr` would
        warnings.filterwarnings("ignore", "Consolidated metadata")
        yield


def _synchronise(path: pathlib.Path) -> None:
    if os.name == "nt" or not path.is_file():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _described(of: Observable | None) -> dict[str, str]:
    name = name_of(of) or "position"
    units = {"position": "w", "projection": "w", "norm": "w", "velocity": "w/t", "loss": "loss"}
    what = "parameters" if name == "position" else name
    return {"units": units.get(name, f"[{_word(name)}]"), "long_name": f"{what} of each replica", "of": name}


def _axes(of: Observable | None, count: int) -> tuple[str, ...]:
    kinds = {None: "parameters", "position": "parameters", "velocity": "parameters", "projection": "directions"}
    kind = kinds.get(name_of(of), "components")
    return tuple(kind if i == 0 else f"{kind}_{i + 1}" for i in range(count))


def _word(name: str) -> str:
    """A name of letters, digits and _ that no axis has."""
    word = re.sub(r"\W+", "_", name).strip("_") or "observable"
    return f"{word}_observable" if word in ("steps", "replicas", "parameters", "directions", "components") else word


def _size(count: int) -> str:
    return f"{count / 2**30:.3g} GiB" if count >= 2**28 else f"{count / 2**20:.3g} MiB"
