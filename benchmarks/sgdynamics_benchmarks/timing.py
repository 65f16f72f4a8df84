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
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import jax

from sgdynamics.cli import cores

LIBRARIES = ("sgdynamics", "jax", "jaxlib", "equinox", "diffrax", "optax", "numpy", "scipy", "torch", "torchsde")
SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS", "JAX_PLATFORMS", "CC", "CFLAGS")


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
    """What the figures are measured on, and when: to be asked before the run, which is load itself."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_bytes": _memory(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "load": _load(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "environment": {name: os.environ[name] for name in SETTINGS if name in os.environ},
        "commit": _commit(),
        "versions": {name: found for name in LIBRARIES if (found := _version(name))},
    }


def _processor() -> str:
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    """Bytes of the machine's memory; None where the system does not tell."""
    known = getattr(os, "sysconf_names", {})
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if "SC_PHYS_PAGES" in known else None


def _commit() -> str | None:
    """The commit of these sources, with "-dirty" where files differ from it; None where git does not know them."""
    here = pathlib.Path(__file__)
    for question in (("ls-files", "--error-unmatch", here.name), ("describe", "--always", "--dirty", "--abbrev=40")):
        try:
            answer = subprocess.run(("git", *question), cwd=here.parent, capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return None
        if answer.returncode:
            return None
    return answer.stdout.strip()


def _load() -> float | None:
    """The mean number of busy processes in the last minute: whether the machine was shared."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
