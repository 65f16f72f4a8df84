"""The ratios that must hold: who against whom, at least how many times as fast, the aim, and what was measured.

They are of one kind of device each: beside a GPU, ratios of what runs on the processor would mean nothing. Where a
row names no one to be held against, the rate itself is held.
"""

import statistics
from dataclasses import dataclass
from typing import Any

import jax

from sgdynamics_benchmarks import throughput


@dataclass(frozen=True)
class Row:
    """`contender` against `against` in a benchmark, on a kind of device."""

    benchmark: str
    contender: str
    against: str | None
    at_least: float | None
    aim: float | None = None
    platform: str = "cpu"


# peers gather no statistics: held against them is `simulate` with one record at the end
ONE, MEAN, COVARIANCE = "simulate, one record", "simulate, mean every 20", "simulate, covariance every 20"
ROWS = (
    Row("regression", ONE, "NumPy", 8.0),
    Row("regression", ONE, "vmap(scan), all cores", 4.5),
    Row("regression", ONE, "PyTorch bmm", 9.0),
    Row("regression", ONE, "C limit", 0.37, 0.7),
    # statistics take at most 30 % of the time
    Row("regression", COVARIANCE, ONE, 0.7),
    Row("regression", COVARIANCE, MEAN, 0.7),
    Row("deep_linear", "simulate, R = 64", "NumPy, R = 64", 9.0),
    Row("deep_linear", "simulate, R = 64", "vmap(scan(grad)), all cores, R = 64", 6.5),
    Row("deep_linear", "simulate, R = 64", "C limit, R = 64", 0.22, 0.5),
    Row("langevin", "simulate", "diffrax Euler, Brownian tree", 45.0, 100.0),
    Row("langevin", "simulate", "diffrax Euler, cheap path", 4.5, 10.0),
    Row("langevin", "simulate", "torchsde g_prod", 7.0, 15.0),
    Row("oscillators", "simulate, Euler", "diffrax Euler, cheap path", 4.5),
    Row("oscillators", "simulate, exact at stride 100", "diffrax Euler, cheap path", 150.0),
    Row("tanh_network", "simulate", "PyTorch torch.func vmap(grad)", 3.0, 5.0),
    # a gradient takes at most five times the run
    *(
        Row("derivatives", f"simulate, backwards, {case}", f"simulate, {case}", 0.2)
        for case in ("regression, 400 steps", "regression, covariance", "tanh network", "Langevin equation of it")
    ),
    *(
        Row(benchmark, "simulate, on CUDA", against, None, aim, platform="gpu")
        for benchmark in ("regression", "deep_linear")
        for against, aim in ((None, 1e9), ("simulate, on CUDA, XLA form", 10.0))
    ),
)


def hold(records: dict[str, throughput.Record]) -> list[dict[str, Any]]:
    """Every ratio whose benchmark was run, with what was measured (None where a contender is missing)."""
    return [_one(records[row.benchmark], row) for row in ROWS if row.benchmark in records]


def _one(record: throughput.Record, row: Row) -> dict[str, Any]:
    there = {row.contender, row.against} - {None} <= set(record["contenders"])
    rounds = _rounds(record, row) if there and row.platform == jax.default_backend() else []
    measured = statistics.median(rounds) if rounds else None
    held = lambda bound: None if measured is None or bound is None else measured >= bound
    return {
        "benchmark": row.benchmark, "contender": row.contender, "against": row.against, "platform": row.platform,
        "at_least": row.at_least, "aim": row.aim, "measured": measured,
        "lowest": min(rounds, default=None), "highest": max(rounds, default=None),
        "met": held(row.at_least), "aim_met": held(row.aim),
    }  # fmt: skip


def _rounds(record: throughput.Record, row: Row) -> list[float]:
    if row.against is None:
        return throughput.rates(record, row.contender)
    return throughput.ratios(record, row.contender, row.against)


def table(held: list[dict[str, Any]]) -> str:
    """The ratios in Markdown."""
    lines = ["| benchmark | contender | against | at least | aim | measured | rounds | met |", "|---" * 8 + "|"]
    for row in held:
        against = row["against"] or "(replica-steps/s)"
        bounds = ["" if row[name] is None else f"{row[name]:g}" for name in ("at_least", "aim")]
        lines.append("| " + " | ".join([row["benchmark"], row["contender"], against, *bounds, *_measured(row)]) + " |")
    return "\n".join(lines) if held else "none of the ratios that must hold was measured"


def _measured(row: dict[str, Any]) -> tuple[str, str, str]:
    """Median, range, verdict."""
    if row["measured"] is None:
        return "–", "–", "not measured" if row["platform"] == "cpu" else "not measured: no CUDA device"
    verdicts = {"met": {True: "yes", False: "no"}, "aim_met": {True: "the aim", False: "not the aim"}}
    said = [verdict[row[name]] for name, verdict in verdicts.items() if row[name] is not None]
    return f"{row['measured']:.3g}", f"{row['lowest']:.3g} … {row['highest']:.3g}", ", ".join(said)
