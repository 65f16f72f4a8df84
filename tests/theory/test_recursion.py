"""Linear recursions against explicit sums; minibatch moments against the enumeration of all minibatches."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from sgdynamics.theory.recursion import (
    LangevinMoments,
    LinearRecursion,
    MinibatchMoments,
    _mode_pairs,
    largest_stable_learning_rate,
)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def relative(error, scale):
    return np.linalg.norm(error) / np.linalg.norm(scale)


# ---------------------------------------------------------------- LinearRecursion

T = normal(0, 3, 3) / 3
NOISE = normal(1, 3, 3) @ normal(1, 3, 3).T


def test_white_noise():
    process = LinearRecursion(T, NOISE)
    powers = [np.linalg.matrix_power(T, k) for k in range(200)]
    M = sum(P @ NOISE @ P.T for P in powers)
    np.testing.assert_allclose(process.stationary_covariance(), M, rtol=1e-11)
    R = process.autocovariance(np.array([-2, 0, 1, 9]))
    np.testing.assert_allclose(R[0], (powers[2] @ M).T, rtol=1e-10)
    np.testing.assert_allclose(R[3], powers[9] @ M, rtol=1e-9, atol=1e-12)
    P = np.diag([1.0, 2.0, 3.0])
    after = process.covariance_after(np.array([0, 1, 7]), P)
    expected = powers[7] @ P @ powers[7].T + sum(Q @ NOISE @ Q.T for Q in powers[:7])
    np.testing.assert_allclose(after[0], P, rtol=1e-14)
    np.testing.assert_allclose(after[2], expected, rtol=1e-11)
    np.testing.assert_allclose(process.covariance_after(10**9), M, rtol=1e-10)


def coloured():
    """e_k = Σ_j C_j ε_{k−j}, j = 0, 1, 2: moving-average noise with memory 2."""
    C = normal(2, 3, 3, 3)
    G = [sum(C[j + h] @ C[j].T for j in range(3 - h)) for h in range(3)]
    return C, LinearRecursion(T, G[0], np.stack(G[1:]))


def test_coloured_noise():
    """x_k = Σ_n A_n ε_{k−1−n} with A_n = Σ_j Tⁿ⁻ʲ C_j: all moments by summation."""
    C, process = coloured()
    powers = [np.linalg.matrix_power(T, k) for k in range(200)]

    def response(length, steps=200):
        # noise before step 0 does not count where the process starts at step 0 from e_0, e_1, ...
        return [sum(powers[n - j] @ C[j] for j in range(3) if 0 <= n - j < steps) for n in range(length)]

    A = response(200)
    M = sum(a @ a.T for a in A)
    np.testing.assert_allclose(process.stationary_covariance(), M, rtol=1e-10)
    for lag in (0, 1, 2, 3, 8):
        expected = sum(A[n + lag] @ A[n].T for n in range(200 - lag))
        np.testing.assert_allclose(process.autocovariance(lag), expected, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(process.autocovariance(-lag), expected.T, rtol=1e-9, atol=1e-11)
    for steps in (0, 1, 2, 3, 10):
        # e_0 … e_{steps−1} reach back two ε further
        B = response(steps + 2, steps) if steps else []
        expected = sum((b @ b.T for b in B), np.zeros((3, 3)))
        np.testing.assert_allclose(process.covariance_after(steps), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.long
def test_recursion_derivatives():
    _, process = coloured()

    def quantities(scale):
        p = LinearRecursion(T * scale, process.noise * scale, process.noise_autocovariance * scale**2)
        parts = p.stationary_covariance(), p.autocovariance(jnp.array([-1, 6])), p.covariance_after(5)
        return jnp.concatenate([x.ravel() for x in parts])

    slow = (quantities(1 + 1e-5) - quantities(1 - 1e-5)) / 2e-5
    for slope in jax.jit(lambda s: (jax.jacfwd(quantities)(s), jax.jacrev(quantities)(s)))(1.0):
        np.testing.assert_allclose(slope, slow, rtol=1e-6, atol=1e-8)


def test_bad_recursion():
    with pytest.raises(ValueError, match="transition"):
        LinearRecursion(1.1 * np.eye(2), np.eye(2)).stationary_covariance()
    with pytest.raises(ValueError, match="noise"):
        LinearRecursion(np.eye(2), np.eye(2)).stationary_covariance()
    with pytest.raises(ValueError, match="noise"):
        LinearRecursion(np.eye(2), -np.eye(2))
    with pytest.raises((ValueError, TypeCheckError), match="noise"):
        LinearRecursion(np.eye(2), np.eye(3))
    with pytest.raises(ValueError, match="steps"):
        LinearRecursion(np.eye(2) / 2, np.eye(2)).covariance_after(-1)


# ---------------------------------------------------------------- MinibatchMoments


def data(samples, inputs, seed=0):
    x = normal(seed, samples, inputs)
    return x, x @ normal(seed + 1, inputs) + 0.7 * normal(seed + 2, samples)


def factor(samples, batch_size, replacement):
    if replacement:
        return 1 / batch_size
    return (samples - batch_size) / (batch_size * (samples - 1))


def all_batches(samples, batch_size, replacement):
    """Every equally likely minibatch."""
    if replacement:
        return list(itertools.product(range(samples), repeat=batch_size))
    return list(itertools.combinations(range(samples), batch_size))


def enumerated(moments, atoms, batches):
    """Mean and second moment after one step of SGD as it is written, from equally likely (θ, v)."""
    x, y, η, β = moments.x, moments.y, moments.learning_rate, moments.momentum
    x, y, μ = np.asarray(x), np.asarray(y), np.asarray(moments.mean)
    d, states = x.shape[1], []
    for atom in atoms:
        θ, v = atom[:d] + μ, atom[d:]
        for batch in batches:
            xb, yb = x[list(batch)], y[list(batch)]
            gradient = xb.T @ (xb @ θ - yb) / len(batch)
            velocity = β * v - gradient - moments.weight_decay * θ
            states.append(np.concatenate([θ + η * velocity - μ, velocity]))
    states = np.array(states)
    return states.mean(0), states.T @ states / len(states)


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_one_step_is_the_enumeration_of_all_minibatches(replacement, momentum, weight_decay, batch_size):
    x, y = data(5, 2)
    moments = MinibatchMoments(
        x,
        y,
        learning_rate=0.4,
        sampling_factor=factor(5, batch_size, replacement),
        momentum=momentum,
        weight_decay=weight_decay,
    )
    atoms = normal(3, 7, 4) + 0.5  # equally likely phase-space points: mean and cross terms are not 0
    mean, second = atoms.mean(0), atoms.T @ atoms / len(atoms)
    expected_mean, expected = enumerated(moments, atoms, all_batches(5, batch_size, replacement))
    after_mean, after = moments.step(mean, second)
    np.testing.assert_allclose(after_mean, expected_mean, atol=1e-12)
    np.testing.assert_allclose(after, expected, rtol=1e-12, atol=1e-12)
    # negative control: without the terms linear in the mean the step is wrong
    centred = moments.step(np.zeros(4), second)[1]
    assert relative(centred - expected, expected) > 1e-3


CASES = [
    dict(momentum=0.0, weight_decay=0.0),
    dict(momentum=0.9, weight_decay=0.0),
    dict(momentum=0.6, weight_decay=0.4),
]


def dense_map(moments):
    """The linear part of the second-moment map as a matrix, from `step` alone."""
    n = 2 * moments.x.shape[1]
    zero = np.zeros(n)
    constant = moments.step(zero, np.zeros((n, n)))[1]
    units = np.eye(n * n).reshape(n * n, n, n)
    image = jax.vmap(lambda M: moments.step(zero, M)[1] - constant)(jnp.asarray(units))
    return np.asarray(image).reshape(n * n, n * n).T, np.asarray(constant)


@pytest.mark.parametrize("settings", CASES)
@pytest.mark.parametrize("samples", [8])
def test_stationary_covariance_against_a_dense_solve(settings, samples):
    moments = MinibatchMoments(*data(samples, 3), learning_rate=0.1, sampling_factor=0.4, **settings)
    linear, constant = dense_map(moments)
    expected = np.linalg.solve(np.eye(36) - linear, constant.ravel()).reshape(6, 6)
    M = moments.stationary_covariance()
    assert relative(M - expected, expected) < 1e-11
    np.testing.assert_array_equal(moments.weight_covariance(), M[:3, :3])
    source = normal(9, 3, 3)
    g = np.array([0.1, 1.0])
    right = np.kron(np.outer(g, g), source)
    expected = np.linalg.solve(np.eye(36) - linear, right.ravel()).reshape(6, 6)
    assert relative(moments.response(source) - expected, expected) < 1e-11


def test_noise_at_the_mean():
    x, y = data(6, 2)
    moments = MinibatchMoments(x, y, learning_rate=0.1, sampling_factor=0.3, weight_decay=0.2)
    gradients = (x @ moments.mean - y)[:, None] * x
    np.testing.assert_allclose(moments.noise, 0.3 * np.cov(gradients.T, bias=True), rtol=1e-12)
    K = x.T @ x / 6 + 0.2 * np.eye(2)
    np.testing.assert_allclose(moments.mean, np.linalg.solve(K, x.T @ y / 6), rtol=1e-12)


@pytest.mark.long
def test_matrix_free_equals_dense(monkeypatch):
    settings = dict(learning_rate=0.05, sampling_factor=0.5, momentum=0.5, weight_decay=0.1)
    settings = {name: jnp.asarray(value) for name, value in settings.items()}
    pairs, stable = _mode_pairs.discrete_pairs(jnp.asarray(data(40, 6)[0]), **settings)
    assert pairs.is_small() and stable
    A, B = pairs.dense_coupling(), jnp.asarray(normal(8, 12, 12))
    np.testing.assert_allclose(A, A.T, atol=1e-17)
    np.testing.assert_allclose(A @ jnp.ones(40), pairs.coupling(jnp.ones(40)), rtol=1e-12)
    dense = pairs.criticality(), pairs.solve(B), pairs.adjoint().solve(B)
    monkeypatch.setattr(_mode_pairs, "DENSE_WORK", 0)
    assert not pairs.is_small()
    free = pairs.criticality(), pairs.solve(B), pairs.adjoint().solve(B)
    for one, other in zip(free, dense, strict=True):
        assert relative(one - other, other) < 1e-11


def test_stability_against_the_spectral_radius():
    """The criterion in P unknowns against all eigenvalues of the dense map, 90 random problems."""
    rng, seen = np.random.default_rng(0), {True: 0, False: 0}
    for trial in range(90):
        samples, inputs = [(3, 2), (6, 2), (2, 3)][trial % 3]
        x, y = data(samples, inputs, seed=trial % 10)
        momentum, weight_decay = [(0.0, 0.0), (0.8, 0.0), (0.5, 0.7), (0.0, 0.5), (0.95, 0.01)][trial % 5]
        top = np.linalg.eigvalsh(x.T @ x / samples)[-1] + weight_decay
        moments = MinibatchMoments(
            x,
            y,
            learning_rate=rng.uniform(0.02, 1.15) * 2 * (1 + momentum) / top,
            sampling_factor=rng.uniform(0, 1),
            momentum=momentum,
            weight_decay=weight_decay,
        )
        radius = np.abs(np.linalg.eigvals(dense_map(moments)[0]))
        radius = np.max(radius[np.abs(radius - 1) > 1e-9])  # directions no example sees have eigenvalue 1
        assert bool(moments.is_stable()) == bool(radius < 1), (trial, radius, moments.criticality())
        seen[bool(radius < 1)] += 1
    assert min(seen.values()) > 20


@pytest.mark.parametrize("settings", CASES)
def test_largest_stable_learning_rate(settings):
    x, y = data(8, 3)
    limit = float(largest_stable_learning_rate(x, sampling_factor=0.5, **settings))
    for ratio, stable in ((0.999, True), (1.001, False)):
        moments = MinibatchMoments(x, y, learning_rate=ratio * limit, sampling_factor=0.5, **settings)
        assert (np.max(np.abs(np.linalg.eigvals(dense_map(moments)[0]))) < 1) == stable
        assert bool(moments.is_stable()) == stable
    with pytest.raises(ValueError, match=f"learning_rate = .*largest stable learning rate, {limit:.4g}"):
        moments.stationary_covariance()


def test_largest_stable_learning_rate_of_the_sde():
    x, y = data(8, 3)
    limit = float(largest_stable_learning_rate(x, sampling_factor=0.5, continuous=True))
    for ratio, stable in ((0.999, True), (1.001, False)):
        moments = LangevinMoments(x, y, learning_rate=ratio * limit, sampling_factor=0.5)
        zero, units = np.zeros(3), np.eye(9).reshape(9, 3, 3)
        constant = moments.rates(zero, np.zeros((3, 3)))[1]
        generator = np.stack([(moments.rates(zero, U)[1] - constant).ravel() for U in units], -1)
        assert (np.max(np.linalg.eigvals(generator).real) < 0) == stable
        assert bool(moments.is_stable()) == stable
    with pytest.raises(ValueError, match=f"largest stable learning rate, {limit:.4g}"):
        moments.stationary_covariance()
    full = largest_stable_learning_rate(x, sampling_factor=0.0, continuous=True)
    assert np.isinf(full)


def test_after_converges_to_the_stationary_law():
    moments = MinibatchMoments(*data(6, 2), learning_rate=0.2, sampling_factor=0.5, momentum=0.5, weight_decay=0.1)
    mean, second = moments.after(2000, np.ones(4), np.ones((4, 4)))
    np.testing.assert_allclose(mean, 0, atol=1e-12)
    np.testing.assert_allclose(second, moments.stationary_covariance(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_langevin_moments(weight_decay):
    """Small learning rates make SGD's map the SDE's generator; the stationary law is where it vanishes."""
    x, y = data(6, 2)
    settings = dict(sampling_factor=0.5, weight_decay=weight_decay)
    moments = LangevinMoments(x, y, learning_rate=0.3, **settings)
    M = moments.stationary_covariance()
    np.testing.assert_allclose(moments.rates(np.zeros(2), M)[1], 0, atol=1e-14)
    h = 1e-6
    slow = LangevinMoments(x, y, learning_rate=h, **settings)
    sgd = MinibatchMoments(x, y, learning_rate=h, **settings)
    m, S = np.array([0.3, -0.2]), np.array([[1.0, 0.2], [0.2, 0.7]])
    mean, second = sgd.step(np.concatenate([m, [0, 0]]), np.pad(S, (0, 2)))
    drift, spread = slow.rates(m, S)
    np.testing.assert_allclose((mean[:2] - m) / h, drift, rtol=1e-8)
    np.testing.assert_allclose((second[:2, :2] - S) / h, spread, rtol=0, atol=1e-5)


def orthogonal_data():
    """H exactly (1/2) · 1: every pair of eigenmodes is degenerate."""
    x = np.concatenate([np.eye(3), -np.eye(3)]) * np.sqrt(1.5)
    return x, normal(4, 6)


@pytest.mark.long
@pytest.mark.parametrize("cls", [MinibatchMoments, LangevinMoments])
def test_derivatives_at_a_degenerate_hessian(cls):
    x, y = orthogonal_data()
    np.testing.assert_allclose(x.T @ x / 6, np.eye(3) / 2)
    names = ["learning_rate", "sampling_factor", "weight_decay"]
    names += ["momentum"] if cls is MinibatchMoments else []
    start = jnp.concatenate([x.ravel(), y, jnp.array([0.2, 0.3, 0.1, 0.6][: len(names)])])

    def covariance(packed):
        settings = dict(zip(names, packed[24:], strict=True))
        return cls(packed[:18].reshape(6, 3), packed[18:24], **settings).stationary_covariance()

    forward, reverse = jax.jit(lambda p: (jax.jacfwd(covariance)(p), jax.jacrev(covariance)(p)))(start)
    np.testing.assert_allclose(forward, reverse, rtol=1e-9, atol=1e-12)
    direction = normal(5, *start.shape)
    slow = (covariance(start + 1e-5 * direction) - covariance(start - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose(forward @ direction, slow, rtol=1e-6, atol=1e-7)


def test_learning_rates_in_parallel():
    x, y = data(6, 2)

    def covariance(η):
        return MinibatchMoments(x, y, learning_rate=η, sampling_factor=0.5).weight_covariance()

    rates = jnp.array([0.05, 0.1, 0.2])
    together = jax.jit(jax.vmap(covariance))(rates)
    for η, M in zip(rates, together, strict=True):
        np.testing.assert_allclose(M, covariance(η), rtol=1e-11)
    with pytest.raises(Exception, match="learning_rate"):
        jax.block_until_ready(jax.jit(covariance)(jnp.asarray(50.0)))


def test_more_inputs_than_samples_do_not_fluctuate():
    moments = MinibatchMoments(*data(3, 5), learning_rate=0.1, sampling_factor=1.0, momentum=0.5)
    np.testing.assert_allclose(moments.stationary_covariance(), 0, atol=1e-25)
    decayed = MinibatchMoments(*data(3, 5), learning_rate=0.1, sampling_factor=1.0, weight_decay=0.1)
    linear, constant = dense_map(decayed)
    expected = np.linalg.solve(np.eye(100) - linear, constant.ravel()).reshape(10, 10)
    assert relative(decayed.stationary_covariance() - expected, expected) < 1e-11


BAD = {
    "learning_rate": dict(learning_rate=-0.1),
    "sampling_factor": dict(sampling_factor=np.nan),
    "momentum": dict(momentum=1.0),
    "weight_decay": dict(weight_decay=-1.0),
    "y": dict(y=np.zeros(3)),
    "x": dict(x=np.full((6, 2), np.inf)),
}


@pytest.mark.parametrize("culprit", BAD)
def test_bad_moments(culprit):
    x, y = data(6, 2)
    arguments = dict(x=x, y=y, learning_rate=0.1, sampling_factor=0.5) | BAD[culprit]
    with pytest.raises((ValueError, TypeCheckError), match=culprit):
        MinibatchMoments(**arguments)
