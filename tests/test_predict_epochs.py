"""Predictions for shuffled epochs, and `compare` telling the samplers apart. False-alarm rate 1e-3, fixed seeds."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics import samplers
from sgdynamics.theory import epochs

KEY = jax.random.key(11)
DATA = sgd.data.teacher_student(KEY, samples=24, inputs=5, label_noise_std=0.6, input_covariance=np.eye(5))
PROBLEM = sgd.Problem(sgd.networks.Linear(5, 1), DATA)
RATE, BATCH = 0.004, 4
SAMPLERS = {"with": samplers.WithReplacement, "without": samplers.WithoutReplacement, "epochs": samplers.Epochs}


def descent(sampler, learning_rate=RATE, momentum=0.0):
    return sgd.SGD(PROBLEM, learning_rate=learning_rate, sampler=sampler, momentum=momentum)


@pytest.fixture(scope="module")
def expected():
    return {name: sgd.predict(descent(kind(BATCH))) for name, kind in SAMPLERS.items()}


@pytest.mark.long
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_the_prediction_is_theorys_average_over_the_epoch(momentum):
    dynamics = descent(samplers.Epochs(5), momentum=momentum)
    law = sgd.predict(dynamics, form="frozen")
    C = sgd.noise.minibatch(PROBLEM, dynamics.sampler).covariance(law.mean)
    H = PROBLEM.hessian(law.mean)
    setting = {
        "learning_rate": RATE, "momentum": momentum, "batches_per_epoch": 4, "left_out": epochs.left_out(24, 5)
    }  # fmt: skip
    phase = epochs.phase_covariance(H, C, **setting)
    np.testing.assert_allclose(law.covariance, phase[:5, :5], rtol=1e-9, atol=1e-16)
    np.testing.assert_allclose(law.mean, PROBLEM.minimum(), atol=1e-12)
    if momentum:
        scale = np.repeat([1.0, 1 / RATE], 5)
        np.testing.assert_allclose(law.phase_covariance, scale[:, None] * phase * scale[None], rtol=1e-9, atol=1e-14)
    lags = np.array([0, 2])
    np.testing.assert_allclose(law.autocovariance(lags)[0], law.covariance, rtol=1e-9, atol=1e-16)
    assert np.abs(law.circulation() + law.circulation().T).max() < 1e-18
    # a run begins between two epochs, where the weights scatter least
    start = jax.vmap(law.draw)(jax.random.split(KEY, 4000)).position
    between = epochs.position_covariances(H, C, **setting)[0, :5, :5]
    np.testing.assert_allclose(np.cov(start.T), between, atol=0.1 * np.trace(between))
    assert np.trace(between) < np.trace(law.covariance)


@pytest.mark.long
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_on_regression_mean_and_covariance_are_those_of_theorys_second_order(momentum):
    dynamics = descent(samplers.Epochs(6), learning_rate=0.05, momentum=momentum)
    exact, frozen = sgd.predict(dynamics), sgd.predict(dynamics, form="frozen")
    setting = {"learning_rate": 0.05, "batch_size": 6, "momentum": momentum}
    x, y = np.asarray(DATA.x), np.asarray(DATA.y).ravel()
    means = epochs.regression_means(x, y, **setting)
    positions = epochs.regression_covariances(x, y, **setting) + epochs.regression_second_order(x, y, **setting)
    positions = positions + epochs.regression_corrections(x, y, **setting)[0]
    total = np.mean(positions, axis=0) + np.cov(np.asarray(means).T, ddof=0)
    np.testing.assert_allclose(exact.covariance, total, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(exact.mean, PROBLEM.minimum() + np.mean(means, axis=0), rtol=1e-9)
    assert np.trace(exact.covariance) > 1.02 * np.trace(frozen.covariance)
    compiled = eqx.filter_jit(sgd.predict)(dynamics)
    np.testing.assert_allclose(compiled.covariance, exact.covariance, rtol=1e-9, atol=1e-14)
    assert compiled.form == exact.form and "second order" in exact.form


@pytest.mark.long
def test_directions_that_no_input_has_stay_where_they_are():
    """A pixel that is always black, and one that another one repeats."""
    x = np.asarray(DATA.x)
    doubled = np.column_stack([x[:, 0], np.zeros(24), x[:, 1], x[:, 1]])
    problem = sgd.Problem(sgd.networks.Linear(4, 1), sgd.data.Dataset(doubled, DATA.y))
    plain = sgd.Problem(sgd.networks.Linear(2, 1), sgd.data.Dataset(x[:, :2] * [1, np.sqrt(2)], DATA.y))
    found, expected = (
        sgd.predict(sgd.SGD(p, learning_rate=0.02, sampler=samplers.Epochs(4))) for p in (problem, plain)
    )
    V = np.array([[1, 0, 0, 0], [0, 0, np.sqrt(0.5), np.sqrt(0.5)]])
    np.testing.assert_allclose(found.mean, expected.mean @ V, atol=1e-10)
    np.testing.assert_allclose(found.covariance, V.T @ expected.covariance @ V, atol=1e-14)


@pytest.mark.long
def test_an_expansion_that_does_not_converge_is_refused():
    with pytest.raises(ValueError, match=r"relative to frozen noise.*regression_moments"):
        sgd.predict(descent(samplers.Epochs(1), learning_rate=0.5))


def test_weight_decay_leaves_the_frozen_law():
    decaying = sgd.SGD(PROBLEM, learning_rate=RATE, sampler=samplers.Epochs(4), weight_decay=0.01)
    assert sgd.predict(decaying).form.startswith("frozen")


def test_fresh_labels_with_epochs_have_no_law():
    fresh = sgd.Problem(sgd.networks.Linear(5, 1), sgd.data.FreshLabels(DATA, 0.3))
    with pytest.raises(ValueError, match=r"FreshLabels.*WithReplacement"):
        sgd.predict(sgd.SGD(fresh, learning_rate=RATE, sampler=samplers.Epochs(4)))


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1])
def test_compare_tells_the_samplers_apart_blind(expected, seed):
    """An envelope with the three samplers in an order that the test does not use before it has decided."""
    order = np.random.default_rng(seed).permutation(list(SAMPLERS))
    for envelope, name in enumerate(order):
        key = jax.random.fold_in(KEY, 10 * seed + envelope)
        # all from the minimum, with the same burn-in: nothing but the records differs
        measured = sgd.simulate(descent(SAMPLERS[name](BATCH)), sgd.statistics.Covariance(), replicas=2048,
                                burn_in=4800, steps=4800, initial=expected["with"].mean, key=key)  # fmt: skip
        accepted = [guess for guess, law in expected.items() if sgd.compare(measured, law).verdict == "agrees"]
        assert accepted == [name]


def test_records_that_are_no_average_over_epochs_are_not_taken_for_one(expected):
    dynamics = descent(samplers.Epochs(BATCH))
    law = expected["epochs"]
    once = {"replicas": 512, "initial": law, "key": KEY}
    with pytest.warns(UserWarning, match="every"):
        at_the_ends = sgd.simulate(dynamics, sgd.statistics.Covariance(), steps=600, every=6, **once)
    found = sgd.compare(at_the_ends, law)
    assert found.verdict == "undecided" and "epochs of 6 batches" in str(found)
    between, V = law.known_start[1], law.modes.vectors
    assert sgd.compare(at_the_ends.estimates, V @ between @ V.T).verdict == "agrees"
    coprime = sgd.simulate(dynamics, sgd.statistics.Covariance(), steps=3000, every=5, **once)
    assert sgd.compare(coprime, law).verdict == "agrees"
    assert jnp.all(coprime.alive)
