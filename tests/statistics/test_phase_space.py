"""Phase space along modes, and how fast its planes turn."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from sgdynamics.statistics import (
    AngularVelocity,
    Groups,
    PhaseSpace,
    Projection,
    Records,
    Snapshots,
)

BOTH = PhaseSpace(np.eye(2))


def recursion(M, noise, records, replicas, seed):
    """z' = M z + noise [planes, 2], started from its law; positions and velocities [records + 1, replicas, planes]."""
    rng = np.random.default_rng(seed)
    Σ = np.stack([linalg.solve_discrete_lyapunov(m, n) for m, n in zip(M, noise, strict=True)])
    roots, kicks = np.linalg.cholesky(Σ), np.linalg.cholesky(noise)
    z = [np.einsum("kab,rkb->rka", roots, rng.normal(size=(replicas, len(M), 2)))]
    for _ in range(records):
        kick = np.einsum("kab,rkb->rka", kicks, rng.normal(size=(replicas, len(M), 2)))
        z.append(np.einsum("kab,rkb->rka", M, z[-1]) + kick)
    return np.stack(z)[..., 0], np.stack(z)[..., 1]


def rotation(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def test_phase_space_is_positions_then_velocities_along_the_modes(record):
    rng = np.random.default_rng(0)
    θ, v, V, origin = rng.normal(size=(3, 5, 4)), rng.normal(size=(3, 5, 4)), rng.normal(size=(4, 2)), np.arange(4.0)
    values = record.estimate(Snapshots((2,), PhaseSpace(V, origin)), θ, velocity=v).values[0]
    assert np.allclose(values, np.concatenate([(θ[2] - origin) @ V, v[2] @ V], axis=1))
    one = PhaseSpace(V[:, 0], origin)(record.States(jnp.asarray(θ[0, 0]), jnp.asarray(v[0, 0])))
    assert np.allclose(one, [(θ[0, 0] - origin) @ V[:, 0], v[0, 0] @ V[:, 0]])


def test_phase_space_needs_a_velocity(record):
    with pytest.raises(ValueError, match="this dynamics has no velocity"):
        BOTH(record.States(jnp.zeros(2)))
    with pytest.raises(ValueError, match="directions has 2 rows, but the state has 3"):
        BOTH(record.States(jnp.zeros(3), jnp.zeros(3)))


def test_damped_noisy_rotations_turn_by_their_angle_and_not_by_another(record):
    """Anticlockwise and clockwise, of very different damping, in stretched and sheared coordinates, off centre."""
    angles = np.array([0.5, -1.2])
    M = np.stack([0.9 * rotation(0.5), 0.3 * rotation(-1.2)])
    x, v = recursion(M, np.stack([np.eye(2)] * 2), 60, 1024, seed=1)
    estimate = record.estimate(AngularVelocity(BOTH), x, velocity=v, groups=32)
    assert estimate.value.shape == (2,) and np.all(estimate.standard_error < 0.02)
    assert np.max(np.abs(estimate.z(angles))) < record.worst_allowed(estimate, 2)
    assert np.min(np.abs(estimate.z(1.1 * angles))) > record.worst_allowed(estimate, 2)
    # another linear choice of coordinates that keeps the sense, and another centre: the same to rounding
    sheared = record.estimate(AngularVelocity(BOTH), 3 * x + 7, velocity=0.01 * (v + 2 * x) - 5, groups=32)
    assert np.allclose(sheared.value, estimate.value, rtol=1e-9)
    assert np.allclose(sheared.standard_error, estimate.standard_error, rtol=1e-9)
    mirrored = record.estimate(AngularVelocity(BOTH), x, velocity=-v, groups=32)
    assert np.allclose(mirrored.value, -estimate.value)


@pytest.mark.parametrize("friction", [0.1, 3.0], ids=["underdamped", "overdamped"])
def test_an_oscillator_turns_clockwise_at_its_natural_frequency(record, friction):
    """dx = v dt, dv = −(ω₀² x + 2γ v) dt + noise, sampled every 0.05: tan φ = −(ω₀/ω_d) tan(ω_d τ)."""
    ω, τ = 1.7, 0.05
    A = np.array([[0.0, 1.0], [-(ω**2), -2 * friction]])
    M, Σ = linalg.expm(A * τ), np.diag([1.0, ω**2])
    x, v = recursion(M[None], (Σ - M @ Σ @ M.T)[None], 300, 256, seed=2)
    damped = np.sqrt(complex(ω**2 - friction**2))
    exact = np.arctan(-ω / damped * np.tan(damped * τ)).real
    estimate = record.estimate(AngularVelocity(PhaseSpace(np.ones(1))), x, velocity=v, groups=32)
    assert abs(estimate.z(exact)[0]) < record.worst_allowed(estimate, 1)
    assert abs(estimate.value[0] / (-ω * τ) - 1) < 0.1
    assert abs(estimate.z(-abs(damped) * τ / 2)[0]) > record.worst_allowed(estimate, 1)


def test_no_rotation_where_detailed_balance_holds(record):
    """Two autoregressions of different pace, in mixed coordinates."""
    a, b = record.ar1(0.9, 60, 1024, 2, seed=3), record.ar1(0.2, 60, 1024, 2, seed=4)
    estimate = record.estimate(AngularVelocity(BOTH), a + b, velocity=a - 2 * b, groups=32)
    assert np.max(np.abs(estimate.z(0))) < record.worst_allowed(estimate, 2) and np.all(estimate.standard_error < 0.02)


def test_lag_and_every_count_in_steps(record):
    M = 0.9 * rotation(0.2)
    x, v = recursion(M[None], np.eye(2)[None], 60, 512, seed=5)
    one = PhaseSpace(np.ones(1))
    estimate = record.estimate(AngularVelocity(one, lag=4), x[::2], velocity=v[::2], every=2, groups=32)
    assert abs(estimate.z(0.2)[0]) < record.worst_allowed(estimate, 1) and estimate.standard_error[0] < 0.02


def test_merging_in_float32_far_from_the_origin(record):
    """Against tr Σ⁻¹C and the area swept, of all pairs at once, through a square root of Σ."""
    x, v = recursion((0.9 * rotation(0.4))[None], np.eye(2)[None], 40, 64, seed=6)
    x = (1000 + x + np.linspace(0, 3, 41)[:, None, None]).astype(np.float32)
    v, one = v.astype(np.float32), AngularVelocity(PhaseSpace(np.ones(1)))
    a, b = (record.sums(one, x[s], velocity=v[s], groups=1) for s in (slice(0, 21), slice(20, 41)))
    z = np.stack([x[..., 0], v[..., 0]], axis=-1).astype(float)
    then, now = (part.reshape(-1, 2) - part.mean((0, 1)) for part in (z[:-1], z[1:]))
    root = np.linalg.cholesky((np.cov(then.T) + np.cov(now.T)) / 2)
    then, now = (np.linalg.solve(root, part.T) for part in (then, now))
    expected = np.arctan2(np.mean(then[0] * now[1] - then[1] * now[0]), np.mean(np.sum(then * now, axis=0)))
    for pair in ((a, b), (b, a)):
        assert np.allclose(one.finalise(record.merged(one, *pair)).value, expected, rtol=1e-4)


def test_what_cannot_turn(record):
    x = np.ones((61, 1024, 2))
    still = record.estimate(AngularVelocity(BOTH), x, velocity=x, groups=32)
    assert np.all(np.isnan(still.value))
    with pytest.raises(ValueError, match="of has 3 components, but it must have positions and as many velocities"):
        states = record.States(jnp.zeros((4, 3)))
        AngularVelocity(Projection(np.eye(3))).init(states, jnp.ones(4, bool), Groups(4), Records(3))
    with pytest.raises(ValueError, match="lag = 0"):
        AngularVelocity(BOTH, lag=0)
