"""The seeds of all cases: z of every row, and the p-value of `compare` against the right law."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import sgdynamics as sgd
from sgdynamics_calibration.cases import CASES, GROUPS, REPLICAS, STEPS, Case, process

COMPARED_AT = 0.05
"""The level at which seeds are compared: the sign flips are as many as it asks for."""


@dataclass(frozen=True)
class Sample:
    """z [seeds] by (case, row), and p-values of the comparisons [seeds] by case."""

    z: dict[tuple[str, str], np.ndarray]
    p_values: dict[str, np.ndarray]
    naive: np.ndarray
    """z of the mean of the process where every record counts as independent, [seeds]: a control."""


def sample(seeds: int, cases: tuple[str, ...] = tuple(CASES), told: Callable[[str], None] = lambda _: None) -> Sample:
    """Runs `seeds` seeds of each of `cases`."""
    z: dict[tuple[str, str], np.ndarray] = {}
    p_values: dict[str, np.ndarray] = {}
    naive = np.zeros(0)
    for name in cases:
        case = CASES[name]()
        runs = []
        for seed in range(seeds):
            ensemble = case.run(seed)
            runs.append((case.z(ensemble), compared(case, ensemble).p_value, ensemble.estimates["mean"].value))
        z |= {(name, row): np.array([run[0][row] for run in runs]) for row in case.rows}
        p_values[name] = np.array([run[1] for run in runs])
        if name == "process":
            naive = _naive(np.array([run[2] for run in runs]))
        told(f"{name}: {seeds} seeds")
    return Sample(z, p_values, naive)


def compared(case: Case, ensemble: sgd.Ensemble, level: float = COMPARED_AT) -> sgd.Comparison:
    """What `compare` says of a run and its right law."""
    estimates = {name: ensemble.estimates[name] for name in case.compared}
    return sgd.compare(estimates, case.law, level=level)


def _naive(means: np.ndarray) -> np.ndarray:
    """z of the combination of `Mean`, if all records of all replicas were independent."""
    case = process()
    w, M = case.weights["Mean"], np.asarray(case.law.covariance)
    return (means - case.rows["Mean"].expected) @ w / np.sqrt(w @ M @ w / (REPLICAS * STEPS))


def degrees_of_freedom() -> int:
    return GROUPS - 1
