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


def over_all_orders(x, y, η, S, *, strength=1.0, momentum=0.0):
    """Exact means and covariances of w − w* at each position, by averaging over all P! orders; with `strength` times
    the multiplicative noise, 0 for frozen noise. The covariances of the gradients as well."""
    P, N = x.shape
    r, H, one = y - x @ np.linalg.lstsq(x, y, rcond=None)[0], x.T @ x / P, np.eye(N)
    paths = []  # of each order, at each position: maps from (1, δ_0, u_0) to (1, δ, u), and to the gradient
    for order in itertools.permutations(range(P)):
        A, path = np.eye(2 * N + 1), []
        for batch in np.reshape(order[: P // S * S], (-1, S)):
            h, b = H + strength * (x[batch].T @ x[batch] / S - H), x[batch].T @ r[batch] / S
            g = np.hstack([-b[:, None], h, 0 * one])
            path.append((A, g @ A))
            velocity = np.hstack([np.zeros((N, N + 1)), momentum * one]) - η * g
            weights = np.hstack([np.zeros((N, 1)), one, 0 * one]) + velocity
            A = np.vstack([np.eye(2 * N + 1)[:1], weights, velocity]) @ A
        paths.append([*path, (A, A)])
    A, g = (np.array([[position[i] for position in path[:-1]] for path in paths]) for i in (0, 1))
    last, d = np.array([path[-1][0] for path in paths]), 2 * N + 1
    whole = np.einsum("pij,pkl->ikjl", last, last).reshape(d * d, d * d) / len(last)
    rest = np.linalg.solve(np.eye(d * d - 1) - whole[1:, 1:], whole[1:, 0])
    first = np.concatenate([[1], rest]).reshape(d, d)
    of = lambda maps: np.einsum("plij,jk,plmk->lim", maps, first, maps) / len(maps)
    means, of_g = of(A)[:, 0, 1 : N + 1], np.einsum("plij,j->li", g, first[0]) / len(g)
    outer = lambda m: m[:, :, None] * m[:, None, :]
    return means, of(A)[:, 1 : N + 1, 1 : N + 1] - outer(means), of(g) - outer(of_g)


@pytest.mark.parametrize(
    ("samples", "batch_size", "momentum"), [pytest.param(5, 1, 0.9, marks=pytest.mark.long), (5, 2, 0.0)]
)
def test_frozen_noise_is_exact_at_every_position(samples, batch_size, momentum):
    x, y = small(samples)
    _, expected, gradients = over_all_orders(x, y, 0.7, batch_size, strength=0.0, momentum=momentum)
    settings = {"learning_rate": 0.7, "batch_size": batch_size, "momentum": momentum}
    np.testing.assert_allclose(epochs.regression_covariances(x, y, **settings), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        epochs.regression_gradient_covariances(x, y, **settings), gradients, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(
    ("samples", "batch_size", "momentum"),
    [pytest.param(5, 1, 0.5, marks=pytest.mark.long), pytest.param(6, 2, 0.0, marks=pytest.mark.long), (6, 3, 0.9)],
)  # fmt: skip
def test_the_first_order_is_the_derivative_with_respect_to_the_multiplicative_noise(samples, batch_size, momentum):
    x, y = small(samples)
    settings = {"learning_rate": 0.7, "batch_size": batch_size, "momentum": momentum}
    more, less = (over_all_orders(x, y, 0.7, batch_size, strength=ε, momentum=momentum) for ε in (1e-4, -1e-4))
    mean, covariance, gradient = ((a - b) / 2e-4 for a, b in zip(more, less, strict=True))
    np.testing.assert_allclose(epochs.regression_means(x, y, **settings), mean, rtol=1e-5, atol=1e-9)
    of_weights, of_gradients = epochs.regression_corrections(x, y, **settings)
    np.testing.assert_allclose(of_weights, covariance, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(of_gradients, gradient, rtol=1e-5, atol=1e-8)
    assert np.abs(mean).max() > 1e-4
    assert np.abs(covariance).max() > 1e-4 or samples == 2 * batch_size  # two batches have no third moments


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
def test_frozen_noise_is_that_of_a_quadratic_loss_where_examples_are_left_out():
    x, y = small(13)
    h, V = np.linalg.eigh(x.T @ x / 13)
    C = regression.noise_covariance(x, y, regression.minimum(x, y), batch_size=3, replacement=False)
    settings = {"learning_rate": 0.4, "momentum": 0.7}
    law = epochs.HarmonicEpochs(
        h, V.T @ C @ V, **settings, batches_per_epoch=4, left_out=epochs.left_out(13, batch_size=3)
    )
    found = V.T @ epochs.regression_covariances(x, y, **settings, batch_size=3) @ V
    np.testing.assert_allclose(found, law.position_covariances()[:, :2, :2], rtol=1e-9, atol=1e-14)


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
