"""The law of the equation with momentum: on regression, on a tanh network, frozen and exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from scipy import stats

import sgdynamics as sgd
from sgdynamics import noise
from sgdynamics.dynamics import LinearModes
from sgdynamics.theory.harmonic import HarmonicUnderdamped

pytestmark = pytest.mark.long
KEY = jax.random.key(0)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def assert_close(a, b, relative):
    a, b = np.asarray(a), np.asarray(b)
    assert np.linalg.norm(a - b) <= relative * np.linalg.norm(b)


X, Y = normal(0, 12, 3), normal(1, 12, 2)
H = X.T @ X / 12
PROBLEM = sgd.Problem(sgd.networks.Linear(3, 2), sgd.data.Dataset(X, Y))
ONE = sgd.Problem(sgd.networks.Linear(3, 1), sgd.data.Dataset(X, Y[:, 0]))


def drift(K, η, β):
    c0, one = 2 / (η * (1 + β)), np.eye(len(K))
    return np.block([[0 * one, -one], [c0 * K, c0 * (1 - β) * one]])


def entering(C, η, β):
    return scipy.linalg.block_diag(0 * C, (2 / (η * (1 + β))) ** 2 * η * C)


def averaged_noise(M, θ, λ, batch_size):
    """The covariance of the minibatch gradient at mean θ [2 · 3], averaged over fluctuations of covariance M."""
    r, C = X @ θ.reshape(2, 3).T - Y, np.zeros((6, 6))
    for o in range(2):
        for p in range(2):
            block, J = M[3 * o : 3 * o + 3, 3 * p : 3 * p + 3], r.T @ X / 12
            weights = r[:, o] * r[:, p] + np.sum(X @ block * X, 1)
            here = (X.T * weights) @ X / 12 - H @ block @ H - np.outer(J[o], J[p])
            C[3 * o : 3 * o + 3, 3 * p : 3 * p + 3] = here / batch_size
    return C


@pytest.mark.parametrize("momentum, decay", [(0.0, 0.1), (0.8, 0.0), (0.95, 0.1)])
def test_state_dependent_noise_on_regression(momentum, decay):
    η = 0.1 * (1 - momentum)
    process = sgd.UnderdampedLangevin(PROBLEM, learning_rate=η, sampler=3, momentum=momentum, weight_decay=decay)
    prediction = sgd.predict(process)
    assert prediction.form == "exact: underdamped, continuous time, state-dependent noise"
    K = np.kron(np.eye(2), H + decay * np.eye(3))
    A, P, M = drift(K, η, momentum), np.asarray(prediction.phase_covariance), np.asarray(prediction.covariance)
    N = entering(averaged_noise(M, np.asarray(prediction.mean), decay, 3), η, momentum)
    assert_close(A @ P + P @ A.T, N, 1e-10)
    assert_close(P, scipy.linalg.solve_continuous_lyapunov(A, N), 1e-10)
    frozen = entering(averaged_noise(0 * M, np.asarray(prediction.mean), decay, 3), η, momentum)
    assert np.linalg.norm(N - frozen) > 0.01 * np.linalg.norm(N)
    law = sgd.predict(process, form="frozen")
    assert_close(law.phase_covariance, scipy.linalg.solve_continuous_lyapunov(A, frozen), 1e-7)
    assert_close(prediction.law.stationary_covariance(), P, 1e-10)
    assert_close(prediction.velocity_covariance, P[6:, 6:], 1e-12)
    assert_close(prediction.autocovariance(7), (scipy.linalg.expm(-7 * η * A) @ P)[:6, :6], 1e-9)
    assert_close(prediction.circulation(), P[:6, 6:], 1e-9)
    np.testing.assert_allclose(prediction.slowest_rate, np.linalg.eigvals(A).real.min(), rtol=1e-7)


def test_state_independent_noise_on_regression():
    settings = dict(learning_rate=0.1, sampler=3, momentum=0.8, noise=noise.frozen(ONE, 3))
    exact = sgd.predict(sgd.UnderdampedLangevin(ONE, **settings))
    assert exact.form == "exact: underdamped, continuous time, additive noise"
    frozen = sgd.predict(sgd.UnderdampedLangevin(ONE, **settings), form="frozen")
    assert_close(exact.phase_covariance, frozen.phase_covariance, 1e-9)
    with pytest.raises(ValueError, match="knows the law of finite-sample noise"):
        other = sgd.networks.Linear(3, 1)
        strange = noise.minibatch(sgd.Problem(other, sgd.data.Dataset(X, Y[:, 0])), sgd.samplers.FullBatch())
        sgd.predict(sgd.UnderdampedLangevin(ONE, **{**settings, "noise": noise.Sum((strange, strange, strange))}))


def test_directions_that_no_example_sees_neither_move_nor_relax():
    x = np.c_[X[:, :2], X[:, 0] + X[:, 1]]
    problem = sgd.Problem(sgd.networks.Linear(3, 1), sgd.data.Dataset(x, Y[:, 0]))
    prediction = sgd.predict(sgd.UnderdampedLangevin(problem, learning_rate=0.05, sampler=3, momentum=0.5))
    unseen = scipy.linalg.null_space(x)
    assert prediction.slowest_rate == 0 and np.abs(prediction.covariance @ unseen).max() < 1e-14


def test_a_tanh_network_and_its_draws():
    inputs = normal(4, 30, 2)
    targets = np.tanh(2 * inputs[:, 0]) - inputs[:, 1] + 0.5 * normal(5, 30)
    network = sgd.networks.MLP((2, 3, 1), key=KEY)
    problem = sgd.Problem(network, sgd.data.Dataset(inputs, targets))
    settings = dict(learning_rate=0.2, sampler=4, momentum=0.9, weight_decay=0.01)
    prediction = sgd.predict(sgd.UnderdampedLangevin(problem, **settings))
    assert prediction.form == "frozen: underdamped, continuous time, noise of the minimum"
    θ, d = prediction.mean, prediction.mean.shape[0]
    g = np.asarray(problem.example_gradients(θ))
    A = drift(np.asarray(problem.hessian(θ)) + 0.01 * np.eye(d), 0.2, 0.9)
    P = scipy.linalg.solve_continuous_lyapunov(A, entering(np.cov(g.T, bias=True) / 4, 0.2, 0.9))
    assert_close(prediction.phase_covariance, P, 1e-7)
    assert_close(prediction.circulation(), P[:d, d:], 1e-6)
    assert_close(prediction.autocovariance(3), (scipy.linalg.expm(-0.6 * A) @ P)[:d, :d], 1e-6)
    part = sgd.predict(sgd.UnderdampedLangevin(problem, **settings), at=θ, modes=4)
    V = prediction.modes.vectors[:, :4]
    assert_close(part.along(V), prediction.along(V), 1e-8)
    draws = jax.vmap(prediction.draw)(jax.random.split(KEY, 20_000))
    x = np.concatenate([np.asarray(draws.position) - np.asarray(θ), np.asarray(draws.velocity)], 1)
    scale = np.sqrt((np.outer(np.diag(P), np.diag(P)) + P**2) / len(x))
    assert np.abs((x.T @ x / len(x) - P) / scale).max() < stats.norm.isf(1e-6 / 2 / P.size)


def test_an_ensemble_has_the_predicted_law():
    """From the law it stays there: the equation as its defaults step it, against its second moments."""
    process = sgd.UnderdampedLangevin(ONE, learning_rate=0.05, sampler=3, momentum=0.8)
    prediction = sgd.predict(process)
    run = sgd.simulate(process, {}, replicas=8192, steps=100, key=KEY, initial=prediction)
    x = np.concatenate(
        [np.asarray(run.state.position) - np.asarray(prediction.mean), np.asarray(run.state.velocity)], 1
    )
    P = np.asarray(prediction.phase_covariance)
    measured = x.T @ x / len(x)
    error = np.std(x[:, :, None] * x[:, None, :], axis=0) / np.sqrt(len(x))
    assert np.abs((measured - P) / error).max() < stats.norm.isf(1e-6 / 2 / 21)
    frozen = np.asarray(sgd.predict(process, form="frozen").phase_covariance)
    assert np.abs((measured - frozen) / error).max() > 6  # the noise of the minimum alone is not it


def test_linear_modes_have_the_law_of_their_continuous_time():
    h, root = np.array([2.0, 0.3]), normal(3, 2, 2)
    law = HarmonicUnderdamped(h, root @ root.T, learning_rate=0.1, momentum=0.9)
    V = np.linalg.qr(normal(6, 2, 2))[0]
    prediction = sgd.predict(LinearModes(law.mode_drift(), law.mode_noise(), np.ones(2), V, time_step=0.7))
    L = np.kron(np.eye(2), V)
    assert_close(prediction.phase_covariance, L @ law.phase_covariance() @ L.T, 1e-11)
    assert_close(prediction.autocovariance(3), V @ law.autocovariance(2.1) @ V.T, 1e-10)
    np.testing.assert_allclose(prediction.slowest_rate, law.slowest_rate(), rtol=1e-10)
    assert prediction.draw(KEY).velocity.shape == (2,) and jnp.all(prediction.mean == 1)
