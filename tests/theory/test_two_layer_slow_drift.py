"""Moments of SGD along the minima of two layers, against all sequences of minibatches and against the balance."""

from itertools import product

import jax
import numpy as np
import pytest

from sgdynamics.theory import two_layer

rng = np.random.default_rng(5)
W1, W2 = rng.normal(size=(2, 3)) * 0.7, rng.normal(size=(2, 2)) * 0.8
x, y = rng.normal(size=(4, 3)) + 0.3, rng.normal(size=(4, 2))
BATCHES = np.array(list(product(range(4), repeat=2)))


def every_step(first, second, η):
    """One step of SGD from each of the weights with each of the minibatches."""
    e = y - np.einsum("noh,nhi,pi->npo", second, first, x)
    G = -np.einsum("nbso,bsi->nboi", e[:, BATCHES], x[BATCHES]) / 2
    one = first[:, None] - η * np.einsum("noh,nboi->nbhi", second, G)
    two = second[:, None] - η * np.einsum("nboi,nhi->nboh", G, first)
    return one.reshape(-1, 2, 3), two.reshape(-1, 2, 2)


def enumerated(η, steps):
    """All weights after `steps`, equally likely."""
    state = W1[None], W2[None]
    for _ in range(steps):
        state = every_step(*state, η)
    return state


def moments(η, steps):
    first, second = enumerated(η, steps)
    θ = np.concatenate([first.reshape(len(first), -1), second.reshape(len(second), -1)], axis=1)
    return θ.mean(axis=0), np.cov(θ.T, bias=True)


def drift(η, steps, records=1, **options):
    return two_layer.slow_drift(W1, W2, x, y, learning_rate=η, batch_size=2, steps=steps, records=records, **options)


def flat(result):
    return np.concatenate([result.first[-1].ravel(), result.second[-1].ravel()])


def test_one_step_from_weights_without_spread_is_exact():
    mean, covariance = moments(0.3, 1)
    result = drift(0.3, 1)
    np.testing.assert_allclose(flat(result), mean, atol=1e-14)
    np.testing.assert_allclose(result.covariance[-1], covariance, atol=1e-14)
    growth = np.diff(result.balance, axis=0)[0] / 0.3
    expected = two_layer.balance_drift(W1, W2, x, y, learning_rate=0.3, batch_size=2)
    np.testing.assert_allclose(growth, expected, atol=1e-13)


def test_three_steps_err_by_the_fourth_power_of_the_learning_rate_or_less():
    errors, without, spreads = [], [], []
    for η in (0.02, 0.01):
        mean, covariance = moments(η, 3)
        result = drift(η, 1, records=3)
        errors.append(np.linalg.norm(flat(result) - mean))
        spreads.append(np.linalg.norm(result.covariance[-1] - covariance))
        without.append(np.linalg.norm(descended(η, 3) - mean))
    assert errors[0] / errors[1] > 14
    assert spreads[0] / spreads[1] == pytest.approx(16, rel=0.2)
    # negative control: gradient descent without the slope ∇½ tr(∇²L Σ) errs by the third power, and by more
    assert without[0] / without[1] == pytest.approx(8, rel=0.2)
    assert without[1] > 20 * errors[1]


def descended(η, steps):
    first, second = W1, W2
    for _ in range(steps):
        G = -(y - x @ first.T @ second.T).T @ x / len(x)
        first, second = first - η * second.T @ G, second - η * G @ first.T
    return np.concatenate([first.ravel(), second.ravel()])


def test_squares_are_those_of_the_layers_with_their_spread():
    first, second = enumerated(0.01, 3)
    result = drift(0.01, 1, records=3)
    assert np.abs(result.first_square[-1] - np.einsum("nia,nja->ij", first, first) / len(first)).max() < 1e-6
    assert np.abs(result.second_square[-1] - np.einsum("nai,naj->ij", second, second) / len(second)).max() < 1e-6
    # negative control: the squares of the means
    assert np.abs(result.first_square[-1] - result.first[-1] @ result.first[-1].T).max() > 1e-5


def test_the_balance_falls_as_its_rate_says_though_the_mean_must_move_for_it():
    """At a minimum with white inputs, short against the balance time: the rate of the start, to 1 %."""
    white, second = np.linalg.qr(x)[0] * 2, np.array([[1.0, 0.3], [-0.2, 0.8]])
    first = np.linalg.solve(second, np.linalg.lstsq(white, y, rcond=None)[0].T)
    setting = {"learning_rate": 0.01, "batch_size": 200}
    result = two_layer.slow_drift(first, second, white, y, steps=200, **setting)
    expected = np.asarray(two_layer.balance_drift(first, second, white, y, **setting)) * 200 * 0.01
    growth = np.diff(result.balance, axis=0)[0]
    assert np.abs(growth - expected).max() < 0.01 * np.abs(expected).max()
    # negative control: linear response, the same spread about a mean that stays
    still = result._replace(first=result.first[:1], second=result.second[:1], covariance=result.covariance[1:])
    assert np.abs(still.balance[0] - result.balance[0] - expected).max() > 0.2 * np.abs(expected).max()


def test_derivatives_and_bad_values():
    end = jax.jit(lambda η: drift(η, 1, records=3).second_square[-1].trace())
    slope, tangent = jax.grad(end)(0.05), jax.jvp(end, (0.05,), (1.0,))[1]
    h = 1e-5
    assert float(slope) == pytest.approx(float(end(0.05 + h) - end(0.05 - h)) / (2 * h), rel=1e-6)
    assert float(tangent) == pytest.approx(float(slope))
    with pytest.raises(ValueError, match="learning_rate"):
        drift(1e30, 1, records=3)
    with pytest.raises(ValueError, match="steps"):
        drift(0.1, 0)
    with pytest.raises(ValueError, match="batch_size"):
        two_layer.slow_drift(W1, W2, x, y, learning_rate=0.1, batch_size=9, steps=1, replacement=False)
