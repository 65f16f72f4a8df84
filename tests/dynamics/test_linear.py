"""Linear processes: exact transitions, at any step size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, stats

import sgdynamics as sgd

# a rotation that decays (no detailed balance), a null direction, noise of rank 1
DRIFT = np.array([[1.0, 3.0, 0.0], [-3.0, 0.5, 0.0], [0.2, 0.0, 0.0]])
NOISE = np.outer([1.0, 0.0, 0.5], [1.0, 0.0, 0.5])
MEAN = np.array([1.0, -2.0, 0.5])


def moments(process, start, steps):
    """Mean and covariance after `steps` steps from a point, by the process' own arrays."""
    mean, covariance = start, np.zeros((3, 3))
    F, R = np.asarray(process.decay), np.asarray(process.kick)
    for _ in range(steps):
        mean, covariance = process.mean + F @ (mean - process.mean), F @ covariance @ F.T + R @ R.T
    return np.asarray(mean), covariance


def test_one_long_step_is_ten_short_ones_in_law():
    start = np.array([2.0, 0.0, 1.0])
    short = moments(sgd.LinearProcess(DRIFT, NOISE, MEAN, time_step=0.3), start, 10)
    long = moments(sgd.LinearProcess(DRIFT, NOISE, MEAN, time_step=3.0), start, 1)
    for a, b in zip(short, long, strict=True):
        assert np.abs(a - b).max() < 1e-12


def test_a_step_is_the_solution_of_the_equation():
    process = sgd.LinearProcess(DRIFT, NOISE, MEAN, time_step=0.7)
    assert np.abs(process.decay - linalg.expm(-0.7 * DRIFT)).max() < 1e-13
    s, w = np.polynomial.legendre.leggauss(30)
    decays = [linalg.expm(-DRIFT * 0.35 * (1 + t)) for t in s]
    integral = sum(0.35 * a * F @ NOISE @ F.T for a, F in zip(w, decays, strict=True))
    assert np.abs(np.asarray(process.kick @ process.kick.T) - integral).max() < 1e-13
    # in a short time noise of rank 1 stays of rank 1 to first order: this is singular to rounding
    kick = np.asarray(sgd.LinearProcess(DRIFT, NOISE, time_step=1e-6).kick)
    np.testing.assert_allclose(kick @ kick.T, 1e-6 * NOISE, atol=1e-11)


def test_steps_are_drawn_from_that_law():
    process, n = sgd.LinearProcess(DRIFT, NOISE, MEAN, time_step=0.7), 20_000
    start = jnp.array([2.0, 0.0, 1.0])
    one = lambda key: process.step(process.init(start), jnp.int32(3), key).position
    x = np.asarray(jax.vmap(one)(jax.random.split(jax.random.key(0), n)))
    mean, covariance = moments(process, np.asarray(start), 1)
    limit = stats.norm.isf(1e-6 / 2 / 9)
    errors = np.sqrt(covariance.diagonal() / n)
    assert np.abs((x.mean(0) - mean) / errors).max() < limit
    scale = np.sqrt((np.outer(covariance.diagonal(), covariance.diagonal()) + covariance**2) / n)
    z = (np.cov(x.T) - covariance) / scale
    assert np.abs(z).max() < limit
    euler = (np.cov(x.T) - 0.7 * NOISE) / scale
    assert np.abs(euler).max() > limit


def test_draws_depend_on_key_and_step():
    process = sgd.LinearProcess(DRIFT, NOISE, time_step=0.1)
    draw = lambda step, key=0: process.step(process.init(jnp.zeros(3)), jnp.int32(step), jax.random.key(key)).position
    assert jnp.array_equal(draw(1), draw(1)) and not jnp.allclose(draw(1), draw(2))
    assert not jnp.allclose(draw(1), draw(1, 1))


def test_it_starts_at_its_mean_and_counts_its_time():
    process = sgd.LinearProcess(DRIFT, NOISE, MEAN, time_step=0.1)
    assert jnp.array_equal(process.initial_position(), MEAN) and float(process.time_step(jnp.array(5))) == 0.1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((DRIFT, NOISE[:2, :2], MEAN, 0.1), "do not fit|parameters"),
        ((DRIFT, NOISE, MEAN[:2], 0.1), "do not fit|parameters"),
        ((DRIFT, NOISE, MEAN, 0.0), "time_step = 0.0"),
        ((DRIFT, NOISE, MEAN, -1.0), "time_step = -1.0"),
        ((DRIFT * np.nan, NOISE, MEAN, 0.1), "drift = .*finite"),
        ((DRIFT, np.triu(np.ones((3, 3))), MEAN, 0.1), "noise = .*symmetric"),
        ((DRIFT, -np.eye(3), MEAN, 0.1), "positive semidefinite"),
    ],
)
def test_processes_that_cannot_be_are_refused(arguments, message):
    *matrices, time_step = arguments
    with pytest.raises((ValueError, TypeError), match=message):
        sgd.LinearProcess(*matrices, time_step=time_step)


def test_it_has_no_velocity():
    with pytest.raises(ValueError, match="velocity was given"):
        sgd.LinearProcess(DRIFT, NOISE, time_step=0.1).init(jnp.zeros(3), jnp.zeros(3))
