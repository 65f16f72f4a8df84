"""Weak errors of every model on one small network: against learning rate, batch size and SVAG's l."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sgdynamics.samplers import AbstractSampler, Online, WithReplacement
from sgdynamics_benchmarks.weak_error.models import Models
from sgdynamics_benchmarks.weak_error.networks import CASES, Case
from sgdynamics_benchmarks.weak_error.orders import linear_part, sampled_order
from sgdynamics_benchmarks.weak_error.sampled import OBSERVABLES, PARTS, Means, Observables, converged, means

EQUATIONS = ("order 1", "order 2", "frozen", "isotropic")
STRETCHES = (2, 4, 8)
BATCH_SIZES = (1, 4, 16)
REPLICAS, QUICK_REPLICAS = 2**16, 2**10
CONVERGED = 0.25  # of a weak error, the most that dt may still add


class Study:
    """One network's runs. Every run has its own seed."""

    def __init__(self, case: Case, quick: bool):
        self.case, self.quick = case, quick
        self.replicas = QUICK_REPLICAS if quick else REPLICAS
        self.rates = case.learning_rates[:3] if quick else case.learning_rates
        self.models = Models(case.problem, case.sampler)
        self.observables, self.seed = Observables(case.problem), 0

    def __call__(self) -> dict[str, Any]:
        equations = EQUATIONS[:2] if self.quick else EQUATIONS
        truth = [self.descent(self.models, η) for η in self.rates]
        found = {name: [self.equation(self.models, name, η) for η in self.rates] for name in equations}
        found["SVAG, l = 4"] = [self.walk(η, 4) for η in self.rates]
        models = {name: compared(values, truth) for name, values in found.items()}
        return {
            "learning_rates": list(self.rates),
            "batch_size": self.case.sampler.batch_size,
            "times": [self.case.time * (part + 1) / PARTS for part in range(PARTS)],
            "observables": list(OBSERVABLES),
            "replicas": self.replicas,
            "sgd": plain(truth),
            "models": models,
            "orders": {name: fitted(sampled_order, self.rates, errors) for name, errors in models.items()},
            "linear_parts": {name: fitted(linear_part, self.rates, errors) for name, errors in models.items()},
            "svag": self.against_stretch(truth[0], found["order 1"][0]),
            "batch_sizes": None if self.quick else self.against_batch_size(),
        }

    def descent(self, models: Models, η: float) -> Means:
        return means(models.descent(η), self.observables, self.case.time, η, self.replicas, self._seed())

    def walk(self, η: float, stretch: int) -> Means:
        svag = self.models.svag(η, stretch)
        return means(svag, self.observables, self.case.time, η, self.replicas, self._seed())

    def equation(self, models: Models, name: str, η: float) -> Means:
        solved = lambda substeps: models.equation(name, η, substeps)
        return converged(solved, self.observables, self.case.time, η, self.replicas, self._seed())

    def against_stretch(self, descent: Means, equation: Means) -> dict[str, Any]:
        """SVAG's distance to order 1 at the largest learning rate; l = 1 is SGD."""
        η, stretches = self.rates[0], STRETCHES[:1] if self.quick else STRETCHES
        walks = [descent, *(self.walk(η, l) for l in stretches)]
        distances, inverse = compared(walks, [equation] * len(walks)), [1.0, *(1 / l for l in stretches)]
        return {"learning_rate": η, "stretch": [1, *stretches], **distances,
                "orders": fitted(sampled_order, inverse, distances)}  # fmt: skip

    def against_batch_size(self) -> dict[str, Any]:
        """Order 1 and order 2 at the second learning rate."""
        η, errors = self.rates[1], {"order 1": [], "order 2": []}
        for size in BATCH_SIZES:
            models = Models(self.case.problem, resized(self.case.sampler, size))
            truth = self.descent(models, η)
            for name in errors:
                errors[name].append(compared([self.equation(models, name, η)], [truth]))
        joined = {
            name: {field: [part[field][0] for part in parts] for field in parts[0]} for name, parts in errors.items()
        }
        return {"learning_rate": η, "sizes": list(BATCH_SIZES), "models": joined}

    def _seed(self) -> int:
        self.seed += 100  # levels of one equation take the next few
        return self.seed


def run(quick: bool) -> dict[str, Any]:
    """All networks; the first alone where `quick`."""
    names = list(CASES)[:1] if quick else list(CASES)
    return {name: Study(CASES[name](), quick)() for name in names}


def resized(sampler: AbstractSampler, size: int) -> AbstractSampler:
    return Online(size) if isinstance(sampler, Online) else WithReplacement(size)


def compared(found: list[Means], truth: list[Means]) -> dict[str, Any]:
    """Weak errors [runs, parts, observables], standard errors, what dt may add, and whether that is little."""
    error = np.array([f.value - t.value for f, t in zip(found, truth, strict=True)])
    sigma = np.array([np.hypot(f.error, t.error) for f, t in zip(found, truth, strict=True)])
    bias = np.array([np.hypot(f.bias, t.bias) for f, t in zip(found, truth, strict=True)])
    converged = bias <= np.maximum(sigma, CONVERGED * np.abs(error))
    return {
        "weak_error": error.tolist(), "sigma": sigma.tolist(), "dt_bound": bias.tolist(),
        "converged": converged.tolist(), "diverged": [f.diverged for f in found],
    }  # fmt: skip


def plain(runs: list[Means]) -> dict[str, Any]:
    return {"value": [r.value.tolist() for r in runs], "sigma": [r.error.tolist() for r in runs]}


def fitted(fit: Callable, parameter: Any, errors: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """A fit for each [parts, observables], to the values that are converged in dt and have no diverged replica."""
    e, σ, bias, good = (np.array(errors[field]) for field in ("weak_error", "sigma", "dt_bound", "converged"))
    good &= (np.array(errors["diverged"]) == 0)[:, None, None]
    h, total = np.asarray(parameter, float), np.hypot(σ, bias)

    def one(i: int, j: int) -> dict[str, Any]:
        use = good[:, i, j]
        return fit(h[use], e[use, i, j], total[use, i, j])

    return [[one(i, j) for j in range(e.shape[2])] for i in range(e.shape[1])]
