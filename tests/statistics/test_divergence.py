"""Replicas that diverge are counted and left out, and never averaged in."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics.statistics import (
    Autocovariance,
    Covariance,
    Displacement,
    Extrema,
    FirstPassage,
    Groups,
    Halves,
    Histogram,
    Kurtosis,
    Mean,
    Norm,
    PowerSpectrum,
    Records,
    Snapshots,
)

STATISTICS = [
    Mean(),
    Mean(Norm()),
    Covariance(),
    Kurtosis(),
    Autocovariance((0, 2)),
    Displacement((1, 2)),
    Histogram(np.linspace(-3, 3, 5)),
    PowerSpectrum(4),
    Halves(Mean()),
    Halves(Autocovariance((1,))),
]
PATHS = [Snapshots((2, 5)), FirstPassage(0.5), Extrema()]
IDS = [f"{i}-{type(s).__name__}" for i, s in enumerate(STATISTICS)]


def paths(replicas=24):
    return np.random.default_rng(0).normal(size=(7, replicas, 2))


def inner(estimate):
    return estimate if hasattr(estimate, "weights") else getattr(estimate, "density", None) or estimate.whole


@pytest.mark.parametrize("statistic", STATISTICS, ids=IDS)
def test_dead_from_the_start_changes_nothing_but_counts(record, statistic):
    """One replica of each of 4 groups is dead: the rest gives the same value, with the same error."""
    x, alive, dead = paths(), np.ones((7, 24), bool), [3, 7, 13, 20]
    x[:, dead] = np.array([np.nan, np.inf, 1e300, -np.inf])[:, None]
    alive[:, dead] = False
    estimate = record.estimate(statistic, x, groups=4, alive=alive)
    without = record.estimate(statistic, np.delete(x, dead, axis=1), groups=4)
    assert np.allclose(estimate.value, without.value, rtol=1e-8)
    assert np.allclose(estimate.standard_error, without.standard_error, rtol=1e-8)
    assert inner(estimate).left_out == 0


@pytest.mark.parametrize("statistic", STATISTICS, ids=IDS)
def test_a_later_death_leaves_out_its_group_alone(record, statistic):
    x, alive = paths(), np.ones((7, 24), bool)
    x[4:, 9], alive[4:, 9] = np.nan, False
    estimate = record.estimate(statistic, x, groups=4, alive=alive)
    others = record.estimate(statistic, np.delete(x, slice(6, 12), axis=1), groups=3)
    assert np.allclose(estimate.value, others.value)
    assert np.allclose(estimate.standard_error, others.standard_error)
    assert inner(estimate).left_out == 1 and inner(estimate).degrees_of_freedom == 2


def test_groups_weigh_as_many_as_are_alive(record):
    x, alive = paths(), np.ones((7, 24), bool)
    x[:, [3, 7]], alive[:, [3, 7]] = np.nan, False
    estimate = record.estimate(Mean(), x, groups=4, alive=alive)
    assert np.allclose(estimate.weights, np.array([5, 5, 6, 6]) / 22)
    assert np.allclose(estimate.value, np.delete(x, [3, 7], axis=1)[1:].mean((0, 1)))


@pytest.mark.parametrize("statistic", PATHS, ids=["snapshots", "first passage", "extrema"])
def test_a_dead_path_is_left_out_alone(record, statistic):
    x, alive, dead = paths(), np.ones((7, 24), bool), [3, 7, 13, 20]
    x[4:, dead], alive[4:, dead] = np.nan, False
    estimate = record.estimate(statistic, x, groups=4, alive=alive)
    without = record.estimate(statistic, np.delete(x, dead, axis=1), groups=4)
    assert np.allclose(estimate.value, without.value)
    assert np.allclose(estimate.standard_error, without.standard_error)
    assert estimate.mean.left_out == 0


@pytest.mark.parametrize("statistic", STATISTICS, ids=IDS)
def test_with_nobody_left_the_estimate_is_nan_and_says_so(record, statistic):
    alive = np.ones((7, 24), bool)
    alive[5:, ::6] = False
    sums = record.sums(statistic, paths(), groups=4, alive=alive)
    with pytest.warns(UserWarning, match="learning rate"):
        estimate = statistic.finalise(sums)
    assert np.all(np.isnan(estimate.value)) and np.all(np.isnan(estimate.standard_error))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.eval_shape(statistic.finalise, sums)  # traced, nothing can be said


def test_nothing_recorded_is_nan(record):
    states, alive = record.States(jnp.ones((8, 2))), jnp.ones(8, bool)
    sums = Mean().init(states, alive, Groups(8), Records(3))
    with pytest.warns(UserWarning, match="nothing was recorded"):
        assert np.all(np.isnan(Mean().finalise(sums).value))


def test_all_dead_from_the_start(record):
    x = np.full((3, 8, 2), np.nan)
    with pytest.warns(UserWarning):
        estimate = record.estimate(Covariance(), x, alive=np.zeros((3, 8), bool))
    assert np.all(np.isnan(estimate.value)) and estimate.left_out == 8


def test_merged_halves_of_a_run_know_who_died(record):
    x, alive = paths(), np.ones((7, 24), bool)
    alive[4:, 9] = False
    a = record.sums(Mean(), x[:4], groups=6, alive=alive[:4])
    b = record.sums(Mean(), x[4:], groups=6, alive=alive[4:])
    for merged in (Mean().merge(a, b), Mean().merge(b, a)):
        assert Mean().finalise(merged).left_out == 1
