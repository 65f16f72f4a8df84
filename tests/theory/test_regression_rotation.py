"""The current as rotation, against its definitions: derivatives of the autocovariance, and data that are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from sgdynamics.theory import ou, recursion, regression

rng = np.random.default_rng(0)


def process(d=5):
    """A stable drift without symmetry, and a noise that does not go with it."""
    A, root = rng.normal(size=(d, d)) / 4 + np.eye(d), rng.normal(size=(d, d))
    return ou.OrnsteinUhlenbeck(A, root @ root.T + np.eye(d))


def test_the_planes_are_white_and_turn_at_their_rates():
    """d/dτ of the autocovariance at 0⁺, by automatic derivative, in the coordinates of the planes."""
    law = process()
    planes = regression.rotation(law.drift, law.stationary_covariance())
    y = np.concatenate([planes.first, planes.second], axis=1)
    np.testing.assert_allclose(y.T @ law.stationary_covariance() @ y, np.eye(4), atol=1e-10)
    slope = y.T @ np.asarray(jax.jacfwd(law.autocovariance)(1e-12)) @ y
    ω = np.diag(np.asarray(planes.rates))
    zero = np.zeros((2, 2))
    np.testing.assert_allclose((slope - slope.T) / 2, np.block([[zero, -ω], [ω, zero]]), atol=1e-9)
    diagonal = -np.diag(slope)
    np.testing.assert_allclose((diagonal[:2] + diagonal[2:]) / 2, planes.damping, rtol=1e-9)
    assert np.all(np.diff(planes.rates) <= 0)
    assert planes.rates[-1] > 1e-3


def test_two_dimensions_by_hand():
    """H = diag(1, 3), M = [[1, c], [c, 1]]: Q_12 = −c, ω = |Q_12| / √det M."""
    c = 0.4
    planes = regression.rotation(np.diag([1.0, 3.0]), np.array([[1, c], [c, 1]]))
    np.testing.assert_allclose(planes.rates, c / np.sqrt(1 - c**2), rtol=1e-12)
    # D = [[1, 2c], [2c, 3]], and half the trace of M⁻¹ D
    np.testing.assert_allclose(planes.damping, 2, rtol=1e-12)


def test_the_angle_grows_at_the_rate():
    """E dφ/dt of a plane, by Monte Carlo over directions y/r: the drift's part gives ω, Itô's D_ij ∂_i ∂_j φ nothing;
    false-alarm rate 1e-6."""
    law = process(2)
    M, A, D = np.asarray(law.stationary_covariance()), np.asarray(law.drift), np.asarray(law.noise) / 2
    planes = regression.rotation(A, M)
    Y = np.stack([np.asarray(planes.first)[:, 0], np.asarray(planes.second)[:, 0]], axis=1)
    drift, diffusion = Y.T @ A @ np.linalg.inv(Y.T), Y.T @ D @ Y
    φ = rng.uniform(0, 2 * np.pi, 200_000)
    y, turned = np.stack([np.cos(φ), np.sin(φ)]), np.stack([-np.sin(φ), np.cos(φ)])
    ito = (diffusion[1, 1] - diffusion[0, 0]) * -np.sin(2 * φ) - 2 * diffusion[0, 1] * np.cos(2 * φ)
    rate = -np.sum(turned * (drift @ y), axis=0)
    for values, expected in ((rate, planes.rates[0]), (ito, 0.0)):
        error = values.std() / np.sqrt(len(values))
        assert abs(values.mean() - expected) < norm.isf(5e-7) * error


def test_sgd_turns_by_its_rates_in_one_step():
    x, y = rng.normal(size=(12, 4)), rng.normal(size=12)
    η, S = 0.05, 3
    moments = recursion.MinibatchMoments(x, y, learning_rate=η, sampling_factor=1 / S)
    H, M = regression.hessian(x), np.asarray(moments.weight_covariance())
    planes = regression.rotation(H, M)
    after_one_step = (np.eye(4) - η * np.asarray(H)) @ M
    turned = np.asarray(planes.second).T @ after_one_step @ np.asarray(planes.first)
    back = np.asarray(planes.first).T @ after_one_step @ np.asarray(planes.second)
    np.testing.assert_allclose(np.diag(turned - back) / 2, η * np.asarray(planes.rates), rtol=1e-9)


def test_entropy_production_is_that_of_the_process_at_any_settings():
    x, y = rng.normal(size=(12, 4)) * np.array([1.0, 2.0, 3.0, 4.0]), rng.normal(size=12)
    for η, S in ((0.1, 10), (0.5, 2)):
        law = regression.ornstein_uhlenbeck(x, y, learning_rate=η, batch_size=S)
        np.testing.assert_allclose(regression.entropy_production(x, y), law.entropy_production(), rtol=1e-8)
    with pytest.raises(ValueError, match="samples"):
        regression.entropy_production(x[:4], y[:4])


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_large_sample_entropy_production(decay):
    """Against the process of 400 drawn data sets, P = 100 N; false-alarm rate 1e-6, plus the next order, 10 N/P."""
    N, P = 4, 400
    scale = np.arange(1, N + 1) ** (-decay / 2)

    def of_one(key):
        inputs, noise = jax.random.split(key)
        x = jax.random.normal(inputs, (P, N)) * scale[None, :]
        h = jnp.linalg.eigvalsh(regression.hessian(x))
        exact = regression.entropy_production(x, jax.random.normal(noise, (P,)))
        return exact, regression.large_sample_entropy_production(h, P)

    exact, leading = jax.jit(lambda keys: jax.lax.map(of_one, keys))(jax.random.split(jax.random.key(0), 400))
    difference = np.asarray(exact - leading)
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    assert abs(difference.mean()) < norm.isf(5e-7) * error + 10 * N / P * np.mean(leading)
    assert error < np.mean(leading) / 20


def test_singular_covariances_are_refused():
    with pytest.raises(ValueError, match="covariance"):
        regression.rotation(np.eye(2), np.array([[1.0, 1.0], [1.0, 1.0]]))
