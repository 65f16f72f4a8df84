"""Sums of every statistic, merged in any order, of records or replicas divided anyhow, are the sums at once."""

import itertools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import matrices
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdynamics import statistics

RECORDS, REPLICAS, PARAMETERS, GROUPS = 6, 8, 4, 4
varied = settings(deadline=None, max_examples=10, derandomize=True, database=None, phases=matrices.PHASES)


class States(NamedTuple):
    position: jax.Array
    velocity: jax.Array


STATISTICS = {
    "mean": statistics.Mean(),
    "variance": statistics.Variance(),
    "kurtosis": statistics.Kurtosis(),
    "covariance": statistics.Covariance(),
    "covariance about a point": statistics.Covariance(about=np.ones(PARAMETERS)),
    "histogram": statistics.Histogram(np.linspace(-2.0, 2.0, 5)),
    "norm": statistics.Mean(of=statistics.Norm()),
    "velocity": statistics.Covariance(of=statistics.velocity),
}
LAGGED = {
    "autocovariance": statistics.Autocovariance((0, 1)),
    "displacement": statistics.Displacement((1,)),
    "global displacement": statistics.GlobalDisplacement((0, 1)),
    "power spectrum": statistics.PowerSpectrum(4),
    "angular velocity": statistics.AngularVelocity(of=statistics.PhaseSpace(np.eye(PARAMETERS)[:, :1]), lag=1),
    "halves": statistics.Halves(statistics.Covariance()),
}
# each compiles anew: of the others one test of each kind is enough for every run of the tests
SOON = {"covariance", "histogram", "autocovariance", "power spectrum", "first passage"}
PATHS = {
    "snapshots": statistics.Snapshots((1, 3, 6)),
    "first passage": statistics.FirstPassage(0.5),
    "extrema": statistics.Extrema(),
}


def soon(names):
    return [pytest.param(name, marks=[] if name in SOON else pytest.mark.long) for name in names]


@eqx.filter_jit
def recorded(statistic, path, reference, first, count):
    """The sums of records `first` … `first + count − 1` of `path` [1 + records, replicas, parameters]."""
    groups, alive = statistics.Groups(path.shape[1], GROUPS), jnp.ones(path.shape[1], bool)
    empty = statistic.init(States(reference, -reference), alive, groups, statistics.Records(RECORDS))

    def record(k, sums):
        x = path[k + 1]
        return statistic.update(sums, States(x, x**2), alive, k)

    return jax.lax.fori_loop(first, first + count, record, empty)


@eqx.filter_jit
def merged(statistic, a, b, other_replicas):
    return statistic.merge(a, b, other_replicas=other_replicas)


def same(statistic, a, b, slack=1e-9):
    for x, y in zip(jax.tree.leaves(statistic.finalise(a)), jax.tree.leaves(statistic.finalise(b)), strict=True):
        assert np.allclose(x, y, rtol=slack, atol=slack, equal_nan=True)


def path_of(seed, far=0.0):
    return far + np.random.default_rng(seed).normal(size=(1 + RECORDS, REPLICAS, PARAMETERS))


@pytest.mark.parametrize("name", soon(STATISTICS | PATHS))
@varied
@given(st.integers(0, 2**32), st.lists(st.integers(1, RECORDS - 1), unique=True), st.randoms(use_true_random=False))
def test_records_divided_anyhow_and_merged_in_any_order(name, seed, cuts, random):
    """Each part about a reference of its own, as runs that go on from others have it."""
    statistic, path = (STATISTICS | PATHS)[name], path_of(seed, far=3.0)
    bounds = [0, *sorted(cuts), RECORDS]
    # what belongs to paths begins once; what is summed has any reference
    starts = path[0] if name in PATHS else None
    parts = [
        recorded(statistic, path, path[i] if starts is None else starts, i, j - i)
        for i, j in itertools.pairwise(bounds)
    ]
    while len(parts) > 1:
        a, b = (parts.pop(random.randrange(len(parts))) for _ in range(2))
        parts.append(merged(statistic, a, b, False))
    same(statistic, parts[0], recorded(statistic, path, path[0], 0, RECORDS))


@pytest.mark.parametrize("name", soon(STATISTICS | LAGGED))
@varied
@given(st.integers(0, 2**32), st.booleans())
def test_replicas_in_halves_and_merged_either_way(name, seed, swapped):
    """Groups of all are made of half a group of each: with errors, and with nothing left out."""
    statistic, path = (STATISTICS | LAGGED)[name], path_of(seed, far=3.0)
    split = path.reshape(1 + RECORDS, GROUPS, 2, REPLICAS // (2 * GROUPS), PARAMETERS)
    halves = [split[:, :, i].reshape(1 + RECORDS, -1, PARAMETERS) for i in range(2)]
    sums = [recorded(statistic, half, half[0], 0, RECORDS) for half in halves]
    same(statistic, merged(statistic, *(reversed(sums) if swapped else sums), True),
         recorded(statistic, path, path[0], 0, RECORDS))  # fmt: skip


@pytest.mark.parametrize("name", soon(STATISTICS | LAGGED))
@varied
@given(st.integers(0, 2**32), st.permutations(range(3)))
def test_merging_is_associative_and_commutative(name, seed, order):
    """Of three runs of other replicas: ((a b) c) in any order, and (a (b c))."""
    statistic = (STATISTICS | LAGGED)[name]
    runs = [recorded(statistic, path, path[0], 0, RECORDS) for path in map(path_of, range(seed, seed + 3))]
    a, b, c = (runs[i] for i in order)
    left = merged(statistic, merged(statistic, a, b, True), c, True)
    right = merged(statistic, runs[0], merged(statistic, runs[1], runs[2], True), True)
    same(statistic, left, right)


def test_every_public_statistic_is_here():
    kinds = {type(statistic) for statistic in (STATISTICS | LAGGED | PATHS).values()}
    public = {getattr(statistics, name) for name in dir(statistics) if name[0].isupper()}
    missing = {kind for kind in public if isinstance(kind, type) and issubclass(kind, statistics.AbstractStatistic)}
    abstract = {statistics.AbstractStatistic, statistics.AbstractAccumulator}
    assert missing - abstract <= kinds


def test_a_record_counted_twice_would_be_seen():
    """A negative control of `same`."""
    statistic, path = STATISTICS["covariance"], path_of(0)
    whole = recorded(statistic, path, path[0], 0, RECORDS)
    twice = merged(statistic, whole, recorded(statistic, path, path[0], 2, 1), False)
    with pytest.raises(AssertionError):
        same(statistic, twice, whole)
