"""SGD as a sampler, against Kronecker products, iterated moments, minibatches counted out, and other modules' laws."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics.theory import bayesian, regression
from sgdynamics.theory.recursion import MinibatchMoments

RNG = np.random.default_rng(5)
P, N, RATE = 7, 4, 0.1
X, Y = RNG.normal(size=(P, N)), RNG.normal(size=P)
ROOT, MIX = RNG.normal(size=(N, N)), RNG.normal(size=(N, N))
H, C = X.T @ X / P, ROOT @ ROOT.T
A = np.eye(N) + 0.2 * MIX  # not symmetric
S = A @ A.T
I = np.eye(N)


def lyapunov(drift, noise):
    """M of drift M + M driftᵀ = noise, by Kronecker products."""
    return np.linalg.solve(np.kron(drift, I) + np.kron(I, drift), noise.ravel()).reshape(N, N)


def moments(x, y, *, rate, c, A, v=0.0, λ=0.0, steps=3000):
    """Second moments of δ = θ − minimum, iterated; the gradient noise as a mean over single examples."""
    K = x.T @ x / len(x) + λ * np.eye(x.shape[1])
    w = np.linalg.solve(K, x.T @ y / len(x))
    M, T = np.zeros_like(K), np.eye(len(K)) - rate * A @ K
    for _ in range(steps):
        # gradients at w ± each column of √M have the mean square of gradients at a normal δ
        root = np.sqrt(len(K)) * np.linalg.cholesky(M) if M.any() else M
        points = np.concatenate([w[None] + root.T, w[None] - root.T])
        g = (points @ x.T - y[None])[:, :, None] * x[None]
        noise = np.mean([c * np.cov(one.T, bias=True) for one in g], axis=0)
        M = T @ M @ T.T + rate**2 * A @ (noise + v * np.eye(len(K))) @ A.T
    return M


def test_the_linear_law_and_its_discrete_form():
    law = bayesian.law(H, C, learning_rate=RATE, preconditioner=A, injected_variance=0.7)
    M = lyapunov(A @ H, RATE * A @ (C + 0.7 * I) @ A.T)
    assert np.abs(law.stationary_covariance() - M).max() < 1e-12 * np.abs(M).max()
    recursion = bayesian.recursion(H, C, learning_rate=RATE, preconditioner=A, injected_variance=0.7)
    D, T = 0 * I, I - RATE * A @ H
    for _ in range(20_000):
        D = T @ D @ T.T + RATE**2 * A @ (C + 0.7 * I) @ A.T
    assert np.abs(recursion.stationary_covariance() - D).max() < 1e-10 * np.abs(D).max()
    assert np.abs(D - M).max() > 1e-2 * np.abs(M).max()


@pytest.mark.parametrize("form", [0.3, np.array([0.3, 0.5, 1.0, 2.0])], ids=["scalar", "diagonal"])
def test_preconditioners_in_short(form):
    full = np.diag(np.broadcast_to(form, N))
    short, long = (bayesian.law(H, C, learning_rate=RATE, preconditioner=a) for a in (form, full))
    assert np.array_equal(short.drift, long.drift) and np.array_equal(short.noise, long.noise)


def test_injected_noise_adds_itself_to_noise_and_circulation():
    h, V = np.linalg.eigh(H)
    Q = V @ ((h[:, None] - h[None]) / (h[:, None] + h[None]) * (V.T @ C @ V)) @ V.T
    assert np.abs(Q + Q.T).max() < 1e-12 and np.linalg.norm(Q) > 0.1 * np.linalg.norm(C)
    assert np.abs(bayesian.noise_with_circulation(H, C) - C - Q).max() < 1e-12
    for v in (0.0, 1.0, 1e4):
        M = lyapunov(H, RATE * (C + v * I))
        assert np.abs(2 / RATE * H @ M - (v * I + C + Q)).max() < 1e-12 * (1 + v)
        assert np.abs(bayesian.noise_with_circulation(H, C + v * I) - (v * I + C + Q)).max() < 1e-12 * (1 + v)
    size = np.linalg.norm(C + Q)
    assert np.linalg.norm(C) < size < np.sqrt(2) * np.linalg.norm(C)


def test_where_injected_noise_dominates_the_law_is_that_of_gibbs():
    T = 0.05
    for v in (1e2, 1e4, 1e6):
        M = bayesian.law(H, C, learning_rate=2 * T / v, injected_variance=v).stationary_covariance()
        assert np.linalg.norm(M @ H / T - I) < 2 * np.linalg.norm(C) / v
        assert np.isclose(bayesian.temperature(2 * T / v, v), T, rtol=1e-14)


@pytest.mark.parametrize("λ", [0.0, 0.3])
def test_the_exact_law_is_where_iterated_moments_come_to_rest(λ):
    options = {"sampling_factor": 0.5, "injected_variance": 0.2, "weight_decay": λ}
    M = bayesian.regression_covariance(X, Y, learning_rate=RATE, preconditioner=A, **options)
    expected = moments(X, Y, rate=RATE, c=0.5, A=A, v=0.2, λ=λ)
    assert np.abs(M - expected).max() < 1e-10 * np.abs(expected).max()
    frozen_noise = bayesian.averaged_noise(X, Y, 0 * H, sampling_factor=0.5, weight_decay=λ)
    frozen = bayesian.recursion(
        H + λ * I, frozen_noise, learning_rate=RATE, preconditioner=A, injected_variance=0.2
    ).stationary_covariance()
    assert np.abs(M - frozen).max() > 1e-2 * np.abs(expected).max()


@pytest.mark.parametrize("λ", [0.0, 0.3])
def test_plain_sgd_has_the_law_of_the_other_modules(λ):
    known = MinibatchMoments(X, Y, learning_rate=RATE, sampling_factor=0.5, weight_decay=λ)
    M = bayesian.regression_covariance(X, Y, learning_rate=RATE, sampling_factor=0.5, weight_decay=λ)
    assert np.abs(M - known.weight_covariance()).max() < 1e-11 * np.abs(M).max()
    if λ == 0:
        plain = bayesian.averaged_noise(X, Y, 0 * H, sampling_factor=0.5)
        C = regression.noise_covariance(X, Y, regression.minimum(X, Y), batch_size=2)
        assert np.abs(plain - C).max() < 1e-13


def test_averaged_noise_is_the_mean_over_weights_and_minibatches():
    """Every pair of examples, at weights of the right second moments."""
    M = 0.3 * S
    w = np.linalg.solve(H + 0.3 * I, X.T @ Y / P)
    root = np.sqrt(N) * np.linalg.cholesky(M)
    noise = np.zeros((N, N))
    for δ in np.concatenate([root.T, -root.T]):
        g = (X @ (w + δ) - Y)[:, None] * X
        batches = np.array([(g[i] + g[j]) / 2 for i, j in itertools.product(range(P), repeat=2)])
        noise += np.cov(batches.T, bias=True) / (2 * N)
    ours = bayesian.averaged_noise(X, Y, M, sampling_factor=0.5, weight_decay=0.3)
    assert np.abs(ours - noise).max() < 1e-12


def test_first_order_in_the_learning_rate_at_a_given_temperature():
    """(*) of the module; the paper's C + Q alone is not the first order."""
    T, c = 0.05, 0.5
    frozen = np.asarray(bayesian.averaged_noise(X, Y, 0 * H, sampling_factor=c))
    G = bayesian.averaged_noise(X, Y, T * np.linalg.inv(H), sampling_factor=c) + T * H
    right, wrong = (np.asarray(bayesian.noise_with_circulation(H, B)) / (2 * T) for B in (G, frozen))

    def rate_of_deviation(η):
        v = 2 * T / η
        M = bayesian.regression_covariance(X, Y, learning_rate=η, sampling_factor=c, injected_variance=v)
        return (2 / (η * v) * H @ M - I) / η

    slope = 2 * rate_of_deviation(1e-4) - rate_of_deviation(2e-4)
    assert np.linalg.norm(slope - right) < 1e-5 * np.linalg.norm(right)
    assert np.linalg.norm(slope - wrong) > 0.1 * np.linalg.norm(right)


def test_the_preconditioner_gives_any_covariance():
    for target in (0.1 * S, I, 0.2 * np.linalg.inv(H)):
        B = np.asarray(bayesian.preconditioner(H, C, target, learning_rate=RATE))
        assert np.abs(B - B.T).max() < 1e-12 * np.abs(B).max() and np.linalg.eigvalsh(B)[0] > 0
        M = lyapunov(B @ H, RATE * B @ C @ B.T)
        assert np.abs(M - target).max() < 1e-10 * np.abs(target).max()
    law = bayesian.law(H, C, learning_rate=RATE, preconditioner=B)
    assert np.abs(law.circulation()).max() < 1e-12  # detailed balance
    assert np.abs(B - 2 * 0.2 / RATE * np.linalg.inv(C)).max() < 1e-10 * np.abs(B).max()  # Mandt et al.


def test_with_the_noise_averaged_over_the_target_it_is_exact_in_discrete_time():
    T, c, λ = 0.2, 0.5, 0.1
    K = H + λ * I
    target = T * np.linalg.inv(K)
    noise = bayesian.averaged_noise(X, Y, target, sampling_factor=c, weight_decay=λ)
    B = np.asarray(bayesian.preconditioner(K, noise, target, learning_rate=RATE, discrete=True))
    assert np.abs(B - 2 * T / RATE * np.linalg.inv(noise + T * K)).max() < 1e-10 * np.abs(B).max()
    M = moments(X, Y, rate=RATE, c=c, A=B, λ=λ, steps=2000)
    assert np.abs(M - target).max() < 1e-9 * np.abs(target).max()
    ours = bayesian.regression_covariance(X, Y, learning_rate=RATE, sampling_factor=c, preconditioner=B, weight_decay=λ)
    assert np.abs(ours - target).max() < 1e-11 * np.abs(target).max()


def test_derivatives_are_those_of_differences():
    T = jnp.asarray(0.3)
    f = lambda η: bayesian.regression_covariance(X, Y, learning_rate=η, sampling_factor=0.5, injected_variance=T)[0, 1]
    difference = (f(RATE + 1e-5) - f(RATE - 1e-5)) / 2e-5
    assert np.isclose(jax.jit(jax.grad(f))(RATE), difference, rtol=1e-6)
    assert np.isclose(jax.jvp(f, (RATE,), (1.0,))[1], difference, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bayesian.law(H, C, learning_rate=0.0), "learning_rate = 0.0"),
        (lambda: bayesian.law(H, C, learning_rate=0.1, injected_variance=-1.0), "injected_variance = -1.0"),
        (lambda: bayesian.law(H, C, learning_rate=0.1, preconditioner=np.ones(3)), "preconditioner"),
        (lambda: bayesian.law(MIX, C, learning_rate=0.1), "hessian"),
        (lambda: bayesian.preconditioner(H, MIX, H, learning_rate=0.1), "noise_covariance"),
        (lambda: bayesian.regression_covariance(X, Y, learning_rate=50.0, sampling_factor=0.5), "learning_rate = 50"),
        (lambda: bayesian.averaged_noise(X, Y, H, sampling_factor=-0.5), "sampling_factor = -0.5"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
