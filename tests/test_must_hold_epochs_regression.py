"""Shuffled epochs of regression on finite data sets, H and C not commuting: ensembles against the general solution
where static noise is good; the mean's shift, the floor of flat directions and exact moments where it is not.

Every comparison has a false-alarm rate of 1e-3, and seeds are fixed. Weights are measured from the minimum.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics.samplers import Epochs, WithoutReplacement, WithReplacement
from sgdynamics.theory import epochs

pytestmark = pytest.mark.long

KEY = jax.random.key(5)


def residuals(samples, inputs, decades, seed):
    """Inputs of a wide spectrum in a random basis, and label noise that depends on them."""
    random = np.random.default_rng(seed)
    basis = np.linalg.qr(random.normal(size=(inputs, inputs)))[0]
    z = random.normal(size=(samples, inputs))
    x = z * np.geomspace(1.0, 10.0 ** (-decades / 2), inputs) @ basis.T
    y = random.normal(size=samples) * np.sqrt(1 + z.sum(axis=1) ** 2 / inputs) / 2
    return x, y - x @ np.linalg.lstsq(x, y, rcond=None)[0]


def descent(x, y, η, S, β=0.0, sampler=Epochs):
    problem = sgd.Problem(sgd.networks.Linear(x.shape[1], 1), sgd.data.Dataset(x, y))
    return sgd.SGD(problem, learning_rate=η, momentum=β, sampler=sampler(S))


def measured(dynamics, replicas, burn_in, steps, initial=None):
    initial = jnp.zeros(dynamics.problem.parameters.size) if initial is None else initial
    statistics = {"mean": sgd.statistics.Mean(), "covariance": sgd.statistics.Covariance()}
    ensemble = sgd.simulate(
        dynamics, statistics, replicas=replicas, burn_in=burn_in, steps=steps, initial=initial, key=KEY
    )
    assert ensemble.diverged == 0
    return ensemble.estimates


def agrees(estimate, expected):
    return sgd.compare(estimate, np.asarray(expected)).verdict == "agrees"


def averaged(means, covariances):
    """Over the position in the epoch."""
    mean = jnp.mean(means, axis=0)
    spread = means - mean[None]
    return mean, jnp.mean(covariances, axis=0) + spread.T @ spread / len(means)


@functools.cache
def tiny_laws(samples, batch_size):
    """Mean and covariance as functions of learning rate and momentum: exact, to second order, frozen."""
    x, y = residuals(samples, 3, 1.0, 1)

    @jax.jit
    def laws(η, β):
        setting = {"learning_rate": η, "batch_size": batch_size, "momentum": β}
        means, covariances = epochs.regression_moments(x, y, **setting)
        first, frozen = epochs.regression_means(x, y, **setting), epochs.regression_covariances(x, y, **setting)
        added = epochs.regression_corrections(x, y, **setting)[0] + epochs.regression_second_order(x, y, **setting)
        exact = averaged(means[:, :3], covariances[:, :3, :3])
        return exact, averaged(first, frozen + added), averaged(first, frozen)

    return laws


@pytest.mark.parametrize(("batches", "momentum"), [(20, 0.9), (100, 0.0)])
def test_many_samples_have_the_general_law_of_static_noise(batches, momentum):
    x, y = residuals(2000, 6, 2.0, 1)
    η, S = 0.4 * (1 - momentum) / batches, 2000 // batches
    dynamics = descent(x, y, η, S, momentum)
    law = sgd.predict(dynamics, form="frozen")
    H, M = x.T @ x / 2000, np.asarray(law.covariance)
    h, V = np.linalg.eigh(H)
    C = np.asarray(sgd.noise.minibatch(dynamics.problem, dynamics.sampler).covariance(jnp.zeros(6)))
    assert np.linalg.norm(H @ C - C @ H) > 0.1 * np.linalg.norm(H @ C)
    setting = {"learning_rate": η, "momentum": momentum, "batches_per_epoch": batches}
    np.testing.assert_allclose(M, epochs.stationary_covariance(H, C, **setting), rtol=1e-8, atol=1e-18)
    found = measured(dynamics, 128, 50 * batches, 100 * batches, law)["covariance"]
    assert agrees(found, M)
    # the diagonal of C alone, in H's basis
    commuting = np.asarray(epochs.stationary_variances(h, np.diag(V.T @ C @ V), **setting)[0])
    assert not agrees(found, (V * commuting) @ V.T)
    independent = sgd.predict(descent(x, y, η, S, momentum, WithoutReplacement), form="frozen")
    assert not agrees(found, independent.covariance)


def test_few_samples_shift_the_mean_and_raise_flat_directions_by_what_theory_says():
    """Of the flattest direction the theory's next order is 0.2 of its floor squared, its many samples 3/P of it."""
    P, S, η = 200, 4, 0.05
    x, y = residuals(P, 6, 2.0, 1)
    law = sgd.predict(descent(x, y, η, S))
    frozen = jax.jit(lambda: jnp.mean(epochs.regression_covariances(x, y, learning_rate=η, batch_size=S), axis=0))()
    V = np.linalg.eigh(x.T @ x / P)[1]
    found = measured(descent(x, y, η, S), 512, 10_000, 8000)
    along = lambda M: jnp.einsum("ik,ij,jk->k", V, jnp.asarray(M), V)
    added = np.asarray(along(law.covariance) / along(frozen))[:2] - 1
    ratio = found["covariance"].map(lambda M: (along(M) / along(frozen))[:2])
    value, error = np.asarray(ratio.value), np.asarray(ratio.standard_error)
    tolerance = 0.2 * added**2 + 3 / P * added
    assert np.all(np.abs(value - 1 - added) < 4 * error + tolerance), (value, error, added)
    assert np.all(value - 1 > 10 * error) and np.all(tolerance < 0.15 * added)
    assert not agrees(found["covariance"], frozen)
    # the mean, along the theory's and in its units: first order, whose error is of the floor's order
    weight = np.linalg.solve(law.covariance, law.mean)
    part = found["mean"].map(lambda m: weight @ m / (weight @ law.mean))
    value, error = float(part.value), float(part.standard_error)
    assert abs(value - 1) < 4 * error + 0.2 * added[0]
    assert value > 8 * error


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_tiny_data_sets_have_the_exact_moments_where_expansions_fail(momentum):
    P, S, η = 10, 2, 0.4 * (1 - momentum)
    x, y = residuals(P, 3, 1.0, 1)
    exact, second, frozen = tiny_laws(P, S)(η, momentum)
    found = measured(descent(x, y, η, S, momentum), 2048, 500, 1500)
    assert agrees(found["mean"], exact[0]) and agrees(found["covariance"], exact[1])
    assert not agrees(found["mean"], np.zeros(3))
    assert not agrees(found["covariance"], second[1])
    assert not agrees(found["covariance"], frozen[1])
    if momentum == 0:
        # independent batches: no shift
        assert agrees(measured(descent(x, y, η, S, sampler=WithReplacement), 2048, 500, 1500)["mean"], np.zeros(3))
