"""How a long run is doing, for whoever looks at its folder.

`heartbeat.json`   rewritten every few seconds: when, step, of how many, steps per second, seconds left, process, host
`log.jsonl`        a line of JSON for each event: started, resumed, saved, interrupted, failed, finished

Of several processes the first alone writes. A folder that cannot be written to does not end the run.
"""

import contextlib
import datetime
import json
import logging
import os
import pathlib
import platform
import time
import warnings
from collections.abc import Iterator
from typing import Any

import jax

from sgdynamics import _atomic
from sgdynamics.ensemble._run import AbstractWatcher, Point

_log = logging.getLogger(__name__)
HEARTBEAT, LOG = "heartbeat.json", "log.jsonl"
BEAT_SECONDS = 5.0


class Journal(AbstractWatcher):
    """Keeps the heartbeat and the log of a run of `total` steps, `done` of which were made before."""

    def __init__(self, folder: pathlib.Path, total: int):
        self.folder, self.total = folder, total
        self.began = self.beaten = time.monotonic()
        self.steps = 0

    def look(self, point: Point, steps: int) -> None:
        self.steps += steps
        if time.monotonic() - self.beaten >= BEAT_SECONDS:
            self.beat(int(point.replicas.step))

    def beat(self, step: int) -> None:
        """Writes the heartbeat."""
        self.beaten = time.monotonic()
        rate = self.steps / max(self.beaten - self.began, 1e-9)
        left = (self.total - step) / rate if rate > 0 else None
        with self._forgiving() as writes:
            if writes:
                beat = {"time": _now(), "step": step, "of": self.total, "steps_per_second": rate, "seconds_left": left}
                _replace(self.folder / HEARTBEAT, beat | {"process": os.getpid(), "host": platform.node()})

    def note(self, event: str, **facts: Any) -> None:
        """Adds an event to the log."""
        with self._forgiving() as writes:
            if writes:
                _log.info("%s %s in %s", event, facts, self.folder)
                self.folder.mkdir(parents=True, exist_ok=True)
                with open(self.folder / LOG, "a", encoding="utf-8") as log:
                    log.write(json.dumps({"time": _now(), "event": event} | facts, ensure_ascii=False) + "\n")

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[bool]:
        try:
            yield jax.process_index() == 0
        except OSError as error:
            warnings.warn(f"the journal in {self.folder} could not be written: {error}", stacklevel=4)


def _replace(path: pathlib.Path, value: Any) -> None:
    with _atomic.written(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
