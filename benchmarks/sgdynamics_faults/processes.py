"""Processes that make runs: started, watched, killed; and what their runs leave."""

import dataclasses
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

INTERRUPTED = 3
"""The exit code of a worker that a signal has ended with a checkpoint."""
LONGEST = 500.0
"""Seconds after which a process hangs."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What a worker is to do: the runs `names`, one after the other.

    - folder: of the checkpoints, one in it for each run; None for none. results: folder of the results, or None.
    - devices of each process; which process of how many; the port at which they meet.
    - steps: None for the case's own. stop_at: the share of the steps after which a run is left as it is.
    - chunk_seconds: of computation between two checkpoints; pause: seconds of sleep after each chunk.
    """

    names: Sequence[str]
    folder: str | None = None
    results: str | None = None
    devices: int = 1
    process: int = 0
    processes: int = 1
    port: int = 0
    replicas: int = 26
    groups: int = 8
    steps: int | None = None
    stop_at: float | None = None
    chunk_seconds: float = 0.05
    pause: float = 0.0


class Worker:
    """A process with a job. What it says goes to a file `log`, which is read while it runs."""

    def __init__(self, job: Job, log: pathlib.Path, cache: pathlib.Path):
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        command = [sys.executable, "-m", "sgdynamics_faults.worker", json.dumps(dataclasses.asdict(job))]
        with open(log, "wb") as out, open(log.with_suffix(".err"), "wb") as errors:
            self.process = subprocess.Popen(command, stdout=out, stderr=errors, env=environment(cache))
        self.started = time.monotonic()

    def said(self) -> list[str]:
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()

    def errors(self) -> str:
        return self.log.with_suffix(".err").read_text(encoding="utf-8", errors="replace")

    def reaches(self, phase: str) -> bool:
        """Waits until it says so; False where it ends before."""
        while f"phase {phase}" not in self.said():
            if self.process.poll() is not None:
                return False
            self._hangs()
            time.sleep(0.005)
        return True

    def passes(self, share: float) -> bool:
        """Waits until it has made this share of its steps; False where it ends before."""
        while not any(float(line[3:]) >= share for line in self.said() if re.fullmatch(r"at \d\.\d{4}", line)):
            if self.process.poll() is not None:
                return False
            self._hangs()
            time.sleep(0.005)
        return True

    def send(self, number: signal.Signals) -> bool:
        """Sends a signal; False where the process was over before."""
        if self.process.poll() is not None:
            return False
        self.process.send_signal(number)
        return True

    def end(self) -> int:
        """Waits for its end, and gives its exit code; a signal's number is negative. What hangs is killed."""
        try:
            return self.process.wait(timeout=max(1.0, self.started + LONGEST - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise TimeoutError(f"a run has not ended in {LONGEST:.0f} s: {self.errors()[-2000:]}") from None

    def _hangs(self) -> None:
        if time.monotonic() - self.started > LONGEST:
            self.end()


def finished(job: Job, log: pathlib.Path, cache: pathlib.Path) -> Worker:
    """A worker, or as many as the job has processes, at its end; an error where it fails. The first one is given."""
    jobs = [dataclasses.replace(job, process=i, port=_port() if i == 0 else 0) for i in range(job.processes)]
    jobs = [dataclasses.replace(one, port=jobs[0].port) for one in jobs]
    workers = [Worker(one, log.with_name(f"{log.stem}-{one.process}.log"), cache) for one in jobs]
    try:
        codes = [worker.end() for worker in workers]
    finally:
        for worker in workers:  # one that waits for another that has failed
            worker.process.kill()
    for worker, code in zip(workers, codes, strict=True):
        if code != 0:
            raise RuntimeError(f"a worker ended with {code}: {worker.errors()[-3000:]}")
    return workers[0]


def environment(cache: pathlib.Path) -> dict[str, str]:
    """One that has programs that were compiled before found again, or starting again would take most of the time."""
    kept = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    return kept | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "PYTHONWARNINGS": "default::UserWarning",
    }


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def confirmed(folder: pathlib.Path) -> tuple[int, int]:
    """The number and the step of the last checkpoint that counts; (0, 0) where there is none."""
    records = sorted(path for path in folder.glob("*.json") if re.fullmatch(r"\d{6}", path.stem))
    if not records:
        return 0, 0
    body = json.loads(records[-1].read_text(encoding="utf-8"))["body"]
    return int(records[-1].stem), body["step"]


def unconfirmed(folder: pathlib.Path) -> list[str]:
    """What is being written, or was when the process was killed."""
    paths = folder.iterdir() if folder.is_dir() else ()
    whole = lambda path: re.fullmatch(r"\d{6}", path.name) and path.with_suffix(".json").exists()
    return [path.name for path in paths if re.match(r"\d{6}", path.name) and path.is_dir() and not whole(path)]


def events(folder: pathlib.Path, *kinds: str) -> list[dict[str, Any]]:
    """Of a run's log, those of these kinds; a line that was cut off by a kill is left out."""
    found = []
    log = folder / "log.jsonl"
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [event for event in found if event["event"] in kinds]


@dataclasses.dataclass(frozen=True)
class Difference:
    """Between two results: whether each bit is the same, and the largest difference of a replica's state and of an
    estimate, relative to the largest number of the array (1 where they are of other shapes, or nan elsewhere)."""

    equal: bool
    state: float
    estimates: float


def difference(a: pathlib.Path, b: pathlib.Path) -> Difference:
    """Between two files of results."""
    with np.load(a) as one, np.load(b) as other:
        names = sorted(set(one.files) | set(other.files))
        both = set(one.files) == set(other.files)
        equal = both and all(_bits(one[name]) == _bits(other[name]) for name in names)
        apart = {name: _apart(one[name], other[name]) if both else 1.0 for name in names}
    worst = lambda estimates: max((x for name, x in apart.items() if ("[0]" in name[:8]) == estimates), default=0.0)
    return Difference(equal, worst(False), worst(True))


def _bits(x: np.ndarray) -> tuple:
    return x.shape, x.dtype.str, x.tobytes()


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    if a.shape != b.shape:
        return 1.0
    a, b = a.astype(float), b.astype(float)
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return 1.0
    a, b = a[finite], b[finite]
    return float(np.abs(a - b).max(initial=0.0) / max(np.abs(a).max(initial=0.0), 1e-300))
