"""The ratios that must hold: who against whom, at least how many times as fast, the aim, and what was measured."""

import statistics
from typing import Any

from sgdynamics_benchmarks import throughput

# benchmark, contender, held against, at least, aim
FLOORS = (
    ("regression", "simulate, mean every 20", "NumPy", 8.0, None),
    ("regression", "simulate, mean every 20", "vmap(scan), all cores", 4.5, None),
    ("regression", "simulate, mean every 20", "PyTorch bmm", 9.0, None),
    ("regression", "simulate, mean every 20", "C limit", 0.37, 0.7),
    ("deep_linear", "simulate, R = 64", "NumPy, R = 64", 9.0, None),
    ("deep_linear", "simulate, R = 64", "vmap(scan(grad)), all cores, R = 64", 6.5, None),
    ("deep_linear", "simulate, R = 64", "C limit, R = 64", 0.22, 0.5),
    ("langevin", "simulate", "diffrax Euler, Brownian tree", 45.0, 100.0),
    ("langevin", "simulate", "diffrax Euler, cheap path", 4.5, 10.0),
    ("langevin", "simulate", "torchsde g_prod", 7.0, 15.0),
    ("oscillators", "simulate, Euler", "diffrax Euler, cheap path", 4.5, None),
    ("oscillators", "simulate, exact at stride 100", "diffrax Euler, cheap path", 150.0, None),
    ("tanh_network", "simulate", "PyTorch torch.func vmap(grad)", 3.0, 5.0),
)


def hold(records: dict[str, throughput.Record]) -> list[dict[str, Any]]:
    """Every ratio whose benchmark was run, with what was measured (None where a contender is missing)."""
    return [_one(records[name], name, of, to, least, aim) for name, of, to, least, aim in FLOORS if name in records]


def _one(record: throughput.Record, name: str, of: str, to: str, least: float, aim: float | None) -> dict[str, Any]:
    there = of in record["contenders"] and to in record["contenders"]
    rounds = throughput.ratios(record, of, to) if there else []
    measured = statistics.median(rounds) if rounds else None
    return {
        "benchmark": name, "contender": of, "against": to, "at_least": least, "aim": aim, "measured": measured,
        "lowest": min(rounds, default=None), "highest": max(rounds, default=None),
        "met": None if measured is None else measured >= least,
        "aim_met": None if measured is None or aim is None else measured >= aim,
    }  # fmt: skip


def table(held: list[dict[str, Any]]) -> str:
    """The ratios in Markdown."""
    lines = ["| benchmark | contender | against | at least | aim | measured | rounds | met |", "|---" * 8 + "|"]
    for row in held:
        if row["measured"] is None:
            measured, rounds, met = "–", "–", "not measured"
        else:
            measured, rounds = f"{row['measured']:.3g}", f"{row['lowest']:.3g} … {row['highest']:.3g}"
            met = ("yes" if row["met"] else "no") + (", and the aim" if row["aim_met"] else "")
        aim = "" if row["aim"] is None else f"{row['aim']:g}"
        cells = (row["benchmark"], row["contender"], row["against"], f"{row['at_least']:g}", aim, measured, rounds, met)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) if held else "none of the ratios that must hold was measured"
