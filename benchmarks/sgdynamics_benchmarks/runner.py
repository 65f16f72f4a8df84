"""Runs benchmarks: prints a table of each, writes NAME.json and NAME.png, and holds the ratios that must hold."""

import json
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from sgdynamics_benchmarks import BENCHMARKS, floors, load, throughput
from sgdynamics_benchmarks.timing import machine


@dataclass(frozen=True)
class Plan:
    """What to run, how, and the folder for what is measured."""

    modules: dict[str, ModuleType]
    out: pathlib.Path
    rounds: int | None
    quick: bool


def plan(names: Sequence[str], *, out: pathlib.Path, rounds: int | None = None, quick: bool = False) -> Plan:
    """The benchmarks called `names` (none named: all); `ValueError` or `OSError` for what cannot be run or written."""
    if rounds is not None and rounds < 1:
        raise ValueError(f"rounds = {rounds}, but there must be at least 1.")
    modules = {name: load(name) for name in names or BENCHMARKS}
    out.mkdir(parents=True, exist_ok=True)
    return Plan(modules, out, rounds, quick)


def run(plan: Plan) -> None:
    """Runs one benchmark after another, then holds the ratios that must hold."""
    records = {name: _one(name, module, plan) for name, module in plan.modules.items()}
    held = [] if plan.quick else floors.hold(records)
    _write(plan.out / "ratios.json", {"machine": machine(), "quick": plan.quick, "ratios": held})
    print("tiny sizes: ratios would mean nothing" if plan.quick else floors.table(held))
    print(f"\nwritten to {plan.out}")


def _one(name: str, module: ModuleType, plan: Plan) -> dict:
    """One benchmark's record, which is printed, written and drawn."""
    print(f"── {name}: {BENCHMARKS[name]}", flush=True)
    record = {"benchmark": name, "quick": plan.quick} | module.run(quick=plan.quick, rounds=plan.rounds)
    record["machine"] = machine()
    _write(plan.out / f"{name}.json", record)
    for line in (_table(module, record), _draw(module, record, plan.out / f"{name}.png"), ""):
        print(line, flush=True)
    return record


def _write(path: pathlib.Path, record: dict) -> None:
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")


def _table(module: ModuleType, record: dict) -> str:
    if hasattr(module, "table"):
        return module.table(record)
    return throughput.table(record) if "contenders" in record else ""


def _draw(module: ModuleType, record: dict, path: pathlib.Path) -> str:
    draw = getattr(module, "draw", throughput.draw if "contenders" in record else None)
    if draw is None:
        return "no picture"
    try:
        draw(record, path)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "matplotlib":
            raise
        return "no picture: matplotlib is not installed; pip install 'sgdynamics[plot]'"
    return f"picture: {path}"
