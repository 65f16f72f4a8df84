"""`python -m sgdynamics_calibration [--seeds N] [--out DIR]`: prints and writes the tables; 1 where one fails."""

import argparse
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from sgdynamics_benchmarks.account import part, verdict, write
from sgdynamics_benchmarks.timing import machine
from sgdynamics_calibration import alarms, bias, judge, power
from sgdynamics_calibration.cases import CASES, GROUPS, REPLICAS, STEPS
from sgdynamics_calibration.sample import Sample, degrees_of_freedom, sample

SCALED = 1.3
"""The factor by which errors are too small in the control."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where everything is as stated, 1 where something is not."""
    parser = argparse.ArgumentParser(prog="sgdynamics_calibration", description="Are the errors right?")
    parser.add_argument("--seeds", type=int, default=200, help="independent ensembles of each problem (200)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("results/calibration"), help="folder")
    chosen = parser.parse_args(arguments)
    if chosen.seeds < 20:
        parser.error(f"--seeds {chosen.seeds}, but there must be at least 20.")
    jax.config.update("jax_enable_x64", True)
    started, here = time.perf_counter(), machine()
    told = lambda what: print(f"  … {what} ({time.perf_counter() - started:.0f} s)", flush=True)
    drawn = sample(chosen.seeds, told=told)
    parts = [linear(drawn), controls(drawn), false_alarms(drawn), biases(), powers(told=told)]
    passes = all(table["passes"] for table in parts)
    seconds = {"seconds": time.perf_counter() - started, "processor_seconds": time.process_time()}
    record = {"machine": here, "passes": passes, "parts": parts} | seconds
    path = chosen.out / "calibration.json"
    write(record, path)
    spent = f"{seconds['seconds']:.0f} s, {seconds['processor_seconds']:.0f} s of processors"
    print(f"{'all as stated' if passes else 'NOT as stated'}: {spent}, written to {path}")
    return 0 if passes else 1


def linear(drawn: Sample) -> dict[str, Any]:
    """The table of all statistics."""
    rows, df = [], degrees_of_freedom()
    table = {key: judge.judged(z, df) for key, z in drawn.z.items()}
    for (case, name), found in table.items():
        kind = "linear" if CASES[case]().rows[name].linear else "nonlinear"
        passes = found.passes(len(table))
        values = (f"{found.distance_p:.2g}", *(f"{100 * share:.1f}" for share in found.coverage))
        rows.append((name, case, kind, str(found.seeds), *values, verdict(passes)))
    header = ("statistic", "problem", "kind", "seeds", "KS p", "in 68.3 %", "in 95 %", "in 99 %", "verdict")
    about = (
        f"z of {REPLICAS} replicas in {GROUPS} groups, {STEPS} records, against Student's t of {df}; "
        f"each p at {judge.LEVEL:g}/{judge.TESTS * len(table)}, {judge.LEVEL:g} for all"
    )
    return part("statistics", about, header, rows)


def controls(drawn: Sample) -> dict[str, Any]:
    """What the same judgement must reject."""
    df, rows = degrees_of_freedom(), []
    names = {f"{case} {row}": z for (case, row), z in drawn.z.items()}
    found = len(judge.rejected({name: SCALED * z for name, z in names.items()}, df))
    rows.append((f"all errors too small by {SCALED}", f"{found} of {len(names)} rows rejected", verdict(found > 0)))
    naive = judge.judged(drawn.naive, df)
    seen = naive.distance_p < judge.LEVEL / (judge.TESTS * len(names))
    told = f"KS p {naive.distance_p:.2g}, in 95 %: {100 * naive.coverage[1]:.1f}"
    rows.append(("process Mean, every record as independent", told, verdict(seen)))
    return part("controls", "must be rejected", ("wrong errors", "found", "verdict"), rows)


def false_alarms(drawn: Sample) -> dict[str, Any]:
    """`compare` against right laws."""
    rows = []
    for case, p in {**drawn.p_values, "all": np.concatenate(list(drawn.p_values.values()))}.items():
        for found in alarms.counted(p):
            counts = (str(found.seeds), str(found.count), f"{100 * found.count / found.seeds:.1f} %", str(found.limit))
            rows.append((case, f"{found.level:g}", *counts, verdict(found.passes)))
    rows.append(
        ("any alarm at all", f"{alarms.LEVELS[0]:g}", "", "", "", "", verdict(not alarms.silent(drawn.p_values)))
    )
    header = ("problem", "level", "comparisons", "alarms", "rate", "at most", "verdict")
    return part("false alarms of compare", f"right laws; limits by chance {alarms.CHANCE:g}", header, rows)


def biases() -> dict[str, Any]:
    """Nonlinear statistics in small ensembles."""
    rows, found = [], bias.measured()
    for name, b in found.items():
        cells = (str(b.seeds), f"{b.bias:+.3f}", f"{b.error:.3f}", f"{b.plain:+.3f}", "yes" if b.must_see_plain else "")
        rows.append((name, *cells, verdict(b.within(len(found)))))
    header = ("statistic", "ensembles", "bias", "±", "without jackknife", "must be seen", "verdict")
    about = f"in standard errors, {bias.REPLICAS} replicas; bound 10/replicas^1.5 = {bias.BOUND:.3f}"
    return part("bias", about, header, rows)


def powers(names: Sequence[str] = tuple(power.DUELS), told: Callable[[str], None] = print) -> dict[str, Any]:
    """Wrong models."""
    rows = []
    for name in names:
        found = power.fought(name)
        told(name)
        lost = ", ".join(f"{wrong} {count}/{found.seeds}" for wrong, count in found.rejected.items())
        rows.append((name, lost, f"{found.false_alarms}/{found.seeds}", verdict(found.passes)))
    header = ("model", "wrong ones rejected", "right one rejected", "verdict")
    return part("power of compare", f"level {power.LEVEL:g}", header, rows)


if __name__ == "__main__":
    sys.exit(main())
