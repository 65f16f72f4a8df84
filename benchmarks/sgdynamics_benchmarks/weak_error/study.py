"""Weak errors of every model on one small network: against learning rate, batch size and SVAG's l.

    learning rate    every model on every network; orders and linear parts in η
    l                SVAG's distance to order 1 on every network; order in 1/l
    batch size S     every model on the first network. At a fixed η errors do not vanish with the noise: of
                     e(S) = e(∞) + c/S + …, with e(∞) from batches so large, or full, that no noise is left,
                     order and linear part in 1/S of e(S) − e(∞)

A value is used where dt adds at most its standard error, or a quarter of that observable's largest weak error, and
where no replica diverged, neither the model's nor SGD's: conditions that do not look at the value itself.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from sgdynamics.dynamics import AbstractDynamics
from sgdynamics.samplers import FullBatch, WithReplacement
from sgdynamics_benchmarks.weak_error.models import EQUATIONS, Models
from sgdynamics_benchmarks.weak_error.networks import CASES, Case
from sgdynamics_benchmarks.weak_error.orders import linear_part, sampled_order
from sgdynamics_benchmarks.weak_error.regression import WITHOUT_NOISE
from sgdynamics_benchmarks.weak_error.sampled import LEVELS, OBSERVABLES, PARTS, Means, Observables, converged, means

STRETCHES = (2, 4, 8)
STRETCH = 4
SVAG = f"SVAG, l = {STRETCH}"
BATCH_SIZES = (2, 4, 8, 16)
REPLICAS, QUICK_REPLICAS = 2**16, 2**10
CONVERGED = 0.25  # of an observable's largest weak error, the most that dt may still add


class Study:
    """One network's runs. Every run has its own seed."""

    def __init__(self, case: Case, quick: bool, batch_sizes: tuple[int, ...] = ()):
        self.case, self.quick, self.batch_sizes = case, quick, batch_sizes
        self.replicas = QUICK_REPLICAS if quick else REPLICAS
        self.rates = case.learning_rates[:3] if quick else case.learning_rates
        self.names = (*(EQUATIONS[:2] if quick else EQUATIONS), SVAG)
        self.models = Models(case.problem, case.sampler)
        self.observables, self.seed = Observables(case.problem), 0

    def __call__(self) -> dict[str, Any]:
        truth = [self.descent(self.models, η) for η in self.rates]
        found = {name: [self.model(self.models, name, η) for η in self.rates] for name in self.names}
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
            "batch_sizes": self.against_batch_size() if self.batch_sizes else None,
        }

    def descent(self, models: Models, η: float) -> Means:
        return self._means(models.descent(η), η)

    def model(self, models: Models, name: str, η: float) -> Means:
        """An equation, converged in dt, or SVAG."""
        if name == SVAG:
            return self._means(models.svag(η, STRETCH), η)
        solved = lambda substeps: models.equation(name, η, substeps)
        levels = LEVELS[:2] if self.quick else LEVELS
        return converged(solved, self.observables, self.case.time, η, self.replicas, self._seed(), levels)

    def against_stretch(self, descent: Means, equation: Means) -> dict[str, Any]:
        """SVAG's distance to order 1 at the largest learning rate; l = 1 is SGD. All share the equation's error."""
        η, stretches = self.rates[0], STRETCHES[:1] if self.quick else STRETCHES
        walks = [descent, *(self._means(self.models.svag(η, l), η) for l in stretches)]
        distances, inverse = compared(walks, [equation] * len(walks)), [1.0, *(1 / l for l in stretches)]
        own = [walk.error for walk in walks]
        return {"learning_rate": η, "stretch": [1, *stretches], **distances,
                "orders": fitted(sampled_order, inverse, distances, own, np.hypot(equation.error, equation.bias)),
                }  # fmt: skip

    def against_batch_size(self) -> dict[str, Any]:
        """At the second learning rate."""
        η, full = self.rates[1], Models(self.case.problem, FullBatch())
        # for the equations: the program of every other size
        vast = Models(self.case.problem, WithReplacement(WITHOUT_NOISE))
        truth: list[Means] = []
        found: dict[str, list[Means]] = {name: [] for name in self.names}
        for size in self.batch_sizes:
            models = Models(self.case.problem, WithReplacement(size))
            truth.append(self.descent(models, η))
            for name in self.names:
                found[name].append(self.model(models, name, η))
        models = {name: compared(values, truth) for name, values in found.items()}
        noiseless = self.descent(full, η)
        inverse = [1 / size for size in self.batch_sizes]
        orders, linear, limits = {}, {}, {}
        for name, errors in models.items():
            limit = compared([self.model(full if name == SVAG else vast, name, η)], [noiseless])
            own, common = (np.hypot(part["sigma"], part["dt_bound"]) for part in (errors, limit))
            part = errors | {"weak_error": np.array(errors["weak_error"]) - limit["weak_error"],
                             "dt_bound": np.hypot(errors["dt_bound"], common),
                             "usable": np.array(errors["usable"]) & (limit["diverged"][0] == 0)}  # fmt: skip
            orders[name] = fitted(sampled_order, inverse, part, own, common[0])
            linear[name], limits[name] = fitted(linear_part, inverse, part), limit
        return {"learning_rate": η, "sizes": list(self.batch_sizes), "models": models, "without_noise": limits,
                "orders_of_the_noises_part": orders, "linear_parts_of_it": linear}  # fmt: skip

    def _means(self, dynamics: AbstractDynamics, η: float) -> Means:
        return means(dynamics, self.observables, self.case.time, η, self.replicas, self._seed())

    def _seed(self) -> int:
        self.seed += 100  # levels of one equation take the next few
        return self.seed


def run(quick: bool) -> dict[str, Any]:
    """All networks; the first alone where `quick`."""
    names = list(CASES)[:1] if quick else list(CASES)
    sizes = {names[0]: () if quick else BATCH_SIZES}
    return {name: Study(CASES[name](), quick, sizes.get(name, ()))() for name in names}


def compared(found: list[Means], truth: list[Means]) -> dict[str, Any]:
    """Weak errors [runs, parts, observables], standard errors, what dt may add, and whether that is little; diverged
    replicas of the model and of what it is compared with."""
    pairs = list(zip(found, truth, strict=True))
    error = np.array([f.value - t.value for f, t in pairs])
    sigma = np.array([np.hypot(f.error, t.error) for f, t in pairs])
    bias = np.array([np.hypot(f.bias, t.bias) for f, t in pairs])
    diverged = np.array([f.diverged + t.diverged for f, t in pairs])
    whole = (diverged == 0)[:, None, None]
    largest = np.max(np.abs(error), axis=(0, 1), where=whole, initial=0.0)
    usable = whole & (bias <= np.maximum(sigma, CONVERGED * largest))
    return {
        "weak_error": error.tolist(), "sigma": sigma.tolist(), "dt_bound": bias.tolist(),
        "usable": usable.tolist(), "diverged": diverged.tolist(),
    }  # fmt: skip


def plain(runs: list[Means]) -> dict[str, Any]:
    return {"value": [r.value.tolist() for r in runs], "sigma": [r.error.tolist() for r in runs]}


def fitted(
    fit: Callable, parameter: Any, errors: dict[str, Any], own: Any = None, common: Any = None
) -> list[list[dict[str, Any]]]:
    """A fit for each [parts, observables] to the values that are usable. Of correlated errors, `own` [runs, parts,
    observables] and `common` [parts, observables] are the parts of the standard error."""
    e, σ, bias, usable = (np.array(errors[field]) for field in ("weak_error", "sigma", "dt_bound", "usable"))
    h, each = np.asarray(parameter, float), np.hypot(σ, bias) if own is None else np.asarray(own)

    def one(i: int, j: int) -> dict[str, Any]:
        use = usable[:, i, j]
        shared = () if common is None else (float(common[i, j]),)
        return fit(h[use], e[use, i, j], each[use, i, j], *shared)

    return [[one(i, j) for j in range(e.shape[2])] for i in range(e.shape[1])]
