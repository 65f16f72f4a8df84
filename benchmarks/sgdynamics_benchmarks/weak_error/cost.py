"""What it costs to reach an error, on linear regression: exact errors against measured seconds.

For steps of length dt = η/m, m = 1/16 … 64 (an equation may be solved in steps longer than η), of Euler-Maruyama and of
`SmallNoiseHeun`, and for SVAG in l inner steps, the learning curve's distance (largest over T/8 … T)

    to SGD                    of which the equation's own distance to SGD is the floor
    to the equation itself    what dt, or l, adds

An equation *reaches* ε where these and the floor are at most ε: Euler-Maruyama at dt = η is at distance 0 from SGD
because it is SGD in disguise, not because the equation is. Seconds are of one replica's path, by the readable step of
each (`reference_kernel`), so that they compare the models' work and not how well each one's kernel is tuned: SGD's own
kernels are faster. How many replicas an error takes is not part of them.
"""

from typing import Any

import jax
import numpy as np

import sgdynamics as sgd
from sgdynamics.dynamics import AbstractDynamics, SmallNoiseHeun
from sgdynamics.samplers import WithReplacement
from sgdynamics_benchmarks.timing import interleaved
from sgdynamics_benchmarks.weak_error import exact
from sgdynamics_benchmarks.weak_error.models import Models
from sgdynamics_benchmarks.weak_error.orders import exact_order
from sgdynamics_benchmarks.weak_error.regression import BATCH_SIZE, TIMES, problem, start

SOLVED = (
    ("order 1", "euler"), ("order 1", "heun"), ("order 2", "heun"), ("frozen", "heun"), ("isotropic", "heun"),
)  # fmt: skip
LEARNING_RATES = (2.0**-4, 2.0**-8)
TARGETS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
REPLICAS, STEPS, ROUNDS = 4096, 64, 5
AT_ONE = "SVAG, l = 1"  # draws one gradient in a step, all others two


def run(quick: bool, rounds: int | None) -> dict[str, Any]:
    """Errors, seconds, and the cheapest way to each error, as plain values."""
    models = Models(problem(), WithReplacement(BATCH_SIZE))
    seconds = step_seconds(models, *((256, 16, 1) if quick else (REPLICAS, STEPS, rounds or ROUNDS)))
    rates = LEARNING_RATES[:1] if quick else LEARNING_RATES
    studies = [study(models, η, seconds, most=8 if quick else 64) for η in rates]
    return {"kernel": "reference", "seconds_per_replica_step": seconds, "targets": list(TARGETS), "studies": studies}


def label(name: str, scheme: str) -> str:
    return f"{name}, {'Euler' if scheme == 'euler' else 'Heun'}"


def step_seconds(models: Models, replicas: int, steps: int, rounds: int) -> dict[str, float]:
    """Seconds of one step of one replica: of SGD, of an inner step of SVAG, of one substep of each scheme."""
    η = LEARNING_RATES[0]
    contenders: dict[str, AbstractDynamics] = {
        "SGD": models.descent(η),
        AT_ONE: models.svag(η, 1),
        "SVAG": models.svag(η, 2),
    }
    for name, scheme in SOLVED:
        equation = models.equation(name, η)
        contenders[label(name, scheme)] = equation if scheme == "euler" else SmallNoiseHeun(equation)
    inner = {name: 2 if name == "SVAG" else 1 for name in contenders}

    def running(dynamics: AbstractDynamics):
        run = lambda: sgd.simulate(dynamics, sgd.statistics.Mean(), replicas=replicas, steps=steps, every=steps,
                                   key=jax.random.key(0), kernel=sgd.ensemble.reference_kernel)  # fmt: skip
        return lambda: run().state.position

    work = {name: replicas * steps * inner[name] for name in contenders}
    timings = interleaved({name: running(d) for name, d in contenders.items()}, work, rounds)
    return {name: 1 / timing.rate for name, timing in timings.items()}


def study(models: Models, η: float, seconds: dict[str, float], most: int) -> dict[str, Any]:
    """Distances and seconds at one learning rate; seconds are of one replica from 0 to T."""
    learned = models.problem
    curve = lambda laws: exact.losses(learned, laws)
    walk = lambda l: curve(exact.descended(exact.recursion(learned, models.sampler, η, l), start(), TIMES))
    truth, distance = walk(1), lambda a, b: float(np.max(np.abs(a - b)))
    learning_steps = TIMES[-1] / η
    found = {"SGD": {"steps": [1.0], "to_sgd": [0.0], "to_itself": [0.0], "seconds": [learning_steps * seconds["SGD"]]}}
    # a step is no longer than the time to the first record
    counts = [2.0**k for k in range(-4, 7) if 2.0**k <= most and η / 2.0**k <= TIMES[0]]
    solved: dict[str, tuple] = {}
    for name, scheme in SOLVED:
        process = models.equation(name, η)
        limit = curve(exact.evolved(process, start(), TIMES))
        every = [round(TIMES[0] / η * count) for count in counts]
        curves = [curve(exact.stepped(process, scheme, start(), dt=TIMES[0] / n, steps=8 * n, every=n)) for n in every]
        solved[label(name, scheme)] = (limit, counts, curves)
    stretches = [count for count in counts if count >= 1]
    solved["SVAG"] = (solved["order 1, Heun"][0], stretches, [walk(int(l)) for l in stretches])
    for name, (limit, steps, curves) in solved.items():
        found[name] = {
            "steps": steps,
            "to_sgd": [distance(c, truth) for c in curves],
            "to_itself": [distance(c, limit) for c in curves],
            "floor": distance(limit, truth),
            "seconds": [learning_steps * n * seconds[AT_ONE if (name, n) == ("SVAG", 1) else name] for n in steps],
        }
    orders = {n: exact_order([1 / k for k in f["steps"]], f["to_itself"]) for n, f in found.items() if n != "SGD"}
    reached = {name: [cheapest(f, ε) for ε in TARGETS] for name, f in found.items()}
    return {"learning_rate": η, "found": found, "orders_in_dt": orders, "seconds_to_reach": reached}


def cheapest(found: dict[str, Any], target: float) -> float | None:
    """The least seconds at which all distances are at most `target`."""
    if found.get("floor", 0.0) > target:
        return None
    rows = zip(found["to_sgd"], found["to_itself"], found["seconds"], strict=True)
    return min((seconds for *distances, seconds in rows if max(distances) <= target), default=None)
