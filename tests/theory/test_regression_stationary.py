"""The six forms of the stationary covariance against dense solves, published numbers, and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jaxtyping import TypeCheckError

from sgdynamics.theory import regression
from sgdynamics.theory.regression import stationary_covariance


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def data(samples, inputs, seed=0):
    """The paper's: x ~ N(0, 1/N), teacher ~ N(0, 1), label noise of standard deviation ½."""
    x = normal(seed, samples, inputs) / np.sqrt(inputs)
    return x, x @ normal(seed + 1, inputs) + 0.5 * normal(seed + 2, samples)


def relative(error, scale):
    return np.linalg.norm(error) / np.linalg.norm(scale)


X, Y = data(12, 4)
H = X.T @ X / 12
W = np.linalg.lstsq(X, Y, rcond=None)[0]
GRADIENTS = (X @ W - Y)[:, None] * X
NOISE = GRADIENTS.T @ GRADIENTS / 12  # one example's
η, S = 0.3, 2
SETTINGS = dict(learning_rate=η, batch_size=S)


def multiplicative(M, c):
    """c [(1/P) Σ (xᵀMx) xxᵀ − HMH] as a sum over samples."""
    return c * (sum((x @ M @ x) * np.outer(x, x) for x in X) / 12 - H @ M @ H)


def linear_solve(equation, right):
    """equation(M) = right for a linear map of [4, 4] matrices, as 16 dense equations."""
    columns = [equation(unit.reshape(4, 4)).ravel() for unit in np.eye(16)]
    return np.linalg.solve(np.stack(columns, -1), right.ravel()).reshape(4, 4)


@pytest.mark.parametrize("replacement", [True, False])
def test_forms_against_their_definitions(replacement):
    c = 1 / S if replacement else (12 - S) / (S * 11)
    T, C = np.eye(4) - η * H, c * NOISE
    lyapunov = scipy.linalg.solve_continuous_lyapunov(H, η * C)
    residuals = Y - X @ W
    expected = {
        "exact": linear_solve(lambda M: M - T @ M @ T - η**2 * multiplicative(M, c), η**2 * C),
        "additive": linear_solve(lambda M: M - T @ M @ T, η**2 * C),
        "multiplicative": linear_solve(lambda M: H @ M + M @ H - η * multiplicative(M, c), η * C),
        "lyapunov": lyapunov,
        "detailed_balance": η / 2 * np.linalg.solve(H, C),
        "isotropic": η * c / 2 * residuals @ residuals / 8 * np.eye(4),
    }
    assert set(expected) == set(regression.FORMS)
    for form, covariance in expected.items():
        M = stationary_covariance(X, Y, **SETTINGS, replacement=replacement, form=form)
        assert relative(M - covariance, covariance) < 1e-11, form
        for other in expected:
            if other != form:
                assert relative(M - expected[other], covariance) > 1e-3, (form, other)
    M = expected["detailed_balance"]
    assert relative(M - M.T, M) > 0.05  # as printed, not symmetrised


def test_2_30_through_the_circulation():
    """M = (η/2) H⁻¹ (C + Q), Q̃_ij = (ω_i − ω_j)/(ω_i + ω_j) C̃_ij (2.31)."""
    process = regression.ornstein_uhlenbeck(X, Y, **SETTINGS)
    rates, V = np.linalg.eigh(H)
    C = NOISE / S
    Q = V @ ((rates[:, None] - rates) / (rates[:, None] + rates) * (V.T @ C @ V)) @ V.T
    M = stationary_covariance(X, Y, **SETTINGS, form="lyapunov")
    np.testing.assert_allclose(M, η / 2 * np.linalg.solve(H, C + Q), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(process.circulation(), η / 2 * Q, atol=1e-13)
    np.testing.assert_allclose(process.stationary_covariance(), M, atol=1e-13)
    np.testing.assert_allclose(process.mean, W, rtol=1e-11)


def test_frozen_noise_vanishes_when_overparameterised():
    """(2.16), (2.30): the process for N > P has no noise, and so no fluctuations."""
    process = regression.ornstein_uhlenbeck(*data(4, 9), learning_rate=0.1, batch_size=2)
    np.testing.assert_allclose(process.noise, 0, atol=1e-25)
    np.testing.assert_allclose(process.stationary_covariance(), 0, atol=1e-25)


ERRORS = {  # relative error of tr M of (2.30), N = 10, P = 30, tr H = 1.13, in per cent
    (0.01, 1): -0.6, (0.01, 3): -0.25, (0.01, 10): -0.11,
    (0.1, 1): -6.3, (0.1, 3): -2.5, (0.1, 10): -1.2,
    (1.0, 1): -69, (1.0, 3): -25, (1.0, 10): -12,
}  # fmt: skip


def test_error_of_lyapunov():
    """The measured table; N, P and tr H are the same, the data another draw: ratios within 25 %."""
    x, y = data(30, 10)
    x = x * np.sqrt(1.13 / np.trace(x.T @ x / 30))
    for (learning_rate, batch_size), per_cent in ERRORS.items():
        settings = dict(learning_rate=learning_rate, batch_size=batch_size)
        exact, frozen = (
            float(jnp.trace(stationary_covariance(x, y, **settings, form=form))) for form in ("exact", "lyapunov")
        )
        error = 100 * (frozen / exact - 1)
        assert abs(error / per_cent - 1) < 0.25, (learning_rate, batch_size, error)


@pytest.mark.parametrize("ratio", [1.05, 1.2, 2.0, 10.0])
def test_error_of_lyapunov_at_the_papers_point(ratio):
    """N = 100, learning rate 0.1, S = 10: −0.55 % for all P/N."""
    x, y = data(round(100 * ratio), 100)
    traces = [
        float(jnp.trace(stationary_covariance(x, y, learning_rate=0.1, batch_size=10, form=form)))
        for form in ("exact", "lyapunov")
    ]
    assert abs(100 * (traces[1] / traces[0] - 1) + 0.55) < 0.03


@pytest.mark.parametrize(("ratio", "distance"), [(1.2, 1.9), (2.0, 0.66), (10.0, 0.11)])
def test_distance_of_detailed_balance(ratio, distance):
    """|M_(2.30) − M_(2.33)| / |M_(2.30)|, averaged over data sets, N = 100 (here 60)."""
    distances = []
    for seed in range(5):
        x, y = data(round(60 * ratio), 60, seed)
        settings = dict(learning_rate=0.1, batch_size=10)
        M, other = (stationary_covariance(x, y, **settings, form=form) for form in ("lyapunov", "detailed_balance"))
        distances.append(relative(M - other, M))
    assert 0.6 < np.mean(distances) / distance < 1.6


def test_isotropic_limit():
    """(2.34) leads in N/P; the mean diagonal of M is that with the fitted fraction of the noise removed."""
    x, y = data(20_000, 5)
    M = stationary_covariance(x, y, learning_rate=0.01, batch_size=10, form="lyapunov")
    isotropic = stationary_covariance(x, y, learning_rate=0.01, batch_size=10, form="isotropic")
    np.testing.assert_allclose(isotropic, 0.01 * 0.25 / 20 * np.eye(5), rtol=0.04)
    assert relative(M - isotropic, M) < 0.08


def test_exact_with_momentum_and_weight_decay():
    """Against 2,000 replicas of SGD as it is written; errors from the replicas."""
    settings = dict(learning_rate=0.5, batch_size=3, momentum=0.7, weight_decay=0.2)
    expected = np.asarray(stationary_covariance(X, Y, replacement=False, **settings))
    rng, replicas = np.random.default_rng(1), 2000
    mean = np.linalg.solve(H + 0.2 * np.eye(4), X.T @ Y / 12)
    θ, v, total, count = np.tile(mean, (replicas, 1)), np.zeros((replicas, 4)), 0.0, 0
    for step in range(1500):
        batch = np.argpartition(rng.random((replicas, 12)), 3, axis=1)[:, :3]
        xb, yb = X[batch], Y[batch]
        residual = np.einsum("rsi,ri->rs", xb, θ) - yb
        v = 0.7 * v - np.einsum("rsi,rs->ri", xb, residual) / 3 - 0.2 * θ
        θ = θ + 0.5 * v
        if step >= 200 and step % 10 == 0:
            δ = θ - mean
            total, count = total + δ[:, :, None] * δ[:, None, :], count + 1
    samples = total / count
    error = samples.std(0) / np.sqrt(replicas)
    assert np.max(np.abs(samples.mean(0) - expected) / error) < 4.5
    frozen = np.asarray(stationary_covariance(X, Y, replacement=True, **settings))
    assert np.max(np.abs(samples.mean(0) - frozen) / error) > 10  # the other sampling is rejected


@pytest.mark.parametrize("form", list(regression.FORMS))
def test_derivatives(form):
    dx, dy = normal(5, 12, 4), normal(6, 12)

    def covariance(h):
        s = 1 + h
        more = dict(momentum=0.3 * s, weight_decay=0.1 * s) if form == "exact" else {}
        return stationary_covariance(X + h * dx, Y + h * dy, learning_rate=η * s, batch_size=S * s, form=form, **more)

    slope = (covariance(1e-5) - covariance(-1e-5)) / 2e-5
    for exact in jax.jit(lambda h: (jax.jacfwd(covariance)(h), jax.jacrev(covariance)(h)))(0.0):
        np.testing.assert_allclose(exact, slope, rtol=1e-6, atol=1e-8)


def test_arrays_of_hyperparameters():
    batches = np.array([1, 3, 12])
    for form in ("exact", "lyapunov"):
        together = stationary_covariance(X, Y, learning_rate=0.1, batch_size=batches, form=form)
        traced = jax.jit(lambda S: stationary_covariance(X, Y, learning_rate=0.1, batch_size=S, form=form))  # noqa: B023
        for several in (together, traced(batches)):
            assert several.shape == (3, 4, 4)
            for batch_size, M in zip(batches, several, strict=True):
                alone = stationary_covariance(X, Y, learning_rate=0.1, batch_size=batch_size, form=form)
                np.testing.assert_allclose(M, alone, rtol=1e-10, atol=1e-14)
    grid = stationary_covariance(X, Y, learning_rate=np.array([[0.1], [0.2]]), batch_size=batches)
    assert grid.shape == (2, 3, 4, 4)
    full = stationary_covariance(X, Y, learning_rate=0.1, batch_size=12, replacement=False)
    np.testing.assert_array_equal(full, 0)


def test_largest_stable_learning_rate():
    top = np.linalg.eigvalsh(H)[-1]
    for form in ("exact", "additive", "multiplicative"):
        limit = float(regression.largest_stable_learning_rate(X, batch_size=S, form=form))
        stationary_covariance(X, Y, learning_rate=0.99 * limit, batch_size=S, form=form)
        with pytest.raises(ValueError, match=f"learning_rate = .*{limit:.4g}"):
            stationary_covariance(X, Y, learning_rate=1.01 * limit, batch_size=S, form=form)
        if form == "additive":
            np.testing.assert_allclose(limit, 2 / top, rtol=1e-12)
    exact = regression.largest_stable_learning_rate(X, batch_size=S)
    assert exact < 2 / top  # multiplicative noise destabilises
    heavy = regression.largest_stable_learning_rate(X, batch_size=S, momentum=0.5, weight_decay=0.1)
    with pytest.raises(ValueError, match=f"{float(heavy):.3g}"):
        stationary_covariance(X, Y, learning_rate=1.01 * heavy, batch_size=S, momentum=0.5, weight_decay=0.1)
    assert np.isinf(regression.largest_stable_learning_rate(X, batch_size=S, form="lyapunov"))
    # one input, one sample pattern: the catalogue's η m₂ (1 + 2/S) < 2 with the sample's own fourth moment
    x = normal(0, 50, 1)
    limit = regression.largest_stable_learning_rate(x, batch_size=10)
    m2, m4 = np.mean(x**2), np.mean(x**4)
    geometric = regression.largest_stable_geometric_rate(m2, m4, batch_size=10)
    np.testing.assert_allclose(limit, geometric, rtol=1e-12)


def test_paper_size_and_a_general_one():
    """N = 100, P = 200 (dense) and N = 150, P = 400 (matrix-free): the stationary equation to rounding."""
    for samples, inputs in ((200, 100), (400, 150)):
        x, y = data(samples, inputs)
        M = np.asarray(stationary_covariance(x, y, learning_rate=0.1, batch_size=10))
        hessian, w = x.T @ x / samples, np.linalg.lstsq(x, y, rcond=None)[0]
        weights = np.einsum("mi,ij,mj->m", x, M, x) + (x @ w - y) ** 2
        noise = 0.1 * ((x.T * weights) @ x / samples - hessian @ M @ hessian)
        T = np.eye(inputs) - 0.1 * hessian
        assert relative(T @ M @ T + 0.01 * noise - M, 0.1 * hessian @ M) < 1e-11


BAD = {
    "form = 'exakt', .*'detailed_balance'": dict(form="exakt"),
    "batch_size = 13": dict(batch_size=13, replacement=False),
    "learning_rate = -0.1": dict(learning_rate=-0.1),
    "learning_rate = nan": dict(learning_rate=np.nan),
    "momentum = 1": dict(momentum=1.0),
    "momentum = 0.5.*exact": dict(momentum=0.5, form="lyapunov"),
    "weight_decay = 0.1.*exact": dict(weight_decay=0.1, form="additive"),
    "weight_decay = -0.1": dict(weight_decay=-0.1),
    "more samples than inputs": dict(x=X[:4], y=Y[:4]),
    "y": dict(y=Y[:5]),
    "x": dict(x=np.full((12, 4), np.inf)),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(message):
    with pytest.raises((ValueError, TypeCheckError), match=message):
        stationary_covariance(**(dict(x=X, y=Y, **SETTINGS) | BAD[message]))


def test_traced_bad_input_is_an_error_too():
    solve = jax.jit(lambda η: stationary_covariance(X, Y, learning_rate=η, batch_size=S))
    with pytest.raises(Exception, match="learning_rate"):
        jax.block_until_ready(solve(100.0))
