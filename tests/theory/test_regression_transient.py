"""Moments of the modes in the transient, against every sequence of minibatches there is."""

import itertools

import jax
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics.theory import regression

ETA, S = 0.7, 2


def every_path(x, y, start, steps):
    """Weights after each number of steps, for every sequence of minibatches: [steps + 1, paths, inputs]."""
    batches = [list(batch) for batch in itertools.product(range(len(x)), repeat=S)]
    weights, history = [start], []
    for _ in range(steps + 1):
        history.append(np.array(weights))
        weights = [w - ETA * x[b].T @ (x[b] @ w - y[b]) / S for w in weights for b in batches]
    return history


@pytest.mark.parametrize(("samples", "inputs"), [(3, 2), (2, 3)])
def test_means_and_variances_are_those_over_all_minibatches(samples, inputs):
    data = sgd.data.teacher_student(jax.random.key(1), samples=samples, inputs=inputs, label_noise_std=0.5)
    x, y = np.asarray(data.x), np.asarray(data.y)
    h, V = np.linalg.eigh(x.T @ x / len(x))
    V = V[:, h > 1e-10]
    target = np.asarray(regression.minimum(x, y))
    start = target + V @ np.arange(1.0, 1 + V.shape[1])
    mean, variance = regression.mode_moments_after(
        x, y, V, V.T @ (start - target), np.zeros(V.shape[1]), learning_rate=ETA, batch_size=S, records=4
    )
    for step, weights in enumerate(every_path(x, y, start, 4)):
        modes = (weights - target) @ V
        np.testing.assert_allclose(mean[step], modes.mean(axis=0), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(variance[step], modes.var(axis=0), rtol=1e-10, atol=1e-12)


def test_records_are_steps_apart_and_a_start_may_be_wide():
    """`every` skips records only, and the stationary variances of independent modes are those it starts from."""
    data = sgd.data.teacher_student(jax.random.key(2), samples=8, inputs=3, label_noise_std=0.5)
    _, V = regression.modes(data.x)
    start, wide = np.array([1.0, -2.0, 0.5]), np.array([0.1, 0.2, 0.3])
    options = {"learning_rate": 0.3, "batch_size": 2}
    single = regression.mode_moments_after(data.x, data.y, V, start, wide, records=6, **options)
    triple = regression.mode_moments_after(data.x, data.y, V, start, wide, records=2, every=3, **options)
    for one, three in zip(single, triple, strict=True):
        np.testing.assert_allclose(one[::3], three, rtol=1e-12)
    np.testing.assert_allclose(single[1][0], wide, rtol=1e-12)
    d = len(start)
    moments = sgd.theory.recursion.MinibatchMoments(data.x, data.y, learning_rate=0.3, sampling_factor=1 / 2)
    δ = np.concatenate([V @ start, np.zeros(d)])
    second = np.outer(δ, δ)
    second[:d, :d] += V @ np.diag(wide) @ V.T
    m, M = moments.after(6, δ, second)
    covariance = V.T @ (M[:d, :d] - np.outer(m[:d], m[:d])) @ V
    np.testing.assert_allclose(single[1][-1], np.diag(covariance), rtol=1e-10)
    np.testing.assert_allclose(single[0][-1], V.T @ m[:d], rtol=1e-10)
