"""Rates of contenders in one run, the ratios between them, their table and their picture."""

import importlib
import pathlib
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import jax

from sgdynamics_benchmarks import picture
from sgdynamics_benchmarks.timing import interleaved

ROUNDS, QUICK_ROUNDS = 7, 1
Record = dict[str, Any]


class Missing(Exception):
    """What a contender needs and this machine has not."""


@dataclass(frozen=True)
class Contender:
    """`prepare()` gives what one round calls, or raises `Missing`; `work` is the work of a round."""

    prepare: Callable[[], Callable[[], object]]
    work: float


def peer(name: str) -> ModuleType:
    """A module of an optional package."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise Missing(f"{package} is not installed; pip install 'sgdynamics[bench]'") from error


def measure(
    contenders: Mapping[str, Contender], *, quick: bool, rounds: int | None, unit: str = "replica-steps/s"
) -> Record:
    """The rates of all contenders that can run here, and why others cannot."""
    runs, skipped = {}, {}
    for name, contender in contenders.items():
        try:
            runs[name] = contender.prepare()
        except Missing as missing:
            skipped[name] = str(missing)
    rounds = (QUICK_ROUNDS if quick else ROUNDS) if rounds is None else rounds
    timings = interleaved(runs, {name: contenders[name].work for name in runs}, rounds)
    return {
        "unit": unit,
        "devices": jax.device_count(),
        "contenders": {
            name: {"rate": timing.rate, "work": timing.work, "seconds": list(timing.seconds)}
            for name, timing in timings.items()
        },
        "skipped": skipped,
    }


def ratios(record: Record, of: str, to: str) -> list[float]:
    """How many times faster one contender was than another, round by round."""
    a, b = (record["contenders"][name] for name in (of, to))
    pairs = zip(a["seconds"], b["seconds"], strict=True)
    return [(a["work"] / mine) / (b["work"] / other) for mine, other in pairs]


def table(record: Record) -> str:
    """Rates and their ratio to the record's `base` (a contender; or of each contender, the one it is held against)."""
    base, contenders = record.get("base"), record["contenders"]
    rows = [("", f"10⁶ {record['unit']}", "lowest … highest", "ratio")]
    for name, contender in contenders.items():
        rates = [contender["work"] / seconds / 1e6 for seconds in contender["seconds"]]
        against = base[name] if isinstance(base, dict) else base
        ratio = f"{statistics.median(ratios(record, name, against)):.3g}" if against in contenders else ""
        rows.append((name, f"{contender['rate'] / 1e6:.4g}", f"{min(rates):.3g} … {max(rates):.3g}", ratio))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [f"{row[0]:<{widths[0]}}" + "".join(f"  {row[i]:>{widths[i]}}" for i in (1, 2, 3)) for row in rows]
    return "\n".join(lines + [f"skipped: {name}: {reason}" for name, reason in record["skipped"].items()])


def draw(record: Record, path: pathlib.Path) -> None:
    """The median rate of every contender as a bar, every round as a point."""
    contenders = record["contenders"]
    figure, (axes,) = picture.panels(1, width=6.4, height=0.8 + 0.34 * len(contenders))
    rates = [contender["rate"] / 1e6 for contender in contenders.values()]
    colours = [_colour(name) for name in contenders]
    places = range(len(contenders))
    axes.barh(places, rates, color=colours, alpha=0.75, height=0.62)
    for place, contender in zip(places, contenders.values(), strict=True):
        rounds = [contender["work"] / seconds / 1e6 for seconds in contender["seconds"]]
        axes.plot(rounds, [place] * len(rounds), "|", color=picture.BLACK, markersize=7, markeredgewidth=0.8)
        axes.annotate(
            f"{contender['rate'] / 1e6:.3g}", (max(rounds), place), (4, 0), textcoords="offset points", va="center"
        )
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.3, high * 1.8)
    axes.set_yticks(places, list(contenders))
    axes.invert_yaxis()
    axes.set_xlabel(f"rate (10⁶ {record['unit']}); bars: median, ticks: rounds")
    axes.set_title(record.get("title", ""))
    figure.savefig(path)


def _colour(name: str) -> str:
    """Ours, the machine's limit, a peer."""
    return picture.BLUE if "simulate" in name else picture.GREY if "C limit" in name else picture.ORANGE
