"""Runs that are killed at random moments, and started again until they end.

The moments, in fixed proportions and a fixed random order and delay:

    start       while Python and the library are loaded
    compile     after `simulate` was called
    run         after a random share of the steps
    saving      the same, as soon as a checkpoint that does not yet count is seen, and up to 20 ms later
    end         in the last steps: the last checkpoint, or what comes after it
"""

import pathlib
import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from sgdynamics_faults.processes import INTERRUPTED, Job, Worker, confirmed, difference, events, unconfirmed

MOMENTS = {"start": 3.0, "compile": 2.0, "run": 0.2, "saving": 0.02, "end": 0.1}
"""Seconds that the random delay takes at most."""
TRIALS = (
    ("regression", 1), ("draws", 2), ("epochs", 1), ("Langevin", 2), ("Langevin", 1), ("deep linear", 2),
    ("underdamped", 1), ("regression", 2), ("deep linear", 1), ("network", 1),
)  # fmt: skip
"""Runs, and on how many devices."""


@dataclass
class Trial:
    """A run that was killed again and again."""

    name: str
    devices: int
    moments: list[str] = field(default_factory=list)
    interrupted_saves: int = 0
    """Kills while a checkpoint was being written."""
    resumed: list[tuple[int, int]] = field(default_factory=list)
    """(step resumed at, step of the last checkpoint that counted), of each process that came so far."""
    losses: list[str] = field(default_factory=list)
    ends: int = 0
    """How often the run came to its end, and was compared."""

    @property
    def kills(self) -> int:
        return len(self.moments)


@dataclass(frozen=True)
class Place:
    """Where processes work, and where the results are of runs that nothing happened to."""

    folder: pathlib.Path
    cache: pathlib.Path
    references: pathlib.Path

    def reference(self, name: str, devices: int) -> pathlib.Path:
        return self.references / str(devices) / f"{name.replace(' ', '-')}.npz"


def moments(kills: int, random: random.Random) -> list[str]:
    """As many of each kind as can be, in random order, but ends last: a run that is over is not killed in midrun."""
    kinds = list(MOMENTS)
    chosen = [kinds[i % len(kinds)] for i in range(kills)]
    random.shuffle(chosen)
    return sorted(chosen, key=lambda kind: kind == "end")


def killed(name: str, devices: int, kills: int, seed: int, place: Place) -> Trial:
    """A run killed so many times, by SIGKILL, then left to its end."""
    rng = random.Random(f"{seed} {name} {devices}")
    shares = sorted(rng.random() * 0.9 for _ in range(kills))  # of the steps: later kills find the run further on
    trial, todo, attempts = Trial(name, devices), moments(kills, rng), 0
    base = place.folder / f"{name.replace(' ', '-')}-{devices}"
    run = base / name.replace(" ", "-")
    while todo:
        attempts += 1
        before, worker = _begin(run), _started(name, devices, base, attempts, place)
        hit = _at_moment(worker, todo[0], run, rng, shares[trial.kills]) and worker.send(signal.SIGKILL)
        code = worker.end()
        if hit and code == -signal.SIGKILL:
            trial.moments.append(todo.pop(0))
            trial.interrupted_saves += bool(unconfirmed(run))
            _check(trial, run, before)
            continue
        _ended(trial, worker, code, run, before, base, place)
        shutil.rmtree(run, ignore_errors=True)  # it was too quick: once more from the start
        if attempts > 3 * kills + 3:
            trial.losses.append(f"only {trial.kills} of {kills} kills in {attempts} attempts")
            break
    before, worker = _begin(run), _started(name, devices, base, attempts + 1, place)
    _ended(trial, worker, worker.end(), run, before, base, place)
    return trial


def interrupted(name: str, devices: int, number: signal.Signals, place: Place) -> Trial:
    """A run that a signal ends twice, in midrun and while a checkpoint is written, then left to its end."""
    trial, rng = Trial(name, devices), random.Random(f"{name} {devices}")
    base = place.folder / f"{name.replace(' ', '-')}-{devices}-{number.name}"
    run = base / name.replace(" ", "-")
    for i, moment in enumerate(("run", "saving")):
        before, worker = _begin(run), _started(name, devices, base, i, place, pause=0.02)
        hit = _at_moment(worker, moment, run, rng, 0.2 + 0.3 * i) and worker.send(number)
        code = worker.end()
        if not hit or code != INTERRUPTED:
            trial.losses.append(f"{number.name} {moment}: exit code {code}: {worker.errors()[-300:]}")
            continue
        trial.moments.append(moment)
        _check(trial, run, before)
        step = confirmed(run)[1]
        if [event["step"] for event in events(run, "interrupted")][-1:] != [step]:
            trial.losses.append(f"{number.name} {moment}: the last checkpoint is not of the step it was ended at")
        if f"stopped at step {step}" not in worker.said()[-1]:
            trial.losses.append(f"{number.name} {moment}: it says {worker.said()[-1]!r}")
    before, worker = _begin(run), _started(name, devices, base, 2, place)
    _ended(trial, worker, worker.end(), run, before, base, place)
    return trial


def _started(name: str, devices: int, base: pathlib.Path, attempt: int, place: Place, pause: float = 0.0) -> Worker:
    job = Job([name], str(base), str(base / "results"), devices, pause=pause)
    return Worker(job, base / "logs" / f"{attempt:02d}.log", place.cache)


def _at_moment(worker: Worker, kind: str, run: pathlib.Path, rng: random.Random, share: float) -> bool:
    """Waits for a moment of this kind, after this share of the steps; False where the process ends before."""
    delay = rng.random() * MOMENTS[kind]
    if kind in ("run", "saving") and not worker.passes(share):
        return False
    phase = {"compile": "simulating", "end": "ending"}.get(kind)
    if phase and not worker.reaches(phase):
        return False
    while kind == "saving" and not unconfirmed(run):
        if worker.process.poll() is not None:
            return False
        time.sleep(0.001)
    time.sleep(delay)
    return True


class _Before(NamedTuple):
    """Of a run, before a process takes it up: its last checkpoint's number and step, and how often it was taken up."""

    last: tuple[int, int]
    begun: int


def _begin(run: pathlib.Path) -> _Before:
    return _Before(confirmed(run), len(events(run, "started", "resumed")))


def _check(trial: Trial, run: pathlib.Path, before: _Before) -> None:
    """After a kill: no checkpoint that counted is lost, and the process went on from the last one."""
    try:
        after = confirmed(run)
    except (OSError, ValueError, KeyError) as error:
        trial.losses.append(f"{trial.moments[-1:]}: the record that counts cannot be read: {error!r}")
        return
    if after < before.last:
        trial.losses.append(f"{trial.moments[-1:]}: the last checkpoint was {before.last}, and is {after}")
    _went_on(trial, run, before)


def _went_on(trial: Trial, run: pathlib.Path, before: _Before) -> None:
    """A process that came so far began at the last checkpoint that counted when it was started."""
    for event in events(run, "started", "resumed")[before.begun :]:
        begun, last = event.get("step", 0), before.last[1]
        trial.resumed.append((begun, last))
        if begun != last:
            trial.losses.append(f"began at step {begun}, but the last checkpoint was of step {last}")
    trial.losses += sorted({f"warned: {event['message']}" for event in events(run, "warning")} - set(trial.losses))


def _ended(trial, worker, code, run, before, base, place) -> None:
    if code != 0:
        trial.losses.append(f"ended with {code}: {worker.errors()[-500:]}")
        return
    _went_on(trial, run, before)
    trial.ends += 1
    found = base / "results" / f"{trial.name.replace(' ', '-')}.npz"
    apart = difference(place.reference(trial.name, trial.devices), found)
    found.unlink()
    if not apart.equal:
        trial.losses.append(f"the result is another: {apart}")
