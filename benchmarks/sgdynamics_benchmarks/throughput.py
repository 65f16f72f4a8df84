"""Rates of contenders in one run, the ratios between them, their table and their picture."""

import importlib
import pathlib
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
class Round:
    """What one round calls, and how it is run, for the record: kernel, devices, threads, compiler."""

    run: Callable[[], Any]
    details: dict[str, Any] = field(default_factory=dict)

    def __call__(self) -> Any:
        return self.run()


@dataclass(frozen=True)
class Contender:
    """`prepare()` gives what one round calls (a `Round`, or a plain function), or raises `Missing`.

    `work` is the work of a round.
    """

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
            | {"details": getattr(runs[name], "details", {})}
            for name, timing in timings.items()
        },
        "skipped": skipped,
    }


def rates(record: Record, name: str) -> list[float]:
    """Of one contender, round by round."""
    contender = record["contenders"][name]
    return [contender["work"] / seconds for seconds in contender["seconds"]]


def ratios(record: Record, of: str, to: str) -> list[float]:
    """How many times faster one contender was than another, round by round."""
    return [mine / other for mine, other in zip(rates(record, of), rates(record, to), strict=True)]


def table(record: Record) -> str:
    """Rates and their ratio to the record's `base` (a contender; or of each contender, the one it is held against)."""
    base, contenders = record.get("base"), record["contenders"]
    rows = [("", f"10⁶ {record['unit']}", "lowest … highest", "ratio")]
    for name, contender in contenders.items():
        rounds = [rate / 1e6 for rate in rates(record, name)]
        against = base[name] if isinstance(base, dict) else base
        ratio = f"{statistics.median(ratios(record, name, against)):.3g}" if against in contenders else ""
        rows.append((name, f"{contender['rate'] / 1e6:.4g}", f"{min(rounds):.3g} … {max(rounds):.3g}", ratio))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [f"{row[0]:<{widths[0]}}" + "".join(f"  {row[i]:>{widths[i]}}" for i in (1, 2, 3)) for row in rows]
    return "\n".join(lines + [f"skipped: {name}: {reason}" for name, reason in record["skipped"].items()])


def draw(record: Record, path: pathlib.Path) -> None:
    """The median rate of every contender as a point, every round as a tick."""
    contenders = record["contenders"]
    figure, (axes,) = picture.panels(1, width=6.4, height=0.9 + 0.3 * len(contenders))
    for place, (name, contender) in enumerate(contenders.items()):
        rounds = [rate / 1e6 for rate in rates(record, name)]
        colour, marker = _style(name)
        axes.plot(rounds, [place] * len(rounds), "|-", color=colour, markersize=9, linewidth=1)
        axes.plot(contender["rate"] / 1e6, place, marker, color=colour, markersize=7)
        text = f"{contender['rate'] / 1e6:.3g}"
        axes.annotate(text, (max(rounds), place), (7, 0), textcoords="offset points", va="center")
    axes.set_xscale("log")
    axes.set_xlim(right=2 * axes.get_xlim()[1])
    axes.set_yticks(range(len(contenders)), list(contenders))
    axes.set_ylim(len(contenders) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(f"10⁶ {record['unit']}; points: median, ticks: rounds")
    figure.suptitle(record.get("title", ""), fontsize=9)
    figure.savefig(path)


def _style(name: str) -> tuple[str, str]:
    """Colour and marker: of ours, of the machine's limit, of a peer."""
    if "C limit" in name:
        return picture.BLACK, "D"
    return (picture.BLUE, "o") if "simulate" in name else (picture.ORANGE, "s")
