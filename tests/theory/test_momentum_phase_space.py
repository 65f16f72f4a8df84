"""Momentum in phase space, against SGD steps written out, the SDE's coefficients in NumPy, and independent solvers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from sgdynamics.theory import momentum

rng = np.random.default_rng(61)
root = rng.normal(size=(3, 3))
H = root @ root.T / 3 + 0.2 * np.eye(3)
root = rng.normal(size=(3, 3))
C = root @ root.T
LAW = {"learning_rate": 0.05, "momentum": 0.8, "weight_decay": 0.1}


def blocks(first, second):
    zero = np.zeros((3, 3))
    return np.block([[np.asarray(first), zero], [zero, np.asarray(second)]])


def noise_that_commutes(hessian):
    vectors = np.linalg.eigh(hessian)[1]
    return vectors @ np.diag(rng.uniform(0.5, 2, len(hessian))) @ vectors.T


@pytest.mark.parametrize("β", [0.0, 0.5, 0.9, 0.99])
def test_the_recursion_is_the_steps_of_sgd(β):
    """T and the noise from SGD as written in Eq. (2), by automatic derivatives with respect to state and noise."""
    η, λ = 0.05, 0.1

    def step(x, ξ):
        θ, v = x[:3], x[3:]
        v = β * v - H @ θ - ξ - λ * θ
        return jnp.concatenate([θ + η * v, v])

    T, kick = jax.jacfwd(step, argnums=(0, 1))(jnp.asarray(rng.normal(size=6)), jnp.zeros(3))
    process = momentum.recursion(H, C, learning_rate=η, momentum=β, weight_decay=λ)
    np.testing.assert_allclose(process.transition, T, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(process.noise, kick @ C @ kick.T, rtol=1e-13, atol=1e-15)
    M = scipy.linalg.solve_discrete_lyapunov(np.asarray(T), np.asarray(kick @ C @ kick.T))
    np.testing.assert_allclose(process.stationary_covariance(), M, rtol=1e-9, atol=1e-9 * np.abs(M).max())


@pytest.mark.parametrize("β", [0.0, 0.5, 0.9, 0.99])
def test_the_sde_is_equation_3(β):
    """Drift and noise from (3) written out; the paper's 2κ⁻¹D with C = Σ/S is the same noise."""
    η, λ, S, μ = 0.05, 0.1, 4.0, rng.normal(size=3)
    Σ = S * C

    def drift(x):
        θ, v = x[:3], x[3:]
        g = (H + λ * np.eye(3)) @ (θ - μ)
        return jnp.concatenate([v, -2 / (η * (1 + β)) * (g + (1 - β) * v)])

    process = momentum.phase_space(H, C, learning_rate=η, momentum=β, weight_decay=λ, mean=μ)
    np.testing.assert_allclose(process.drift, -jax.jacfwd(drift)(jnp.zeros(6)), rtol=1e-13)
    np.testing.assert_allclose(drift(process.mean), 0, atol=1e-12)
    published = 2 / (S * (1 - β**2)) * 2 * (1 - β) / (η * (1 + β)) * Σ
    np.testing.assert_allclose(process.noise[3:, 3:], published, rtol=1e-13)
    np.testing.assert_allclose(process.noise[:3], 0)
    np.testing.assert_allclose(process.noise[3:, 3:], (2 / (np.sqrt(η * S) * (1 + β))) ** 2 * Σ, rtol=1e-13)


def test_the_sde_is_the_limit_of_the_steps():
    """The relative difference of the two stationary laws falls with the learning rate."""

    def difference(η):
        setting = {"learning_rate": η, "momentum": 0.8}
        steps = momentum.recursion(H, C, **setting).stationary_covariance()[:3, :3]
        sde = momentum.phase_space(H, C, **setting).stationary_covariance()[:3, :3]
        return np.abs(steps - sde).max() / np.abs(sde).max()

    assert 9 < difference(1e-2) / difference(1e-3) < 11


@pytest.mark.parametrize("β", [0.0, 0.5, 0.9, 0.99])
def test_closed_forms_of_commuting_noise(β):
    """(8), (43), (47) against a Lyapunov solver that knows nothing of them."""
    η, λ, κ = 0.03, 0.2, 1 - β**2
    commuting = noise_that_commutes(H)
    setting = {"learning_rate": η, "momentum": β, "weight_decay": λ}
    process = momentum.phase_space(H, commuting, **setting)
    A, N = np.asarray(process.drift), np.asarray(process.noise)
    M = scipy.linalg.solve_continuous_lyapunov(A, N)
    law = momentum.commuting_decomposition(H, commuting, **setting)
    np.testing.assert_allclose(law.stationary_covariance(), M, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(law.modified_hessian, np.linalg.inv(M) / κ, rtol=1e-8, atol=1e-7)
    np.testing.assert_allclose(law.diffusion, κ * N / 2, rtol=1e-12)
    np.testing.assert_allclose(law.circulation, κ * (A @ M - N / 2), rtol=1e-9, atol=1e-9)
    position, velocity = momentum.commuting_covariance(H, commuting, **setting)
    np.testing.assert_allclose(blocks(position, velocity), M, rtol=1e-9, atol=1e-9)


def test_modified_loss_and_force_of_commuting_noise():
    """Ψ = −log p/κ up to a constant, and j the drift less that of a gradient: with μ, at many points."""
    η, β, λ = 0.03, 0.7, 0.2
    commuting, μ = noise_that_commutes(H), rng.normal(size=3)
    setting = {"learning_rate": η, "momentum": β, "weight_decay": λ}
    law = momentum.commuting_decomposition(H, commuting, mean=μ, **setting)
    x = rng.normal(size=(2, 4, 6))
    normal = scipy.stats.multivariate_normal(law.mean, law.stationary_covariance())
    Ψ = (normal.logpdf(law.mean) - normal.logpdf(x)) / (1 - β**2)
    np.testing.assert_allclose(law.modified_loss(x), Ψ, rtol=1e-9)
    parts = momentum.position_loss(x[..., :3] - μ, H, commuting, **setting)
    parts = parts + momentum.velocity_loss(x[..., 3:], commuting)
    np.testing.assert_allclose(parts, Ψ, rtol=1e-9)
    K, c0 = H + λ * np.eye(3), 2 / (η * (1 + β))
    j = np.concatenate([x[..., 3:], -c0 * (x[..., :3] - μ) @ K], axis=-1)
    np.testing.assert_allclose(law.force(x), j, rtol=1e-9)


def test_noise_like_the_hessian_makes_the_position_isotropic():
    """C = σ² H, no weight decay: Ψ_θ = c₀|θ|²/(2σ²), and Ψ_v is steepest where H is flattest."""
    σ2, setting = 0.3, {"learning_rate": 0.01, "momentum": 0.9}
    θ = rng.normal(size=(5, 3))
    Ψ = momentum.position_loss(θ, H, σ2 * H, **setting)
    np.testing.assert_allclose(Ψ, np.sum(θ**2, axis=1) / (0.01 * 1.9 * σ2), rtol=1e-10)
    v = np.linalg.eigh(H)[1].T
    assert np.all(np.diff(momentum.velocity_loss(v, σ2 * H)) < 0)


def test_flat_directions_without_noise_are_left_out():
    """As the same process in the two other directions: no NaN, no inverse of 0, and no weight on the flat one."""
    basis = np.linalg.qr(rng.normal(size=(3, 3)))[0][:, :2]
    H, setting = basis @ np.diag([0.5, 2.0]) @ basis.T, {"learning_rate": 0.03, "momentum": 0.7}
    law = momentum.commuting_decomposition(H, 0.4 * H, **setting)
    P, c0 = basis @ basis.T, 2 / (0.03 * 1.7)
    U = blocks(c0 / 0.4 * P, basis @ np.diag([2.0, 0.5]) @ basis.T / 0.4)
    B = blocks(0.4 / c0 * P, 0.4 * H)
    np.testing.assert_allclose(law.modified_hessian, U, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(law.lyapunov, B, rtol=1e-9, atol=1e-12)
    flat = np.linalg.svd(basis.T)[2][2]
    assert abs(law.modified_loss(np.concatenate([flat, flat]))) < 1e-9


def test_noise_that_does_not_commute_needs_the_general_form():
    with pytest.raises(ValueError, match=r"noise_covariance.*same eigenvectors.*momentum\.decomposition"):
        momentum.commuting_decomposition(H, C, **LAW)
    with pytest.raises(Exception, match="same eigenvectors"):
        jax.jit(lambda C: momentum.commuting_covariance(H, C, **LAW)[0])(C)


def test_bad_arguments():
    for name, bad in {"learning_rate": 0.0, "momentum": 1.0, "weight_decay": -0.1}.items():
        with pytest.raises(ValueError, match=name):
            momentum.phase_space(H, C, **(LAW | {name: bad}))
    with pytest.raises(ValueError, match="noise_covariance"):
        momentum.recursion(H, -C, **LAW)
    with pytest.raises(ValueError, match="hessian"):
        momentum.phase_space(np.triu(H), C, **LAW)
    with pytest.raises(ValueError, match=r"hessian.*negative curvature"):
        momentum.commuting_covariance(-H, H, **LAW)
    with pytest.raises(ValueError, match=r"noise_covariance.*0 in directions without curvature"):
        momentum.commuting_covariance(np.diag([1.0, 0.0]), np.eye(2), learning_rate=0.1, momentum=0.5)


def test_stationary_laws_have_the_derivatives_of_finite_differences():
    """With respect to learning rate, momentum and weight decay; H and C do not commute, C is singular."""
    singular = C @ np.diag([1.0, 0.5, *np.zeros(len(C) - 2)]) @ C.T
    weights = np.cos(np.arange(4 * len(H) ** 2)).reshape(2 * len(H), -1)

    for law in (momentum.phase_space, momentum.recursion):

        @jax.jit
        def f(x, law=law):
            process = law(H, singular, learning_rate=x[0], momentum=x[1], weight_decay=x[2])
            return jnp.sum(weights * process.stationary_covariance())

        x = jnp.array([0.05, 0.6, 0.1])
        slopes = jax.jit(jax.grad(f))(x)
        for i, step in enumerate(np.diag(x * 1e-4)):
            np.testing.assert_allclose(slopes[i], (f(x + step) - f(x - step)) / (2 * step[i]), rtol=1e-5)
