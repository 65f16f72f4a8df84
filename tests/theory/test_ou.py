"""The Ornstein-Uhlenbeck process against quadrature, detailed balance, and what it must refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jaxtyping import TypeCheckError

from sgdynamics.theory.ou import OrnsteinUhlenbeck


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


DRIFT = normal(0, 4, 4) / 2 + 2 * np.eye(4)
NOISE = normal(1, 4, 4) @ normal(1, 4, 4).T
MEAN = normal(2, 4)
PROCESS = OrnsteinUhlenbeck(DRIFT, NOISE, MEAN)


def test_stationary_covariance_and_circulation():
    M = PROCESS.stationary_covariance()
    np.testing.assert_allclose(DRIFT @ M + M @ DRIFT.T, NOISE, atol=1e-12)
    np.testing.assert_array_equal(M, M.T)
    Q = PROCESS.circulation()
    np.testing.assert_allclose(Q, -Q.T, atol=1e-12)
    assert np.linalg.norm(Q) > 0.1
    np.testing.assert_allclose(DRIFT @ M, NOISE / 2 + Q, atol=1e-12)


def test_detailed_balance_has_no_circulation():
    H = normal(3, 4, 6) @ normal(3, 4, 6).T
    process = OrnsteinUhlenbeck(H, 0.3 * H)
    np.testing.assert_allclose(process.stationary_covariance(), 0.15 * np.eye(4), atol=1e-13)
    np.testing.assert_allclose(process.circulation(), 0, atol=1e-12)
    np.testing.assert_allclose(process.entropy_production(), 0, atol=1e-12)


def test_entropy_production_of_a_rotation():
    """Two equal modes of rate a, rotated at frequency ω: Q = ω N/(2a), and the rate is 2 ω²/a."""
    a, ω = 0.7, 1.3
    process = OrnsteinUhlenbeck(np.array([[a, -ω], [ω, a]]), 0.4 * np.eye(2))
    np.testing.assert_allclose(process.entropy_production(), 2 * ω**2 / a, rtol=1e-12)
    with pytest.raises(ValueError, match="noise"):
        OrnsteinUhlenbeck(np.eye(2), np.diag([1.0, 0.0])).entropy_production()


def test_law_at_time():
    times, x0, P = np.array([0.0, 0.4, 3.0]), normal(4, 4), np.diag([1.0, 2, 0, 3])
    mean, spread = PROCESS.mean_at(times, x0), PROCESS.covariance_at(times, P)
    M = PROCESS.stationary_covariance()
    for k, t in enumerate(times):
        F = scipy.linalg.expm(-DRIFT * t)
        np.testing.assert_allclose(mean[k], MEAN + F @ (x0 - MEAN), rtol=1e-11)
        # the form that loses digits at short times, independent of the one used
        np.testing.assert_allclose(spread[k], F @ P @ F.T + M - F @ M @ F.T, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(PROCESS.covariance_at(t), spread[k] - F @ P @ F.T, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(PROCESS.covariance_at(1.7, M), M, rtol=1e-11)


def test_transitions_compose():
    (F1, Q1), (F2, Q2), (F3, Q3) = (PROCESS.transition(t) for t in (0.3, 1.1, 1.4))
    np.testing.assert_allclose(F2 @ F1, F3, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(Q2 + F2 @ Q1 @ F2.T, Q3, rtol=1e-11, atol=1e-13)


def test_autocovariance():
    lags = np.array([[-0.5, 0.0], [0.5, 4.0]])
    R, M = PROCESS.autocovariance(lags), PROCESS.stationary_covariance()
    assert R.shape == (2, 2, 4, 4)
    np.testing.assert_allclose(R[0, 1], M, rtol=1e-12)
    np.testing.assert_allclose(R[1, 0], scipy.linalg.expm(-0.5 * DRIFT) @ M, rtol=1e-11)
    np.testing.assert_array_equal(R[0, 0], R[1, 0].T)
    np.testing.assert_allclose(PROCESS.autocovariance(0.5), R[1, 0], rtol=1e-12)


def test_autocovariance_by_simulation():
    """10⁵ exact steps; errors from 100 blocks. The transposed order is told apart."""
    F, Q = PROCESS.transition(0.5)
    root = np.linalg.cholesky(Q)
    replicas = 400
    x = np.linalg.cholesky(PROCESS.stationary_covariance()) @ normal(5, 4, replicas)
    rng, products = np.random.default_rng(6), []
    for _ in range(250):
        after = np.asarray(F) @ x + root @ rng.normal(size=(4, replicas))
        products.append(np.einsum("ir,jr->rij", after, x))
        x = after
    per_replica = np.mean(products, axis=0)
    mean, error = per_replica.mean(0), per_replica.std(0) / np.sqrt(replicas)
    z = (mean - PROCESS.autocovariance(0.5)) / error
    assert np.max(np.abs(z)) < 4.5  # 16 entries: false alarm 1e-4
    wrong = (mean - PROCESS.autocovariance(-0.5)) / error
    assert np.max(np.abs(wrong)) > 8


def test_singular_drift_is_the_limit_of_late_times():
    process = OrnsteinUhlenbeck(np.diag([1.0, 2.0, 0.0]), np.diag([1.0, 1.0, 0.0]))
    M = process.stationary_covariance()
    np.testing.assert_allclose(M, np.diag([0.5, 0.25, 0.0]), atol=1e-15)
    np.testing.assert_allclose(process.covariance_at(60.0), M, atol=1e-14)
    diffusing = OrnsteinUhlenbeck(np.diag([1.0, 0.0]), np.eye(2))
    np.testing.assert_allclose(diffusing.covariance_at(1e4), np.diag([0.5, 1e4]), rtol=1e-8)
    with pytest.raises(ValueError, match="noise"):
        diffusing.stationary_covariance()


def test_derivatives():
    def quantities(scale):
        process = OrnsteinUhlenbeck(DRIFT * scale + 0.1 * scale**2, NOISE * scale, MEAN * scale)
        parts = (
            process.stationary_covariance(),
            process.circulation(),
            process.covariance_at(0.3 * scale),
            process.autocovariance(jnp.array([-0.2, 0.7])),
        )
        return jnp.concatenate([p.ravel() for p in parts] + [process.mean_at(scale, MEAN)])

    slow = (quantities(1 + 1e-5) - quantities(1 - 1e-5)) / 2e-5
    for slope in jax.jit(lambda s: (jax.jacfwd(quantities)(s), jax.jacrev(quantities)(s)))(1.0):
        np.testing.assert_allclose(slope, slow, rtol=1e-6, atol=1e-8)


BAD = {
    "shape of noise": (dict(drift=np.eye(2), noise=np.eye(3)), "noise"),
    "shape of mean": (dict(drift=np.eye(2), noise=np.eye(2), mean=np.zeros(3)), "mean"),
    "not square": (dict(drift=np.ones((2, 3)), noise=np.eye(2)), "drift"),
    "not finite": (dict(drift=np.diag([1, np.nan]), noise=np.eye(2)), "drift"),
    "not symmetric": (dict(drift=np.eye(2), noise=np.array([[1.0, 0.5], [0.0, 1.0]])), "noise"),
    "negative variance": (dict(drift=np.eye(2), noise=-np.eye(2)), "noise"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    arguments, culprit = BAD[name]
    with pytest.raises((ValueError, TypeCheckError), match=culprit):
        OrnsteinUhlenbeck(**arguments)


def test_bad_calls():
    with pytest.raises(ValueError, match="t = -1"):
        PROCESS.covariance_at(-1.0)
    with pytest.raises((ValueError, TypeCheckError), match="x0"):
        PROCESS.mean_at(1.0, np.zeros(3))
    with pytest.raises(ValueError, match="drift"):
        OrnsteinUhlenbeck(-np.eye(2), np.eye(2)).stationary_covariance()
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        OrnsteinUhlenbeck(np.eye(2), np.eye(2))
