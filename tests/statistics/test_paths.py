"""Snapshots, first passages, extrema, histograms and halves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics.statistics import (
    Autocovariance,
    Covariance,
    Extrema,
    FirstPassage,
    Groups,
    Halves,
    Histogram,
    Mean,
    Norm,
    Projection,
    Records,
    Snapshots,
)

FIRST = Projection(np.array([1.0, 0.0]))


def walk(seed=0, records=12, replicas=20):
    return np.cumsum(np.random.default_rng(seed).normal(size=(records + 1, replicas, 2)), axis=0)


def test_snapshots_are_the_states_at_their_steps(record):
    x = walk()
    estimate = record.estimate(Snapshots((0, 8, 4)), x, every=2, groups=5)
    assert np.allclose(estimate.values, x[[0, 4, 2]]) and estimate.steps.tolist() == [0, 8, 4]
    assert np.allclose(estimate.value, x[[0, 4, 2]].mean(1))
    by_group = x[4].reshape(5, 4, 2).mean(1)
    assert np.allclose(estimate.standard_error[1], by_group.std(0, ddof=1) / np.sqrt(5))
    assert record.estimate(Snapshots(3, FIRST), x).values.shape == (1, 20)


def test_snapshots_not_taken_are_nan_and_merge_fills_them(record):
    x, snapshots = walk(), Snapshots((2, 9))
    early = record.sums(snapshots, x[:6], records=12)
    late = record.sums(snapshots, x[5:], first=5)
    assert np.all(np.isnan(snapshots.finalise(early).value[1]))
    for merged in (snapshots.merge(early, late), snapshots.merge(late, early)):
        assert np.allclose(snapshots.finalise(merged).values, x[[2, 9]])


def test_snapshots_check_steps_and_size(record):
    states, alive = record.States(jnp.zeros((8, 10))), jnp.ones(8, bool)
    with pytest.raises(ValueError, match="steps holds 3, but it must be a multiple of every = 2"):
        Snapshots((2, 3)).init(states, alive, Groups(8), Records(5, 2))
    with pytest.raises(ValueError, match="only 10 steps"):
        Snapshots((12,)).init(states, alive, Groups(8), Records(5, 2))
    big = jax.ShapeDtypeStruct((20_000, 1_000), jnp.float32)
    with pytest.raises(ValueError, match=r"10 snapshots.*fewer snapshots"):
        jax.eval_shape(
            lambda x: Snapshots(range(10)).init(record.States(x), jnp.ones(20_000, bool), Groups(20_000), Records(9)),
            big,
        )


@pytest.mark.parametrize("direction, sign", [("up", 1), ("down", -1)])
def test_first_passages(record, direction, sign):
    x = walk(1)
    estimate = record.estimate(FirstPassage(sign * 2.0, FIRST, direction), x, every=3, groups=1)
    beyond = sign * x[:, :, 0] >= 2.0
    expected = np.where(beyond.any(0), 3 * beyond.argmax(0), np.inf)
    assert np.array_equal(estimate.times, expected) and np.isinf(expected).any() and (expected == 0).any()
    passed = np.isfinite(expected)
    assert np.isclose(estimate.value, expected[passed].mean())
    assert np.isclose(estimate.fraction.value, passed.mean())
    assert "fraction passed" in str(estimate)


def test_first_passages_merge(record):
    x, passage = walk(2), FirstPassage([1.5, 2.5])
    whole = record.estimate(passage, x)
    a = record.sums(passage, x[:6])
    b = passage.update(
        passage.init(record.States(jnp.asarray(x[0])), jnp.ones(20, bool), Groups(20, 8), Records(12)),
        record.States(jnp.asarray(x[6])),
        jnp.ones(20, bool),
        5,
    )
    for k in range(7, 13):
        b = passage.update(b, record.States(jnp.asarray(x[k])), jnp.ones(20, bool), k - 1)
    for merged in (passage.merge(a, b), passage.merge(b, a)):
        assert np.array_equal(passage.finalise(merged).times, whole.times)
    with pytest.raises(ValueError, match="other replicas"):
        passage.merge(a, b, other_replicas=True)


def test_extrema(record):
    x = walk(3)
    estimate = record.estimate(Extrema(), x, every=2)
    assert np.array_equal(estimate.minima, x.min(0)) and np.array_equal(estimate.maxima, x.max(0))
    assert np.array_equal(estimate.minimum_steps, 2 * x.argmin(0))
    assert np.array_equal(estimate.maximum_steps, 2 * x.argmax(0))
    assert np.allclose(estimate.value, [x.min(0).mean(0), x.max(0).mean(0)])
    assert np.all(estimate.standard_error > 0) and "minimum" in str(estimate)


def test_histogram_counts_what_numpy_counts(record):
    x = walk(4)
    edges = np.array([-2.0, -0.5, 0.1, 1.0, 2.5])
    estimate = record.estimate(Histogram(edges, FIRST), x, groups=1)
    values = x[1:, :, 0].ravel()
    counts, _ = np.histogram(values, edges)
    assert np.allclose(estimate.value, counts / values.size / np.diff(edges))
    assert np.isclose(estimate.underflow.value, np.mean(values < -2))
    assert np.isclose(estimate.overflow.value, np.mean(values >= 2.5))
    whole = np.sum(estimate.value * np.diff(edges)) + estimate.underflow.value + estimate.overflow.value
    assert np.isclose(whole, 1) and estimate.density.edges.shape == (5,)
    assert record.estimate(Histogram(edges), x).value.shape == (2, 4)


def test_histogram_errors_and_a_gaussian(record):
    from scipy import stats

    x = np.random.default_rng(5).normal(size=(5, 4096, 1))
    edges = np.linspace(-2, 2, 9)
    estimate = record.estimate(Histogram(edges, lambda s: s.position[0]), x, groups=32)
    expected = np.diff(stats.norm.cdf(edges)) / np.diff(edges)
    worst = record.worst_allowed(estimate.density, 8)
    assert np.all(np.abs(estimate.density.z(expected)) < worst)
    wrong = np.diff(stats.norm.cdf(edges, scale=1.2)) / np.diff(edges)
    assert np.any(np.abs(estimate.density.z(wrong)) > worst)


def test_bad_edges_and_levels_are_refused(record):
    for edges, message in (([0.0], "bins"), ([0.0, 0.0], "ascending"), ([0.0, np.nan], "finite")):
        with pytest.raises(ValueError, match=message):
            Histogram(edges)
    with pytest.raises(ValueError, match="direction"):
        FirstPassage(1.0, direction="sideways")
    with pytest.raises(ValueError, match="level has shape"):
        record.estimate(FirstPassage([1.0, 2.0, 3.0]), walk())


@pytest.mark.parametrize("records", [2, 7])
@pytest.mark.parametrize("statistic", [Mean(), Covariance()])
def test_halves_are_the_halves(record, statistic, records):
    x = walk(6, records)
    estimate = record.estimate(Halves(statistic), x, groups=5)
    half = records // 2
    first, second = (
        record.estimate(statistic, x[: half + 1], groups=5),
        record.estimate(statistic, x[half:], groups=5),
    )
    assert np.allclose(estimate.first.value, first.value) and np.allclose(estimate.second.value, second.value)
    assert np.allclose(estimate.change.value, second.value - first.value)
    assert np.allclose(estimate.value, record.estimate(statistic, x, groups=5).value)


def test_halves_of_lagged_pairs_start_anew(record):
    x = record.ar1(0.8, 24, 16, 1, seed=7)
    statistic = Autocovariance((0, 3))
    estimate = record.estimate(Halves(statistic), x, groups=4)
    assert np.allclose(estimate.first.value, record.estimate(statistic, x[:13], groups=4).value)
    assert np.allclose(estimate.second.value, record.estimate(statistic, x[12:], groups=4).value)


def test_halves_tell_a_stationary_run_from_a_drifting_one(record):
    x = record.ar1(0.9, 40, 512, 2, seed=8)
    still = record.estimate(Halves(Mean()), x, groups=32).change
    assert np.all(np.abs(still.z(0.0)) < record.worst_allowed(still, 2))
    moving = record.estimate(Halves(Mean()), x + 0.02 * np.arange(41)[:, None, None], groups=32).change
    assert np.all(np.abs(moving.z(0.0)) > record.worst_allowed(moving, 2))
    assert "first half" in str(record.estimate(Halves(Mean(Norm())), x))


def test_halves_need_two_records_and_sums(record):
    with pytest.raises(ValueError, match="at least 2"):
        record.estimate(Halves(Mean()), walk(records=1))
    with pytest.raises(ValueError, match="statistic = Extrema"):
        Halves(Extrema())
