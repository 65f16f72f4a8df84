"""Momentum as a stochastic differential equation, mode by mode, against rational and 60-digit arithmetic and `ou`."""

from decimal import Decimal, localcontext
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from sgdynamics.theory.harmonic import HarmonicDescent, HarmonicLangevin, HarmonicUnderdamped

MODES = 5
H = np.array([0.02, 0.5, 0.5, 1.1, 3.0])
ROOT = np.random.default_rng(0).normal(size=(MODES, 3))
C = ROOT @ ROOT.T  # singular, and far from commuting with H
MOMENTA = [0.0, 0.5, 0.9, 0.999]


def underdamped(momentum, curvature=H, learning_rate=0.3, noise=C):
    return HarmonicUnderdamped(curvature, noise, learning_rate=learning_rate, momentum=momentum)


def coefficients(h, noise, learning_rate, momentum, number=float):
    """(A, N) over (δ, v), straight from the equation, in any arithmetic."""
    η, β = number(learning_rate), number(momentum)
    c0 = number(2) / (η * (number(1) + β))
    one = np.diag([number(1)] * len(h))
    C = np.array([[number(c) for c in row] for row in noise])
    A = np.block([[0 * one, -one], [c0 * np.diag([number(x) for x in h]), c0 * (number(1) - β) * one]])
    return A, np.block([[0 * C, 0 * C], [0 * C, c0 * c0 * η * C]])


def rational(h_i, h_j, c, learning_rate, momentum):
    """E[δδ'], E[δv'], E[vδ'], E[vv'] of a pair of modes: four linear equations, without rounding."""
    A, N = coefficients([h_i, h_j], [[0, c], [c, 0]], learning_rate, momentum, Fraction)
    one, two = A[np.ix_([0, 2], [0, 2])], A[np.ix_([1, 3], [1, 3])]
    unit = np.diag([Fraction(1)] * 2)
    rows = np.kron(one, unit) + np.kron(unit, two)
    right = N[np.ix_([0, 2], [1, 3])].ravel()
    return solve_exactly(rows, right).astype(float)


def solve_exactly(A, b):
    A = np.concatenate([A, b[:, None]], 1)
    for k in range(len(A)):
        pivot = next(r for r in range(k, len(A)) if A[r, k] != 0)
        A[[k, pivot]] = A[[pivot, k]]
        A[k] = A[k] / A[k, k]
        for r in range(len(A)):
            if r != k:
                A[r] = A[r] - A[r, k] * A[k]
    return A[:, -1]


def with_sixty_digits(A, N, time, halvings):
    """e^{−A time} and ∫ e^{−A s} N e^{−Aᵀ s} ds, by a series and doublings in 60 digits."""
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, -(10**12), 10**12
        h = Decimal(time) / 2**halvings
        F = f = np.diag([Decimal(1)] * len(A))
        Q = q = N * h
        for n in range(1, 26):
            f, q = -(A @ f) * h / n, -(A @ q + q @ A.T) * h / (n + 1)
            F, Q = F + f, Q + q
        for _ in range(halvings):
            Q, F = Q + F @ Q @ F.T, F @ F
        return F.astype(float), Q.astype(float)


@pytest.mark.parametrize("momentum", MOMENTA)
def test_every_digit_of_the_stationary_law(momentum):
    h = np.array([1e-12, 1.001e-12, 1e-3, 0.3, 0.3, 1e3])
    noise = np.cov(np.random.default_rng(1).normal(size=(6, 9)))
    process = underdamped(momentum, h, noise=noise)
    exact = np.array([[rational(h[i], h[j], noise[i, j], 0.3, momentum) for j in range(6)] for i in range(6)])
    for block, k in ((process.stationary_covariance(), 0), (process.velocity_covariance(), 3)):
        np.testing.assert_allclose(block, exact[..., k], rtol=1e-13)
    np.testing.assert_allclose(process.circulation(), exact[..., 1], rtol=1e-13)
    phase = np.block([[exact[..., 2 * a + b] for b in (0, 1)] for a in (0, 1)])
    np.testing.assert_allclose(process.phase_covariance(), phase, rtol=1e-13)


@pytest.mark.parametrize("momentum", MOMENTA)
def test_it_is_the_dense_process(momentum):
    process, times = underdamped(momentum), np.array([[0.0, 0.3], [4.0, 1e-3]])
    dense, (A, N) = process.process(), coefficients(H, C, 0.3, momentum)
    np.testing.assert_allclose(dense.drift, A, rtol=1e-14)
    np.testing.assert_allclose(dense.noise, N, rtol=1e-14)
    P = process.phase_covariance()
    scale = np.abs(P).max()
    np.testing.assert_allclose(A @ P + P @ A.T, N, rtol=0, atol=1e-13 * np.abs(N).max())
    np.testing.assert_allclose(P, dense.stationary_covariance(), rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(process.circulation(), dense.circulation()[:MODES, :MODES], rtol=0, atol=1e-12 * scale)
    x0, start = ROOT[:, 0], np.cov(np.random.default_rng(2).normal(size=(2 * MODES, 14)))
    resting = np.concatenate([x0, 0 * x0])
    np.testing.assert_allclose(process.mean_at(times, x0), dense.mean_at(times, resting), rtol=0, atol=1e-12)
    spread = process.covariance_at(times, start)
    np.testing.assert_allclose(spread, dense.covariance_at(times, start), rtol=0, atol=1e-12 * scale)
    at_rest = scipy.linalg.block_diag(C, 0 * C)
    spread = process.covariance_at(times, C)
    np.testing.assert_allclose(spread, process.covariance_at(times, at_rest), rtol=0, atol=1e-14 * scale)
    later = (scipy.linalg.expm(-0.7 * A) @ P)[:MODES, :MODES]
    lagged = process.autocovariance(np.array([[0.7, -0.7], [0.0, 0.7]]))
    np.testing.assert_allclose(lagged.reshape(4, 5, 5), [later, later.T, P[:5, :5], later], atol=1e-12 * scale)
    eigenvalues = np.linalg.eigvals(A).real
    np.testing.assert_allclose(process.slowest_rate(), eigenvalues.min(), rtol=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_every_digit_at_any_time(momentum):
    """From times in which nothing has moved to the slowest of 14 decades of relaxation, critical damping included."""
    critical = (1 - momentum) ** 2 / (2 * 0.3 * (1 + momentum))
    h = critical * np.array([1e-10, 0.5, 1.0, 1e4])
    noise = np.cov(np.random.default_rng(3).normal(size=(4, 2)))  # of rank 1
    process = underdamped(momentum, h, noise=noise)
    exactly = coefficients(h, noise, 0.3, momentum, Decimal)
    times = np.array([1e-6, 0.5, 1e6])
    means, spreads = process.mean_at(times, np.ones(4)), process.covariance_at(times)
    for t, mean, spread, halvings in zip(times, means, spreads, (1, 16, 38), strict=True):
        F, Q = with_sixty_digits(*exactly, t, halvings)
        size = np.sqrt(np.diag(Q)[:, None] * np.diag(Q)[None, :])
        assert np.max(np.abs(spread - Q) / size) < 1e-12 * max(1, t**0.5)
        np.testing.assert_allclose(mean, F[:, :4].sum(1), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_small_learning_rates_are_the_overdamped_process_and_sgd(momentum):
    η = 1e-6
    limit = HarmonicLangevin(H / (1 - momentum), η * C / (1 - momentum) ** 2)
    discrete = HarmonicDescent(H, C, learning_rate=η, momentum=momentum)
    process = underdamped(momentum, learning_rate=η)
    np.testing.assert_allclose(process.stationary_covariance(), limit.stationary_covariance(), rtol=2e-3)
    np.testing.assert_allclose(process.circulation() / η, limit.circulation() / η, rtol=2e-3, atol=1e-12)
    np.testing.assert_allclose(process.slowest_rate(), limit.slowest_rate(), rtol=1e-3)
    np.testing.assert_allclose(process.phase_covariance()[:5, :5], discrete.phase_covariance()[:5, :5], rtol=2e-3)
    apart = underdamped(0.9, learning_rate=0.3).stationary_covariance()
    overdamped = HarmonicLangevin(H / 0.1, 0.3 * C / 0.01).stationary_covariance()
    assert np.max(np.abs(apart / overdamped - 1)) > 0.5  # inertia matters where curvatures differ
    np.testing.assert_allclose(np.diag(apart), np.diag(overdamped), rtol=1e-12)  # and not in a mode of its own


def test_frozen_modes_stay():
    h, noise = np.pad(H[1:], 1), np.pad(C[1:, 1:], 1)
    noise[0, 0] = 1e-14  # rounding
    frozen, part = underdamped(0.9, h, noise=noise), underdamped(0.9, H[1:], noise=C[1:, 1:])
    M = part.stationary_covariance()
    np.testing.assert_allclose(frozen.stationary_covariance(), np.pad(M, 1), rtol=1e-14)
    np.testing.assert_allclose(frozen.covariance_at(1e4), frozen.phase_covariance(), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(frozen.mean_at(1e3, np.ones(6))[np.array([0, 5])], 1, rtol=1e-14)
    assert frozen.decay()[0] == 0 and frozen.slowest_rate() == part.slowest_rate()


def summary(h, root, η, β):
    """A number made of everything, with noise of rank 1 and one frozen mode."""
    h, noise = jnp.concatenate([h, jnp.zeros(1)]), jnp.pad(root[:, None] * root[None, :], (0, 1))
    process = HarmonicUnderdamped(h, noise, learning_rate=η, momentum=β)
    matrices = [
        process.phase_covariance(), process.autocovariance(jnp.array([-2.0, 3.0])), process.circulation(),
        process.covariance_at(0.7, jnp.eye(8)), process.mean_at(1.3, h), process.decay(), process.slowest_rate(),
    ]  # fmt: skip
    return sum(jnp.sum(jnp.sin(m + jnp.arange(1.0 * m.size).reshape(m.shape))) for m in matrices)


@pytest.mark.long
def test_derivatives_compilation_and_vectorisation():
    args = (jnp.array([0.1, 0.7, 0.7]), jnp.array([0.3, -1.0, 0.6]), jnp.array(0.3), jnp.array(0.35))
    tangents = (jnp.array([0.02, 0.4, -0.3]), jnp.array([1.0, 0.5, -0.2]), jnp.array(0.1), jnp.array(0.2))
    ε = 1e-5
    near = [tuple(a + s * ε * t for a, t in zip(args, tangents, strict=True)) for s in (1, -1)]
    value, ahead, behind = jax.jit(jax.vmap(summary))(*[jnp.stack(c) for c in zip(args, *near, strict=True)])
    both = jax.jit(lambda *a: (jax.jvp(summary, a, tangents), jax.grad(summary, (0, 1, 2, 3))(*a)))
    (alone, slope), pulled = both(*args)
    np.testing.assert_allclose(alone, value, rtol=1e-12)
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * ε), rtol=1e-6)
    np.testing.assert_allclose(sum(jnp.sum(g * t) for g, t in zip(pulled, tangents, strict=True)), slope, rtol=1e-10)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: underdamped(1.0), "momentum = 1.0"),
        (lambda: underdamped(0.0, learning_rate=0.0), "learning_rate = 0.0"),
        (lambda: underdamped(0.0, np.array([-0.1, 1.0]), noise=np.eye(2)), r"curvature = \[-0.1, 1.0\].*minimum"),
        (lambda: underdamped(0.0, np.array([0.0, 1.0]), noise=np.eye(2)), "noise .* where curvature is 0"),
        (lambda: underdamped(0.0, noise=-C), "noise .* negative eigenvalues"),
        (lambda: underdamped(0.0).covariance_at(-1.0), "t = -1.0"),
        (lambda: underdamped(0.0).covariance_at(1.0, np.eye(3)), r"initial has shape \(3, 3\).*\(10, 10\)"),
        (lambda: underdamped(0.0).mean_at(1.0, np.ones(3)), r"initial has shape \(3,\)"),
    ],
)
def test_what_it_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()
