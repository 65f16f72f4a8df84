"""The file of trajectories: a zarr store that grows by a frame at a time.

    NAME.zarr.partial     until the end: the frames so far. Under NAME.zarr there is the whole trajectory, or what was
                          there before, never a part
    position              [steps, replicas, parameters], or another observable under its own name; not compressed:
                          zstd made 8 % of random numbers' size, and writing five times slower
    steps                 at which each frame was taken

Frames are held in memory until they fill a chunk of 32 MiB, so that memory does not depend on the number of steps, and
are written earlier where a checkpoint is about to be made.
"""

import contextlib
import json
import math
import os
import pathlib
import shutil
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import filelock
import jax
import numpy as np

from sgdynamics import _atomic, _versions
from sgdynamics.ensemble._configuration import Table, differences

CHUNK_BYTES = 2**25
STEPS_CHUNK = 2**16


class Times(NamedTuple):
    """When frames are taken: at every `every`-th of `records` records, which are `steps` steps apart."""

    every: int
    records: int
    steps: int

    @property
    def total(self) -> int:
        """The number of frames."""
        return self.records // self.every

    def of(self, first: int, last: int) -> np.ndarray:
        """The steps at which these frames are taken, counted from the start of recording."""
        return (np.arange(first, last, dtype=np.int64) + 1) * (self.every * self.steps)


class Kind(NamedTuple):
    """What a frame is: the name and attributes of the array, its axes, the shape of a frame and its type in files."""

    name: str
    attributes: dict[str, str]
    axes: tuple[str, ...]
    frame: jax.ShapeDtypeStruct

    @property
    def frame_bytes(self) -> int:
        return math.prod(self.frame.shape) * self.frame.dtype.itemsize


class Store:
    """The frames of one run on the disk. `taken` counts the frames that it was given, `stored` those it has written;
    `whole`: the file is there already, from an earlier run of this configuration."""

    def __init__(
        self,
        path: str | os.PathLike,
        overwrite: bool,
        kind: Kind,
        times: Times,
        configuration: Callable[[], Table],
        provenance: dict[str, Any],
    ):
        self.path, self.overwrite = pathlib.Path(path), overwrite
        self.partial = self.path.with_name(f"{self.path.name}.partial")
        self.kind, self.times, self.total = kind, times, times.total
        self.configuration, self.provenance = configuration, provenance
        self.block = min(max(1, CHUNK_BYTES // max(1, kind.frame_bytes)), self.total)
        self.taken = self.stored = 0
        self.whole = False
        self.fresh: set[int] = set()  # blocks that the disk may not have yet
        self.group: Any = None
        self.lock: filelock.FileLock | None = None

    # --- beginning -------------------------------------------------------------------------------------------------

    def open(self, goes_on: bool, extinct: bool) -> None:
        """Makes the file, or takes up that of the run that was cut off after `taken` frames. `goes_on`: the run has
        checkpoints; `extinct`: no replica of it is left alive."""
        if self.taken == self.total and self.path.exists() and not self.partial.exists():
            _check_same(self.path, self.configuration(), "overwrite=True does not help: name another path")
            self.whole = True
        elif self.path.exists() and not self.overwrite:
            raise ValueError(f"trajectories: {self.path} exists. Name another, or replace it with overwrite=True.")
        elif self.taken or (self.partial.exists() and goes_on and not self.overwrite):
            self._take_up(extinct)
        else:
            self._make()

    def _make(self) -> None:
        if self.partial.exists() and not self.overwrite:
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
        there = group[self.kind.name].shape[0]
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
        self.buffer[:begun] = group[self.kind.name][self.taken - begun : self.taken]

    def _create(self, path: pathlib.Path) -> None:
        import zarr

        group = zarr.create_group(path, attributes=self._attributes())
        name, attributes, axes, frame = self.kind
        shape = frame.shape
        rows = min(shape[0], max(1, shape[0] * CHUNK_BYTES // max(1, self.kind.frame_bytes)))
        group.create_array(
            name, shape=(0, *shape), dtype=frame.dtype, chunks=(self.block, rows, *shape[1:]),
            compressors=None, fill_value=np.nan, dimension_names=("steps", *axes), attributes=attributes,
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
        needed = frames * self.kind.frame_bytes
        free = shutil.disk_usage(next(folder for folder in self.path.parents if folder.exists())).free
        if needed <= free:
            return
        every = self.times.every * -(-needed // max(free, 1))
        remedy = f"every={every}" if every <= self.times.records else "less: of=statistics.Projection(directions)"
        raise ValueError(
            f"trajectories: {frames:,} frames of {self.kind.frame.shape[0]:,} replicas take {_size(needed)}, but "
            f"{self.path.parent} has {_size(free)} left. Record {remedy}, or name another disk."
        )

    def _empty(self) -> np.ndarray:
        return np.empty((self.block, *self.kind.frame.shape), self.kind.frame.dtype)

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

    @property
    def is_open(self) -> bool:
        return self.group is not None

    def put(self, values: np.ndarray, alive: np.ndarray) -> None:
        """The next frame, of the next `taken`: nan where a replica is not alive."""
        frame = self.buffer[self.taken % self.block]
        frame[...] = values
        frame[~alive] = np.nan

    @property
    def full(self) -> bool:
        """Whether memory holds a whole chunk."""
        return self.taken % self.block == 0

    def settle(self) -> None:
        """Brings all frames to the disk."""
        self.write()
        blocks = [self.partial / self.kind.name / "c" / str(block) for block in self.fresh]
        frames = [path for block in blocks for path in block.rglob("*")]
        for path in (*frames, *(self.partial / "steps").rglob("*"), self.partial / self.kind.name / "zarr.json"):
            _synchronise(path)
        self.fresh.clear()

    def write(self) -> None:
        """Writes the frames of the block that is being filled; those that were written before once more."""
        if self.group is None or self.stored == self.taken:
            return
        block = self.stored // self.block
        first, last = block * self.block, self.taken
        before = self.stored
        self._resize(last)
        self.group[self.kind.name][first:last] = self.buffer[: last - first]
        self.group["steps"][before:last] = self.times.of(before, last)
        self.stored = last
        self.fresh.add(block)

    def _resize(self, frames: int) -> None:
        for array in (self.group[self.kind.name], self.group["steps"]):
            array.resize((frames, *array.shape[1:]))

    # --- the end ---------------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Gives the trajectories their name; frames that were not taken are nan."""
        first, self.taken = self.stored, self.total
        self._resize(self.total)  # what is not written is nan
        self.group["steps"][first:] = self.times.of(first, self.total)
        self.group = None
        with _without_warnings():
            _consolidate(self.partial)
        with _atomic.written(self.path) as whole:
            self.partial.rename(whole)
        self._unlock()

    def leave(self) -> None:
        """The run has failed or is over: what it has taken is written, half-written, for one that goes on from it."""
        if self.group is not None and not self.whole:
            with contextlib.suppress(OSError):
                self.write()
        self._unlock()


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


def _size(count: int) -> str:
    return f"{count / 2**30:.3g} GiB" if count >= 2**28 else f"{count / 2**20:.3g} MiB"
