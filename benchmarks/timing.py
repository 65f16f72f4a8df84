"""Honest timing: contenders in turn, warmed up first, the median of several rounds, results waited for.

Machines are shared and their speed drifts: only ratios of medians from one run mean anything.
"""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

import jax


@dataclass(frozen=True)
class Timing:
    """Seconds of each round of one contender, and the units of work in a round."""

    seconds: tuple[float, ...]
    work: float

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
    for _ in range(rounds):
        for name, run in contenders.items():
            started = time.perf_counter()
            jax.block_until_ready(run())
            seconds[name].append(time.perf_counter() - started)
    return {name: Timing(tuple(s), work[name]) for name, s in seconds.items()}


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    device = jax.devices()[0]
    return {
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "device": device.device_kind,
        "devices": jax.device_count(),
        **{name: version(name) for name in ("jax", "jaxlib", "equinox", "diffrax", "numpy", "sgdynamics")},
    }
