"""Wrong models are called wrong, and the right one beside each is not: what `compare` is for.

    sampler             epochs in random order, taken for draws with replacement
    finite population   a third of the data in each batch, drawn without replacement, taken for draws with replacement
    Itô drift           one step of a deep linear network from the teacher's own weights, where only the Itô part of
                        the drift is not 0: the published forms, and none (Corlouer et al., (6) and (14))
    inertia             underdamped Langevin dynamics, taken for the overdamped equation of learning rate η/(1 − β),
                        which has nearly the same covariance and another memory
    frozen noise        batches of one example, taken for noise frozen at the minimum
    one substep         Euler-Maruyama at one substep, taken for its differential equation; its right law is SGD's
    many substeps       the differential equation, taken for SGD

Each is run on `SEEDS` seeds and compared at compare's own level, 10⁻³. The wrong model must be rejected on every seed.
The right one may be on one: two of five would come by chance once in 100,000 times.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import sgdynamics as sgd
from sgdynamics import statistics, theory
from sgdynamics_calibration import cases
from sgdynamics_calibration.cases import KEY, problem

SEEDS = 5
LEVEL = 1e-3
"""That of `compare`, unless told."""
CHANCE = 1e-4
"""Of more false alarms than are allowed."""
SUBSTEPS = 64
DEPTH, LABEL_NOISE = 3, 0.3
AMPLITUDES = np.array([1.0, 0.5])
RUN = dict(replicas=1024, steps=66, burn_in=72)
"""Whole epochs of three batches; over 5 relaxation times of every law, so that what differs is not called undecided."""


@dataclass(frozen=True)
class Duel:
    """What is measured, with a key; what it is to be compared with: the right model, and wrong ones by name."""

    measured: Callable[[jax.Array], Any]
    right: Any
    wrong: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """Of `seeds` comparisons each: how often the right model was rejected, and each wrong one."""

    seeds: int
    false_alarms: int
    rejected: dict[str, int]

    @property
    def passes(self) -> bool:
        """Whether all wrong models were rejected on every seed, and the right one as rarely as chance allows."""
        allowed = stats.binom.isf(CHANCE, self.seeds, LEVEL)
        return self.false_alarms <= allowed and all(count == self.seeds for count in self.rejected.values())


def sampler() -> Duel:
    case = cases.epochs()
    white = sgd.SGD(case.dynamics.problem, learning_rate=cases.LEARNING_RATE, sampler=cases.BATCH_SIZE)
    made = {name: case.statistics[name] for name in ("mean", "covariance")}
    return Duel(
        lambda key: sgd.simulate(case.dynamics, made, initial=case.initial, key=key, **RUN),
        {name: case.law[name] for name in made},
        {"with replacement": sgd.predict(white)},
    )


def finite_population() -> Duel:
    made = lambda sampler: sgd.SGD(problem(), learning_rate=cases.LEARNING_RATE, sampler=sampler)
    without = made(sgd.samplers.WithoutReplacement(4))
    wrong = {"factor missing": sgd.predict(made(sgd.samplers.WithReplacement(4)))}
    return _stationary(without, sgd.predict(without), wrong)


def ito_drift() -> Duel:
    layer = np.diag(AMPLITUDES ** (1 / DEPTH))
    network = sgd.networks.DeepLinear.of([layer] * DEPTH)
    deep = sgd.Problem(network, sgd.data.Teacher(np.diag(AMPLITUDES), LABEL_NOISE))
    η = 0.1
    descent = sgd.SGD(deep, learning_rate=η, sampler=sgd.samplers.Online(1))
    statistic = statistics.Mean(of=lambda state: jnp.diagonal(deep.unflatten(state.position).matrix()))
    setting = dict(depth=DEPTH, learning_rate=η, batch_size=1, label_noise_std=LABEL_NOISE)

    def after(form: str) -> np.ndarray:
        drift = theory.deep_linear.modewise_drift(AMPLITUDES, AMPLITUDES, form=form, **setting)
        return AMPLITUDES + η * np.asarray(drift)

    # Third moments of the noise are 0: after one step the exact form holds to all orders in η.
    wrong = {"published (6)": after("published_6"), "published (14)": after("published_14"), "none": AMPLITUDES}
    measured = lambda key: sgd.simulate(descent, statistic, replicas=131_072, steps=1, key=key)
    return Duel(measured, after("exact"), wrong)


def inertia() -> Duel:
    β, η = 0.8, 0.2
    setting = dict(sampler=cases.BATCH_SIZE)
    underdamped = sgd.UnderdampedLangevin(problem(), learning_rate=η, momentum=β, **setting)
    overdamped = sgd.Langevin(problem(), learning_rate=η / (1 - β), **setting)
    return _stationary(underdamped, sgd.predict(underdamped), {"overdamped": sgd.predict(overdamped)})


def frozen_noise() -> Duel:
    descent = sgd.SGD(problem(), learning_rate=cases.LEARNING_RATE, sampler=1)
    return _stationary(descent, sgd.predict(descent), {"frozen": sgd.predict(descent, form="frozen")})


def one_substep() -> Duel:
    return _stationary(_langevin(1), sgd.predict(_descent()), {"SDE": sgd.predict(_langevin(1))})


def many_substeps() -> Duel:
    return _stationary(_langevin(SUBSTEPS), sgd.predict(_langevin(SUBSTEPS)), {"SGD": sgd.predict(_descent())})


def _descent() -> sgd.SGD:
    return sgd.SGD(problem(), learning_rate=2 * cases.LEARNING_RATE, sampler=4)


def _langevin(substeps: int) -> sgd.Langevin:
    return sgd.Langevin(problem(), learning_rate=2 * cases.LEARNING_RATE, sampler=4, substeps=substeps)


def _stationary(dynamics: Any, right: sgd.Prediction, wrong: dict[str, Any]) -> Duel:
    """Mean, covariance and autocovariance, from the right law and a burn-in of over 5 relaxation times."""
    s = statistics
    made = {"mean": s.Mean(), "covariance": s.Covariance(), "autocovariance": s.Autocovariance((1, 4, 12))}
    return Duel(lambda key: sgd.simulate(dynamics, made, initial=right, key=key, **RUN), right, wrong)


DUELS: dict[str, Callable[[], Duel]] = {
    "sampler": sampler,
    "finite population": finite_population,
    "Itô drift": ito_drift,
    "inertia": inertia,
    "frozen noise": frozen_noise,
    "one substep": one_substep,
    "many substeps": many_substeps,
}


@cache
def _duel(name: str) -> Duel:
    return DUELS[name]()


def fought(name: str, seeds: int = SEEDS) -> Outcome:
    """The outcome of one duel."""
    duel = _duel(name)
    number = 1000 + list(DUELS).index(name)
    false_alarms, rejected = 0, dict.fromkeys(duel.wrong, 0)
    for seed in range(seeds):
        measured = duel.measured(jax.random.fold_in(jax.random.fold_in(KEY, number), seed))
        false_alarms += not sgd.compare(measured, duel.right, level=LEVEL).agrees
        for wrong, law in duel.wrong.items():
            rejected[wrong] += sgd.compare(measured, law, level=LEVEL).verdict == "differs"
    return Outcome(seeds, false_alarms, rejected)
