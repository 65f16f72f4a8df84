"""Autocovariance and displacement from a few stored origins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics.statistics import Autocovariance, Covariance, Displacement, Groups, Norm, Records

LAGS = (0, 1, 2, 5, 10)


def test_autocovariance_of_an_autoregression_and_not_of_another(record):
    x = record.ar1(0.8, 60, 2048, 2, seed=0) + 100
    estimate = record.estimate(Autocovariance(LAGS), x, groups=32)
    assert estimate.value.shape == (5, 2, 2) and estimate.lags.tolist() == list(LAGS)
    assert np.all(estimate.standard_error < 0.02)

    def worst(coefficient):
        expected = coefficient ** np.array(LAGS, float)[:, None, None] * np.eye(2)
        return np.max(np.abs(estimate.z(expected)))

    assert worst(0.8) < record.worst_allowed(estimate, 15)
    assert worst(0.75) > record.worst_allowed(estimate, 15)


def test_the_later_time_is_the_first_index(record):
    """x₂(t) = x₁(t − 1): E[δx₂(t+1) δx₁(t)] = 1 and E[δx₁(t+1) δx₂(t)] = 0."""
    white = np.random.default_rng(1).normal(size=(42, 512))
    x = np.stack([white[1:], white[:-1]], -1)
    value = record.estimate(Autocovariance((1,)), x).value[0]
    assert abs(value[1, 0] - 1) < 0.1 and abs(value[0, 1]) < 0.1


def test_each_lag_pairs_the_right_records(record):
    """x(t) = t² plus an offset of each replica: displacement and counts show which pairs were used."""
    t = np.arange(13.0)
    x = np.broadcast_to(t[:, None, None], (13, 4, 1))
    lags = (1, 3, 6)
    assert np.allclose(record.estimate(Displacement(lags), x, groups=2).value, np.square(lags))
    sums = record.sums(Displacement(lags), x, groups=1)
    # period 6, origins at records 0, 1, 2, 3 and 6, 7, …: pairs (t, t + lag) with t + lag ≤ 12, 4 replicas
    taken = [s for s in range(13) if s % 6 < 4]
    expected = [4 * sum(s + lag <= 12 for s in taken) for lag in lags]
    assert sums.moments[0].total[:, 0].tolist() == expected


def test_every_counts_in_steps(record):
    x = record.ar1(0.9, 60, 256, 1, seed=2)
    fine = record.estimate(Displacement((3, 6)), x[::3], every=3)
    assert np.allclose(fine.value, record.estimate(Displacement((1, 2)), x[::3]).value)
    assert fine.steps.tolist() == [3, 6]


def test_displacement_of_an_autoregression(record):
    x = record.ar1(0.8, 60, 2048, 3, seed=3)
    estimate = record.estimate(Displacement((1, 7)), x, groups=32)
    assert np.all(np.abs(estimate.z(6 * (1 - 0.8 ** np.array([1, 7])))) < record.worst_allowed(estimate, 2))
    assert np.all(np.abs(estimate.z(6 * (1 - 0.7 ** np.array([1, 7]))))[0] > record.worst_allowed(estimate, 2))


def test_a_scalar_observable_and_lag_zero_alone(record):
    x = np.random.default_rng(4).normal(size=(6, 64, 2))
    alone = record.estimate(Autocovariance(0, Norm()), x, groups=1)
    assert alone.value.shape == (1, 1, 1)
    # with lag 0 alone every record is an origin
    assert np.allclose(alone.value[0], record.estimate(Covariance(Norm()), x, groups=1).value)


@pytest.mark.parametrize("statistic", [Autocovariance((0, 2, 3)), Displacement((2, 3))])
def test_merging(record, statistic):
    x = record.ar1(0.8, 30, 16, 2, seed=5) + np.linspace(0, 9, 31)[:, None, None]
    a, b = record.sums(statistic, x[:16], groups=4), record.sums(statistic, x[15:], groups=4)
    one, other = (statistic.finalise(record.merged(statistic, *pair)) for pair in ((a, b), (b, a)))
    assert np.allclose(one.value, other.value) and np.allclose(one.standard_error, other.standard_error)
    if isinstance(statistic, Displacement):
        mean = (statistic.finalise(a).value + statistic.finalise(b).value) / 2
        assert np.allclose(one.value, mean)
    replicas = [record.sums(statistic, x[:, part], groups=1) for part in (slice(0, 5), slice(5, 16))]
    both = statistic.finalise(record.merged(statistic, *replicas, True))
    assert np.allclose(both.value, record.estimate(statistic, x, groups=1).value)


def test_float32_far_from_the_origin(record):
    x = (1e4 + 1e-2 * record.ar1(0.8, 20, 64, 2, seed=6)).astype(np.float32)
    narrow = record.estimate(Autocovariance((0, 2)), x).value
    exact = record.estimate(Autocovariance((0, 2)), x.astype(np.float64)).value
    assert np.allclose(narrow, exact, rtol=1e-5, atol=1e-9)


def test_bad_lags_are_named(record):
    states, alive = record.States(jnp.zeros((64, 3))), jnp.ones(64, bool)

    def begin(statistic, records):
        return statistic.init(states, alive, Groups(64), records)

    with pytest.raises(ValueError, match="lags holds 7, but it must be a multiple of every = 5"):
        begin(Autocovariance((5, 7)), Records(10, 5))
    with pytest.raises(ValueError, match="steps holds 60, but only 50 steps"):
        begin(Displacement((5, 60)), Records(10, 5))
    with pytest.raises(ValueError, match="lags holds -1"):
        Autocovariance((-1,))
    with pytest.raises(ValueError, match=r"lags holds 1\.5"):
        Autocovariance((1.5,))
    with pytest.raises(ValueError, match="none twice"):
        Autocovariance((1, 1))
    with pytest.raises(ValueError, match="none twice"):
        Displacement(())
    wide = record.States(jnp.zeros((64, 400)))
    with pytest.raises(ValueError, match="10 lags"):
        Autocovariance(range(10)).init(wide, alive, Groups(64), Records(100))


def test_the_number_of_records_may_be_traced(record):
    x = jnp.zeros((4, 2))

    @jax.jit
    def run(count):
        statistic = Displacement((1,))
        sums = statistic.init(record.States(x), jnp.ones(4, bool), Groups(4), Records(count))
        body = lambda k, s: statistic.update(s, record.States(x + k), jnp.ones(4, bool), k)
        return statistic.finalise(jax.lax.fori_loop(0, count, body, sums)).value

    assert run(7).shape == (1,)
