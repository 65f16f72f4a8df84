"""Least squares, gradient noise, relaxation, geometric Brownian motion and spectra of linear regression."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from sgdynamics.theory import regression


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def data(samples, inputs, seed=0):
    x = normal(seed, samples, inputs) / np.sqrt(inputs)
    return x, x @ normal(seed + 1, inputs) + 0.5 * normal(seed + 2, samples)


# ---------------------------------------------------------------- least squares


@pytest.mark.parametrize("shape", [(9, 4), (4, 9), (5, 5)])
def test_minimum_against_numpy(shape):
    x, y = data(*shape)
    w = regression.minimum(x, y)
    np.testing.assert_allclose(w, np.linalg.lstsq(x, y, rcond=None)[0], rtol=1e-9)
    np.testing.assert_allclose(jax.grad(regression.loss, 2)(x, y, w), 0, atol=1e-13)
    several = regression.minimum(x, np.stack([y, 2 * y], 1))
    np.testing.assert_allclose(several, np.stack([w, 2 * w], 1), rtol=1e-11)


@pytest.mark.parametrize("shape", [(9, 4), (4, 9)])
def test_minimum_with_weight_decay(shape):
    x, y = data(*shape)
    ridge = np.linalg.solve(x.T @ x / len(x) + 0.3 * np.eye(shape[1]), x.T @ y / len(x))
    np.testing.assert_allclose(regression.minimum(x, y, weight_decay=0.3), ridge, rtol=1e-11)

    def solution(λ):
        return regression.minimum(x, y, weight_decay=λ)

    slope = (-3 * solution(0.0) + 4 * solution(1e-5) - solution(2e-5)) / 2e-5
    np.testing.assert_allclose(jax.jacfwd(solution)(0.0), slope, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jacrev(solution)(0.0), slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(9, 4), (4, 9)])
def test_expansion_of_the_loss(shape):
    """(2.9): through the teacher's J and ε, and through w*."""
    x, u, ε = normal(0, *shape), normal(1, shape[1]), normal(2, shape[0])
    y, P = x @ u + ε, len(x)
    H, J = np.asarray(regression.hessian(x)), x.T @ ε / P
    np.testing.assert_allclose(H, x.T @ x / P, rtol=1e-13)
    best = ε @ ε / (2 * P) - J @ np.linalg.pinv(H) @ J / 2
    np.testing.assert_allclose(regression.final_loss(x, y), best, atol=1e-13)
    w = normal(3, shape[1])
    direct = np.mean((x @ w - y) ** 2) / 2
    np.testing.assert_allclose(regression.loss(x, y, w), direct, rtol=1e-13)
    np.testing.assert_allclose(regression.excess_loss(x, y, w), direct - best, rtol=1e-11)
    if shape[0] < shape[1]:
        assert regression.final_loss(x, y) < 1e-25


def test_stationary_loss_is_the_mean_loss():
    """Over the 2N sigma points of the law, exact for a quadratic loss."""
    x, y = data(9, 3)
    root = normal(4, 3, 3)
    w, spread = np.asarray(regression.minimum(x, y)), np.sqrt(3) * root
    points = np.concatenate([w + spread.T, w - spread.T])
    losses = [regression.loss(x, y, point) for point in points]
    np.testing.assert_allclose(regression.stationary_loss(x, y, root @ root.T), np.mean(losses), rtol=1e-12)


def test_loss_perturbation():
    x, y = data(9, 3)
    M = normal(4, 3, 3)
    M = M @ M.T
    variances, change = regression.loss_perturbation(x, M, size=0.7)
    values, V = np.linalg.eigh(M)
    w = np.asarray(regression.minimum(x, y))
    for k in range(3):
        np.testing.assert_allclose(variances[k], values[2 - k], rtol=1e-12)
        direct = regression.loss(x, y, w + 0.7 * V[:, 2 - k]) - regression.loss(x, y, w)
        np.testing.assert_allclose(change[k], direct, rtol=1e-10)


# ---------------------------------------------------------------- noise


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("batch_size", [1, 2, 4, 5])
def test_noise_covariance_is_the_enumeration_of_all_minibatches(replacement, batch_size):
    x, y = data(5, 3)
    w = normal(7, 3)
    pick = (
        itertools.product(range(5), repeat=batch_size) if replacement else itertools.combinations(range(5), batch_size)
    )
    gradients = np.array([x[list(b)].T @ (x[list(b)] @ w - y[list(b)]) / batch_size for b in pick])
    expected = np.cov(gradients.T, bias=True) if len(gradients) > 1 else np.zeros((3, 3))
    C = regression.noise_covariance(x, y, w, batch_size=batch_size, replacement=replacement)
    np.testing.assert_allclose(C, expected, rtol=1e-12, atol=1e-14)


def test_corrected_and_printed_form_of_2_15():
    x, u, ε = normal(0, 6, 2), normal(1, 2), normal(2, 6)
    w = normal(3, 2)
    H, J, d = x.T @ x / 6, x.T @ ε / 6, w - u
    first = (x.T * (x @ d - ε) ** 2) @ x / 6
    C = regression.noise_covariance(x, x @ u + ε, w, batch_size=3)
    np.testing.assert_allclose(C, (first - np.outer(H @ d - J, H @ d - J)) / 3, rtol=1e-11, atol=1e-13)
    printed = (first - np.outer(H @ d, H @ d)) / 3
    assert np.linalg.norm(printed - C) > 0.01 * np.linalg.norm(C)


def test_residual_weights():
    """(2.17), (2.18) with the 1/P."""
    x, u, ε = normal(0, 8, 3), normal(1, 3), normal(2, 8)
    y = x @ u + ε
    K = regression.residual_weights(x, y)
    projector = x @ np.linalg.pinv(x)
    np.testing.assert_allclose(K, (projector @ ε - ε) ** 2 / 8, rtol=1e-10)
    C = regression.noise_covariance(x, y, regression.minimum(x, y), batch_size=4)
    np.testing.assert_allclose((x.T * np.asarray(K)) @ x / 4, C, rtol=1e-11, atol=1e-14)
    x, y = data(3, 8)
    np.testing.assert_allclose(regression.residual_weights(x, y), 0, atol=1e-25)  # (2.16)


def test_large_sample_noise():
    """(2.19) against 4·10⁵ Gaussian samples, whose C is off by about 1 %; (2.20) is rejected at w̃ ≠ 0."""
    root = np.array([[1.0, 0.0, 0.0], [0.5, 0.7, 0.0], [0.1, -0.3, 0.4]])
    x = normal(0, 400_000, 3) @ root.T
    u, d, σ = normal(1, 3), np.array([0.8, -0.5, 1.0]), 0.6
    y = x @ u + σ * normal(2, len(x))
    C = regression.noise_covariance(x, y, u + d, batch_size=2)
    H = root @ root.T
    theory = regression.large_sample_noise_covariance(H, d, batch_size=2, label_noise_std=σ)
    assert np.linalg.norm(C - theory) < 0.02 * np.linalg.norm(C)
    frozen = regression.large_sample_noise_covariance(H, batch_size=2, label_noise_std=σ)
    np.testing.assert_allclose(frozen, σ**2 / 2 * H, rtol=1e-13)
    assert np.linalg.norm(C - frozen) > 0.3 * np.linalg.norm(C)
    at_minimum = regression.noise_covariance(x, y, u, batch_size=2)
    assert np.linalg.norm(at_minimum - frozen) < 0.02 * np.linalg.norm(frozen)


@pytest.mark.parametrize(("samples", "ratio"), [(22, 0.082), (40, 0.491), (100, 0.789), (400, 0.937)])
def test_prefactor_of_2_20_at_finite_samples(samples, ratio):
    """tr C / tr(σ²H/S), averaged over data sets with N = 20: a bit below 1 − N/P (measured elsewhere)."""
    ratios = []
    for seed in range(40):
        x, y = normal(seed, samples, 20), normal(1000 + seed, samples)
        C = regression.noise_covariance(x, y, regression.minimum(x, y), batch_size=1)
        ratios.append(np.trace(C) / np.trace(regression.hessian(x)))
    error = np.std(ratios) / np.sqrt(len(ratios))
    assert abs(np.mean(ratios) - ratio) < 4.5 * error + 0.005
    assert np.mean(ratios) < 1 - 20 / samples + 4.5 * error


# ---------------------------------------------------------------- relaxation


def test_relaxation_in_modes_and_weights():
    x, y = data(9, 3)
    w0, w = normal(5, 3), np.asarray(regression.minimum(x, y))
    rates, V = (np.asarray(part) for part in regression.modes(x))
    assert np.all(np.diff(rates) > 0)
    times = np.array([0.0, 0.7, 40.0])
    z = regression.mode_relaxation(times[:, None], V.T @ w0, V.T @ w, rates)
    np.testing.assert_allclose(z @ V.T, regression.relaxation(times, w0, x, y), rtol=1e-10)
    # gradient flow by many small Euler steps
    flow = np.array(w0)
    for _ in range(70_000):
        flow = flow - 1e-5 * x.T @ (x @ flow - y) / 9
    np.testing.assert_allclose(regression.relaxation(0.7, w0, x, y), flow, rtol=1e-4)


def test_relaxation_after_steps():
    x, y = data(9, 3)
    η = 0.9 * 2 / np.linalg.eigvalsh(x.T @ x / 9)[-1]  # some factors 1 − ηω are negative
    w0, w = normal(5, 3), np.asarray(regression.minimum(x, y))
    descent = np.array(w0)
    for _ in range(7):
        descent = descent - η * x.T @ (x @ descent - y) / 9
    after = regression.relaxation_after(np.array([0, 7]), w0, x, y, learning_rate=η)
    np.testing.assert_allclose(after, [w0, descent], rtol=1e-11)
    rates, V = (np.asarray(part) for part in regression.modes(x))
    z = regression.mode_relaxation_after(7, V.T @ w0, V.T @ w, rates, learning_rate=η)
    np.testing.assert_allclose(V @ z, descent, rtol=1e-11)

    def end(η):
        return regression.mode_relaxation_after(7, V.T @ w0, V.T @ w, rates, learning_rate=η)

    slope = (end(η + 1e-6) - end(η - 1e-6)) / 2e-6
    np.testing.assert_allclose(jax.jacfwd(end)(η), slope, rtol=1e-6)
    np.testing.assert_allclose(jax.jacrev(end)(η), slope, rtol=1e-6)


def test_relaxation_keeps_the_null_space():
    x, y = data(3, 6)
    w0 = normal(5, 6)
    late = np.asarray(regression.relaxation(1e6, w0, x, y))
    unseen = np.eye(6) - np.linalg.pinv(x) @ x
    np.testing.assert_allclose(unseen @ late, unseen @ w0, atol=1e-8)
    np.testing.assert_allclose(x @ late, y, atol=1e-8)


def test_mode_variance():
    x, y = data(9, 3)
    process = regression.ornstein_uhlenbeck(x, y, learning_rate=0.1, batch_size=2)
    rates, V = regression.modes(x)
    noise = jnp.diag(V.T @ process.noise @ V)
    for t in (0.0, 0.5, 30.0):
        expected = jnp.diag(V.T @ process.covariance_at(t) @ V)
        np.testing.assert_allclose(regression.mode_variance(t, rates, noise), expected, rtol=1e-10)
    np.testing.assert_allclose(regression.mode_variance(3.0, 0.0, 2.0), 6.0)
    assert jnp.isfinite(jax.grad(regression.mode_variance, 1)(3.0, 0.0, 2.0))


# ---------------------------------------------------------------- multiplicative noise


def test_geometric_moments_after_by_enumeration():
    """N = 1, no label noise, minibatches drawn from three samples: the law of w̃ after two steps."""
    x = np.array([0.5, 1.0, 1.6])
    m2, m4, η, S = np.mean(x**2), np.mean(x**4), 0.4, 2
    factors = [1 - η * np.mean(x[list(b)] ** 2) for b in itertools.product(range(3), repeat=S)]
    products = 1.7 * np.outer(factors, factors)
    settings = dict(second_moment=m2, fourth_moment=m4, learning_rate=η, batch_size=S)
    mean, variance = regression.geometric_moments_after(np.array([0, 2]), 1.7, **settings)
    np.testing.assert_allclose(mean, [1.7, np.mean(products)], rtol=1e-13)
    np.testing.assert_allclose(variance, [0, np.var(products)], rtol=1e-11, atol=1e-15)
    # the Gaussian fourth moment is not that of these samples
    gaussian = regression.geometric_moments_after(2, 1.7, **(settings | dict(fourth_moment=None)))[1]
    assert abs(gaussian - variance[1]) > 0.1 * variance[1]


def test_geometric_brownian_motion():
    """The moments' equations d⟨w⟩ = −m₂⟨w⟩, d⟨w²⟩ = (−2m₂ + ηκ/S)⟨w²⟩; the printed Gaussian form."""
    settings = dict(second_moment=0.8, learning_rate=0.3, batch_size=4.0)
    t = 1.3
    mean, variance = regression.geometric_moments(t, 2.0, **settings)
    np.testing.assert_allclose(mean, 2 * math.exp(-0.8 * t), rtol=1e-14)
    printed = 4 * (math.exp(2 * 0.8 * (0.8 * 0.3 / 4 - 1) * t) - math.exp(-2 * 0.8 * t))
    np.testing.assert_allclose(variance, printed, rtol=1e-12)
    slow = dict(settings, learning_rate=1e-6)
    steps = round(t / 1e-6)
    discrete = regression.geometric_moments_after(steps, 2.0, **slow)
    continuous = regression.geometric_moments(steps * 1e-6, 2.0, **slow)
    np.testing.assert_allclose(discrete, continuous, rtol=1e-5)


def test_stability_of_geometric_motion():
    limit = regression.largest_stable_geometric_rate
    np.testing.assert_allclose(limit(1.0, batch_size=10), 2 / 1.2, rtol=1e-13)  # 1.67
    np.testing.assert_allclose(limit(1.0, batch_size=10, continuous=True), 10, rtol=1e-13)
    for continuous, moments, time in (
        (False, regression.geometric_moments_after, 300),
        (True, regression.geometric_moments, 300.0),
    ):
        η = limit(0.7, 1.9, batch_size=3, continuous=continuous)
        for ratio, grows in ((0.98, False), (1.02, True)):
            settings = dict(second_moment=0.7, fourth_moment=1.9, learning_rate=ratio * η, batch_size=3)
            mean, variance = moments(time, 1.0, **settings)
            assert bool(mean**2 + variance > 1) == grows


# ---------------------------------------------------------------- spectra


def test_marchenko_pastur():
    a, b = (float(edge) for edge in regression.spectral_edges(200, 100))
    np.testing.assert_allclose([a, b], [(1 - 0.5**0.5) ** 2 / 100, (1 + 0.5**0.5) ** 2 / 100], rtol=1e-13)
    eigenvalues = np.linalg.eigvalsh(normal(0, 2000, 1000).T @ normal(0, 2000, 1000) / 2000)
    lower, upper = regression.spectral_edges(2000, 1000, input_variance=1.0)
    np.testing.assert_allclose(eigenvalues[[0, -1]], [lower, upper], rtol=0.03)  # Tracy-Widom: N^(-2/3)
    for samples, mass in ((200, 1.0), (50, 0.5)):
        a, b = regression.spectral_edges(samples, 100)
        nodes, weights = np.polynomial.legendre.leggauss(400)
        angle = np.pi / 2 * nodes  # h = middle + half width · sin: the edges' square roots become smooth
        h = (a + b) / 2 + (b - a) / 2 * np.sin(angle)
        measure = weights * np.pi / 2 * (b - a) / 2 * np.cos(angle)
        density = regression.spectral_density(h, samples, 100)
        np.testing.assert_allclose(np.sum(measure * density), mass, rtol=1e-8)
        np.testing.assert_allclose(np.sum(measure * density * h), 0.01, rtol=1e-8)
    assert regression.spectral_density(1.01 * b, 50, 100) == 0


def test_projector_variance():
    """Exact for a random projector; and the trace identity Σ_ν P_μν² = P_μμ fixes it independently."""
    P, N = 12, 5
    off = []
    for seed in range(1500):
        x = normal(seed, P, N)
        projector = x @ np.linalg.pinv(x)
        off.append(np.mean(projector[np.triu_indices(P, 1)] ** 2))
    error = np.std(off) / np.sqrt(len(off))
    expected = float(regression.projector_variance(P, N))
    assert abs(np.mean(off) - expected) < 4.5 * error
    assert abs(np.mean(off) - P**-1.8 / N) > 10 * error  # the text's fit
    # E P_μμ² = N(N+2)/(P(P+2)); (N/P − that)/(P−1)
    np.testing.assert_allclose(expected, (N / P - N * (N + 2) / (P * (P + 2))) / (P - 1), rtol=1e-12)


# ---------------------------------------------------------------- bad input

X, Y = data(6, 3)
BAD = {
    "y": lambda: regression.minimum(X, Y[:4]),
    "x": lambda: regression.minimum(np.where(X > 1, np.nan, X) * np.nan, Y),
    "weight_decay": lambda: regression.minimum(X, Y, weight_decay=-1.0),
    "w": lambda: regression.noise_covariance(X, Y, np.zeros(4), batch_size=1),
    "batch_size = 7": lambda: regression.noise_covariance(X, Y, np.zeros(3), batch_size=7, replacement=False),
    "batch_size = 0": lambda: regression.noise_covariance(X, Y, np.zeros(3), batch_size=0),
    "batch_size = nan": lambda: regression.sampling_factor(5, np.nan),
    "time": lambda: regression.relaxation(-1.0, np.zeros(3), X, Y),
    "steps": lambda: regression.relaxation_after(-1, np.zeros(3), X, Y, learning_rate=0.1),
    "fourth_moment": lambda: regression.geometric_moments(
        1.0, 1.0, second_moment=1.0, fourth_moment=0.5, learning_rate=0.1, batch_size=1
    ),
    "covariance": lambda: regression.loss_perturbation(X, np.triu(np.ones((3, 3)))),
    "label_noise_std": lambda: regression.large_sample_noise_covariance(np.eye(2), batch_size=1, label_noise_std=-1.0),
}


@pytest.mark.parametrize("culprit", BAD)
def test_bad_input(culprit):
    with pytest.raises((ValueError, TypeCheckError), match=culprit.replace("nan", "(nan|array)")):
        BAD[culprit]()
