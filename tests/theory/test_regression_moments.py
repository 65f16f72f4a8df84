"""Moments beyond the second, against enumeration of all minibatches and against the law itself on a fine grid."""

import itertools

import jax
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics.theory import regression


def small(samples, inputs, seed=3):
    data = sgd.data.teacher_student(jax.random.key(seed), samples=samples, inputs=inputs, label_noise_std=0.5)
    return np.asarray(data.x), np.asarray(data.y)


def batches(x, y, η, S):
    """(a, e) of every batch: A = 1 − ηH_B, e = η X_Bᵀ r_B/S."""
    r = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    for index in itertools.product(range(len(x)), repeat=S):
        b = list(index)
        yield np.eye(x.shape[1]) - η * x[b].T @ x[b] / S, η * x[b].T @ r[b] / S


@pytest.mark.parametrize("batch_size", [1, 3])
def test_scalar_moments_are_stationary_under_every_batch(batch_size):
    """E (a δ + e)ⁿ over all batches and over δ is E δⁿ again, for each n up to 6."""
    x, y = small(4, 1)
    η = 0.3 / np.mean(x**2)
    moments = np.asarray(regression.scalar_moments(x, y, learning_rate=η, batch_size=batch_size, order=6))
    after = np.zeros(7)
    for a, e in batches(x, y, η, batch_size):
        polynomial = np.polynomial.Polynomial([e[0], a[0, 0]])  # in δ
        after += [(polynomial**n).coef @ moments[: n + 1] for n in range(7)]
    np.testing.assert_allclose(after / len(x) ** batch_size, moments, rtol=1e-10, atol=1e-14)


def test_the_second_moment_is_the_exact_variance():
    x, y = small(30, 1)
    moments = regression.scalar_moments(x, y, learning_rate=0.1, batch_size=10)
    exact = regression.stationary_covariance(x, y, learning_rate=0.1, batch_size=10)[0, 0]
    assert float(moments[2]) == pytest.approx(float(exact), rel=1e-10)
    assert float(moments[1]) == pytest.approx(0, abs=1e-12)


def test_moments_diverge_where_the_tail_is_too_heavy():
    """Just below the exponent of the tail a moment is finite, just above it is not."""
    x, y = small(30, 1)
    low, high = 0.01, 1.9 / np.mean(x**2)
    for _ in range(60):  # the learning rate at which E a⁴ = 1
        middle = (low + high) / 2
        low, high = (middle, high) if np.mean((1 - middle * x**2) ** 4) < 1 else (low, middle)
    assert float(regression.tail_exponent(x, learning_rate=low)) == pytest.approx(4, abs=1e-6)
    for factor, finite in ((0.99, True), (1.01, False)):
        moments = regression.scalar_moments(x, y, learning_rate=factor * low, batch_size=1)
        assert np.isfinite(float(moments[4])) == finite
        assert np.isfinite(float(moments[2]))
    higher = np.asarray(regression.scalar_moments(x, y, learning_rate=1.01 * low, batch_size=1, order=7))
    np.testing.assert_array_equal(np.isfinite(higher[:3]), True)
    np.testing.assert_array_equal(np.isnan(higher[3::2]), True)  # E δ³ might exist or not: said to be unknown
    np.testing.assert_array_equal(higher[4::2], np.inf)


def test_there_is_no_tail_where_every_example_contracts():
    x, _ = small(30, 1)
    assert float(regression.tail_exponent(x, learning_rate=1.99 / np.max(x**2))) == np.inf
    assert np.isfinite(float(regression.tail_exponent(x, learning_rate=2.01 / np.max(x**2))))
    with pytest.raises(ValueError, match="learning_rate"):
        regression.tail_exponent(x, learning_rate=100.0)


def test_the_tail_is_that_of_the_law():
    """The tail of 10⁷ draws: the slope between the 10⁻³ and the 10⁻⁵ quantile of |δ|, within 5 %; and the distribution
    at these quantiles, within 5 standard errors of a count, doubled because successive draws are correlated."""
    x, y = small(30, 1)
    η = 1.3 / np.mean(x**2)
    α = float(regression.tail_exponent(x, learning_rate=η))
    r = y - x[:, 0] * float(regression.minimum(x, y)[0])
    rng, δ, values = np.random.default_rng(0), np.zeros(50_000), []
    for k in range(260):
        μ = rng.integers(len(x), size=len(δ))
        δ = (1 - η * x[μ, 0] ** 2) * δ + η * r[μ] * x[μ, 0]
        if k >= 60:
            values.append(np.abs(δ))
    values = np.concatenate(values)
    near, far = np.quantile(values, [1 - 1e-3, 1 - 1e-5])
    points = np.array([-far, -near, near, far])
    F = np.asarray(regression.scalar_distribution(points, x, y, learning_rate=η))
    for share, exact in ((1e-3, F[1] + 1 - F[2]), (1e-5, F[0] + 1 - F[3])):
        assert exact == pytest.approx(share, abs=2 * 5 * np.sqrt(share / values.size))
    assert np.log(100) / np.log(far / near) == pytest.approx(α, rel=0.05)


@pytest.mark.parametrize(("inputs", "batch_size"), [(1, 3), (2, 1), (2, 2)])
def test_kurtosis_solves_the_equation_of_all_batches(inputs, batch_size):
    """Fourth moments by a dense solve of the moments' equations, with the expectation over every batch."""
    x, y = small(4, inputs)
    d, η = inputs, 0.5
    V = np.linalg.eigh(x.T @ x / len(x))[1]
    augmented = [np.block([[a, e[:, None]], [np.zeros((1, d)), np.ones((1, 1))]])
                 for a, e in batches(x @ V, y, η, batch_size)]  # fmt: skip
    fourth = np.mean([np.kron(np.kron(a, a), np.kron(a, a)) for a in augmented], axis=0)
    unknown = np.arange((d + 1) ** 4 - 1)  # the last entry is E 1 = 1
    solution = np.linalg.lstsq(np.eye(len(unknown)) - fourth[:-1, :-1], fourth[:-1, -1], rcond=None)[0]
    X = np.append(solution, 1).reshape((d + 1,) * 4)
    expected = [X[i, i, i, i] / X[i, i, d, d] ** 2 - 3 for i in range(d)]
    kurtosis = regression.excess_kurtosis(x, y, learning_rate=η, batch_size=batch_size)
    np.testing.assert_allclose(kurtosis, expected, rtol=1e-7)
    if inputs == 1:
        m = regression.scalar_moments(x, y, learning_rate=η, batch_size=batch_size)
        assert float(kurtosis[0]) == pytest.approx(float(m[4] / m[2] ** 2 - 3), rel=1e-8)


def test_kurtosis_is_refused_where_fourth_moments_diverge():
    x, y = small(30, 1)
    η = 1.3 / np.mean(x**2)
    assert not np.isfinite(float(regression.scalar_moments(x, y, learning_rate=η, batch_size=1)[4]))
    with pytest.raises(ValueError, match="fourth moments"):
        regression.excess_kurtosis(x, y, learning_rate=η, batch_size=1)


def test_bad_values_are_refused_by_name():
    x, y = small(30, 2)
    with pytest.raises(ValueError, match="x has shape"):
        regression.scalar_moments(x, y, learning_rate=0.1, batch_size=1)
    with pytest.raises(ValueError, match="at most 16"):
        regression.excess_kurtosis(np.ones((30, 17)), y, learning_rate=0.1, batch_size=1)
    with pytest.raises(ValueError, match="batch_size"):
        regression.excess_kurtosis(x, y, learning_rate=0.1, batch_size=0)
