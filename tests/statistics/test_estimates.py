"""Errors over groups: the jackknife, its coverage, and how estimates print."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sgdynamics.statistics import Covariance, Groups, Kurtosis, Mean, Records, Variance, format_with_error
from sgdynamics.statistics._estimate import jackknife


@pytest.mark.parametrize(
    "value, error, shown",
    [
        (0.12344, 0.0056, "0.1234(56)"),
        (-3.0, 0.5, "-3.00(50)"),
        (123.4, 12.0, "123(12)"),
        (1234.0, 123.0, "1230(120)"),
        (0.0996, 0.00996, "0.100(10)"),
        (0.001, 5.0, "0.0(50)"),
        (0.0, 0.01, "0.000(10)"),
        (1.2345e-9, 5.6e-12, "1.2345(56)e-09"),
        (-5e8, 1e3, "-5.000000(10)e+08"),
        (999900.0, 990000.0, "1.00(99)e+06"),
        (2e-300, 1e-301, "2.00(10)e-300"),
        (0.1234, 0.0, "0.1234(0)"),
        (0.1234, np.inf, "0.1234(inf)"),
        (0.1234, np.nan, "0.1234(nan)"),
        (np.nan, 1.0, "nan"),
        (np.inf, 1.0, "inf"),
    ],
)
def test_values_print_with_two_digits_of_their_error(value, error, shown):
    assert format_with_error(value, error) == shown


def test_the_jackknife_of_a_mean_is_the_scatter_of_group_means(record):
    x = np.random.default_rng(1).normal(size=(4, 12, 2))
    estimate = record.estimate(Mean(), x, groups=4)
    by_group = x[1:].reshape(3, 4, 3, 2).mean((0, 2))
    assert np.allclose(estimate.groups, by_group)
    assert np.allclose(estimate.value, by_group.mean(0))
    assert np.allclose(estimate.standard_error, by_group.std(0, ddof=1) / 2)
    assert estimate.degrees_of_freedom == 3 and estimate.left_out == 0
    assert np.allclose(estimate.z(0.0), estimate.value / estimate.standard_error)


def test_groups_weigh_as_many_as_their_members(record):
    x = np.random.default_rng(2).normal(size=(3, 10, 2))
    estimate = record.estimate(Mean(), x, groups=4)
    assert np.allclose(estimate.value, x[1:].mean((0, 1)))
    assert np.allclose(sorted(estimate.weights), [0.2, 0.2, 0.3, 0.3])


def test_one_group_has_a_value_and_an_infinite_error(record):
    x = np.random.default_rng(3).normal(size=(3, 10, 2))
    for statistic in (Mean(), Covariance()):
        estimate = record.estimate(statistic, x, groups=1)
        assert np.all(np.isfinite(estimate.value)) and np.all(np.isinf(estimate.standard_error))
        assert np.all(np.isinf(estimate.map(jnp.sum).standard_error)) and estimate.degrees_of_freedom == 0


def test_functions_map_through_the_groups(record):
    x = np.random.default_rng(4).normal(size=(3, 30, 3))
    covariance = record.estimate(Covariance(), x, groups=7)
    axes = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    along = covariance.map(lambda c: jnp.diag(axes.T @ c @ axes), quantity="variances")
    turned = record.estimate(Covariance(), x @ axes, groups=7).map(jnp.diag)
    assert np.allclose(along.value, turned.value) and np.allclose(along.standard_error, turned.standard_error)
    assert along.quantity == "variances"
    mean = record.estimate(Mean(), x + 10, groups=7)
    square = mean.map(lambda m: m**2)
    assert np.allclose(square.standard_error, 2 * mean.value * mean.standard_error, rtol=0.01)


def test_estimates_print(record):
    x = np.random.default_rng(6).normal(size=(3, 64, 3))
    assert str(record.estimate(Covariance(), x)).startswith("covariance [3, 3]: ")
    assert "(" in str(record.estimate(Mean(of=lambda s: s.position[0]), x))


def many(statistic, paths, groups):
    """Values, errors of many ensembles, paths [ensembles, 1 + records, replicas, parameters]."""
    from typing import NamedTuple

    class States(NamedTuple):
        position: jax.Array

    def one(path):
        alive = jnp.ones(path.shape[1], bool)
        sums = statistic.init(States(path[0]), alive, Groups(path.shape[1], groups), Records(path.shape[0] - 1))
        for k in range(path.shape[0] - 1):
            sums = statistic.update(sums, States(path[k + 1]), alive, k)
        estimate = statistic.finalise(sums)
        return estimate.value, estimate.standard_error

    return jax.jit(jax.vmap(one))(paths)


@pytest.mark.parametrize("replicas", [12, 10])
def test_covariances_of_few_replicas_are_unbiased(replicas):
    """5 standard errors: false alarm below 1e-5. The records of a replica are equal: fully correlated."""
    ensembles, true = 4000, np.array([[1.0, 0.6], [0.6, 1.0]])
    x = np.random.default_rng(7).normal(size=(ensembles, 1, replicas, 2)) @ np.linalg.cholesky(true).T
    value, _ = many(Covariance(), np.repeat(x, 3, axis=1), 4)
    plain = np.einsum("eri,erj->eij", x[:, 0], x[:, 0]) / replicas
    plain -= x[:, 0].mean(1)[:, :, None] * x[:, 0].mean(1)[:, None, :]

    def z(v):
        return (np.mean(v, 0) - true) / (np.std(v, 0) / np.sqrt(ensembles))

    assert np.all(np.abs(z(value)) < 5)
    assert np.all(z(plain)[[0, 1], [0, 1]] < -5)  # without the jackknife the bias is seen


@pytest.mark.parametrize("statistic, true", [(Mean(), 0.0), (Variance(), 1.0)])
def test_errors_cover_at_the_nominal_rate(statistic, true):
    """A binomial of 2,000 at 0.05 lies within 5 of its standard deviations but for 1 in 10⁶ seeds."""
    ensembles, groups = 2000, 16
    x = np.random.default_rng(8).normal(size=(ensembles, 6, 128, 1))
    value, error = many(statistic, x, groups)
    z = np.asarray((value - true) / error)[:, 0]
    missed = np.mean(np.abs(z) > stats.t.isf(0.025, groups - 1))
    assert abs(missed - 0.05) < 5 * np.sqrt(0.05 * 0.95 / ensembles)


def test_errors_cover_when_records_are_correlated(record):
    """Records correlated over 20 steps: an error that took them as independent would miss 2 times in 3."""
    x = np.stack([record.ar1(0.9, 20, 64, 1, seed) for seed in range(800)])
    value, error = many(Mean(), x, 16)
    z = np.asarray(value / error)[:, 0]
    missed = np.mean(np.abs(z) > stats.t.isf(0.025, 15))
    assert abs(missed - 0.05) < 5 * np.sqrt(0.05 * 0.95 / 800)
    naive = np.mean(np.abs(np.asarray(value)[:, 0]) * np.sqrt(20 * 64) > 1.96)
    assert naive > 0.3


def test_groups_that_are_left_out_say_nothing():
    sums = (jnp.array([4.0, 4.0, 4.0]), jnp.array([4.0, 8.0, 400.0]))
    usable = jnp.array([True, True, False])
    estimate = jackknife(lambda t: t[1] / t[0], sums, jnp.array([2, 2, 2]), usable, quantity="mean")
    assert estimate.value == 1.5 and estimate.standard_error == 0.5
    assert estimate.left_out == 1 and estimate.degrees_of_freedom == 1
    assert estimate.weights.tolist() == [0.5, 0.5, 0.0] and estimate.groups[2] == 1.5


def test_kurtosis_of_known_laws(record):
    rng = np.random.default_rng(9)
    x = np.stack([rng.normal(size=(6, 4096)), rng.uniform(size=(6, 4096)), rng.laplace(size=(6, 4096))], -1)
    estimate = record.estimate(Kurtosis(), x + 3, groups=32)
    assert np.all(np.abs(estimate.z([0.0, -1.2, 3.0])) < record.worst_allowed(estimate, 3))
    assert np.all(estimate.standard_error < 0.3)
