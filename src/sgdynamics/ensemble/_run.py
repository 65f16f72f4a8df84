"""The host's side of the loop: a run is a row of stages, and each is made chunk after chunk.

    burn-in       blocks of BLOCK steps, and what is left over
    records       `every` steps each
    the rest      steps after the last record

A chunk takes about half a second. Between two chunks watchers look at how far the run has come: progress, checkpoints,
divergence, the wish to stop. How a run is cut into chunks changes nothing in it.
"""

import abc
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sgdynamics.ensemble import _devices
from sgdynamics.ensemble._core import Replicas, Sums
from sgdynamics.ensemble._pieces import ManyDevices, OneDevice

CHUNK_SECONDS = 0.5
# Unrecorded steps are made in blocks of so many: where a kernel goes to its own variables and back, and where
# replicas are struck out, must not depend on how a run is cut into chunks.
BLOCK = 64


class Refused(ValueError):
    """A run that cannot be made here: too little memory, a folder that is another run's or cannot be written to."""


class Stage(NamedTuple):
    """`count` pieces of `steps` steps each, with a record after each or without."""

    count: int
    steps: int
    recorded: bool = False


class Point(NamedTuple):
    """How far a run has come: `done` pieces of the stage of this number. `sums` are None before the records."""

    stage: int
    done: int
    replicas: Replicas
    sums: Sums | None = None


class AbstractWatcher(abc.ABC):
    """Who looks at a run between two chunks."""

    def patience(self, stage: Stage, done: int) -> int:
        """How many pieces of this stage may be made, at most, before it looks again."""
        return stage.count

    def settle(self) -> None:
        """Brings to the disk what is held back: a checkpoint is about to be made."""
        return

    @abc.abstractmethod
    def look(self, point: Point, steps: int) -> None:
        """The run has come so far, by `steps` steps since the last look."""


def stages(burn_in: int, records: int, every: int, rest: int) -> tuple[Stage, ...]:
    """The stages of a run: `rest` is the number of steps after the last record."""
    return (*_unrecorded(burn_in), Stage(records, every, recorded=True), *_unrecorded(rest))


def steps_of(stages: Sequence[Stage]) -> int:
    return sum(stage.count * stage.steps for stage in stages)


def _unrecorded(steps: int) -> tuple[Stage, Stage]:
    return Stage(steps // BLOCK, BLOCK), Stage(min(steps % BLOCK, 1), steps % BLOCK)


def drive(
    pieces: OneDevice | ManyDevices, stages: Sequence[Stage], point: Point, watchers: Sequence[AbstractWatcher]
) -> Point:
    """The run from `point` to its end; where no replica is left alive the rest is not computed."""
    for number in range(point.stage, len(stages)):
        point = point._replace(stage=number, done=point.done if number == point.stage else 0)
        if stages[number].recorded and point.sums is None:
            point = point._replace(sums=pieces.open(point.replicas))
        point = _stage(pieces, stages[number], point, watchers)
        if not _anyone(point.replicas):
            break
    return point if point.sums is not None else point._replace(sums=pieces.open(point.replicas))


def _stage(pieces, stage: Stage, point: Point, watchers: Sequence[AbstractWatcher]) -> Point:
    length = 1
    while point.done < stage.count and _anyone(point.replicas):
        limit = min(watcher.patience(stage, point.done) for watcher in watchers)
        (length,) = _devices.agreed(min(length, limit, stage.count - point.done))
        started = time.perf_counter()
        point = jax.block_until_ready(_piece(pieces, stage, point, length))
        seconds = time.perf_counter() - started
        for watcher in watchers:
            watcher.look(point, length * stage.steps)
        length = max(1, int(length * min(8.0, CHUNK_SECONDS / max(seconds, 1e-4))))
    return point


def _piece(pieces, stage: Stage, point: Point, length: int) -> Point:
    replicas, sums = point.replicas, point.sums
    if stage.recorded:
        replicas, sums = pieces.record(replicas, sums, point.done, length)
    else:
        replicas = pieces.advance(replicas, length, stage.steps)
    return Point(point.stage, point.done + length, replicas, sums)


def _anyone(replicas: Replicas) -> bool:
    return bool(jnp.any(replicas.alive))
