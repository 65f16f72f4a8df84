"""One device, several, several processes: which kernels make the same bits, and runs that go on with another number.

Replicas are divided between devices in whole groups, so that a device has fewer of them than one alone would have.
Draws are integers, addressed by (replica, step), and elementwise operations do not depend on how many replicas there
are: both are the same bits. Sums inside products of matrices may be taken in another order for another number of rows.
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from sgdynamics_faults.cases import CASES, FORMS
from sgdynamics_faults.kills import Place
from sgdynamics_faults.processes import Difference, Job, confirmed, difference, events, finished

LAYOUTS = {"2 devices": (2, 1), "2 processes": (1, 2)}
"""(devices of a process, processes); each is compared with one device."""
EQUAL = (
    "draws alone, reference step", "regression, residuals", "regression, counts", "regression, parameters",
    "deep linear SGD", "deep linear Langevin", "Langevin, regression", "underdamped, regression", "linear process",
    "linear modes", "network, generic",
)  # fmt: skip
"""The kernels, at these sizes, of which every bit is the same on any number of devices, states and statistics."""
EQUAL_RUNS = ("draws",)
"""Of the runs that are killed, those that must be so too."""
ROUNDING = 1e4
"""How far the others may be apart, relative to the largest number of the array, in units of the precision."""
CHAINS = {"1 → 2 → 1 devices": ((1, 1), (2, 1), (1, 1)), "2 processes → 1": ((1, 2), (1, 1))}
SHARES = (0.35, 0.7)
"""Where the runs of a chain are left."""


def compared(place: Place) -> dict[str, dict[str, Difference]]:
    """Of every kernel, on several devices, the difference from one; `made` has made them all."""
    file = lambda layout, name: _folder(place, *layout) / f"{name.replace(' ', '-')}.npz"
    apart = lambda layout, name: difference(file((1, 1), name), file(layout, name))
    return {name: {told: apart(layout, name) for told, layout in LAYOUTS.items()} for name in FORMS}


def made(place: Place, devices: int, processes: int) -> None:
    """Every kernel's run on so many devices of so many processes."""
    base = _folder(place, devices, processes)
    job = Job(tuple(FORMS), None, str(base), devices, processes=processes)
    finished(job, base / "log.log", place.cache)


def near(apart: Difference, dtype: Any) -> bool:
    """Whether two results are the same but for rounding."""
    return max(apart.state, apart.estimates) <= ROUNDING * float(np.finfo(dtype).eps)


def _folder(place: Place, devices: int, processes: int) -> pathlib.Path:
    return place.folder / f"forms-{devices}-{processes}"


def chained(place: Place, told: str, names: tuple[str, ...] = tuple(CASES)) -> dict[str, dict[str, Any]]:
    """Runs that go on with another number of devices, against those on one device to which nothing happened."""
    base = place.folder / told.replace(" ", "-")
    layouts, losses = CHAINS[told], {name: [] for name in names}
    results = base / "results"
    for i, (devices, processes) in enumerate(layouts):
        last = i == len(layouts) - 1
        job = Job(names, str(base / "runs"), str(results), devices, processes=processes)
        before = {name: confirmed(_run(base, name))[1] for name in names}
        finished(dataclasses.replace(job, stop_at=None if last else SHARES[i]), base / f"log{i}.log", place.cache)
        for name in names:
            begun = events(_run(base, name), "started", "resumed")[-1].get("step", 0)
            if begun != before[name] or (i > 0 and begun == 0):
                losses[name].append(f"began at step {begun}, but the last checkpoint was of step {before[name]}")
    apart = {name: difference(place.reference(name, 1), results / f"{name.replace(' ', '-')}.npz") for name in names}
    return {name: {"apart": apart[name], "losses": losses[name]} for name in names}


def _run(base: pathlib.Path, name: str) -> pathlib.Path:
    return base / "runs" / name.replace(" ", "-")
