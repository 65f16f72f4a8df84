"""Epoch shuffling against every order of a tiny data set, and against the recursion with averaged noise."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics.theory import epochs, recursion, regression


def small(samples, seed=1):
    data = sgd.data.teacher_student(jax.random.key(seed), samples=samples, inputs=2, label_noise_std=0.5)
    return np.asarray(data.x), np.asarray(data.y)


def over_all_orders(x, y, η, S, *, strength=1.0):
    """Exact means and covariances of w − w* at each position, by averaging over all P! orders; with `strength` times
    the multiplicative noise, 0 for frozen noise. The covariances of the gradients as well."""
    P, N = x.shape
    r, H, one = y - x @ np.linalg.lstsq(x, y, rcond=None)[0], x.T @ x / P, np.eye(N)
    maps = []  # of each order, at each position: δ_l = A δ_0 + b
    for order in itertools.permutations(range(P)):
        A, b, path = one, np.zeros(N), []
        for batch in np.reshape(order[: P // S * S], (-1, S)):
            path.append((A, b))
            T = one - η * (H + strength * (x[batch].T @ x[batch] / S - H))
            A, b = T @ A, T @ b + η * x[batch].T @ r[batch] / S
        maps.append([*path, (A, b)])
    A, b = (np.array([[position[i] for position in path] for path in maps]) for i in (0, 1))

    def moments(position, mean, second, *, gradient=False):
        a, e = A[:, position], b[:, position]
        if gradient:
            a, e = (A[:, position + 1] - a) / η, (b[:, position + 1] - e) / η
        cross = np.einsum("pij,j,pk->ik", a, mean, e) / len(a)
        return a.mean(0) @ mean + e.mean(0), (
            np.einsum("pij,jk,plk->il", a, second, a) / len(a) + cross + cross.T + e.T @ e / len(e)
        )

    mean = np.linalg.solve(one - A[:, -1].mean(0), b[:, -1].mean(0))
    zero = np.zeros((N, N))
    linear = np.stack([(moments(-1, 0 * mean, e)[1] - moments(-1, 0 * mean, zero)[1]).ravel()
                       for e in np.eye(N * N).reshape(-1, N, N)], axis=1)  # fmt: skip
    second = np.linalg.solve(np.eye(N * N) - linear, moments(-1, mean, zero)[1].ravel()).reshape(N, N)

    def covariances(gradient):
        means, seconds = zip(*(moments(l, mean, second, gradient=gradient) for l in range(P // S)), strict=True)
        return np.array(means), np.array([s - np.outer(m, m) for m, s in zip(means, seconds, strict=True)])

    return *covariances(False), covariances(True)[1]


@pytest.mark.parametrize(("samples", "batch_size"), [(5, 1), (5, 2)])
def test_frozen_noise_is_exact_at_every_position(samples, batch_size):
    x, y = small(samples)
    _, expected, gradients = over_all_orders(x, y, 0.7, batch_size, strength=0.0)
    settings = {"learning_rate": 0.7, "batch_size": batch_size}
    np.testing.assert_allclose(epochs.regression_covariances(x, y, **settings), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        epochs.regression_gradient_covariances(x, y, **settings), gradients, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(("samples", "batch_size"), [(5, 1), (6, 2), (6, 3)])
def test_the_first_order_is_the_derivative_with_respect_to_the_multiplicative_noise(samples, batch_size):
    x, y = small(samples)
    settings = {"learning_rate": 0.7, "batch_size": batch_size}
    more, less = (over_all_orders(x, y, 0.7, batch_size, strength=ε) for ε in (1e-4, -1e-4))
    mean, covariance, gradient = ((a - b) / 2e-4 for a, b in zip(more, less, strict=True))
    np.testing.assert_allclose(epochs.regression_means(x, y, **settings), mean, rtol=1e-5, atol=1e-9)
    of_weights, of_gradients = epochs.regression_corrections(x, y, **settings)
    np.testing.assert_allclose(of_weights, covariance, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(of_gradients, gradient, rtol=1e-5, atol=1e-8)
    assert np.abs(mean).max() > 1e-4
    assert np.abs(covariance).max() > 1e-4 or samples == 2 * batch_size  # two batches have no third moments


@pytest.mark.parametrize("learning_rate", [0.02, 0.2])
def test_what_is_neglected_is_positive_and_below_its_scale(learning_rate):
    x, y = small(6)
    settings = {"learning_rate": learning_rate, "batch_size": 1}
    _, covariances, _ = over_all_orders(x, y, learning_rate, 1)
    known = epochs.regression_covariances(x, y, **settings) + epochs.regression_corrections(x, y, **settings)[0]
    known = np.asarray(known).mean(axis=0)
    missing = np.trace(covariances.mean(axis=0) - known)
    scale = np.trace(epochs.regression_multiplicative_scale(x, known, **settings))
    assert 0.1 * scale < missing < scale < 0.2 * np.trace(known)


def test_the_average_over_positions_is_that_of_the_averaged_noise():
    """Kühn and Rosenow, Eq. 2: −C (M−j)/(M(M−1)) at lag j, in the general linear recursion."""
    data = sgd.data.teacher_student(jax.random.key(2), samples=30, inputs=5, label_noise_std=0.5)
    η, S, M = 0.3, 3, 10
    C = regression.noise_covariance(data.x, data.y, regression.minimum(data.x, data.y), batch_size=S, replacement=False)
    lags = -(M - jnp.arange(1.0, M)) / (M * (M - 1))
    law = recursion.LinearRecursion(
        jnp.eye(5) - η * regression.hessian(data.x), η**2 * C, η**2 * lags[:, None, None] * C[None]
    )
    covariances = epochs.regression_covariances(data.x, data.y, learning_rate=η, batch_size=S)
    expected = law.stationary_covariance()
    np.testing.assert_allclose(covariances.mean(axis=0), expected, rtol=1e-9, atol=1e-14)
    lagged = law.autocovariance(1)
    gradients = epochs.regression_gradient_covariances(data.x, data.y, learning_rate=η, batch_size=S)
    expected = (2 * expected - lagged - lagged.T) / η**2
    np.testing.assert_allclose(gradients.mean(axis=0), expected, rtol=1e-9, atol=1e-12)


def test_one_batch_an_epoch_does_not_fluctuate():
    x, y = small(6)
    np.testing.assert_allclose(epochs.regression_covariances(x, y, learning_rate=0.5, batch_size=6), 0, atol=1e-15)


@pytest.mark.parametrize(("field", "value"), [("batch_size", 7), ("batch_size", 0), ("learning_rate", 0.0)])
def test_bad_values_are_refused_by_name(field, value):
    x, y = small(6)
    with pytest.raises(ValueError, match=field):
        epochs.regression_covariances(x, y, **{"learning_rate": 0.1, "batch_size": 2, field: value})


def test_corrections_need_batches_that_divide_the_samples():
    x, y = small(5)
    with pytest.raises(ValueError, match="batch_size"):
        epochs.regression_corrections(x, y, learning_rate=0.1, batch_size=2)
