"""Fluctuations of a two-layer linear network, against complex steps of the gradient, pseudo-inverses and SVDs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from sgdynamics.theory import ou, two_layer

SETTING = {"learning_rate": 0.1, "batch_size": 10, "residual_variance": 0.7}
κ = 0.1 * 0.7 / 20
SIZES = [(4, 3, 2), (2, 3, 4)]  # inputs, hidden, outputs
MORE_SIZES = [*SIZES, (3, 5, 2)]


def weights(inputs, hidden, outputs, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(hidden, inputs)) * 0.6, rng.normal(size=(outputs, hidden)) * 0.8


def gradient(W1, W2, x, y):
    """∇L over θ, row by row, also for complex weights."""
    e = y - x @ W1.T @ W2.T
    return flat(-W2.T @ e.T @ x, -e.T @ x @ W1.T) / len(x)


def hessian(W1, W2, x, y):
    """∂ of the gradient by complex steps, exact to rounding."""

    def column(d):
        θ = flat(W1, W2) + 1e-30j * d
        return gradient(θ[: W1.size].reshape(W1.shape), θ[W1.size :].reshape(W2.shape), x, y).imag / 1e-30

    return np.array([column(d) for d in np.eye(W1.size + W2.size)])


def flat(W1, W2):
    return np.concatenate([W1.reshape(-1), W2.reshape(-1)])


def data_at_minimum(inputs, hidden, outputs, samples=40, seed=1):
    """Inputs that are not white, and targets whose regression on them is W₂ W₁, with residuals that depend on x."""
    W1, W2 = weights(inputs, hidden, outputs)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, inputs)) @ rng.normal(size=(inputs, inputs)) + 0.3
    e = rng.normal(size=(samples, outputs)) * (1 + np.abs(x[:, :1]))
    e -= x @ np.linalg.lstsq(x, e, rcond=None)[0]
    return W1, W2, x, x @ W1.T @ W2.T + e


def lyapunov_by_kronecker(H, N):
    """The minimum-norm solution of H M + M H = N, by the pseudo-inverse."""
    d = len(H)
    return (np.linalg.pinv(np.kron(H, np.eye(d)) + np.kron(np.eye(d), H), rcond=1e-10) @ N.reshape(-1)).reshape(d, d)


@pytest.mark.parametrize("sizes", SIZES)
def test_drift_and_noise_for_white_inputs(sizes):
    """H by complex steps, over exactly white inputs and targets on the network; C ∝ H."""
    W1, W2 = weights(*sizes)
    x = np.sqrt(0.3 * sizes[0]) * np.eye(sizes[0])
    law = two_layer.fluctuations(W1, W2, input_variance=0.3, **SETTING)
    H = hessian(W1, W2, x, x @ W1.T @ W2.T)
    np.testing.assert_allclose(law.drift, H, atol=1e-14)
    np.testing.assert_allclose(law.noise, 2 * κ * H, atol=1e-15)
    Q = np.asarray(two_layer.directions(W1, W2))
    np.testing.assert_allclose(Q.T @ Q, np.eye(Q.shape[1]), atol=1e-14)
    np.testing.assert_allclose(Q @ Q.T @ H, H, atol=1e-14)
    small = two_layer.reduced(W1, W2, input_variance=0.3, **SETTING)
    np.testing.assert_allclose(small.drift, Q.T @ H @ Q, atol=1e-14)
    np.testing.assert_allclose(small.noise, 2 * κ * Q.T @ H @ Q, atol=1e-15)


def test_the_paper_s_matrix():
    """(3.27), stacked in columns as printed, from z₁ = Vᵀ δW₁ and z₂ = Uᵀ δW₂ A."""
    W1, W2 = weights(4, 3, 2)
    Γ = np.asarray(two_layer.reduced(W1, W2, input_variance=1.0, **SETTING).drift)
    U, S2, _ = np.linalg.svd(W2, full_matrices=False)
    _, S1, Bt = np.linalg.svd(W1, full_matrices=False)
    B = Bt.T
    printed = np.block(
        [
            [np.kron(np.eye(4), np.diag(S2**2)), np.kron(B * S1, (U * S2).T)],
            [np.kron((B * S1).T, U * S2), np.kron(np.diag(S1**2), np.eye(2))],
        ]
    )
    index = np.concatenate([np.arange(8).reshape(2, 4).T.reshape(-1), 8 + np.arange(6).reshape(2, 3).T.reshape(-1)])
    turned = np.block([[np.eye(8), np.zeros((8, 6))], [np.zeros((6, 8)), np.kron(np.eye(3), U)]])
    np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(Γ)), np.sort(np.linalg.eigvalsh(printed)), atol=1e-12)
    ours, theirs = Γ[np.ix_(index, index)], turned.T @ printed @ turned
    # singular vectors are fixed up to a sign
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-12)


@pytest.mark.parametrize("sizes", MORE_SIZES)
def test_the_stationary_covariance_is_that_of_the_pseudo_inverse(sizes):
    W1, W2 = weights(*sizes)
    law = two_layer.reduced(W1, W2, input_variance=0.3, **SETTING)
    expected = np.linalg.pinv(law.drift, rcond=1e-12) @ np.asarray(law.noise) / 2
    M = two_layer.stationary_covariance(W1, W2, **SETTING)
    np.testing.assert_allclose(M, expected, atol=1e-10 * κ)
    variances = two_layer.second_layer_variances(W1, W2, **SETTING)
    block = expected[-variances.size :, -variances.size :]
    np.testing.assert_allclose(np.diag(np.ravel(variances)), block, atol=1e-10 * κ)
    full = np.asarray(two_layer.fluctuations(W1, W2, input_variance=0.3, **SETTING).drift)
    Q = np.asarray(two_layer.directions(W1, W2))
    np.testing.assert_allclose(Q @ M @ Q.T, κ * np.linalg.pinv(full, rcond=1e-12) @ full, atol=1e-10 * κ)


def test_the_law_of_all_parameters_has_that_covariance():
    W1, W2 = weights(3, 2, 1)
    Q = np.asarray(two_layer.directions(W1, W2))
    M = two_layer.fluctuations(W1, W2, input_variance=0.3, **SETTING).stationary_covariance()
    np.testing.assert_allclose(M, Q @ two_layer.stationary_covariance(W1, W2, **SETTING) @ Q.T, atol=1e-10 * κ)


@pytest.mark.parametrize("sizes", MORE_SIZES)
def test_the_spectrum_and_its_multiplicities(sizes):
    W1, W2 = weights(*sizes)
    law = two_layer.fluctuations(W1, W2, input_variance=1.0, **SETTING)
    s = two_layer.spectrum(W1, W2)
    expected = np.concatenate([np.ravel(s.coupled), np.repeat(s.first_only, s.first_multiplicity), np.zeros(s.zeros)])
    np.testing.assert_allclose(np.sort(expected), np.linalg.eigvalsh(law.drift), atol=1e-10)
    small = two_layer.reduced(W1, W2, input_variance=0.3, **SETTING).drift
    rates = two_layer.relaxation_rates(W1, W2, input_variance=0.3)
    np.testing.assert_allclose(rates, np.linalg.eigvalsh(small)[::-1], atol=1e-10)


def test_the_size_of_the_paper():
    """Inputs 30, hidden 20, output 1: M₂₂ by the pseudo-inverse; (3.36) is rejected."""
    W1, W2 = weights(30, 20, 1)
    law = two_layer.reduced(W1, W2, input_variance=1 / 30, **SETTING)
    M = np.linalg.pinv(law.drift, rcond=1e-12, hermitian=True) @ law.noise / 2
    variances = two_layer.second_layer_variances(W1, W2, **SETTING)[0]
    np.testing.assert_allclose(M[30:, 30:], np.diag(variances), atol=1e-10 * κ)
    published = two_layer.second_layer_variances(W1, W2, form="published", **SETTING)[0]
    assert np.median(published / variances) > 1.2
    s = two_layer.spectrum(W1, W2)
    assert (s.coupled.shape, s.first_only.shape, s.first_multiplicity, s.zeros) == ((1, 20), (1,), 10, 590)


@pytest.mark.parametrize("sizes", SIZES)
def test_hessian_and_noise_from_derivatives(sizes):
    """Away from the minimum, over θ; the noise from per-example gradients."""
    W1, W2 = weights(*sizes)
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(30, sizes[0])) + 0.4, rng.normal(size=(30, sizes[2]))
    np.testing.assert_allclose(two_layer.hessian(W1, W2, x, y), hessian(W1, W2, x, y), atol=1e-12)
    g = [gradient(W1, W2, a[None], b[None]) for a, b in zip(x, y, strict=True)]
    C = np.cov(g, rowvar=False, bias=True)
    np.testing.assert_allclose(two_layer.noise_covariance(W1, W2, x, y, batch_size=1), C, atol=1e-12)
    without = two_layer.noise_covariance(W1, W2, x, y, batch_size=5, replacement=False)
    np.testing.assert_allclose(without, C * 25 / 5 / 29, atol=1e-12)


def test_wick_s_noise_is_that_of_gaussian_data():
    """Quadrature-free: fourth moments of Gaussian (x, e), correlated, by Monte Carlo; z of every entry, 1e-6 in all."""
    W1, W2 = weights(2, 3, 2)
    rng = np.random.default_rng(5)
    root = rng.normal(size=(4, 4))
    draws = rng.normal(size=(400_000, 4)) @ root.T
    x, y = draws[:, :2], draws[:, 2:]
    wick = two_layer.noise_covariance(W1, W2, x, y, batch_size=1, form="wick")
    exact = two_layer.noise_covariance(W1, W2, x, y, batch_size=1)
    parts = [two_layer.noise_covariance(W1, W2, a, b, batch_size=1, form=f)
             for f in ("exact", "wick") for a, b in zip(np.split(x, 20), np.split(y, 20), strict=True)]  # fmt: skip
    difference = np.array(parts[:20]) - np.array(parts[20:])
    error = difference.std(axis=0, ddof=1) / np.sqrt(20)
    # Student's t with 19 degrees of freedom, 144 entries
    assert np.max(np.abs(exact - wick) / error) < 9
    assert np.max(error) < 0.02 * np.max(np.abs(exact))


@pytest.mark.parametrize("sizes", SIZES)
def test_linear_response_is_the_law_of_all_parameters_projected(sizes):
    W1, W2, x, y = data_at_minimum(*sizes)
    H = hessian(W1, W2, x, y)
    Q = np.asarray(two_layer.directions(W1, W2))
    for noise in ("exact", "wick"):
        C = np.asarray(two_layer.noise_covariance(W1, W2, x, y, batch_size=4, form=noise))
        np.testing.assert_allclose(Q @ Q.T @ C @ Q @ Q.T, C, atol=1e-12 * np.max(C))
        law = two_layer.linear_response(W1, W2, x, y, learning_rate=0.01, batch_size=4, noise=noise)
        np.testing.assert_allclose(law.drift, Q.T @ H @ Q, atol=1e-11)
        np.testing.assert_allclose(law.noise, 0.01 * Q.T @ C @ Q, atol=1e-12 * np.max(C))


def test_the_stationary_law_of_linear_response():
    """Against all parameters, by Kronecker products and the pseudo-inverse."""
    W1, W2, x, y = data_at_minimum(3, 2, 1)
    H, Q = hessian(W1, W2, x, y), np.asarray(two_layer.directions(W1, W2))
    M = np.asarray(two_layer.linear_response(W1, W2, x, y, learning_rate=0.01, batch_size=4).stationary_covariance())
    C = np.asarray(two_layer.noise_covariance(W1, W2, x, y, batch_size=4))
    expected = lyapunov_by_kronecker(H, 0.01 * C)
    np.testing.assert_allclose(Q @ M @ Q.T, expected, atol=1e-8 * np.max(expected))


def test_with_wick_s_noise_the_covariance_does_not_depend_on_the_inputs():
    """Inputs far from white, one output; the exact noise of 40 samples is another one."""
    W1, W2, x, y = data_at_minimum(3, 2, 1)
    σe2 = two_layer.residual_variance(W1, W2, x, y)
    expected = two_layer.stationary_covariance(W1, W2, learning_rate=0.01, batch_size=4, residual_variance=σe2)
    law = two_layer.linear_response(W1, W2, x, y, learning_rate=0.01, batch_size=4, noise="wick")
    np.testing.assert_allclose(np.linalg.pinv(law.drift, rcond=1e-12) @ law.noise / 2, expected, atol=1e-12)
    H, C = law.drift, two_layer.linear_response(W1, W2, x, y, learning_rate=0.01, batch_size=4).noise
    assert np.max(np.abs(H @ expected + expected @ H - C)) > 0.1 * np.max(np.abs(C))


def test_the_recursion_of_linear_response():
    W1, W2, x, y = data_at_minimum(3, 2, 1)
    arguments = {"learning_rate": 0.01, "batch_size": 4, "replacement": False}
    law = two_layer.linear_response(W1, W2, x, y, **arguments)
    steps = two_layer.linear_response_recursion(W1, W2, x, y[:, 0], **arguments)
    np.testing.assert_allclose(steps.transition, np.eye(len(law.drift)) - 0.01 * law.drift, atol=1e-15)
    np.testing.assert_allclose(steps.noise, 0.01 * law.noise, atol=1e-15)
    M = np.asarray(steps.stationary_covariance())
    T = np.asarray(steps.transition)
    np.testing.assert_allclose(T @ M @ T.T + steps.noise, M, atol=1e-9 * np.max(M))


def test_the_residual_variance_of_pure_noise():
    """Over 100 data sets, at their minima: 1 − inputs/P, and not the paper's 1 − 1/P."""
    rng = np.random.default_rng(7)
    values = []
    for _ in range(100):
        x, y = rng.normal(size=(24, 6)), rng.normal(size=24)
        w = np.linalg.lstsq(x, y, rcond=None)[0]
        values.append([two_layer.residual_variance(w[None], np.ones((1, 1)), x, y, form=f)
                       for f in ("exact", "average", "published")])  # fmt: skip
    exact, average, published = np.array(values).T
    error = np.std(exact - published) / 10
    assert abs(np.mean(exact) - np.mean(average)) < 5 * np.std(exact - average) / 10
    assert abs(np.mean(exact) - np.mean(published)) > 10 * error


def test_what_is_refused():
    W1, W2, x, y = data_at_minimum(4, 3, 2)
    with pytest.raises((ValueError, TypeCheckError), match="first"):
        two_layer.fluctuations(W1.T, W2, input_variance=1.0, **SETTING)
    with pytest.raises(ValueError, match="input_variance"):
        two_layer.fluctuations(W1, W2, input_variance=0.0, **SETTING)
    with pytest.raises(ValueError, match="gradient flow"):
        two_layer.linear_response(1.1 * W1, W2, x, y, learning_rate=0.1, batch_size=2)
    with pytest.raises(ValueError, match="batch_size"):
        two_layer.linear_response(W1, W2, x, y, learning_rate=0.1, batch_size=99, replacement=False)
    with pytest.raises(ValueError, match="form"):
        two_layer.noise_covariance(W1, W2, x, y, batch_size=2, form="gauss")
    with pytest.raises((ValueError, TypeCheckError), match="x"):
        two_layer.hessian(W1, W2, x[:, :2], y)
    low = W1 * np.array([1.0, 1.0, 0.0])[:, None], W2 * np.array([1.0, 0.0, 0.0])[None, :]
    with pytest.raises(ValueError, match="0/0"):
        two_layer.second_layer_variances(*low, **SETTING)


def test_a_rank_that_is_low_but_decided():
    """Balanced layers of one output: D₁ has one value, the others are 0 against D₂ > 0."""
    W1, W2 = np.outer([1.0, 2.0, 0.0], [1.0, 0.0, 0.0, 1.0]), np.array([[1.0, 2.0, 0.0]])
    expected = κ * np.array([[10 / 15, 0.0, 0.0]])
    np.testing.assert_allclose(two_layer.second_layer_variances(W1, W2, **SETTING), expected, atol=1e-12)


def test_derivatives_exist():
    """∂ of M₂₂ and of the projected law, both modes, against differences; NumPy and tracers alike."""
    W1, W2, x, y = data_at_minimum(4, 3, 2)

    def f(s, η):
        law = two_layer.fluctuations(s * W1, W2, **{**SETTING, "learning_rate": η}, input_variance=0.3)
        M22 = two_layer.second_layer_variances(s * W1, W2, **{**SETTING, "learning_rate": η})
        M = two_layer.stationary_covariance(s * W1, W2, **{**SETTING, "learning_rate": η})
        return jnp.sum(M22**2) + jnp.sum(law.noise**2) + jnp.sum(M**2)

    f = jax.jit(f)
    backward = jax.jit(jax.grad(f, argnums=(0, 1)))(1.1, 0.1)
    forward = jax.jit(jax.jacfwd(f, argnums=(0, 1)))(1.1, 0.1)
    np.testing.assert_allclose(backward, forward, rtol=1e-9)
    differences = [(f(1.1 + 1e-5, 0.1) - f(1.1 - 1e-5, 0.1)) / 2e-5, (f(1.1, 0.1 + 1e-6) - f(1.1, 0.1 - 1e-6)) / 2e-6]
    np.testing.assert_allclose(backward, differences, rtol=1e-6)

    def g(η):
        return jnp.sum(two_layer.linear_response(W1, W2, x, y, learning_rate=η, batch_size=2).noise)

    np.testing.assert_allclose(jax.jit(jax.grad(g))(0.1), g(1.0), rtol=1e-9)
    assert isinstance(two_layer.reduced(W1, W2, input_variance=1, **SETTING), ou.OrnsteinUhlenbeck)
