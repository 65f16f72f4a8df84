"""`python -m sgdynamics_faults [--kills N] [--seed S] [--out DIR]`: prints and writes the tables; 1 where one fails."""

import argparse
import concurrent.futures as futures
import dataclasses
import functools
import pathlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from sgdynamics_benchmarks.account import OK, part, verdict, write
from sgdynamics_benchmarks.timing import machine
from sgdynamics_faults import devices, disks, kills
from sgdynamics_faults.cases import CASES, FORMS
from sgdynamics_faults.kills import Place, Trial
from sgdynamics_faults.processes import Difference, Job, Worker, confirmed, difference, finished

LANES = 2
"""Processes at a time."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where nothing is lost, 1 where something is."""
    parser = argparse.ArgumentParser(prog="sgdynamics_faults", description="Is anything lost?")
    parser.add_argument("--kills", type=int, default=50, help="how many kill -9 in all (50)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("results/faults"), help="folder")
    chosen = parser.parse_args(arguments)
    if chosen.kills < len(kills.TRIALS):
        parser.error(f"--kills {chosen.kills}, but there must be at least {len(kills.TRIALS)}, one for each run.")
    started, here = time.perf_counter(), machine()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="sgdynamics-faults-"))
    try:
        parts = made(chosen.kills, chosen.seed, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    passes = all(table["passes"] for table in parts)
    seconds = time.perf_counter() - started
    record = {"machine": here, "seed": chosen.seed, "passes": passes, "parts": parts, "seconds": seconds}
    path = chosen.out / "faults.json"
    write(record, path)
    print(f"{'nothing is lost' if passes else 'SOMETHING IS LOST'}: {seconds:.0f} s, written to {path}")
    return 0 if passes else 1


def made(number: int, seed: int, scratch: pathlib.Path) -> list[dict[str, Any]]:
    """All tables. Runs that nothing happens to come first: they also compile what the others find compiled."""
    place = Place(scratch / "runs", scratch / "cache", scratch / "references")
    on_two = tuple(dict.fromkeys(name for name, count in kills.TRIALS if count == 2))
    with futures.ThreadPoolExecutor(LANES) as lanes:
        list(lanes.map(lambda job: reference(place, *job), [(tuple(CASES), 1), (on_two, 2)]))
        told("references")
        shares = [number // len(kills.TRIALS) + (i < number % len(kills.TRIALS)) for i in range(len(kills.TRIALS))]
        jobs = zip(kills.TRIALS, shares, strict=True)
        one = lambda job: kills.killed(job[0][0], job[0][1], job[1], seed, place)
        trials = list(lanes.map(one, jobs))
        parts = [killed(trials, number)]
        asked = [("regression", 1, signal.SIGTERM), ("deep linear", 2, signal.SIGINT)]
        parts.append(stopped(list(lanes.map(lambda job: kills.interrupted(job[0], job[1], job[2], place), asked))))
        tasks: list[Callable] = [functools.partial(disks.outcomes, scratch / "disks", place.cache)]
        tasks += [functools.partial(crowded, place)]
        tasks += [functools.partial(devices.chained, place, chain) for chain in devices.CHAINS]
        tasks += [functools.partial(devices.made, place, *layout) for layout in [(1, 1), *devices.LAYOUTS.values()]]
        found = [lanes.submit(task) for task in tasks]
        parts.append(folders([*found[0].result(), found[1].result()]))
        chains = dict(zip(devices.CHAINS, (one.result() for one in found[2:]), strict=False))
        parts.append(elsewhere(chains))
        list(one.result() for one in found)
        parts.append(forms(devices.compared(place)))
    return parts


def reference(place: Place, names: tuple[str, ...], count: int) -> None:
    """Runs that nothing happens to."""
    folder = place.references / str(count)
    finished(Job(names, None, str(folder), count), folder / "log.log", place.cache)


def killed(trials: Sequence[Trial], number: int) -> dict[str, Any]:
    rows = []
    for trial in trials:
        kinds = ", ".join(f"{kind} {trial.moments.count(kind)}" for kind in kills.MOMENTS if kind in trial.moments)
        cells = (kinds, str(trial.interrupted_saves), _steps(trial), f"{trial.ends} of {trial.ends}")
        rows.append((trial.name, str(trial.devices), str(trial.kills), *cells, "; ".join(trial.losses) or OK))
    whole = sum(trial.kills for trial in trials if not trial.losses)
    total = (str(whole) + " of " + str(number), "", str(sum(trial.interrupted_saves for trial in trials)), "", "")
    rows.append(("kills that lost nothing", "", *total, verdict(whole == number)))
    header = ("run", "devices", "kills", "when", "in a save", "resumed at step", "ends bit-equal", "verdict")
    return part("kill -9", "result bit for bit that of the uninterrupted run on as many devices", header, rows)


def stopped(trials: Sequence[Trial]) -> dict[str, Any]:
    rows = []
    for trial, kind in zip(trials, ("SIGTERM", "SIGINT"), strict=True):
        cells = (", ".join(trial.moments), _steps(trial), f"{trial.ends} of {trial.ends}")
        rows.append((kind, trial.name, str(trial.devices), *cells, "; ".join(trial.losses) or OK))
    header = ("signal", "run", "devices", "when", "resumed at step", "ends bit-equal", "verdict")
    return part("signals", "ended with a checkpoint of the step they say, and resumed from it", header, rows)


def folders(outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rows = [(one["scenario"], one["found"], verdict(one["passes"])) for one in outcomes]
    return part("folders that fail", "runs go on, and give the right result", ("fault", "found", "verdict"), rows)


def crowded(place: Place) -> dict[str, Any]:
    """A second run on a folder that is in use is refused; the first is undisturbed."""
    base, name = place.folder / "crowded", "regression"
    job = Job([name], str(base), str(base / "results"), pause=0.3)
    first = Worker(job, base / "first.log", place.cache)
    begun = first.reaches("running")
    second = Worker(dataclasses.replace(job, results=None), base / "second.log", place.cache)
    refused = second.end() == 1 and "is in use by another run" in second.errors()
    alive = first.process.poll() is None
    ended = first.end() == 0
    apart = ended and difference(place.reference(name, 1), base / "results" / f"{name}.npz").equal
    passes = begun and refused and alive and ended and bool(apart) and confirmed(base / name)[0] > 0
    said = f"second refused: {refused}, while the first ran: {alive}; result of the first bit-equal: {apart}"
    return {"scenario": "two runs on one folder", "found": said, "passes": passes}


def elsewhere(chains: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    rows = []
    for chain, runs in chains.items():
        for name, found in runs.items():
            apart, losses = found["apart"], found["losses"]
            near = apart.equal or (name not in devices.EQUAL_RUNS and devices.near(apart, CASES[name].dtype))
            rows.append((chain, name, *_apart(apart), "; ".join(losses) or verdict(near)))
    header = ("on", "run", "bit-equal", "states apart", "estimates apart", "verdict")
    return part("resumed on other devices", "against one device, uninterrupted", header, rows)


def forms(found: dict[str, dict[str, Difference]]) -> dict[str, Any]:
    rows = []
    for name in FORMS:
        for layout, apart in found[name].items():
            near = apart.equal or (name not in devices.EQUAL and devices.near(apart, FORMS[name].dtype))
            listed = "listed" if name in devices.EQUAL else "to rounding"
            rows.append((name, layout, listed, *_apart(apart), verdict(near)))
    header = ("kernel", "on", "promised", "bit-equal", "states apart", "estimates apart", "verdict")
    return part("numbers of devices", "against one device; largest difference over largest number", header, rows)


def _apart(apart: Difference) -> tuple[str, str, str]:
    return "yes" if apart.equal else "no", f"{apart.state:.1g}", f"{apart.estimates:.1g}"


def _steps(trial: Trial) -> str:
    return ", ".join(str(step) for step, _ in trial.resumed)


def told(what: str, started: float = time.perf_counter()) -> None:
    print(f"  … {what} ({time.perf_counter() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
