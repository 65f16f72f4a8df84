"""Displacement from a fixed origin, and the power law that it follows."""

import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics.statistics import (
    GlobalDisplacement,
    Groups,
    Records,
    logarithmic_steps,
    power_law,
)

STEPS = (0, 1, 3, 12)


def walk(records=12, replicas=20, seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(size=(records + 1, replicas, 2)), axis=0)


def test_global_displacement_is_the_mean_square_distance_from_the_start(record):
    x = (1e4 + walk()).astype(np.float32)
    squares = np.sum((x[list(STEPS)].astype(float) - x[0]) ** 2, axis=2)
    estimate = record.estimate(GlobalDisplacement(STEPS), x, groups=5)
    assert np.allclose(estimate.value, squares.mean(1), rtol=1e-5) and estimate.steps.tolist() == list(STEPS)
    by_group = squares.reshape(4, 5, 4).mean(2)
    assert np.allclose(estimate.standard_error, by_group.std(1, ddof=1) / np.sqrt(5), rtol=1e-5)


def test_a_given_origin_every_and_a_death(record):
    x, origin, alive = walk(), np.array([2.0, -1.0]), np.ones((13, 20), bool)
    x[6:, 7], alive[6:, 7] = np.nan, False
    estimate = record.estimate(GlobalDisplacement((0, 15), origin=origin), x, every=5, groups=5, alive=alive)
    others = np.delete(x, slice(4, 8), axis=1)
    assert np.allclose(estimate.value, np.sum((others[[0, 3]] - origin) ** 2, axis=2).mean(1))
    assert estimate.left_out == 1


def test_merging(record):
    x, statistic = walk(replicas=24), GlobalDisplacement((0, 2, 6))
    a, b = record.sums(statistic, x[:7], groups=4), record.sums(statistic, x[6:], groups=4)
    both = statistic.finalise(record.merged(statistic, a, b))
    assert np.allclose(both.value, (statistic.finalise(a).value + statistic.finalise(b).value) / 2)


def test_logarithmic_steps():
    assert logarithmic_steps(1000, 4) == (1, 10, 100, 1000)
    steps = logarithmic_steps(10_007, 50, every=5)
    assert steps[0] == 5 and steps[-1] == 10_005 and all(k % 5 == 0 for k in steps) and len(set(steps)) == len(steps)
    assert logarithmic_steps(7, 1) == (7,)
    with pytest.raises(ValueError, match="last = 3, but it must be a whole number ≥ 5"):
        logarithmic_steps(3, every=5)


def test_bad_arguments_are_named(record):
    states, alive = record.States(jnp.zeros((8, 2))), jnp.ones(8, bool)

    def begin(statistic, states=states):
        return statistic.init(states, alive, Groups(8), Records(10, 2))

    with pytest.raises(ValueError, match="steps holds 3, but it must be a multiple of every = 2"):
        begin(GlobalDisplacement((3,)))
    with pytest.raises(ValueError, match="only 20 steps"):
        begin(GlobalDisplacement((22,)))
    with pytest.raises(ValueError, match=r"origin has shape \(3,\), but it must have shape \(2,\)"):
        begin(GlobalDisplacement((2,), origin=np.zeros(3)))
    with pytest.raises(ValueError, match=r"10 steps x 500000 components.*fewer steps"):
        big = record.States(jnp.zeros((8, 500_000), jnp.float32))
        begin(GlobalDisplacement(range(2, 22, 2), per_component=True), big)


def correlated_walk(exponent, records, replicas, seed):
    """Gaussian paths with E x(k)² = k^exponent and stationary increments (fractional Brownian motion)."""
    k = np.arange(1.0, records + 1)
    C = (k[:, None] ** exponent + k[None] ** exponent - np.abs(k[:, None] - k[None]) ** exponent) / 2
    x = np.linalg.cholesky(C) @ np.random.default_rng(seed).normal(size=(records, replicas))
    return np.concatenate([np.zeros((1, replicas)), x])[:, :, None]


def test_the_exponents_of_anomalous_diffusion_and_not_others(record):
    """Slow and fast, each component fitted apart."""
    exponents = jnp.array([0.6, 1.3])
    x = np.concatenate([correlated_walk(c, 200, 1024, seed=1) for c in (0.6, 1.3)], axis=2)
    statistic = GlobalDisplacement(logarithmic_steps(200, 12), per_component=True)
    estimate = record.estimate(statistic, x, groups=32)
    assert np.allclose(estimate.value, np.mean(x[list(statistic.steps)] ** 2, axis=1))
    fit = power_law(estimate, first=1, last=200)
    assert np.max(np.abs(fit.exponent.z(exponents))) < record.worst_allowed(fit.exponent, 2)
    assert np.min(np.abs(fit.exponent.z(exponents + 0.2))) > record.worst_allowed(fit.exponent, 2)
    assert np.max(np.abs(fit.prefactor.z(1))) < record.worst_allowed(fit.prefactor, 2)
    assert np.all(fit.standard_error < 0.03) and np.max(np.abs(fit.residuals)) < 0.1
    assert (fit.first, fit.last, fit.quantity) == (1, 200, "global displacement")


def test_the_jackknife_is_that_of_a_slow_loop(record):
    x = correlated_walk(1.0, 60, 48, seed=2)
    steps = (0, 1, 4, 10, 25, 60)
    fit = power_law(record.estimate(GlobalDisplacement(steps), x, groups=6), first=2, last=30)
    squares = np.square(x[[4, 10, 25], :, 0]).reshape(3, 6, 8)

    def line(which):
        return np.polyfit(np.log([4, 10, 25]), np.log(squares[:, which].mean((1, 2))), 1)

    full = line(np.arange(6))
    without = np.stack([line(np.delete(np.arange(6), g)) for g in range(6)])
    pseudo = 6 * full[0] - 5 * without[:, 0]
    assert np.allclose(fit.value, pseudo.mean()) and np.allclose(fit.exponent.groups, pseudo)
    assert np.allclose(fit.standard_error, pseudo.std(ddof=1) / np.sqrt(6))
    expected = np.log(squares.mean((1, 2))) - np.polyval(full, np.log([4, 10, 25]))
    assert str(fit).endswith("(steps 2 to 30)")
    assert np.allclose(fit.residuals, expected) and fit.steps.tolist() == [4, 10, 25]


def test_a_range_that_cannot_be_fitted_is_named(record):
    estimate = record.estimate(GlobalDisplacement(STEPS), walk().astype(np.float32), groups=5)
    with pytest.raises(ValueError, match=r"first, last = \[2, 5\], but it must be a range with at least two"):
        power_law(estimate, first=2, last=5)
    with pytest.raises(ValueError, match="first = 0"):
        power_law(estimate, first=0, last=5)
    with pytest.raises(ValueError, match="without steps"):
        power_law(estimate.map(lambda value: value), first=1, last=5)
    still = record.estimate(GlobalDisplacement(STEPS), np.ones((13, 20, 2), np.float32), groups=5)
    with pytest.raises(ValueError, match=r"displacement = .* > 0 from first to last"):
        power_law(still, first=1, last=12)
