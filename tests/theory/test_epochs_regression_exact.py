"""Exact moments of epochs against every order of a tiny data set; second order and limits against exact moments."""

import itertools

import numpy as np
import pytest

from sgdynamics.theory import epochs


def small(samples, inputs=2, seed=1, noise=1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, inputs)) @ np.diag(np.linspace(1.2, 0.6, inputs))
    return x, x @ rng.normal(size=inputs) + noise * rng.normal(size=samples)


def over_all_orders(x, y, η, S, β, λ):
    """Moments of (w, u) at each position by averaging over all P! orders, in raw weights."""
    (P, N), M = x.shape, len(x) // S
    d = 2 * N + 1
    one = np.eye(N)
    paths = []
    for order in itertools.permutations(range(P)):
        A, path = np.eye(d), []
        for batch in np.reshape(order[: M * S], (M, S)):
            path.append(A)
            H, b = x[batch].T @ x[batch] / S + λ * one, x[batch].T @ y[batch] / S
            step = np.zeros((d, d))
            step[0, 0] = 1
            step[1 : N + 1] = np.hstack([η * b[:, None], one - η * H, β * one])
            step[N + 1 :] = np.hstack([η * b[:, None], -η * H, β * one])
            A = step @ A
        paths.append([*path, A])
    A = np.array(paths)
    E = np.einsum("pij,pkl->ikjl", A[:, -1], A[:, -1]).reshape(d * d, d * d) / len(A)
    # the fixed point with 1 in the corner
    rest = np.linalg.solve(np.eye(d * d - 1) - E[1:, 1:], E[1:, 0])
    X = np.concatenate([[1], rest]).reshape(d, d)
    X = np.einsum("plij,jk,plmk->lim", A[:, :-1], X, A[:, :-1]) / len(A)
    return X[:, 0, 1:], X[:, 1:, 1:] - X[:, 0, 1:, None] * X[:, 0, None, 1:]


@pytest.mark.parametrize(
    ("samples", "batch_size", "momentum", "weight_decay"),
    [(4, 1, 0.9, 0.0), (5, 2, 0.0, 0.0), (5, 2, 0.9, 0.3), (6, 2, 0.5, 0.0), (6, 1, 0.0, 0.0)],
)
def test_exact_moments_are_those_of_all_orders(samples, batch_size, momentum, weight_decay):
    x, y = small(samples)
    w = np.linalg.solve(x.T @ x / samples + weight_decay * np.eye(2), x.T @ y / samples)
    mean, covariance = over_all_orders(x, y, 0.3, batch_size, momentum, weight_decay)
    means, covariances = epochs.regression_moments(
        x, y, learning_rate=0.3, batch_size=batch_size, momentum=momentum, weight_decay=weight_decay
    )
    np.testing.assert_allclose(means + np.concatenate([w, 0 * w])[None], mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(covariances, covariance, rtol=0, atol=1e-12)
    assert np.abs(covariance).max() > 1e-4
