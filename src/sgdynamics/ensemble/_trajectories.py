"""Whole trajectories, streamed to the disk while a run goes on.

Frame i is taken at record (i + 1)·every − 1, i.e. at step (i + 1)·every·(steps between two records), of all replicas;
one that has been struck out is nan. The first process keeps them in a file, `_trajectory_store`. A run that goes on
from a checkpoint drops the frames beyond it and takes them anew: what it leaves is the same to the last bit.
"""

import dataclasses
import logging
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics import _checks
from sgdynamics.ensemble import _devices
from sgdynamics.ensemble._configuration import Table, table
from sgdynamics.ensemble._core import Replicas
from sgdynamics.ensemble._layout import REPLICAS
from sgdynamics.ensemble._pieces import ManyDevices, OneDevice
from sgdynamics.ensemble._results import ZARR, check_destination
from sgdynamics.ensemble._run import AbstractWatcher, Point, Stage
from sgdynamics.ensemble._trajectory_store import Kind, Store, Times
from sgdynamics.statistics import position
from sgdynamics.statistics._observables import Observable, name_of, observe

_log = logging.getLogger(__name__)


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
        (self.number,) = (number for number, stage in enumerate(plan) if stage.recorded)
        self.every, recorded = settings.every, plan[self.number]
        if self.every > recorded.count:
            raise ValueError(
                f"trajectories: every = {self.every}, but it must be at most the number of records, {recorded.count}, "
                "or no frame is taken."
            )
        self.pieces, self.of = pieces, _cast(settings.of, start.states.position.dtype)
        whose = lambda: configuration() | table(trajectories={"every": self.every, "of": settings.of})
        kind, times = _kind(settings.of, self.of, pieces, start), Times(self.every, recorded.count, recorded.steps)
        self.store = Store(settings.path, settings.overwrite, kind, times, whose, provenance)

    def __enter__(self) -> "Frames":
        return self

    def __exit__(self, *_: object) -> None:
        self.store.leave()

    def open(self, point: Point, goes_on: bool) -> None:
        """Makes the store, or takes up that of the run that was cut off at `point`; `goes_on`: whether the run has
        checkpoints."""
        self.store.taken = self._frames_by(point)
        _log.info("trajectories: %d of %d frames are there already", self.store.taken, self.store.total)
        extinct = not bool(jnp.any(point.replicas.alive))
        _first_alone(lambda: self.store.open(goes_on, extinct))

    def _frames_by(self, point: Point) -> int:
        if point.stage == self.number:
            return point.done // self.every
        return self.store.total if point.stage > self.number else 0

    def patience(self, stage: Stage, done: int) -> int:
        return self.every - done % self.every if stage.recorded else stage.count

    def look(self, point: Point, steps: int) -> None:
        if point.stage != self.number or point.done % self.every or point.done == 0:
            return
        values, alive = self._seen(point.replicas)
        if self.store.is_open:
            self.store.put(values, alive)
        self.store.taken += 1
        if self.store.full:
            _first_alone(self.store.write)

    def _seen(self, replicas: Replicas) -> tuple[np.ndarray, np.ndarray]:
        """The observable of each replica as one device has it, and who lives."""
        states = replicas.states
        x = states.position if self.of is None else _values(self.of, states.position, states.velocity, replicas.alive)
        layout = self.pieces.layout
        both = _devices.gathered(x), _devices.gathered(replicas.alive)
        values, alive = both if layout is None else (layout.lift(x, REPLICAS) for x in both)
        return values, alive

    def settle(self) -> None:
        _first_alone(self.store.settle)

    def finish(self) -> None:
        """Gives the trajectories their name; where no replica was left alive, the frames not taken are nan."""
        if not self.store.whole:
            self.settle()
            _first_alone(self.store.publish)
        self.store.whole = True


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


def _cast(of: Observable | None, dtype: np.dtype) -> Observable | None:
    """The observable in the precision of the run; None for the position, which needs no call."""
    cast = jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, of)
    return None if cast is position else cast


def _kind(asked: Observable | None, of: Observable | None, pieces: OneDevice | ManyDevices, start: Replicas) -> Kind:
    states = start.states
    x = states.position
    if of is not None:
        x = eqx.filter_eval_shape(_values.__wrapped__, of, states.position, states.velocity, start.alive)
    # files do not know bfloat16
    dtype = np.dtype(np.float32) if x.dtype.kind == "V" else np.dtype(x.dtype)
    frame = jax.ShapeDtypeStruct((pieces.task.groups.replicas, *x.shape[1:]), dtype)
    axes = ("replicas", *_axes(asked, len(frame.shape) - 1))
    return Kind(_word(name_of(asked) or "position"), _described(asked), axes, frame)


class _Seen(eqx.Module):
    position: Any
    velocity: Any


@eqx.filter_jit
def _values(of: Observable, position: Any, velocity: Any, alive: Any) -> Any:
    return observe(of, _Seen(position, velocity), alive)


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
