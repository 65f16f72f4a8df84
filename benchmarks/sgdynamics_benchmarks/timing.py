"""Honest timing: contenders in turn, warmed up first, several rounds, results waited for.

Machines are shared and their speed drifts: only ratios from one run mean anything. They are taken round by round,
A beside B, and the median of those is given.
"""

import datetime
import gc
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import jax

LIBRARIES = ("sgdynamics", "jax", "jaxlib", "equinox", "diffrax", "optax", "numpy", "scipy", "torch", "torchsde")


@dataclass(frozen=True)
class Timing:
    """Seconds of each round of one contender, and the units of work in a round."""

    seconds: tuple[float, ...]
    work: float

    @property
    def rates(self) -> tuple[float, ...]:
        """Units of work per second, of each round."""
        return tuple(self.work / seconds for seconds in self.seconds)

    @property
    def rate(self) -> float:
        """Units of work per second, by the median round."""
        return self.work / statistics.median(self.seconds)


def interleaved(
    contenders: Mapping[str, Callable[[], object]], work: Mapping[str, float], rounds: int = 7
) -> dict[str, Timing]:
    """Every contender once to warm up, then `rounds` rounds of all of them in turn."""
    for run in contenders.values():
        jax.block_until_ready(run())
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    gc.collect()
    for _ in range(rounds):
        for name, run in contenders.items():
            started = time.perf_counter()
            jax.block_until_ready(run())
            seconds[name].append(time.perf_counter() - started)
    return {name: Timing(tuple(s), work[name]) for name, s in seconds.items()}


def machine() -> dict[str, object]:
    """What the figures were measured on, and when."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "load": _load(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {name: found for name in LIBRARIES if (found := _version(name))},
    }


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _load() -> float | None:
    """The mean number of busy processes in the last minute: whether the machine was shared."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
