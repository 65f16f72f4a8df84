"""A = (D + Q) U for any H and C, App. D's recipe, and equipartition, against definitions and independent solvers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from sgdynamics.theory import momentum, ou

rng = np.random.default_rng(62)


def positive(d):
    root = rng.normal(size=(d, d))
    return root @ root.T / d + 0.2 * np.eye(d)


H, C = positive(3), positive(3)
SETTINGS = [(0.3, 0.0), (0.3, 0.5), (0.05, 0.9), (0.01, 0.99)]


def setting(η, β):
    return {"learning_rate": η, "momentum": β, "weight_decay": 0.15}


@pytest.mark.parametrize(("η", "β"), SETTINGS)
def test_the_sde_of_any_noise(η, β):
    """B by an independent solver; its cross-covariance of θ and v is there, and the closed form would miss it."""
    process = momentum.phase_space(H, C, **setting(η, β))
    A, N = np.asarray(process.drift), np.asarray(process.noise)
    κ = 1 - β**2
    B = κ * scipy.linalg.solve_continuous_lyapunov(A, N)
    law = momentum.decomposition(H, C, form="sde", **setting(η, β))
    scale = np.abs(B).max()
    np.testing.assert_allclose(law.lyapunov, B, rtol=1e-8, atol=1e-10 * scale)
    np.testing.assert_allclose(law.diffusion, κ * N / 2, rtol=1e-8, atol=1e-8 * np.abs(N).max())
    np.testing.assert_allclose(law.circulation, -law.circulation.T)
    drift = (law.diffusion + law.circulation) @ law.modified_hessian
    np.testing.assert_allclose(drift, A, rtol=1e-7, atol=1e-8 * np.abs(A).max())
    assert np.linalg.norm(B[:3, 3:]) > 1e-2 * np.sqrt(np.linalg.norm(B[:3, :3]) * np.linalg.norm(B[3:, 3:]))


@pytest.mark.parametrize(("η", "β"), SETTINGS)
def test_the_steps_of_any_noise(η, β):
    """B by an independent solver, D and Q from the lagged covariances E[x_{k+1} x_kᵀ] and E[x_k x_kᵀ]."""
    steps = momentum.recursion(H, C, **setting(η, β))
    T, N, κ = np.asarray(steps.transition), np.asarray(steps.noise), 1 - β**2
    M = scipy.linalg.solve_discrete_lyapunov(T, N)
    R1 = T @ M
    law = momentum.decomposition(H, C, **setting(η, β))
    size = κ * np.abs(M).max() / η
    np.testing.assert_allclose(law.stationary_covariance(), M, rtol=1e-8, atol=1e-9 * np.abs(M).max())
    np.testing.assert_allclose(law.circulation, -κ * (R1 - R1.T) / (2 * η), atol=1e-8 * size)
    np.testing.assert_allclose(law.diffusion, κ * (2 * M - R1 - R1.T) / (2 * η), atol=1e-8 * size)
    A = (np.eye(6) - T) / η
    np.testing.assert_allclose(law.diffusion, κ * N / (2 * η) + η / 2 * A @ (κ * M) @ A.T, atol=1e-8 * size)
    drift = (law.diffusion + law.circulation) @ law.modified_hessian
    np.testing.assert_allclose(drift, A, rtol=1e-7, atol=1e-7 * np.abs(A).max())


def test_the_force_runs_along_the_level_lines():
    """j · ∇Ψ = 0 and div j = 0 by automatic derivatives; the current is that of the density: j = drift − osmotic."""
    process = momentum.phase_space(H, C, mean=np.array([0.3, -0.2, 0.1]), **setting(0.05, 0.9))
    law = momentum.process_decomposition(process, inverse_temperature=0.19)
    x = jnp.asarray(rng.normal(size=6))
    gradient, turning = jax.jit(lambda x: (jax.grad(law.modified_loss)(x), jax.jacfwd(law.force)(x)))(x)
    j, divergence = np.asarray(law.force(x)), np.trace(turning)
    assert abs(j @ gradient) < 1e-9 * np.linalg.norm(j) * np.linalg.norm(gradient)
    assert abs(divergence) < 1e-9 * np.abs(turning).max()
    M = np.asarray(process.stationary_covariance())
    off = np.asarray(x) - np.asarray(process.mean)
    local = -np.asarray(process.drift) @ off + np.asarray(process.noise) / 2 @ np.linalg.solve(M, off)
    np.testing.assert_allclose(j, local, rtol=1e-7, atol=1e-7 * np.abs(j).max())


def test_a_direction_without_noise_is_left_out():
    """H and C share a null direction, oblique to the axes, and do not commute in the rest."""
    basis = np.linalg.qr(rng.normal(size=(3, 3)))[0][:, :2]
    small, noise, both = positive(2), positive(2), scipy.linalg.block_diag(basis, basis)
    plain = {"learning_rate": 0.001, "momentum": 0.9}
    large = basis @ small @ basis.T, basis @ noise @ basis.T
    sde, steps = momentum.phase_space(*large, **plain), momentum.recursion(*large, **plain)
    within = [both.T @ np.asarray(x) @ both for x in (sde.drift, sde.noise, steps.transition, steps.noise)]
    solutions = {
        "sde": scipy.linalg.solve_continuous_lyapunov(within[0], within[1]),
        "exact": scipy.linalg.solve_discrete_lyapunov(within[2], within[3]),
    }
    for form, M in solutions.items():
        law = momentum.decomposition(*large, form=form, **plain)
        U = both @ np.linalg.inv(M * (1 - 0.9**2)) @ both.T
        np.testing.assert_allclose(law.modified_hessian, U, rtol=1e-6, atol=1e-8 * np.abs(U).max())
        M = both @ M @ both.T
        np.testing.assert_allclose(law.stationary_covariance(), M, rtol=1e-6, atol=1e-8 * np.abs(M).max())
        flat = np.linalg.svd(basis.T)[2][2]
        assert abs(law.modified_loss(np.concatenate([flat, flat]))) < 1e-6 * np.abs(U).max()


def test_no_stationary_law():
    with pytest.raises(ValueError, match=r"learning_rate.*2 \(1 \+ momentum\)"):
        momentum.decomposition(H, C, learning_rate=10.0, momentum=0.5)
    with pytest.raises(ValueError, match="hessian"):
        momentum.decomposition(-H, C, learning_rate=0.1, momentum=0.5)
    with pytest.raises(ValueError, match="0 in directions without curvature"):
        momentum.decomposition(np.diag([1.0, 0.0]), np.eye(2), learning_rate=0.1, momentum=0.5)
    with pytest.raises(ValueError, match="form"):
        momentum.decomposition(H, C, learning_rate=0.1, momentum=0.5, form="published")
    with pytest.raises(ValueError, match="last axis"):
        momentum.decomposition(H, C, learning_rate=0.1, momentum=0.5).modified_loss(np.ones(3))


def test_the_recipe_for_symmetric_drifts():
    """H.4's example by hand; a random one by (24) with NumPy's eigenvectors, and against the Lyapunov equation."""
    A, D = np.array([[2.5, -1.5], [-1.5, 2.5]]), np.diag([4.0, 1.0])
    Q, U = momentum.symmetric_decomposition(A, D)
    np.testing.assert_allclose(Q, [[0, 0.9], [-0.9, 0]], atol=1e-14)
    np.testing.assert_allclose((D + Q) @ U, A, rtol=1e-13)
    A, D = positive(6), positive(6)
    Q, U = momentum.symmetric_decomposition(A, D)
    λ, V = np.linalg.eigh(A)
    expected = V @ ((λ[:, None] - λ[None, :]) / (λ[:, None] + λ[None, :]) * (V.T @ D @ V)) @ V.T
    np.testing.assert_allclose(Q, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(U, np.linalg.inv(scipy.linalg.solve_continuous_lyapunov(A, 2 * D)), rtol=1e-8)
    assert np.abs(momentum.identity_residual(A, D, Q)).max() < 1e-12
    for ours, theirs in zip((Q, U), momentum.symmetric_decomposition(A, D, form="published"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)
    general = momentum.process_decomposition(ou.OrnsteinUhlenbeck(A, 2 * D))
    np.testing.assert_allclose(general.circulation, Q, rtol=1e-9, atol=1e-11)


def test_the_recipe_fails_for_the_drift_of_sgd():
    """Negative control: the same identity that Q of the Lyapunov equation obeys rejects the recipe's, by far."""
    η, β = 0.1, 0.9
    process = momentum.phase_space(H, H, learning_rate=η, momentum=β)
    right = momentum.commuting_decomposition(H, H, learning_rate=η, momentum=β)
    A, D, Q = (np.asarray(x) for x in (process.drift, right.diffusion, right.circulation))
    size = np.abs(A @ D).max()
    assert np.abs(momentum.identity_residual(A, D, Q)).max() < 1e-13 * size
    published, U = (np.asarray(x) for x in momentum.symmetric_decomposition(A, D, form="published"))
    np.testing.assert_allclose(A @ D - D @ A, published @ A + A @ published, atol=1e-9 * size)  # (23) as printed
    λ, V = np.linalg.eig(np.asarray(A))
    inverse = np.linalg.inv(V)
    literal = V @ ((λ[:, None] - λ[None, :]) / (λ[:, None] + λ[None, :]) * (inverse @ D @ V)) @ inverse
    np.testing.assert_allclose(published, literal.real, atol=1e-8)
    assert np.abs(momentum.identity_residual(A, D, published)).max() > 0.1 * size
    assert np.abs(published + published.T).max() > 0.1 * np.abs(published).max()
    B = np.linalg.inv(U)
    assert np.abs(A @ B + B @ A.T - 2 * D).max() > 0.1 * np.abs(D).max()
    with pytest.raises(ValueError, match=r"drift.*symmetric.*process_decomposition"):
        momentum.symmetric_decomposition(A, D)
    with pytest.raises(ValueError, match="positive definite"):
        momentum.symmetric_decomposition(np.diag([1.0, -1.0]), np.eye(2))


@pytest.mark.parametrize(("η", "β"), SETTINGS)
def test_equipartition_mode_by_mode(η, β):
    """Of any noise: both energies of each mode from the full laws of steps and SDE, by independent solvers."""
    h, V = np.linalg.eigh(H)
    modes = scipy.linalg.block_diag(V, V)
    variance, k = np.diag(V.T @ C @ V), h + 0.15
    steps, sde = momentum.recursion(H, C, **setting(η, β)), momentum.phase_space(H, C, **setting(η, β))
    exact = scipy.linalg.solve_discrete_lyapunov(np.asarray(steps.transition), np.asarray(steps.noise))
    continuous = scipy.linalg.solve_continuous_lyapunov(np.asarray(sde.drift), np.asarray(sde.noise))
    for form, M in {"exact": exact, "sde": continuous}.items():
        moments = np.diag(modes.T @ M @ modes)
        found = momentum.equipartition(h, variance, form=form, **setting(η, β))
        np.testing.assert_allclose(found.potential, k * moments[:3] / 2, rtol=1e-8)
        np.testing.assert_allclose(found.kinetic, η * (1 + β) / 4 * moments[3:], rtol=1e-8)
        total = momentum.energies(H, M, **setting(η, β))
        np.testing.assert_allclose(total.potential, np.sum(found.potential), rtol=1e-8)
        np.testing.assert_allclose(total.kinetic, np.sum(found.kinetic), rtol=1e-8)
    published = η / (4 * (1 - β)) * np.trace(C)
    np.testing.assert_allclose(np.sum(momentum.equipartition(h, variance, form="sde", **setting(η, β))[0]), published)


def test_equipartition_broadcasts_and_refuses():
    h, β = np.array([0.5, 1.0, 0.0]), np.array([[0.0], [0.9]])
    found = momentum.equipartition(h, np.array([1.0, 2.0, 0.0]), learning_rate=0.1, momentum=β)
    assert found.potential.shape == (2, 3)
    np.testing.assert_allclose(found.potential[:, 2], 0)
    assert momentum.equipartition(1.0, 1.0, learning_rate=0.1, momentum=0.5).kinetic.shape == ()
    with pytest.raises(ValueError, match="noise_variance"):
        momentum.equipartition(0.0, 1.0, learning_rate=0.1, momentum=0.5)
    with pytest.raises(ValueError, match="learning_rate"):
        momentum.equipartition(50.0, 1.0, learning_rate=0.1, momentum=0.5)
    with pytest.raises(ValueError, match="curvature"):
        momentum.equipartition(-1.0, 1.0, learning_rate=0.1, momentum=0.5)


def test_the_constant_of_equipartition():
    """E L_λ − E K by Monte Carlo-free moments: L_λ(μ) found by minimising; the printed constant is rejected."""
    μ0, λ = rng.normal(size=3), 0.15

    def loss(θ):
        return (θ - μ0) @ H @ (θ - μ0) / 2 + λ * jnp.sum(θ**2) / 2

    μ = momentum.regularised_minimum(H, μ0, weight_decay=λ)
    np.testing.assert_allclose(jax.grad(loss)(μ), 0, atol=1e-12)
    exact = momentum.minimum_loss(H, μ0, weight_decay=λ)
    np.testing.assert_allclose(exact, loss(μ), rtol=1e-12)
    np.testing.assert_allclose(exact, λ * μ0 @ μ / 2, rtol=1e-12)
    # E L_λ of the steps, exact for a quadratic loss by its second derivative
    law = momentum.decomposition(H, C, mean=μ, **setting(0.05, 0.9))
    M = law.stationary_covariance()
    expected = loss(μ) + np.trace(np.asarray(jax.hessian(loss)(μ)) @ M[:3, :3]) / 2
    kinetic = momentum.energies(H, M, **setting(0.05, 0.9)).kinetic
    np.testing.assert_allclose(expected, exact + kinetic, rtol=1e-10)
    published = momentum.minimum_loss(H, μ0, weight_decay=λ, form="published")
    assert abs(expected - published - kinetic) > 0.05 * exact
    v = rng.normal(size=(4, 3))
    energy = momentum.kinetic_energy(v, learning_rate=0.05, momentum=0.9)
    np.testing.assert_allclose(energy, 0.05 * 1.9 / 4 * np.sum(v**2, axis=1))


def test_the_minimum_of_a_singular_hessian():
    """Without weight decay it stays where it was, with little it loses the flat part; derivatives are finite."""
    flat, μ0 = np.diag([1.0, 0.0]), np.array([0.7, -0.4])
    np.testing.assert_allclose(momentum.regularised_minimum(flat, μ0, weight_decay=0.0), μ0)
    np.testing.assert_allclose(momentum.regularised_minimum(flat, μ0, weight_decay=0.1), [0.7 / 1.1, 0], atol=1e-15)

    def μ(λ):
        return momentum.regularised_minimum(H, np.ones(3), weight_decay=λ)

    np.testing.assert_allclose(jax.jit(jax.jacfwd(μ))(0.0), -np.linalg.solve(H, np.ones(3)), rtol=1e-9)
