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
from sgdynamics_calibration import alarms, bias, derivatives, judge, power
from sgdynamics_calibration.cases import CASES, GROUPS, REPLICAS, STEPS
from sgdynamics_calibration.derivatives import Derived
from sgdynamics_calibration.sample import Sample, degrees_of_freedom, sample

SCALED = 1.3
"""The factor by which errors are too small in the control."""
JUDGED = ("seeds", "KS p", "in 68.3 %", "in 95 %", "in 99 %", "verdict")
"""The last columns of tables of z."""


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
    derived = derivatives.derived(chosen.seeds, told=told)
    tables = [linear(drawn, derived), of_derivatives(drawn, derived), controls(drawn, derived)]
    parts = [*tables, false_alarms(drawn), biases(), powers(told=told)]
    passes = all(table["passes"] for table in parts)
    seconds = {"seconds": time.perf_counter() - started, "processor_seconds": time.process_time()}
    record = {"machine": here, "passes": passes, "parts": parts} | seconds
    path = chosen.out / "calibration.json"
    write(record, path)
    spent = f"{seconds['seconds']:.0f} s, {seconds['processor_seconds']:.0f} s of processors"
    print(f"{'all as stated' if passes else 'NOT as stated'}: {spent}, written to {path}")
    return 0 if passes else 1


def _judged(z: np.ndarray, degrees_of_freedom: int, among: int) -> tuple[str, ...]:
    """The cells `JUDGED` of a row, one of `among`."""
    found = judge.judged(z, degrees_of_freedom)
    shares = (f"{100 * share:.1f}" for share in found.coverage)
    return str(found.seeds), f"{found.distance_p:.2g}", *shares, verdict(found.passes(among))


def linear(drawn: Sample, derived: Derived) -> dict[str, Any]:
    """The table of all statistics."""
    rows, df, among = [], degrees_of_freedom(), len(drawn.z) + len(derived.z)
    for (case, name), z in drawn.z.items():
        kind = "linear" if CASES[case]().rows[name].linear else "nonlinear"
        rows.append((name, case, kind, *_judged(z, df, among)))
    about = (
        f"z of {REPLICAS} replicas in {GROUPS} groups, {STEPS} records, against Student's t of {df}; "
        f"each p at {judge.LEVEL:g}/{judge.TESTS * among}, {judge.LEVEL:g} for all, derivatives and fits among them"
    )
    return part("statistics", about, ("statistic", "problem", "kind", *JUDGED), rows)


def of_derivatives(drawn: Sample, derived: Derived) -> dict[str, Any]:
    """The table of derivatives and fits."""
    rows, among = [], len(drawn.z) + len(derived.z)
    for (case, name), z in derived.z.items():
        df = derived.degrees_of_freedom[case, name]
        rows.append((name, case, str(df), *_judged(z, df, among)))
    converged = f"{derived.converged}/{derived.fits}"
    rows.append(("fits, converged", "process", "", converged, *4 * [""], verdict(derived.converged == derived.fits)))
    about = f"of {REPLICAS} replicas in {GROUPS} groups, {STEPS} records, against Student's t; levels as above"
    return part("derivatives and fits", about, ("what", "problem", "t of", *JUDGED), rows)


def controls(drawn: Sample, derived: Derived) -> dict[str, Any]:
    """What the same judgement must reject."""
    rows, df = [], dict.fromkeys(drawn.z, degrees_of_freedom()) | derived.degrees_of_freedom
    scaled = {key: SCALED * z for key, z in (drawn.z | derived.z).items()}
    found = len(judge.rejected(scaled, df))
    rows.append((f"all errors too small by {SCALED}", f"{found} of {len(df)} rows rejected", verdict(found > 0)))
    naive = {"process Mean, every record as independent": (drawn.naive, degrees_of_freedom())}
    for name, (z, of) in (naive | derived.controls).items():
        wrong = judge.judged(z, of)
        seen = wrong.distance_p < judge.LEVEL / (judge.TESTS * len(df))
        rows.append((name, f"KS p {wrong.distance_p:.2g}, in 95 %: {100 * wrong.coverage[1]:.1f}", verdict(seen)))
    return part("controls", "must be rejected", ("wrong", "found", "verdict"), rows)


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
