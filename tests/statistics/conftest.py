"""Hand-made states, and a plain loop that records them."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sgdynamics import statistics


class States(NamedTuple):
    position: jax.Array
    velocity: jax.Array | None = None


@eqx.filter_jit
def run(statistic, path, alive, velocity, division, schedule, first):
    """One compilation for each kind of statistic and shape."""

    def states(k):
        return States(path[k], None if velocity is None else velocity[k])

    def body(k, sums):
        return statistic.update(sums, states(k + 1), alive[k + 1], first + k)

    empty = statistic.init(states(0), alive[0], division, schedule)
    return jax.lax.fori_loop(0, path.shape[0] - 1, body, empty)


def sums_of(statistic, path, *, groups=8, alive=None, every=1, velocity=None, first=0, records=None):
    """The sums of `path` [1 + records, replicas, parameters], whose first state is that at step 0."""
    path = jnp.asarray(path)
    alive = jnp.ones(path.shape[:2], bool) if alive is None else jnp.asarray(alive)
    velocity = None if velocity is None else jnp.asarray(velocity)
    division = statistics.Groups(path.shape[1], groups)
    schedule = statistics.Records(records or first + path.shape[0] - 1, every)
    return run(statistic, path, alive, velocity, division, schedule, first)


@eqx.filter_jit
def merged(statistic, a, b, other_replicas=False):
    return statistic.merge(a, b, other_replicas=other_replicas)


def estimate_of(statistic, path, **options):
    return statistic.finalise(sums_of(statistic, path, **options))


def worst_allowed(estimate, comparisons, false_alarm=1e-6):
    """The |z| that one of so many comparisons exceeds with probability `false_alarm` at most."""
    return stats.t.isf(false_alarm / 2 / comparisons, int(estimate.degrees_of_freedom))


def ar1(coefficient, records, replicas, components, seed):
    """A stationary autoregression of variance 1, [1 + records, replicas, components]."""
    rng = np.random.default_rng(seed)
    x = [rng.normal(size=(replicas, components))]
    for _ in range(records):
        x.append(coefficient * x[-1] + np.sqrt(1 - coefficient**2) * rng.normal(size=(replicas, components)))
    return np.stack(x)


class Helpers:
    States = States
    sums = staticmethod(sums_of)
    merged = staticmethod(merged)
    estimate = staticmethod(estimate_of)
    worst_allowed = staticmethod(worst_allowed)
    ar1 = staticmethod(ar1)


@pytest.fixture
def record():
    return Helpers
