"""The free energy along the Fokker-Planck flow, against NumPy's Kullback-Leibler divergence and derivatives in time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from sgdynamics.theory import momentum, ou

rng = np.random.default_rng(63)
κ = 0.3


def positive(d):
    root = rng.normal(size=(d, d))
    return root @ root.T / d + 0.2 * np.eye(d)


H, C = positive(3), positive(3)
PHASE = momentum.phase_space(H, C, learning_rate=0.1, momentum=0.8, mean=rng.normal(size=3))
TURNING = ou.OrnsteinUhlenbeck(positive(6) + np.triu(rng.normal(size=(6, 6)), 1) / 4, positive(6), rng.normal(size=6))
MEANS, SPREADS = rng.normal(size=(4, 6)), np.stack([positive(6) for _ in range(4)])


def divergence(m, P, μ, M):
    """KL(N(m, P) ‖ N(μ, M)), slowly."""
    inverse = np.linalg.inv(M)
    logs = np.log(np.linalg.det(M)) - np.log(np.linalg.det(P))
    return (np.trace(inverse @ P) - len(m) + (m - μ) @ inverse @ (m - μ) + logs) / 2


@pytest.mark.parametrize("process", [PHASE, TURNING])
def test_against_definitions(process):
    """KL, and F = E Ψ − H/κ with the Ψ of the decomposition and NumPy's determinant."""
    m, P = MEANS, SPREADS
    M, μ = np.asarray(process.stationary_covariance()), np.asarray(process.mean)
    slow = np.array([divergence(a, B, μ, M) for a, B in zip(m, P, strict=True)])
    np.testing.assert_allclose(momentum.relative_entropy(process, m, P), slow, rtol=1e-9)
    law = momentum.process_decomposition(process, inverse_temperature=κ)
    mean_loss = law.modified_loss(m) + np.trace(np.asarray(law.modified_hessian) @ P, axis1=1, axis2=2) / 2
    entropy = np.linalg.slogdet(2 * np.pi * np.e * P)[1] / 2
    F = momentum.free_energy(process, m, P, inverse_temperature=κ)
    np.testing.assert_allclose(F, mean_loss - entropy / κ, rtol=1e-9)
    least = momentum.equilibrium_free_energy(process, inverse_temperature=κ)
    np.testing.assert_allclose(F - least, slow / κ, rtol=1e-8)
    np.testing.assert_allclose(least, -np.linalg.slogdet(2 * np.pi * M)[1] / 2 / κ, rtol=1e-9)


@pytest.mark.parametrize("process", [PHASE, TURNING])
def test_the_rate_is_the_derivative_along_the_flow(process):
    """Of both kinds: noise on the velocity only, and noise on all with broken detailed balance.

    dm/dt = −A (m − μ) and dP/dt = −A P − P Aᵀ + N, along which F is differentiated automatically.
    """
    A, N = np.asarray(process.drift), np.asarray(process.noise)
    dm = -(MEANS - np.asarray(process.mean)) @ A.T
    dP = -A @ SPREADS - SPREADS @ A.T + N
    F = functools.partial(momentum.free_energy, process, inverse_temperature=κ)
    slope = jax.jit(lambda *law: jax.jvp(F, law, (dm, dP))[1])(MEANS, SPREADS)
    rate = momentum.free_energy_rate(process, MEANS, SPREADS, inverse_temperature=κ)
    np.testing.assert_allclose(rate, slope, rtol=1e-8)
    assert np.all(rate < 0)


def test_noise_on_the_velocity_only_may_pause():
    """With only θ off its law dF/dt = 0 at once, and F falls thereafter; without the circulation it could not."""
    M = np.asarray(PHASE.stationary_covariance())
    off = M @ np.array([0.7, -0.3, 0.2, 0, 0, 0])  # U D U (m − μ) = 0: the gradient of Ψ is along θ only
    A, μ = np.asarray(PHASE.drift), np.asarray(PHASE.mean)
    means = μ + np.stack([scipy.linalg.expm(-A * t) @ off for t in (0.0, 0.05, 0.3, 1.0)])
    laws = means, np.broadcast_to(M, (4, 6, 6))
    assert abs(momentum.free_energy_rate(PHASE, *laws)[0]) < 1e-12
    assert np.all(np.diff(momentum.free_energy(PHASE, *laws)) < 0)


def test_it_is_least_in_the_stationary_law():
    """0 rate and 0 gradient there, the digits of a small divergence kept, and derivatives without NaN."""
    M, μ = PHASE.stationary_covariance(), PHASE.mean
    assert abs(momentum.relative_entropy(PHASE, μ, M)) < 1e-20
    assert abs(momentum.free_energy_rate(PHASE, μ, M)) < 1e-20
    np.testing.assert_allclose(momentum.relative_entropy(PHASE, μ, M * (1 + 1e-9)), 6 * 1e-18 / 4, rtol=1e-5)
    F = jax.jit(lambda s: momentum.free_energy(PHASE, μ, s * M))
    slope, curved = jax.jit(lambda s: (jax.grad(F)(s), jax.grad(jax.grad(F))(s)))(1.0)
    assert abs(slope) < 1e-9
    np.testing.assert_allclose(curved, 3, rtol=1e-6)  # half the dimension


@pytest.mark.long
def test_derivatives_with_respect_to_the_process():
    """Of modified losses, singular noise included, free energy and rate; the reverse mode goes through the forward."""
    singular, x = np.diag([1.0, 0.7, 0.0]), rng.normal(size=6)

    def everything(p):
        setting = {"learning_rate": p[0], "momentum": p[1]}
        process = momentum.phase_space(H, C, **setting)
        return jnp.stack([
            momentum.decomposition(H, C, **setting).modified_loss(x),
            momentum.position_loss(x[:3], singular, 0.5 * singular, **setting),
            momentum.free_energy(process, MEANS[0], SPREADS[0]),
            momentum.free_energy_rate(process, MEANS[0], SPREADS[0]),
        ])  # fmt: skip

    at, ε = np.array([0.1, 0.8]), 1e-6  # the differences not compiled: that would take longer than they do
    finite = np.stack([(everything(at + e) - everything(at - e)) / (2 * ε) for e in ε * np.eye(2)], axis=1)
    np.testing.assert_allclose(jax.jit(jax.jacrev(everything))(at), finite, rtol=1e-5)


def test_laws_without_density():
    with pytest.raises(ValueError, match=r"covariance.*positive definite"):
        momentum.free_energy(PHASE, MEANS[0], np.diag([1.0, 1, 1, 1, 1, 0]))
    flat = momentum.phase_space(np.diag([1.0, 2.0, 0.0]), np.diag([1.0, 2.0, 0.0]), learning_rate=0.1, momentum=0.5)
    with pytest.raises(ValueError, match=r"process\.noise.*density"):
        momentum.free_energy(flat, MEANS[0], SPREADS[0])
    with pytest.raises(ValueError, match="inverse_temperature"):
        momentum.free_energy_rate(PHASE, MEANS[0], SPREADS[0], inverse_temperature=0.0)
