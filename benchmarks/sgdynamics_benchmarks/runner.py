"""Runs benchmarks: prints a table of each, writes NAME.json, .md and .png, and holds the ratios that must hold."""

import json
import pathlib
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from sgdynamics_benchmarks import BENCHMARKS, load, must_hold, throughput
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


def run(plan: Plan) -> bool:
    """Runs one benchmark after another, then holds the ratios that must hold. Whether all of them ran.

    Where one fails, that is printed, and the others go on.
    """
    records, failed = {}, []
    for name, module in plan.modules.items():
        try:
            records[name] = _one(name, module, plan)
        except Exception:
            failed.append(name)
            print(f"{name} failed:\n{traceback.format_exc()}", flush=True)
    _hold(records, plan)
    print(f"\nwritten to {plan.out}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return not failed


def _one(name: str, module: ModuleType, plan: Plan) -> dict:
    """One benchmark's record, which is printed, written and drawn."""
    print(f"── {name}: {BENCHMARKS[name]}", flush=True)
    here = machine()
    record = {"benchmark": name, "quick": plan.quick} | module.run(quick=plan.quick, rounds=plan.rounds)
    record["machine"] = here
    _write(plan.out / f"{name}.json", record)
    text = _table(module, record)
    title = record.get("title", BENCHMARKS[name])
    _write_text(plan.out / f"{name}.md", f"# {name}: {title}\n\n```\n{text}\n```\n")
    for line in (text, _draw(module, record, plan.out / f"{name}.png"), ""):
        print(line, flush=True)
    return record


def _hold(records: dict[str, dict], plan: Plan) -> None:
    """Writes the ratios of what was run, beside those of other benchmarks that the folder holds."""
    path = plan.out / "ratios.json"
    held = [] if plan.quick else must_hold.hold(records)
    for row in held:
        here = records[row["benchmark"]]["machine"]
        row |= {name: here[name] for name in ("date", "processor", "device", "cores", "commit")}
    kept = [row for row in _ratios(path) if row["benchmark"] not in records]
    order = list(BENCHMARKS)
    rows = sorted(kept + held, key=lambda row: order.index(row["benchmark"]) if row["benchmark"] in order else 0)
    _write(path, {"machine": machine(), "quick": plan.quick, "ratios": rows})
    _write_text(plan.out / "ratios.md", f"# Ratios that must hold\n\n{must_hold.table(rows)}\n")
    print("tiny sizes: ratios would mean nothing" if plan.quick else must_hold.table(rows))


def _ratios(path: pathlib.Path) -> list[dict]:
    """The ratios that a folder holds."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["ratios"]
    except (FileNotFoundError, ValueError, KeyError):
        return []


def _write(path: pathlib.Path, record: dict) -> None:
    _write_text(path, json.dumps(record, indent=1, ensure_ascii=False))


def _write_text(path: pathlib.Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


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
