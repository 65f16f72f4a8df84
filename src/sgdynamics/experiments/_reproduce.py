"""Many experiments, one after another or several at a time, each row of the account as it comes.

Experiments are independent and many spend half their time compiling, which uses one core: on a machine of several, a
process for each core gets through them fastest. An experiment that fails is a row with its error, and the others go on.
"""

import itertools
import json
import multiprocessing
import os
import pathlib
import signal
import statistics
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from typing import Any

import jax

from sgdynamics import _atomic
from sgdynamics.experiments import _registry
from sgdynamics.experiments._claims import summary, table
from sgdynamics.experiments._progress import Bars, Progress, Silence
from sgdynamics.experiments._run import Plan, execute

# what a process has compiled stays in its memory: after so many experiments it is dropped. (A new process after so many
# would be simpler, but in Python 3.11 `max_tasks_per_child` waits for ever.)
EXPERIMENTS_BETWEEN = 8
_done = itertools.count(1)


@dataclass(frozen=True)
class Reproduced:
    """What became of one experiment: seconds, claims, how many of them surprise, an error where it failed, and when it
    was computed where its result was found and not made now."""

    name: str
    seconds: float
    claims: int
    surprises: int
    text: str
    error: str | None = None
    found: str | None = None

    @property
    def as_expected(self) -> bool:
        return self.error is None and self.surprises == 0


def reproduce(plans: Sequence[Plan], *, jobs: int = 1, quiet: bool = False) -> Iterator[Reproduced]:
    """Runs the plans, `jobs` at a time, and yields what became of each as soon as it is known.

    With several jobs each runs in another process, which knows the registered experiments of this package only.
    """
    if jobs == 1:
        yield from (_reproduced(plan, Silence() if quiet else Bars()) for plan in plans)
        return
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_hear_the_first_alone)
    try:
        running = {pool.submit(_in_a_process, plan.experiment.name, _all_else(plan)): plan for plan in plans}
        for done in as_completed(running):
            yield _result(done, running[done])
    finally:
        # an interrupt ends the run, not after all that is still waiting; what is running keeps what it has come to
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()  # heard by `_stop` or, in an ensemble, by what makes checkpoints


def _result(done: Future, plan: Plan) -> Reproduced:
    try:
        return done.result()
    except Exception as error:  # the process was killed, or does not know the experiment
        return _failed(plan.experiment.name, 0.0, error)


def account(rows: Sequence[Reproduced]) -> str:
    """A table of what became of the experiments, with the median and the sum of their times."""
    lines = [(r.name, f"{r.seconds:.0f}", f"{r.claims}", r.error or f"{r.surprises}") for r in rows]
    listed = table(("experiment", "seconds", "claims", "not as expected"), lines, align="lrrr")
    seconds = [row.seconds for row in rows]
    found = sum(row.found is not None for row in rows)
    stored = f"{found} of them found and not computed (--force repeats), " if found else ""
    return (
        f"{listed}\n{len(rows)} experiments, {stored}{sum(r.claims for r in rows)} claims, "
        f"{sum(not r.as_expected for r in rows)} with surprises or failures; "
        f"seconds of an experiment: median {statistics.median(seconds):.0f}, together {sum(seconds):.0f}"
    )


def write_account(rows: Sequence[Reproduced], folder: str | os.PathLike, *, seconds: float) -> pathlib.Path:
    """`reproduction.json` in the folder: every row, and the seconds by the clock on the wall."""
    path = pathlib.Path(folder) / "reproduction.json"
    listed = [{k: v for k, v in asdict(row).items() if k != "text"} for row in sorted(rows, key=lambda row: row.name)]
    with _atomic.written(path) as partial:
        partial.write_text(json.dumps({"seconds": round(seconds, 1), "experiments": listed}, indent=2))
    return path


def _reproduced(plan: Plan, progress: Progress) -> Reproduced:
    started, name, told = time.perf_counter(), plan.experiment.name, []
    try:
        outcome = execute(plan, progress, told.append)
    except Exception as error:
        return _failed(name, time.perf_counter() - started, error)
    claims = outcome.result.claims
    surprises = sum(not claim.as_expected for claim in claims)
    seconds = time.perf_counter() - started
    lines = [*told, plan.experiment.table(outcome.result), "", summary(claims)]
    return Reproduced(name, seconds, len(claims), surprises, "\n".join(lines), found=outcome.found)


def _failed(name: str, seconds: float, error: Exception) -> Reproduced:
    reason = "".join(traceback.format_exception_only(error)).strip()
    return Reproduced(name, seconds, 0, 0, "".join(traceback.format_exception(error)), error=reason)


def _all_else(plan: Plan) -> dict[str, Any]:
    # experiments go by name from process to process: what they are made of is not for sending
    return {field.name: getattr(plan, field.name) for field in fields(plan) if field.name != "experiment"}


def _in_a_process(name: str, plan: dict[str, Any]) -> Reproduced:
    if _Worker.stopping:
        return _failed(name, 0.0, RuntimeError("not begun: stopped before"))
    jax.config.update("jax_enable_x64", True)
    if next(_done) % EXPERIMENTS_BETWEEN == 0:
        jax.clear_caches()
    _Worker.busy = True
    try:
        return _reproduced(Plan(_registry.get(name), **plan), Silence())
    except KeyboardInterrupt as stop:
        _Worker.stopping = True
        return _failed(name, 0.0, RuntimeError(f"stopped: {stop}"))
    finally:
        _Worker.busy = False


class _Worker:
    """What a process of the pool knows of itself."""

    busy = stopping = False


def _hear_the_first_alone() -> None:
    """In a process of the pool: a terminal's ctrl-C reaches all processes, and a second signal ends a run without a
    checkpoint. So the first process alone tells the others to stop, and once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: object) -> None:
    _Worker.stopping = True
    if _Worker.busy:  # an idle process that died would break the pool
        raise KeyboardInterrupt
