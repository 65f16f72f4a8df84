"""The covariance of (θ, v) of minibatch SGD with momentum on a fixed data set, by statistics.

2,048 replicas start at the minimum, at rest, and have forgotten it when they are recorded. Input variances, the size
of the residuals along them and 60 examples make noise that does not commute with the Hessian. The law with
multiplicative noise must pass at every momentum by the test that rejects the same law with the noise of the minimum,
the commuting form (9), and one without inertia. One false alarm in 1,000 for each comparison.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics.statistics import Autocovariance, Covariance
from sgdynamics.theory import recursion

pytestmark = pytest.mark.long

KEY = jax.random.key(0)
SAMPLES, INPUTS, LEARNING_RATE = 60, 4, 0.05
REPLICAS = 2048
# at momentum 0.99 batches of 4 would be beyond the stability of the second moments
BATCH = {0.0: 1, 0.5: 2, 0.9: 4, 0.99: 20}


@pytest.fixture(scope="module")
def data():
    x, noise = jax.random.normal(KEY, (SAMPLES, INPUTS)), jax.random.normal(jax.random.fold_in(KEY, 1), (SAMPLES,))
    # residuals grow along the first two inputs: the noise is turned against the Hessian, and larger
    x = x * jnp.array([0.9, 0.6, 0.5, 0.3])[None, :]
    return sgd.data.Dataset(x, noise * (0.3 + jnp.abs(x[:, 0] + x[:, 1])))


def descent(data, momentum):
    problem = sgd.Problem(sgd.networks.Linear(INPUTS, 1), sgd.data.Dataset(data.x, data.y[:, None]))
    return sgd.SGD(problem, learning_rate=LEARNING_RATE, sampler=BATCH[momentum], momentum=momentum)


def phase(state):
    return jnp.concatenate([state.position, state.velocity])


def measured(dynamics, statistic, steps=1000, every=50):
    """From the minimum, at rest; 10 relaxation times later and more."""
    start = dynamics.problem.minimum()
    run = sgd.simulate(
        dynamics, statistic, replicas=REPLICAS, burn_in=2000, steps=steps, every=every, key=KEY, initial=start,
        groups=64,
    )  # fmt: skip
    return run.estimates


def law(data, momentum):
    return recursion.MinibatchMoments(
        data.x, data.y, learning_rate=LEARNING_RATE, sampling_factor=1 / BATCH[momentum], momentum=momentum
    )


def hessian(data):
    x = np.asarray(data.x)
    return x.T @ x / len(x)


def frozen(data, momentum):
    """The law with the noise of the minimum, by the dense recursion (independent of the closed forms)."""
    H, C, η = hessian(data), np.asarray(law(data, momentum).noise), LEARNING_RATE
    one = np.eye(INPUTS)
    T = np.block([[one - η * H, η * momentum * one], [-H, momentum * one]])
    G = np.vstack([η * one, one])
    return np.asarray(recursion.LinearRecursion(T, G @ C @ G.T).stationary_covariance())


def commuting(data, momentum):
    """(9), symmetrised: Cov θ = η H⁻¹C/(2(1−β)), Cov v = C/(1−β²)."""
    H, C = hessian(data), np.asarray(law(data, momentum).noise)
    M = LEARNING_RATE / (2 * (1 - momentum)) * np.linalg.solve(H, C)
    zero = np.zeros_like(C)
    return np.block([[(M + M.T) / 2, zero], [zero, C / (1 - momentum**2)]])


def test_the_noise_does_not_commute_with_the_hessian(data):
    H, C = hessian(data), np.asarray(law(data, 0.0).noise)
    commutator = H @ C - C @ H
    assert np.linalg.norm(commutator) > 0.05 * np.linalg.norm(H @ C)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
def test_phase_space_covariance_of_minibatch_sgd(data, momentum):
    estimate = measured(descent(data, momentum), Covariance(of=phase))
    comparison = sgd.compare(estimate, law(data, momentum).stationary_covariance(), level=1e-3)
    assert comparison.agrees, str(comparison)
    for wrong in (frozen(data, momentum), commuting(data, momentum)):
        assert not sgd.compare(estimate, wrong, level=1e-3).agrees


def overdamped(data, momentum, lags):
    """Autocovariance of θ of dθ = −H θ dτ + noise, τ = η k/(1−β): a start in the same law, and no velocity."""
    M = np.asarray(law(data, momentum).stationary_covariance())[:INPUTS, :INPUTS]
    h, V = np.linalg.eigh(hessian(data))
    decay = np.exp(-h[None, :] * LEARNING_RATE / (1 - momentum) * np.asarray(lags)[:, None])
    return (V * decay[:, None, :]) @ V.T @ M


@pytest.mark.parametrize("momentum", [0.9, 0.99])
def test_a_law_without_inertia_is_rejected_by_the_motion(data, momentum):
    dynamics, lags = descent(data, momentum), (4, 8, 16, 32, 64, 128)
    estimate = measured(dynamics, Autocovariance(lags), steps=512, every=4)
    comparison = sgd.compare(estimate, sgd.predict(dynamics).autocovariance(jnp.array(lags)), level=1e-3)
    assert comparison.agrees, str(comparison)
    assert not sgd.compare(estimate, overdamped(data, momentum, lags), level=1e-3).agrees


def continuous(data, momentum, learning_rate):
    """The SDE's law, by the closed moments of its state-dependent noise."""
    moments = recursion.UnderdampedMoments(
        data.x, data.y, learning_rate=learning_rate, sampling_factor=1 / BATCH[momentum], momentum=momentum
    )
    return moments.stationary_covariance()


@pytest.mark.parametrize(
    ("momentum", "learning_rate", "agrees"), [(0.5, 0.002, True), (0.5, 0.4, False), (0.9, 0.002, True)]
)
def test_the_continuous_law_holds_in_its_limit(data, momentum, learning_rate, agrees):
    """Its error is η h/(2(1 + β)) along each mode: a half in a thousand at most, and a tenth."""
    problem = descent(data, momentum).problem
    dynamics = sgd.SGD(problem, learning_rate=learning_rate, sampler=BATCH[momentum], momentum=momentum)
    run = sgd.simulate(
        dynamics, Covariance(of=phase), replicas=REPLICAS, steps=1000, every=100, key=KEY, groups=64,
        initial=sgd.predict(dynamics), burn_in=2000,
    )  # fmt: skip
    comparison = sgd.compare(run.estimates, continuous(data, momentum, learning_rate), level=1e-3)
    assert comparison.agrees == agrees, str(comparison)


@pytest.mark.parametrize("law_of", ["discrete", "continuous"])
def test_derivatives_of_the_stationary_variance_are_finite_differences(data, law_of):
    kind = {"discrete": recursion.MinibatchMoments, "continuous": recursion.UnderdampedMoments}[law_of]

    @jax.jit
    def variance(settings):
        η, β = settings
        law = kind(data.x, data.y, learning_rate=η, sampling_factor=1 / 8, momentum=β)
        return jnp.trace(law.stationary_covariance()[:INPUTS, :INPUTS])

    at, step = jnp.array([0.05, 0.9]), 1e-5
    forward, backward = jax.jacfwd(variance)(at), jax.jacrev(variance)(at)
    shifts = step * at[:, None] * jnp.eye(2)
    differences = [(variance(at + s) - variance(at - s)) / (2 * jnp.sum(s)) for s in shifts]
    np.testing.assert_allclose(forward, differences, rtol=1e-7)
    np.testing.assert_allclose(backward, forward, rtol=1e-10)
