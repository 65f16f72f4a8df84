"""What bias is left in nonlinear statistics, where ensembles are so small that it would show.

The plain estimate v of a smooth function of means over n independent replicas has a bias b_1/n + b_2/n² + …; the
jackknife over groups takes off the first term. In units of the standard error, of order n^{−½}, there remains
c n^{−3/2}. For the kurtosis of n = 2G normal numbers in G groups all is known: the plain bias is −6/(n + 1), the
remaining one −6/(n² − 1), so c = 6/√24 = 1.2. The bound here is 10 n^{−3/2} standard errors, for every statistic.

Every statistic is taken of `SEEDS` ensembles of 64 replicas in 32 groups: the bias is measured to 0.01 standard errors,
the bound is 0.02. The plain estimate's own bias is measured beside it; where it is known to be large, it must be found.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import sgdynamics as sgd
from sgdynamics import ensemble, statistics, theory
from sgdynamics_calibration import exact
from sgdynamics_calibration.cases import GROUPS, KEY, combined

REPLICAS, STEPS = 64, 8
SEEDS, HOST_SEEDS = 8_000, 2_000
"""Ensembles of each row; of `power_law`, which is no traced function."""
BOUND = 10 * REPLICAS**-1.5
LEVEL = 1e-4
"""The probability that all rows together raise a false alarm."""

# position and velocity of a damped mode that turns by 0.3 rad in a step
DRIFT, NOISE, TIME_STEP = np.array([[0.5, 1.0], [-1.0, 0.6]]), np.array([[1.0, 0.3], [0.3, 0.8]]), 0.3
SLOW = 0.1
"""Time step of the process that passes a level."""
PASSED = 1.0
DISTANCES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Row:
    """A statistic of a process; `read` gives its estimate, `plain` the estimate without the jackknife."""

    process: sgd.LinearProcess
    statistic: Any
    read: Callable[[Any], Any]
    plain: Callable[[Any, Any], Any]
    expected: np.ndarray
    steps: int = STEPS
    plain_is_seen: bool = False


@dataclass(frozen=True)
class Bias:
    """In units of the standard deviation of the estimate, with the error of both."""

    bias: float
    plain: float
    error: float
    seeds: int
    must_see_plain: bool

    def within(self, rows: int) -> bool:
        """Whether the bias is within the bound, and the plain estimate's is not, where it is known to be large."""
        far = float(stats.norm.isf(LEVEL / (4 * rows))) * self.error
        return abs(self.bias) <= BOUND + far and (not self.must_see_plain or abs(self.plain) > BOUND + far)


def rows() -> dict[str, Row]:
    """By the name of the statistic."""
    s = statistics
    ou = theory.ou.OrnsteinUhlenbeck(DRIFT, NOISE)
    process = sgd.LinearProcess(DRIFT, NOISE, time_step=TIME_STEP)
    M = np.asarray(ou.stationary_covariance())
    R = lambda lags: np.asarray(ou.autocovariance(TIME_STEP * np.asarray(lags, float)))
    apart = 2 * np.trace(M[None] - R(DISTANCES), axis1=1, axis2=2)
    exponent = np.polyfit(np.log(DISTANCES), np.log(apart), 1)[0]
    one = sgd.LinearProcess(np.eye(1), 2 * np.eye(1), time_step=SLOW)
    passage = exact.first_passage(float(np.exp(-SLOW)), PASSED, STEPS)[1]
    lines = exact.spectrum(np.diagonal(R(np.arange(STEPS)), axis1=1, axis2=2))
    simple = lambda process, statistic, expected, **more: Row(
        process, statistic, lambda e: e, _plain, np.asarray(expected), **more
    )
    return {
        "Kurtosis": simple(process, s.Kurtosis(), np.zeros(2), steps=1, plain_is_seen=True),
        "Variance": simple(process, s.Variance(), np.diag(M), steps=1, plain_is_seen=True),
        "Autocovariance": simple(process, s.Autocovariance((0, 1)), R((0, 1)), steps=1),
        "PowerSpectrum": simple(process, s.PowerSpectrum(STEPS), lines),
        "AngularVelocity": simple(process, s.AngularVelocity(_state), [exact.rotation(M, R(1))], steps=1),
        "FirstPassage, mean": Row(
            one, s.FirstPassage(PASSED, _first), lambda e: e.mean, _mean_time, np.asarray(passage)
        ),
        "power_law": Row(process, s.Displacement(DISTANCES), lambda e: e, _plain, np.asarray(exponent)),
    }


def _state(state: Any) -> jax.Array:
    return state.position


def _first(state: Any) -> jax.Array:
    return state.position[0]


def _plain(statistic: Any, sums: Any) -> Any:
    """The statistic of the totals over all groups."""
    totals = jax.tree.map(lambda s: jnp.sum(s, axis=0), statistic.grouped(sums))
    return statistic.value(totals, sums.reference.astype(float))


def _mean_time(statistic: Any, sums: Any) -> Any:
    passed = sums.kept >= 0
    return jnp.sum(jnp.where(passed, sums.kept, 0)) / jnp.sum(passed)


def measured(seeds: int | None = None, names: tuple[str, ...] | None = None) -> dict[str, Bias]:
    """The bias of every row; `seeds`: as many, in the place of each row's own number."""
    table = rows()
    return {
        name: _measured(i, name, table[name], seeds) for i, name in enumerate(table) if names is None or name in names
    }


def _measured(number: int, name: str, row: Row, seeds: int | None) -> Bias:
    on_host = name == "power_law"
    seeds = seeds or (HOST_SEEDS if on_host else SEEDS)
    weights = np.random.default_rng((101, number)).normal(size=np.shape(row.expected))
    keys = jax.random.split(jax.random.fold_in(KEY, 101 + number), seeds)
    read = (lambda e: e) if on_host else (lambda e: combined(row.read(e), weights))
    estimates, plain = _ensembles(row, read, keys)
    if on_host:
        exponents = [_exponents(jax.tree.map(lambda x, i=i: x[i], estimates)) for i in range(seeds)]
        values, plain = (np.array(x) for x in zip(*exponents, strict=True))
        expected = float(row.expected)
    else:
        values = np.asarray(estimates.value)
        plain = np.asarray(jax.vmap(lambda x: jnp.vdot(weights, x))(plain))
        expected = float(np.vdot(weights, row.expected))
    scale = values.std()
    bias = lambda x: float((x.mean() - expected) / scale)
    return Bias(bias(values), bias(plain), float(seeds**-0.5), seeds, row.plain_is_seen)


def _exponents(displacement: statistics.Estimate) -> tuple[float, float]:
    """Of `power_law`, and of the line through the plain displacements."""
    fitted = statistics.power_law(displacement, first=DISTANCES[0], last=DISTANCES[-1])
    return float(fitted.value), float(np.polyfit(np.log(DISTANCES), np.log(np.asarray(displacement.value)), 1)[0])


def _ensembles(row: Row, read: Callable[[Any], Any], keys: jax.Array) -> tuple[Any, Any]:
    """(estimates, plain values) of one ensemble for each key: the pure core, in one program."""
    law = sgd.predict(row.process)
    groups, records = statistics.Groups(REPLICAS, GROUPS), statistics.Records(row.steps)

    def one(key: jax.Array) -> tuple[Any, Any]:
        start, run = jax.random.split(key)
        positions = jax.vmap(lambda k: law.draw(k).position)(jax.random.split(start, REPLICAS))
        replicas = ensemble.replicate(row.process, positions, None, run)
        sums = row.statistic.init(replicas.states, replicas.alive, groups, records)
        replicas, sums = ensemble.evolve(
            row.process, row.statistic, replicas, sums, first_record=0, records=row.steps, every=1
        )
        return read(row.statistic.finalise(sums)), row.plain(row.statistic, sums)

    return jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=50))(keys)
