"""The SDE with momentum and state-dependent noise on regression: against dense second-moment equations."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics.theory.harmonic import HarmonicUnderdamped
from sgdynamics.theory.recursion import LangevinMoments, UnderdampedMoments

D, SAMPLES, FACTOR, DECAY = 3, 8, 0.4, 0.1
pytestmark = pytest.mark.long
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(SAMPLES, D)), RNG.normal(size=SAMPLES)
K = X.T @ X / SAMPLES + DECAY * np.eye(D)
MEAN = np.linalg.solve(K, X.T @ Y / SAMPLES)


def moments(learning_rate=0.1, momentum=0.5):
    return UnderdampedMoments(
        X, Y, learning_rate=learning_rate, sampling_factor=FACTOR, momentum=momentum, weight_decay=DECAY
    )


def noise(m, M):
    """The covariance of the minibatch gradient averaged over δ of mean m and second moment M: over Gaussian points."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(2)  # exact: the covariance is quadratic in δ
    root = np.linalg.cholesky(M - np.outer(m, m) + 1e-300 * np.eye(D)) if np.any(M) else np.zeros((D, D))
    total = 0
    for index in itertools.product(range(2), repeat=D):
        δ = m + root @ nodes[list(index)]
        gradients = (X @ (MEAN + δ) - Y)[:, None] * X
        w = np.prod(weights[list(index)]) / np.sqrt(2 * np.pi) ** D
        total = total + w * FACTOR * np.cov(gradients.T, bias=True)
    return total


def generator(learning_rate, momentum):
    """(S, s): dP/dt = S vec P + s, built from `noise` at one second moment after the other."""
    c0 = 2 / (learning_rate * (1 + momentum))
    one, zero = np.eye(D), np.zeros((D, D))
    A = np.block([[zero, -one], [c0 * K, c0 * (1 - momentum) * one]])
    still = noise(np.zeros(D), zero)
    S = -np.kron(A, np.eye(2 * D)) - np.kron(np.eye(2 * D), A)
    into = np.zeros((2 * D, 2 * D, 2 * D, 2 * D))
    for i, j in itertools.product(range(D), repeat=2):
        # Ξ is linear in M: from differences of positive matrices
        E = np.zeros((D, D))
        E[i, j] += 0.5
        E[j, i] += 0.5
        change = noise(np.zeros(D), np.eye(D) + E) - noise(np.zeros(D), np.eye(D))
        into[D:, D:, i, j] = c0**2 * learning_rate * change
    source = np.zeros((2 * D, 2 * D))
    source[D:, D:] = c0**2 * learning_rate * still
    return S + into.reshape(4 * D * D, 4 * D * D), source, A


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
def test_stationary_moments(momentum):
    η = 0.1 * (1 - momentum)
    S, source, A = generator(η, momentum)
    theory = moments(η, momentum)
    exact = -np.linalg.solve(S, source.ravel()).reshape(2 * D, 2 * D)
    P = theory.stationary_covariance()
    np.testing.assert_allclose(P, exact, rtol=0, atol=1e-10 * np.abs(exact).max())
    np.testing.assert_allclose(theory.mean, MEAN, rtol=1e-12)
    np.testing.assert_allclose(theory.drift(), A, rtol=1e-13)
    h, V = np.linalg.eigh(K)
    frozen = HarmonicUnderdamped(h, V.T @ theory.noise @ V, learning_rate=η, momentum=momentum)
    M = V @ frozen.stationary_covariance() @ V.T
    assert np.abs(P[:D, :D] / M - 1).max() > 0.02  # multiplicative noise is seen
    m, spread = RNG.normal(size=2 * D), np.cov(RNG.normal(size=(2 * D, 20)))
    second = spread + np.outer(m, m)
    slope, rates = theory.rates(m, second)
    np.testing.assert_allclose(slope, -A @ m, rtol=1e-12)
    expected = -A @ second - second @ A.T
    c0 = 2 / (η * (1 + momentum))
    expected[D:, D:] += c0**2 * η * noise(m[:D], second[:D, :D])
    np.testing.assert_allclose(rates, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_limit_of_stability(momentum):
    with pytest.raises(ValueError, match="largest stable learning rate") as caught:
        moments(50.0, momentum).stationary_covariance()
    limit = float(re.search(r"largest stable learning rate, ([0-9.]+[0-9])", str(caught.value))[1])
    for factor, stable in ((0.99, True), (1.01, False)):
        growth = np.linalg.eigvals(generator(factor * limit, momentum)[0]).real.max()
        assert bool(moments(factor * limit, momentum).is_stable()) == stable == (growth < 0)


def test_small_learning_rates_are_overdamped():
    without = LangevinMoments(X, Y, learning_rate=1e-5 / 0.1, sampling_factor=FACTOR, weight_decay=DECAY)
    P = moments(1e-5, 0.9).stationary_covariance()[:D, :D]
    np.testing.assert_allclose(P, without.stationary_covariance(), rtol=1e-2)


def test_derivatives():
    def variance(x, η, β):
        theory = UnderdampedMoments(x, Y, learning_rate=η, sampling_factor=FACTOR, momentum=β, weight_decay=DECAY)
        return jnp.sum(jnp.sin(theory.stationary_covariance()))

    args, tangents, ε = (jnp.asarray(X), jnp.array(0.05), jnp.array(0.6)), (jnp.asarray(X[::-1]), 0.02, 0.3), 1e-6
    tangents = tuple(map(jnp.asarray, tangents))
    both = jax.jit(lambda *a: (jax.jvp(variance, a, tangents)[1], jax.grad(variance, (0, 1, 2))(*a)))
    slope, pulled = both(*args)
    value = jax.jit(variance)
    ahead, behind = (value(*[a + s * ε * t for a, t in zip(args, tangents, strict=True)]) for s in (1, -1))
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * ε), rtol=1e-6)
    np.testing.assert_allclose(sum(jnp.sum(g * t) for g, t in zip(pulled, tangents, strict=True)), slope, rtol=1e-9)
