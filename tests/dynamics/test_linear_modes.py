"""Exact transitions of position and velocity, mode by mode: against the dense process, at any step size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, stats

import sgdynamics as sgd
from sgdynamics.dynamics import LinearModes
from sgdynamics.theory.harmonic import HarmonicUnderdamped

H = np.array([2.3, 0.4, 0.05])
ROOT = np.random.default_rng(0).normal(size=(3, 2))
C = ROOT @ ROOT.T  # singular; detailed balance is broken where curvatures differ
V = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
MEAN = np.array([1.0, -2.0, 0.5])


def law(momentum, noise=C):
    return HarmonicUnderdamped(H, noise, learning_rate=0.2, momentum=momentum)


def lifted(M, V=V):
    L = np.kron(np.eye(2), V)
    return L @ np.asarray(M) @ L.T


def modewise(momentum, time_step, independent=False):
    """The process in modes, and the dense one over (θ, v)."""
    theory = law(momentum, np.diag([0.3, 0.0, 2.0]) if independent else C)
    dense = theory.process()
    noise = np.asarray(dense.noise)
    whole = sgd.LinearProcess(
        lifted(dense.drift), lifted(noise), np.concatenate([MEAN, 0 * MEAN]), time_step=time_step
    )  # fmt: skip
    if independent:
        noise = np.stack([noise[np.ix_([i, i + 3], [i, i + 3])] for i in range(3)])
    return LinearModes(theory.mode_drift(), noise, MEAN, V, time_step=time_step), whole


def after(F, Q, steps, x, P):
    for _ in range(steps):
        x, P = F @ x, F @ P @ F.T + Q
    return x, P


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99])
def test_one_step_of_ten_is_ten_of_one(momentum, independent):
    """Affine map and covariance, composed from a point and from a spread start, for both exact processes."""
    rng = np.random.default_rng(2)
    x, P = rng.normal(size=6), np.cov(rng.normal(size=(6, 8)))
    (short, dense_short), (long, dense_long) = (modewise(momentum, t, independent) for t in (1.0, 10.0))
    of_dense = lambda process: (np.asarray(process.decay), np.asarray(process.kick @ process.kick.T))
    of_modes = lambda process: tuple(map(np.asarray, process.transition()))
    for start in (np.zeros((6, 6)), P):
        expected = after(*of_modes(long), 1, x, start)
        for maps, steps in ((of_modes(short), 10), (of_dense(dense_short), 10), (of_dense(dense_long), 1)):
            mean, covariance = after(*maps, steps, x, start)
            scale = max(1, np.abs(expected[1]).max())
            assert np.abs(mean - expected[0]).max() < 1e-12
            assert np.abs(covariance - expected[1]).max() < 1e-12 * scale


@pytest.mark.parametrize("time_step", [1e-4, 0.2, 1e4])
def test_a_step_of_any_size_is_the_solution(time_step):
    process, dense = modewise(0.9, time_step)
    theory = law(0.9)
    A = np.asarray(theory.process().drift)
    exact = lifted(theory.covariance_at(time_step))
    size = np.sqrt(np.diag(exact)[:, None] * np.diag(exact)[None, :])
    # the dense one doubles the time often where it is long, and rounds each time
    for F, Q, rounding in ((*process.transition(), 1e-12), (dense.decay, dense.kick @ dense.kick.T, 1e-9)):
        assert np.abs(F - lifted(linalg.expm(-time_step * A))).max() < rounding
        assert np.max(np.abs(Q - exact) / size) < rounding


@pytest.mark.parametrize("independent", [False, True])
def test_steps_are_drawn_from_that_law(independent):
    process, n = modewise(0.9, 0.7, independent)[0], 20_000
    theta, v = jnp.array([2.0, 0.0, 1.0]), jnp.array([0.5, 1.0, -1.0])

    def one(key):
        state = process.step(process.init(theta, v), jnp.int32(3), key)
        return jnp.concatenate([state.position - process.mean, state.velocity])

    x = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), n)))
    F, Q = map(np.asarray, process.transition())
    mean = F @ np.concatenate([theta - MEAN, v])
    limit = stats.norm.isf(1e-6 / 2 / 27)  # one false alarm in a million
    assert np.abs((x.mean(0) - mean) / np.sqrt(Q.diagonal() / n)).max() < limit
    scale = np.sqrt((np.outer(Q.diagonal(), Q.diagonal()) + Q**2) / n)
    assert np.abs((np.cov(x.T) - Q) / scale).max() < limit
    assert np.abs((np.cov(x.T) - 0.7 * lifted(law(0.9).process().noise)) / scale).max() > limit  # Euler's


def test_other_directions_stay_and_draws_depend_on_key_and_step():
    theory = law(0.9)
    few = LinearModes(theory.mode_drift()[:2], jnp.ones((2, 2, 2)), MEAN, V[:, :2], time_step=0.3)
    state = few.init(jnp.array([1.0, 2.0, 3.0]))
    ends = [few.step(state, jnp.int32(n), jax.random.key(k)) for n, k in ((1, 0), (1, 0), (2, 0), (1, 1))]
    assert jnp.array_equal(ends[0].position, ends[1].position)
    assert not jnp.allclose(ends[0].position, ends[2].position)
    assert not jnp.allclose(ends[0].velocity, ends[3].velocity)
    np.testing.assert_allclose(V[:, 2] @ ends[0].position, V[:, 2] @ state.position, rtol=1e-14)
    np.testing.assert_allclose(V[:, 2] @ ends[0].velocity, 0, atol=1e-14)
    assert jnp.array_equal(few.initial_position(), MEAN) and float(few.time_step(jnp.array(5))) == 0.3


def test_an_ensemble_from_its_stationary_law_keeps_it():
    """Statistics see the velocity, and starts may have one."""
    theory = law(0.9)
    process = LinearModes(theory.mode_drift(), theory.process().noise, time_step=3.0)
    root = np.linalg.cholesky(theory.phase_covariance() + 1e-14 * np.eye(6))
    x = np.random.default_rng(3).normal(size=(4096, 6)) @ root.T
    start = sgd.dynamics.State(jnp.asarray(x[:, :3]), jnp.asarray(x[:, 3:]))
    run = sgd.simulate(process, {}, replicas=4096, steps=2, key=jax.random.key(1), initial=start)
    y = np.concatenate([run.state.position, run.state.velocity], 1)
    M = np.asarray(theory.phase_covariance())
    scale = np.sqrt((np.outer(M.diagonal(), M.diagonal()) + M**2) / 4096)
    assert np.abs((y.T @ y / 4096 - M) / scale).max() < stats.norm.isf(1e-6 / 2 / 21)


A2 = np.stack([np.eye(2)] * 3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((A2, np.eye(5), MEAN, V, 0.1), "drift and noise have shapes"),
        ((A2, A2, MEAN[:2], V, 0.1), "mean"),
        ((A2, A2, MEAN, V[:, :2], 0.1), "vectors"),
        ((A2, A2, MEAN, 2 * V, 0.1), "overlap .*orthonormal"),
        ((A2, A2, MEAN, V, 0.0), "time_step = 0.0"),
        ((A2 * np.nan, A2, MEAN, V, 0.1), "drift = .*finite"),
        ((A2, -A2, MEAN, V, 0.1), "positive semidefinite"),
        ((A2, -np.eye(6), MEAN, V, 0.1), "positive semidefinite"),
        ((A2, np.triu(np.ones((6, 6))), MEAN, V, 0.1), "noise .*symmetric"),
        ((-A2, A2, MEAN, V, 1e5), "time_step|t = .*unstable|finite"),
    ],
)
def test_processes_that_cannot_be_are_refused(arguments, message):
    *matrices, time_step = arguments
    with pytest.raises((ValueError, TypeError), match=message):
        LinearModes(*matrices, time_step=time_step)
