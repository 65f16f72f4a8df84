"""Runs that survive: what a run has come to, kept on the disk, and taken up again.

    FOLDER/lock               held by the process that runs; freed by the system when that ends, however it ends
    FOLDER/000007/            the arrays of replicas and sums as the devices have them, written by orbax while the run
                              goes on; every process writes its own shares
    FOLDER/000007.json        written last, under another name and renamed: where the run was, how the arrays are laid
                              out, the configuration, a checksum of every file of 000007/ and of itself
    FOLDER/heartbeat.json, log.jsonl

A checkpoint without its .json, or whose checksums do not hold, does not count: the one before it is used, with a
warning. One of another configuration is refused, with the fields that differ. Arrays are brought back into the order of
one device before they are laid out anew, so that a run can go on with another number of devices. Nothing is unpickled.
"""

import concurrent.futures as futures
import contextlib
import contextvars
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import equinox as eqx
import filelock
import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics import _atomic, _checks, _versions
from sgdynamics.ensemble import _devices
from sgdynamics.ensemble._configuration import Table, differences, digest
from sgdynamics.ensemble._core import Replicas
from sgdynamics.ensemble._journal import Journal
from sgdynamics.ensemble._layout import REPLICAS, Cut, Layout
from sgdynamics.ensemble._pieces import ManyDevices, OneDevice, arrays_of, resumed
from sgdynamics.ensemble._run import AbstractWatcher, Point, Refused, Stage, steps_of
from sgdynamics.ensemble._signals import Interrupted, Wish

LOCK, FORMAT = "lock", 1
FIELDS = {"stage", "done", "recording", "devices", "arrays", "configuration", "source", "versions", "files"}
_NUMBER = re.compile(r"[0-9]{6,9}")  # as they are written here: other names are not the library's


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Where a run keeps what it has come to, and how often.

    - folder: of this run alone. Several processes must see the same one.
    - seconds: between two checkpoints. One more is made at the end and, where SIGTERM or SIGINT asks to stop, at once.
    - keep: how many are kept, the last ones.
    - lazy: whether a run that is over before its first checkpoint is due leaves nothing.
    """

    folder: str | os.PathLike
    seconds: float | int = 60.0
    keep: int = 2
    lazy: bool = False

    def __post_init__(self):
        _checks.require("seconds", self.seconds, self.seconds >= 0, allowed="at least 0")
        _checks.count("keep", self.keep)
        path = pathlib.Path(self.folder).resolve()
        if path.exists() and not path.is_dir():
            raise ValueError(f"checkpoint = {self.folder} is a file, but it must be a folder: name another.")
        object.__setattr__(self, "folder", path)


T = TypeVar("T")
_ambient: contextvars.ContextVar[Checkpoint | None] = contextvars.ContextVar("checkpoint", default=None)


@contextlib.contextmanager
def checkpointing(folder: str | os.PathLike, *, seconds: float | int = 60.0, keep: int = 2) -> Iterator[None]:
    """Inside, every `simulate` that is not told otherwise has a folder of its own in `folder`, named after its
    configuration: a program that was stopped, and is run again, finds what its runs have come to."""
    token = _ambient.set(Checkpoint(folder, seconds, keep, lazy=True))
    try:
        yield
    finally:
        _ambient.reset(token)


def saving_for(asked: Any, configuration: Callable[[], Table]) -> Checkpoint | None:
    """Where a run keeps its checkpoints, by what it is asked for or by where it runs; None for nowhere."""
    if isinstance(asked, Checkpoint):
        return asked
    if asked is not None:
        if not isinstance(asked, str | os.PathLike):
            raise ValueError(f"checkpoint = {asked!r}, but it must be a folder or a Checkpoint.")
        return Checkpoint(asked)
    around = _ambient.get()
    return around and dataclasses.replace(around, folder=pathlib.Path(around.folder) / digest(configuration()))


class Checkpoints(AbstractWatcher):
    """The checkpoints of one run. As a context: holds the folder's lock, and ends a run that is asked to stop."""

    def __init__(self, settings: Checkpoint, configuration: Table, pieces: OneDevice | ManyDevices,
                 plan: Sequence[Stage], others: Sequence[AbstractWatcher] = ()):  # fmt: skip
        self.settings, self.configuration, self.pieces, self.plan = settings, configuration, pieces, plan
        self.others = others
        self.folder = pathlib.Path(settings.folder)
        self.journal = Journal(self.folder, steps_of(plan))
        self.wish = Wish()
        self.saved_at = time.monotonic()
        self.writer: Any = None
        self.confirming = futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.confirmation: futures.Future | None = None
        self.over = False
        self.failures = 0
        self.kept = -1  # the step of the last checkpoint that counts; the first process knows

    def __enter__(self) -> "Checkpoints":
        if _devices.any_process(not self.settings.lazy or self.folder.is_dir()):
            self._open()
        self.wish.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        self.wish.__exit__()
        if self.writer is None:
            return
        try:
            self._settled()
            self.confirming.shutdown()
            self._close()
            if error is not None and not isinstance(error, Interrupted):
                self.journal.note("failed", error=repr(error))
        finally:
            if self.lock is not None:
                self.lock.release()

    def _close(self) -> None:
        """Closes the writer. What it failed to write was told before: it raises one more such error at each call, and
        none of them may cost the run its result."""
        for _ in range(self.failures + 1):
            with contextlib.suppress(Exception):
                return self.writer.close()

    def _open(self) -> None:
        self.lock = _locked(self.folder)
        if jax.process_index() == 0:
            self._tidy()
        # agreed, because a process that is ahead may have set a broken checkpoint aside before another one counts
        (self.number,) = _devices.agreed(max([0, *_numbers(self.folder)]))
        # where it makes folders in a thread and cannot, other threads wait for them, and with them the process's end
        options = _orbax().options.AsyncOptions(create_directories_asynchronously=False)
        self.writer = _orbax().AsyncCheckpointer(_orbax().StandardCheckpointHandler(), async_options=options)

    def restored(self, start: Replicas) -> Point:
        """The point of the last checkpoint that is whole; where there is none, the start."""
        if self.writer is None:
            return Point(0, 0, start)
        for number in self._candidates():
            body, point = self._attempt(number, lambda number=number: self._judged(number)), None
            if body is not None:
                point = self._attempt(number, lambda number=number, body=body: self._taken_up(number, body, start))
            if point is None:
                continue
            self.over, self.kept = point.stage == len(self.plan), int(point.replicas.step)
            self.journal.note("resumed", checkpoint=number, step=int(point.replicas.step))
            return point
        self.journal.note("started", steps=steps_of(self.plan), devices=self.pieces.devices)
        return Point(0, 0, start)

    def _attempt(self, number: int, read: Callable[[], T]) -> T | None:
        """What reading a checkpoint gives; None where that fails in a process, and then the checkpoint is set aside."""
        error, result = None, None
        try:
            result = read()
        except (Refused, MemoryError, jax.errors.JaxRuntimeError):
            raise  # not its fault
        except Exception as failure:  # whatever orbax's readers raise over bytes that nobody wrote
            error = failure
        if not _devices.any_process(error is not None):
            return result
        self._complain(f"checkpoint {self._record(number)} is broken and not used: {error or 'in another process'}")
        if jax.process_index() == 0:
            self._set_aside(number)
        return None

    def _candidates(self) -> Iterator[int]:
        """The numbers of the checkpoints, the last first, as the first process sees them."""
        mine = sorted(_numbers(self.folder), reverse=True)
        (count,) = _devices.agreed(len(mine))
        mine += [0] * (count - len(mine))
        yield from _devices.agreed(*mine[:count])

    def look(self, point: Point, steps: int) -> None:
        if self.writer is not None:
            self.journal.look(point, steps)
        stop = _devices.any_process(self.wish.number is not None)
        (due,) = _devices.agreed(int(time.monotonic() - self.saved_at >= self.settings.seconds))
        if stop:
            self._stop(point)
        elif due:
            self.save(point)

    def finish(self, point: Point) -> None:
        """Keeps the end of the run, unless it is kept already or not worth it."""
        if self.writer is None or self.over:
            return
        point = point._replace(stage=len(self.plan), done=0)
        self.save(point)
        self._settled()
        self.journal.beat(int(point.replicas.step))
        self.journal.note("finished", step=int(point.replicas.step))

    def save(self, point: Point) -> None:
        """Makes a checkpoint, written while the run goes on. What goes wrong is told, and does not end the run."""
        self.saved_at = time.monotonic()
        if self.writer is None:
            try:
                self._open()
            except Refused as error:  # in every process alike
                return self._complain(str(error))
        self._settled()
        for watcher in self.others:
            watcher.settle()
        self.number += 1
        arrays = arrays_of(point.replicas, point.sums)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            kept = {_key(i): x for i, x in enumerate(arrays) if x.size}  # orbax refuses arrays without entries
            self.writer.save(self._arrays_of(self.number), args=_orbax().args.StandardSave(kept), force=True)
        except (OSError, ValueError, RuntimeError) as error:
            self.failures += 1
            self._complain(f"checkpoint {self._record(self.number)} could not be written: {error}")
        else:
            self.confirmation = self.confirming.submit(self._confirm, self.number, self._about(point, arrays))

    def _stop(self, point: Point) -> None:
        self.save(point)
        self._settled()
        step = int(point.replicas.step)
        if self.writer is not None:
            self.journal.beat(step)
            self.journal.note("interrupted", step=step, signal=self.wish.number)
        (kept,) = _devices.agreed(self.kept)
        last = f"the last one is of step {kept}" if kept >= 0 else "there is none"
        how = "with a checkpoint" if kept == step else f"but its checkpoint could not be written and {last}"
        raise Interrupted(f"stopped at step {step}, {how} in {self.folder}", self.wish.number)

    def _settled(self) -> None:
        """Waits for the checkpoint that is being written, and tells what went wrong."""
        confirmation, self.confirmation = self.confirmation, None
        try:
            if confirmation is not None:
                confirmation.result()
        except Exception as error:  # whatever orbax's threads raise: the run itself is well
            self.failures += 1
            self._complain(f"checkpoint {self._record(self.number)} could not be written: {error}")
            if jax.process_index() == 0:
                self._tidy()  # what is half-written would fill the disk

    def _confirm(self, number: int, about: dict[str, Any]) -> None:
        """Waits until all files are written, then makes the checkpoint count, and drops old ones."""
        self.writer.wait_until_finished()
        if jax.process_index() != 0:
            return
        body = about | {"files": _checksums(self._arrays_of(number))}
        with _atomic.written(self._record(number)) as partial:
            partial.write_text(json.dumps({"body": body, "sha256": _sha(body)}) + "\n", encoding="utf-8")
        self.kept = body["step"]
        self.journal.note("saved", checkpoint=number, step=self.kept)
        for old in sorted(_numbers(self.folder))[: -self.settings.keep]:
            self._record(old).unlink(missing_ok=True)  # first: from here on it does not count
            shutil.rmtree(self._arrays_of(old), ignore_errors=True)

    def _about(self, point: Point, arrays: Sequence[Any]) -> dict[str, Any]:
        """What a checkpoint's record says, but for its files."""
        return {
            "format": FORMAT,
            "stage": point.stage,
            "done": point.done,
            "step": int(point.replicas.step),
            "recording": point.sums is not None,
            "devices": self.pieces.layout.devices if self.pieces.layout else None,
            "arrays": [[list(x.shape), x.dtype.name] for x in arrays],
            "configuration": self.configuration,
            "source": _versions.digest(),
            "versions": _versions.versions(),
        }

    def _judged(self, number: int) -> Mapping[str, Any]:
        """The record of a checkpoint of this run, whose files are those that were written."""
        body = _body(self._record(number))
        if not isinstance(body["configuration"], dict):
            raise ValueError("its record has no configuration")
        differing = differences(body["configuration"], self.configuration)
        if differing:
            raise Refused(
                f"checkpoint = {self.folder} holds a run of another configuration ({'; '.join(differing)}). "
                "Name another folder, or delete this one."
            )
        if _checksums(self._arrays_of(number)) != body["files"]:
            raise ValueError("its files are not those that were written")
        if (body["source"], body["versions"]) != (_versions.digest(), _versions.versions()):
            self._complain(
                f"checkpoint {self._record(number)} was made by another version of the library or of a package: the "
                "run goes on, but not as it would have to the last bit."
            )
        self._layout(body)
        return body

    def _taken_up(self, number: int, body: Mapping[str, Any], start: Replicas) -> Point:
        layout, arrays = self._layout(body), self._loaded(number, body["arrays"])
        point = Point(body["stage"], body["done"], *resumed(self.pieces, start, arrays, layout, body["recording"]))
        self._check_step(point)
        return point

    def _layout(self, body: Mapping[str, Any]) -> Layout | None:
        """How a checkpoint's arrays are laid out. `ValueError` where its record cannot be one of this run's: a
        checksum tells that it is as it was written, but not that it was this library that wrote it."""
        stage, done, devices = body["stage"], body["done"], body["devices"]
        numbers = type(stage) is int and type(done) is int and (devices is None or type(devices) is int)
        if not numbers or not 0 <= stage <= len(self.plan) or (devices is not None and devices < 1):
            raise ValueError(f"its record has stage {stage!r}, done {done!r}, devices {devices!r}")
        if not 0 <= done <= (self.plan[stage].count if stage < len(self.plan) else 0):
            raise ValueError(f"its record has done {done} in stage {stage}")
        first = [stage.recorded for stage in self.plan].index(True)
        if body["recording"] is not (stage >= first):
            raise ValueError(f"its record has recording {body['recording']!r} in stage {stage}")
        layout = None if devices is None else Layout(self.pieces.task.groups, devices)
        if body["arrays"] != self._shapes(layout, body["recording"]):
            raise ValueError("its record has arrays of other shapes or types than the run")
        return layout

    def _shapes(self, layout: Layout | None, recording: bool) -> list[list]:
        """The shapes and types of `arrays_of`, as a record has them."""
        task, plain = self.pieces.task, self.pieces.sums
        arrays = jax.tree.leaves(eqx.tree_at(lambda r: r.keys, plain.replicas, None))
        cuts = [REPLICAS if x.ndim else None for x in arrays]
        if recording:
            arrays += jax.tree.leaves(task.sums_of(plain.replicas, task.groups))
            cuts += plain.cuts
        return [[_laid(x.shape, cut, layout), x.dtype.name] for x, cut in zip(arrays, cuts, strict=True)]

    def _check_step(self, point: Point) -> None:
        """The replicas have made the steps that the record says; a run whose replicas have all died ends early."""
        over = point.stage == len(self.plan)
        expected = steps_of(self.plan[: point.stage])
        expected += 0 if over else point.done * self.plan[point.stage].steps
        step = int(point.replicas.step)
        early = over and 0 <= step < expected and not bool(jnp.any(point.replicas.alive))
        if step != expected and not early:
            raise ValueError(f"its replicas have made {step} steps, but by its record {expected}")

    def _loaded(self, number: int, shapes: Sequence) -> list[np.ndarray]:
        empty = [np.zeros(shape, dtype) for shape, dtype in shapes]
        kept = {_key(i): x for i, x in enumerate(empty) if x.size}
        found = self.writer.restore(self._arrays_of(number), args=_orbax().args.StandardRestore(kept))
        arrays = [np.asarray(found.get(_key(i), x)) for i, x in enumerate(empty)]
        if any((x.shape, x.dtype) != (y.shape, y.dtype) for x, y in zip(arrays, empty, strict=True)):
            raise ValueError("its arrays are not of the shapes and types that its record says")
        return arrays

    def _set_aside(self, number: int) -> None:
        """Keeps a broken checkpoint under another name, so that it is not counted among those to be kept."""
        with contextlib.suppress(OSError):
            for path in (self._record(number), self._arrays_of(number)):
                path.replace(path.with_name(f"{path.name}.broken-{uuid.uuid4().hex[:8]}"))

    def _tidy(self) -> None:
        """Removes what a process that was killed has left half-written."""
        with contextlib.suppress(OSError):
            known = _numbers(self.folder)
            for path in self.folder.iterdir():
                unconfirmed = _NUMBER.fullmatch(path.name) and int(path.name) not in known
                if unconfirmed or ".orbax-checkpoint-tmp" in path.name or path.name.startswith(".partial-"):
                    _remove(path)

    def _record(self, number: int) -> pathlib.Path:
        return self.folder / f"{number:06d}.json"

    def _arrays_of(self, number: int) -> pathlib.Path:
        return self.folder / f"{number:06d}"

    def _complain(self, message: str) -> None:
        self.journal.note("warning", message=message)
        warnings.warn(message, stacklevel=4)


def _orbax() -> Any:
    import orbax.checkpoint  # takes a second, which runs without checkpoints need not wait

    return orbax.checkpoint


def _key(i: int) -> str:
    return f"{i:04d}"


def _numbers(folder: pathlib.Path) -> list[int]:
    """Of the checkpoints that count."""
    return [int(path.stem) for path in folder.glob("*.json") if _NUMBER.fullmatch(path.stem)]


def _laid(shape: Sequence[int], cut: Cut | None, layout: Layout | None) -> list[int]:
    """The shape of an array that is laid out."""
    if cut is None or layout is None:
        return list(shape)
    own = layout.own.count if cut.along == "groups" else layout.own.replicas
    return [*shape[: cut.axis], layout.devices * own, *shape[cut.axis + 1 :]]


def _remove(path: pathlib.Path) -> None:
    """Removes a file, a folder or a link, as far as it can be; never what a link leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _body(path: pathlib.Path) -> Mapping[str, Any]:
    if not path.is_file():  # to read a pipe, or a device, might take for ever
        raise ValueError("its record is no file")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        whole = isinstance(record, dict) and _sha(record.get("body")) == record.get("sha256")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its record cannot be read ({error})") from error
    body = record["body"] if whole else None
    if not isinstance(body, dict):
        raise ValueError("its record is not what was written")
    if body.get("format") != FORMAT:
        raise ValueError(f"its format is {body.get('format')!r}, but this version reads {FORMAT}")
    if missing := sorted(FIELDS - body.keys()):
        raise ValueError(f"its record lacks {', '.join(missing)}")
    return body


def _checksums(folder: pathlib.Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _sha_of_file(path) for path in files}


def _sha_of_file(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _locked(folder: pathlib.Path) -> filelock.FileLock | None:
    """The folder's lock, taken by the first process for all."""
    lock, error = None, None
    if jax.process_index() == 0:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(folder / LOCK, timeout=0)
            lock.acquire()
        except filelock.Timeout:
            error = "is in use by another run. Wait for its end, or name another folder"
        except OSError as failure:
            error = f"cannot be written to ({failure}). Name another folder"
    if _devices.any_process(error is not None):
        raise Refused(f"checkpoint = {folder} {error or 'was refused to the first process'}.")
    return lock
