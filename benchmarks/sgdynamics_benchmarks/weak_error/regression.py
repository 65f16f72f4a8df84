"""Weak errors on linear regression, exact: against learning rate and batch size.

Errors at time T, from a common start far from the minimum:

    mean, second moments    |E θ − E θ_k|,  |E θθᵀ − E θ_k θ_kᵀ| (Frobenius)
    learning curve          max over T/8, 2T/8, … T of |E L(θ) − E L(θ_k)|
    covariance              |Cov − Cov_k| / |Cov_k|, in units of the fluctuations themselves, which are O(η)
    stationary covariance   the same of the stationary laws
"""

from typing import Any

import numpy as np

import sgdynamics as sgd
from sgdynamics.samplers import WithReplacement
from sgdynamics_benchmarks.weak_error import exact
from sgdynamics_benchmarks.weak_error.exact import Law
from sgdynamics_benchmarks.weak_error.models import CONTROL, EQUATIONS, STATED_ORDERS, Models
from sgdynamics_benchmarks.weak_error.orders import exact_order

BATCH_SIZE, TIME = 2, 2.0
TIMES = TIME / 8 * np.arange(1, 9)
LONG = 400.0  # relaxation times of the softest mode are 2.5: stationary to rounding
MEASURES = ("mean", "second moments", "learning curve", "covariance", "stationary covariance")
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
WITHOUT_NOISE = 10**6  # examples in a batch: noise small beside every other, and large beside rounding
FIXED = 2.0**-4  # the learning rate at which the batch size is varied
STRETCH = 4  # l of SVAG
SVAG = f"SVAG, l = {STRETCH}"


def problem() -> sgd.Problem:
    """Sixteen examples of three inputs with noisy labels; curvatures 0.40, 0.62 and 1.29."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(16, 3)) * np.array([1.1, 0.9, 0.7])
    y = x @ np.array([0.5, -0.5, 1.0]) + 0.5 * rng.normal(size=16)
    return sgd.Problem(sgd.networks.Linear(3, 1), sgd.data.Dataset(x, y))


def start() -> Law:
    """A point about three units away from the minimum."""
    θ = np.array([1.5, -1.0, 0.5])
    return Law(θ, np.outer(θ, θ))


def run(quick: bool) -> dict[str, Any]:
    """Errors and orders, as plain values."""
    learned = problem()
    rates = [2.0**-k for k in range(2, 7 if quick else 11)]
    models = Models(learned, WithReplacement(BATCH_SIZE))
    against_rate = [errors(models, η) for η in rates]
    by_model = {name: {m: [e[name][m] for e in against_rate] for m in MEASURES} for name in against_rate[0]}
    return {
        "learning_rates": rates,
        "batch_size": BATCH_SIZE,
        "time": TIME,
        "errors": by_model,
        "orders": {
            name: {m: exact_order(rates, values) for m, values in measured.items()}
            for name, measured in by_model.items()
        },
        "stated_orders": STATED_ORDERS,
        "batch_sizes": against_batch_size(learned, BATCH_SIZES[:4] if quick else BATCH_SIZES),
    }


def errors(models: Models, η: float) -> dict[str, dict[str, float]]:
    """Of every differential equation, solved exactly, of SVAG, and of one Euler-Maruyama step of order 1 per learning
    rate."""
    learned, theory = models.problem, exact.recursion(models.problem, models.sampler, η)
    truth, settled = exact.descended(theory, start(), TIMES), np.asarray(theory.weight_covariance())
    found = {}
    for name in (*EQUATIONS, CONTROL):
        process = models.equation(name, η)
        late = exact.evolved(process, start(), [LONG])[0].covariance
        found[name] = compared(learned, exact.evolved(process, start(), TIMES), truth, late, settled)
    walk = exact.recursion(learned, models.sampler, η, STRETCH)
    late = np.asarray(walk.weight_covariance())
    found[SVAG] = compared(learned, exact.descended(walk, start(), TIMES), truth, late, settled)
    every, first = round(TIMES[0] / η), models.equation("order 1", η)
    euler = exact.stepped(first, "euler", start(), dt=η, steps=8 * every, every=every)
    late = exact.stepped(first, "euler", start(), dt=η, steps=round(LONG / η), every=round(LONG / η))[0].covariance
    found["Euler, dt = η"] = compared(learned, euler, truth, late, settled)
    return found


def compared(learned: sgd.Problem, laws: list[Law], truth: list[Law], late, settled) -> dict[str, float]:
    """The five errors."""
    norm, last, exact_last = np.linalg.norm, laws[-1], truth[-1]
    found = {
        "mean": norm(last.mean - exact_last.mean),
        "second moments": norm(last.second - exact_last.second),
        "learning curve": np.max(np.abs(exact.losses(learned, laws) - exact.losses(learned, truth))),
        "covariance": norm(last.covariance - exact_last.covariance) / norm(exact_last.covariance),
        "stationary covariance": norm(late - settled) / norm(settled),
    }
    return {measure: float(value) for measure, value in found.items()}


def against_batch_size(learned: sgd.Problem, sizes: tuple[int, ...]) -> dict[str, Any]:
    """At a fixed learning rate; the part of each error that falls with the batch size S, and its order in 1/S."""
    found = [errors(Models(learned, WithReplacement(size)), FIXED) for size in sizes]
    noiseless = errors(Models(learned, WithReplacement(WITHOUT_NOISE)), FIXED)
    record: dict[str, Any] = {"learning_rate": FIXED, "sizes": list(sizes), "errors": {}, "without_noise": {}}
    names = (*EQUATIONS, CONTROL, SVAG)
    for name in names:
        record["errors"][name] = {m: [e[name][m] for e in found] for m in MEASURES}
        record["without_noise"][name] = {m: noiseless[name][m] for m in MEASURES}
    noise_part = lambda name, m: [e[name][m] - noiseless[name][m] for e in found]
    record["orders_of_the_noises_part"] = {
        name: {m: exact_order([1 / size for size in sizes], noise_part(name, m)) for m in MEASURES[1:]}
        for name in names
    }
    return record
