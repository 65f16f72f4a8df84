"""Balance, flatness and relaxation of two layers, against all minibatches of tiny data, differences and simulations."""

from itertools import combinations, product

import jax
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from sgdynamics.theory import ou, two_layer

SETTING = {"learning_rate": 0.1, "batch_size": 10, "residual_variance": 0.7}
κ = 0.1 * 0.7 / 20
rng = np.random.default_rng(11)
W1, W2 = rng.normal(size=(3, 4)) * 0.6, rng.normal(size=(2, 3)) * 0.8
x, y = rng.normal(size=(5, 4)) + 0.3, rng.normal(size=(5, 2))
η = 0.1


def balance(first, second):
    return second.T @ second - first @ first.T


def step(batch):
    """One step of SGD."""
    rows, e = x[list(batch)], y[list(batch)] - x[list(batch)] @ W1.T @ W2.T
    G = -e.T @ rows / len(batch)
    return W1 - η * W2.T @ G, W2 - η * G @ W1.T


@pytest.mark.parametrize("replacement", [True, False])
def test_the_drift_of_the_balance_over_all_minibatches(replacement):
    batches = list(product(range(5), repeat=2) if replacement else combinations(range(5), 2))
    expected = np.mean([balance(*step(batch)) - balance(W1, W2) for batch in batches], axis=0) / η
    arguments = {"learning_rate": η, "batch_size": 2, "replacement": replacement}
    np.testing.assert_allclose(two_layer.balance_drift(W1, W2, x, y, **arguments), expected, atol=1e-13)
    # the SDE lacks what the mean gradient alone does in one step
    flow = (balance(*step(range(5))) - balance(W1, W2)) / η
    sde = two_layer.balance_drift(W1, W2, x, y, form="sde", **arguments)
    np.testing.assert_allclose(sde, expected - flow, atol=1e-13)
    assert np.max(np.abs(flow)) > 1e-3
    np.testing.assert_allclose(two_layer.balance(W1, W2), balance(W1, W2), atol=1e-15)


def test_the_drift_for_white_inputs():
    """White inputs and residuals, at the minimum, many Gaussian samples: exact and Wick's meet the closed form."""
    draws = np.random.default_rng(2).normal(size=(60_000, 6))
    draws = np.linalg.qr(draws - draws.mean(axis=0))[0] * np.sqrt(len(draws))
    many, e = draws[:, :4] * np.sqrt(0.3), draws[:, 4:] * np.sqrt(0.7)
    targets = many @ W1.T @ W2.T + e
    expected = two_layer.white_balance_drift(W1, W2, input_variance=0.3, **SETTING)
    arguments = {"learning_rate": 0.1, "batch_size": 10}
    wick = two_layer.balance_drift(W1, W2, many, targets, form="wick", **arguments)
    np.testing.assert_allclose(wick, expected, atol=1e-12)
    exact = two_layer.balance_drift(W1, W2, many, targets, **arguments)
    np.testing.assert_allclose(exact, expected, atol=0.03 * np.max(np.abs(expected)))
    # negative control: outputs and inputs exchanged, or the sign
    wrong = 0.1 / 10 * 0.7 * 0.3 * (4 * W1 @ W1.T - 2 * W2.T @ W2)
    for candidate in (wrong, -expected):
        assert np.max(np.abs(exact - candidate)) > 0.3 * np.max(np.abs(expected))


def test_the_time_of_the_balance():
    """w = 0: W₂ᵀW₂ and W₁W₁ᵀ live in orthogonal spaces, and each decays at its own rate."""
    second = W2[:1]
    first = (np.eye(3) - np.outer(second, second) / np.sum(second**2)) @ W1
    drift = np.asarray(two_layer.white_balance_drift(first, second, input_variance=0.3, **SETTING))
    time = two_layer.balance_time(4, input_variance=0.3, **SETTING)
    size = second @ second.T
    np.testing.assert_allclose(second @ drift @ second.T / size, -size / time, rtol=1e-12)
    np.testing.assert_allclose(np.trace(drift), np.sum(first**2) / (4 * time) - size[0, 0] / time, rtol=1e-12)
    # Fig. 8: 1,000 units of t
    fig8 = two_layer.balance_time(30, learning_rate=0.1, batch_size=10, input_variance=1 / 30, residual_variance=0.1)
    np.testing.assert_allclose(fig8, 1000.0)


@pytest.mark.parametrize("hidden", [2, 3, 5])
def test_balanced_minima(hidden):
    target = W2 @ W1
    first, second = two_layer.balanced_minimum(target, hidden)
    np.testing.assert_allclose(two_layer.balance(first, second), 0, atol=1e-14)
    np.testing.assert_allclose(second @ first, target, atol=1e-14)
    _, s, Bt = np.linalg.svd(target, full_matrices=False)
    np.testing.assert_allclose(first.T @ first, (Bt.T * s) @ Bt, atol=1e-14)
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(hidden, 2)))[0]
    turned = two_layer.balanced_minimum(target, hidden, frame=Q)
    np.testing.assert_allclose(turned[1] @ turned[0], target, atol=1e-14)
    with pytest.raises(ValueError, match="orthonormal"):
        two_layer.balanced_minimum(target, hidden, frame=2 * Q)


def loss(first, second):
    return np.sum((y - x @ first.T @ second.T) ** 2) / (2 * len(x))


def test_the_loss_along_any_direction():
    d = rng.normal(size=18)
    a = np.array([-1.0, 0.0, 0.5, 2.0])
    expected = [loss(W1 + b * d[:12].reshape(3, 4), W2 + b * d[12:].reshape(2, 3)) - loss(W1, W2) for b in a]
    np.testing.assert_allclose(two_layer.loss_along(W1, W2, x, y, d, a), expected, atol=1e-12)
    curvature = jax.grad(jax.grad(lambda b: two_layer.loss_along(W1, W2, x, y, d, b)))(0.0)
    np.testing.assert_allclose(curvature, d @ two_layer.hessian(W1, W2, x, y) @ d, rtol=1e-10)


def test_the_loss_along_the_second_layer_s_modes():
    """(3.37) and the exact relation of loss and variance at a minimum; the published relation is rejected."""
    second = W2[:1]
    A, S1, _ = np.linalg.svd(W1)
    D1, D2, θ = S1**2, np.sum(second**2), 0.3
    white = np.eye(4) * np.sqrt(4 * 0.3)
    expected = [
        two_layer.loss_along(W1, second, white, white @ W1.T @ second.T, np.r_[np.zeros(12), a], θ) for a in A.T
    ]
    np.testing.assert_allclose(two_layer.loss_along_mode(θ, D1, input_variance=0.3), expected, rtol=1e-12)
    for a, value in zip(A.T, expected, strict=True):
        got = two_layer.loss_along_second(W1, a[None], np.array([θ, 2 * θ]), input_covariance=0.3 * np.eye(4))
        np.testing.assert_allclose(got, [value, 4 * value], rtol=1e-12)
    M22 = two_layer.second_layer_variances(W1, second, **SETTING)[0]
    got = two_layer.loss_from_variance(θ, M22, D2, input_variance=0.3, **SETTING)
    np.testing.assert_allclose(got, expected, rtol=1e-10)
    published = two_layer.loss_from_variance(θ, M22, D2, input_variance=0.3, form="published", **SETTING)
    assert np.max(np.array(expected) / published) > 1.2
    with pytest.raises(ValueError, match="variance"):
        two_layer.loss_from_variance(θ, 2 * κ, D2, input_variance=0.3, **SETTING)


def test_the_local_exponent():
    """d ln δL / d ln M₂₂ by differences in D₁."""
    D1, D2, h = np.array([0.01, 0.5, 3.0]), 0.9, 1e-6
    slope = (np.log(D1 * (1 + h)) - np.log(D1 * (1 - h))) / (
        np.log(D1 * (1 + h) / (D1 * (1 + h) + D2)) - np.log(D1 * (1 - h) / (D1 * (1 - h) + D2))
    )
    np.testing.assert_allclose(two_layer.local_exponent(D1, D2), slope, rtol=1e-8)


def test_relaxation_of_the_modes():
    """Against the law of z: covariance after a time from a random start, and autocovariance, in the modes of Γ."""
    law = two_layer.reduced(W1, W2, input_variance=0.3, **SETTING)
    rates, R = np.linalg.eigh(law.drift)
    rates = np.maximum(rates, 0)
    initial = rng.uniform(0, 2 * κ, size=len(rates))
    start = (R * initial) @ R.T
    later = R.T @ law.covariance_at(1.7, start) @ R
    variance = two_layer.mode_variance(1.7, initial, rates, **SETTING)
    np.testing.assert_allclose(later, np.diag(variance), atol=1e-12)
    np.testing.assert_allclose(rates[::-1], two_layer.relaxation_rates(W1, W2, input_variance=0.3), atol=1e-12)
    moving = np.where(rates > 1e-10, κ, 0.0)
    lagged = two_layer.mode_autocovariance(0.9, 5.0, moving, rates, **SETTING)
    np.testing.assert_allclose(R.T @ law.autocovariance(0.9) @ R, np.diag(lagged), atol=1e-12)
    np.testing.assert_allclose(two_layer.equilibrium_variance(0.1, 10, 0.7), κ)
    assert isinstance(law, ou.OrnsteinUhlenbeck)


def test_what_is_refused():
    with pytest.raises(ValueError, match="form"):
        two_layer.balance_drift(W1, W2, x, y, learning_rate=0.1, batch_size=2, form="gd")
    with pytest.raises(ValueError, match="rate"):
        two_layer.mode_variance(1.0, 0.0, -1.0, **SETTING)
    with pytest.raises((ValueError, TypeCheckError), match="direction"):
        two_layer.loss_along(W1, W2, x, y, np.ones(5), 0.1)
    with pytest.raises(ValueError, match="second_strength"):
        two_layer.local_exponent(1.0, 0.0)
    with pytest.raises(ValueError, match="inputs"):
        two_layer.balance_time(0, input_variance=0.3, **SETTING)
