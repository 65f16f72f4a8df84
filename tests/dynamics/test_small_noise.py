"""The weak scheme for small noise: its step by hand, and its orders from exact moments; nothing is sampled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics.dynamics import SmallNoiseHeun
from sgdynamics.dynamics._brownian import increment

KEY = jax.random.key(2)
# a scalar process whose moments close, dx = −x dt + √ε (0.5 + x) dW: geometric, with a drift
DRIFT = lambda t, x: -x
ONE = np.ones(1)


def multiplicative(ε, substeps=1):
    return sgd.ItoProcess(DRIFT, lambda t, x: jnp.sqrt(ε) * (0.5 + x), initial=ONE, time_step=0.5, substeps=substeps)


def second_moment(ε, t):
    """d E x²/dt = −2 E x² + ε E(½ + x)², E x = e^{−t}, from x = 1."""
    a = 2 - ε
    particular = lambda t: ε * (0.25 / a + np.exp(-t) / (a - 1))
    return particular(t) + (1 - particular(0)) * np.exp(-a * t)


def moments_after(steps, step):
    """E x, E x² after so many of x' = α + β x + (γ + δ x) z, z ~ N(0, 1), read off a step that is affine in x and z."""
    at = lambda x, z: float(step(jnp.array([x]), jnp.array([z]))[0])
    α, γ = at(0.0, 0.0), at(0.0, 1.0) - at(0.0, 0.0)
    β, δ = at(1.0, 0.0) - α, at(1.0, 1.0) - at(1.0, 0.0) - γ
    m = M = 1.0
    for _ in range(steps):
        m, M = α + β * m, α**2 + 2 * α * β * m + β**2 * M + γ**2 + 2 * γ * δ * m + δ**2 * M
    return m, M


def error(ε, steps, scheme):
    """Of E x² at t = 1, in so many steps."""
    process, dt = multiplicative(ε), jnp.array(1 / steps)
    if scheme == "heun":
        step = lambda x, z: SmallNoiseHeun(process).after(jnp.array(0.0), x, dt, z * jnp.sqrt(dt))
    else:
        step = lambda x, z: x + process.displacement(jnp.int32(0), jnp.array(0.0), x, dt, z * jnp.sqrt(dt))
    return moments_after(steps, step)[1] - second_moment(ε, 1.0)


def order(errors):
    return np.log2(abs(errors[0] / errors[1]))


def test_in_steps_as_long_as_the_noise_is_large_it_is_of_order_two_and_euler_of_order_one():
    """dt = ε: that of a Langevin equation in one substep, whose ε is the learning rate."""
    coarse, fine = 128, 256
    heun, euler = ([error(1 / n, n, scheme) for n in (coarse, fine)] for scheme in ("heun", "euler"))
    assert abs(order(heun) - 2) < 0.05
    assert abs(order(euler) - 1) < 0.05
    assert abs(heun[1]) < 0.01 * abs(euler[1])


def test_at_large_multiplicative_noise_it_is_of_order_one():
    """Itô's double integrals are left out: no scheme of weak order 2 there."""
    assert abs(order([error(0.5, n, "heun") for n in (32, 64)]) - 1) < 0.02


def test_its_step_is_its_equation_on_the_processs_own_increments():
    ε, process = 0.3, multiplicative(0.3, substeps=2)
    scheme = SmallNoiseHeun(process)
    x, dt = jnp.array([1.0]), 0.25
    for n in range(4):
        dW = increment(KEY, jnp.int32(n), jnp.array(dt), process.sources())
        N = np.sqrt(ε) * (0.5 + x - x * dt / 2) * dW
        x = x + dt / 2 * (-x - (x - x * dt + N)) + N
    state = scheme.init(jnp.array([1.0]))
    for k in range(2):
        state = scheme.step(state, jnp.int32(k), KEY)
    assert jnp.abs(state.position - x).max() < 1e-14
    assert float(scheme.time_step(jnp.int32(0))) == 0.5


def test_without_noise_a_time_dependent_drift_is_integrated_by_heun():
    process = sgd.ItoProcess(lambda t, x: t * x, lambda t, x: 0 * x, initial=ONE, time_step=0.5)
    state = SmallNoiseHeun(process).step(process.init(jnp.array([1.0])), jnp.int32(2), KEY)
    assert np.isclose(state.position[0], 1 + 0.25 * (1.0 + 1.5 * (1 + 0.5)), rtol=1e-14)


def test_the_ensemble_steps_it_by_the_reference_kernel():
    """Kernels for Langevin make Euler-Maruyama's steps."""
    problem = sgd.Problem(sgd.networks.DeepLinear((2, 2, 2), key=KEY), sgd.data.Teacher(np.eye(2), 0.5))
    langevin = sgd.Langevin(problem, learning_rate=0.1, sampler=sgd.samplers.Online(2), substeps=2)
    assert sgd.ensemble.choose(langevin, every=20, dtype=jnp.float32) is not sgd.ensemble.reference_kernel
    assert sgd.ensemble.choose(SmallNoiseHeun(langevin), every=20, dtype=jnp.float32) is sgd.ensemble.reference_kernel


def test_what_it_cannot_step_is_refused():
    problem = sgd.Problem(sgd.networks.Linear(2, 1), sgd.data.Dataset(np.eye(2), np.ones(2)))
    scheduled = sgd.Langevin(problem, learning_rate=lambda step: 0.1 + 0 * step.astype(float), sampler=1)
    decaying = sgd.Langevin(problem, learning_rate=0.1, weight_decay=lambda step: 0.1, sampler=1)
    with pytest.raises(ValueError, match="learning_rate is a schedule"):
        SmallNoiseHeun(scheduled)
    with pytest.raises(ValueError, match="weight_decay is a schedule"):
        SmallNoiseHeun(decaying)
    with pytest.raises(ValueError, match="velocity was given"):
        SmallNoiseHeun(multiplicative(0.1)).init(jnp.zeros(1), jnp.zeros(1))
