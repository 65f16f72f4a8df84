"""SGD and Langevin motion in a quadratic loss, mode by mode, against iteration, 60 digits and dense algebra."""

from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jaxtyping import TypeCheckError

from sgdynamics.theory import regression
from sgdynamics.theory.harmonic import HarmonicDescent, HarmonicLangevin

MODES = 5
H = np.array([0.02, 0.5, 0.5, 1.1, 3.0])
ROOT = np.random.default_rng(0).normal(size=(MODES, 7))
C = ROOT @ ROOT.T
MOMENTA = [0.0, 0.4, 0.99]


def descent(momentum, curvature=H, learning_rate=0.3, noise=C):
    return HarmonicDescent(curvature, noise, learning_rate=learning_rate, momentum=momentum)


def one_step(h, noise, learning_rate, momentum, number=float):
    """(T, covariance of the noise) over (δ, v), straight from the two updates, in any arithmetic."""
    η, β = number(learning_rate), number(momentum)
    one = np.diag([number(1)] * len(h))
    h = np.diag([number(x) for x in h])
    velocity = np.hstack([-h, β * one])  # of v' in terms of (δ, v)
    C = np.array([[number(c) for c in row] for row in noise])
    T = np.vstack([np.hstack([one, 0 * one]) + η * velocity, velocity])
    return T, np.block([[η * η * C, η * C], [η * C, C]])


def iterate(T, N, steps, P):
    for _ in range(steps):
        P = T @ P @ T.T + N
    return P


def with_sixty_digits(h, noise, learning_rate, momentum, doublings):
    """The covariance of (δ, v) after 2^doublings steps from 0: no digit of a double is lost on the way."""
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, -(10**12), 10**12
        T, Q = one_step(h, noise, learning_rate, momentum, Decimal)
        for _ in range(doublings):
            Q, T = Q + T @ Q @ T.T, T @ T
        return Q.astype(float)


@pytest.mark.parametrize("momentum", MOMENTA)
def test_every_digit_from_the_slowest_modes_to_the_limit_of_stability(momentum):
    η = 0.37
    stiffest = 2 * (1 + momentum) / η
    h = stiffest * np.array([1e-12, 1.001e-12, 0.1, 0.1, 0.4, 1 - 1e-6])
    noise = np.cov(np.random.default_rng(1).normal(size=(6, 9)))
    process = descent(momentum, h, η, noise)
    exact = with_sixty_digits(h, noise, η, momentum, 56)
    limit = 1e6 * np.finfo(float).eps * 20  # what rounding of the stiffest curvature itself does, 1e-6 from the limit
    np.testing.assert_allclose(process.phase_covariance(), exact, rtol=limit)
    np.testing.assert_allclose(process.stationary_covariance()[:5, :5], exact[:5, :5], rtol=1e-13 / (1 - momentum))
    np.testing.assert_allclose(process.velocity_covariance(), exact[6:, 6:], rtol=limit)
    after = process.covariance_after(jnp.array([1, 2**7, 2**30]))
    for computed, doublings in zip(after, (0, 7, 30), strict=True):
        exact = with_sixty_digits(h, noise, η, momentum, doublings)
        size = np.sqrt(np.diag(exact)[:, None] * np.diag(exact)[None, :])
        error = np.abs(computed - exact) / size
        stiff = np.array([5, 11])
        assert np.max(error) < limit / (1 - momentum)
        assert np.max(np.delete(np.delete(error, stiff, 0), stiff, 1)) < 1e-13 / (1 - momentum)


@pytest.mark.parametrize("momentum", MOMENTA)
def test_laws_at_a_step_and_between_steps(momentum):
    process, (T, N) = descent(momentum), one_step(H, C, 0.3, momentum)
    P = np.cov(np.random.default_rng(2).normal(size=(2 * MODES, 14)))
    steps = np.array([[0, 1], [2, 37]])
    after, from_zero = process.covariance_after(steps, P), process.covariance_after(37)
    for index, k in np.ndenumerate(steps):
        np.testing.assert_allclose(after[index], iterate(T, N, k, P), rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(from_zero, iterate(T, N, 37, 0 * P), rtol=1e-10, atol=1e-11)
    at_rest = np.zeros_like(P)
    at_rest[:MODES, :MODES] = P[:MODES, :MODES]
    np.testing.assert_allclose(process.covariance_after(37, P[:MODES, :MODES]), iterate(T, N, 37, at_rest), atol=1e-11)
    power = np.linalg.matrix_power(T, 37)
    np.testing.assert_allclose(process.mean_after(steps, P[0])[1, 1], power @ P[0], rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(process.mean_after(37, P[0, :MODES]), power[:, :MODES] @ P[0, :MODES], atol=1e-13)
    P = process.phase_covariance()
    np.testing.assert_allclose(T @ P @ T.T + N, P, rtol=1e-9, atol=1e-12)
    lagged = process.autocovariance(jnp.array([0, 1, -3, 40]))
    for R, lag in zip(lagged, (0, 1, -3, 40), strict=True):
        later = (np.linalg.matrix_power(T, abs(lag)) @ P)[:MODES, :MODES]
        np.testing.assert_allclose(R, later if lag >= 0 else later.T, rtol=1e-9, atol=1e-11)
    dense = process.recursion()
    np.testing.assert_allclose(dense.transition, T, rtol=1e-14)
    np.testing.assert_allclose(dense.noise, N, rtol=1e-14)
    R = process.autocovariance(1)
    np.testing.assert_allclose(process.circulation(), -(R - R.T) / 0.6, atol=1e-12)
    assert np.max(np.abs(process.circulation())) > 0.05


def test_without_momentum_it_is_the_known_form():
    h, M = H, descent(0.0).stationary_covariance()
    np.testing.assert_allclose(M, 0.3 * C / (h[:, None] + h[None, :] - 0.3 * h[:, None] * h[None, :]), rtol=1e-13)
    M, h = descent(0.4).stationary_covariance(), H[1]
    np.testing.assert_allclose(M[1, 1], 0.3 * C[1, 1] / (h * 0.6 * (2 - 0.3 * h / 1.4)), rtol=1e-13)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_small_steps_are_the_overdamped_process(momentum):
    η = 1e-6
    limit = HarmonicLangevin(H / (1 - momentum), η * C / (1 - momentum) ** 2)
    process = descent(momentum, learning_rate=η)
    np.testing.assert_allclose(process.circulation() / η, limit.circulation() / η, rtol=1e-3)
    np.testing.assert_allclose(process.stationary_covariance() / η, limit.stationary_covariance() / η, rtol=1e-3)
    np.testing.assert_allclose(process.slowest_rate(), limit.slowest_rate(), rtol=1e-3)


@pytest.mark.parametrize("momentum", MOMENTA)
def test_decay_is_the_larger_root(momentum):
    h = (1 + momentum) / 0.3 * np.array([0.0, 1e-9, 1e-3, 0.3, 1.0, 1.7, 2 - 1e-6])
    process = descent(momentum, h, noise=np.diag(h))
    roots = [np.roots([1, -(1 + momentum - 0.3 * x), momentum]) for x in h]
    expected = [-np.log(max(abs(r))) if max(abs(r)) > 0 else np.inf for r in roots]
    np.testing.assert_allclose(process.decay(), expected, rtol=1e-6, atol=1e-14)
    assert process.decay()[0] == 0
    np.testing.assert_allclose(process.decay()[1], 0.3 * h[1] / (1 - momentum), rtol=1e-4)
    np.testing.assert_allclose(process.slowest_rate(), process.decay()[1:].min() / 0.3)


def test_langevin_is_the_dense_process():
    process, x0, P = HarmonicLangevin(H, C), ROOT[:, 0], np.diag([1.0, 2, 0, 3, 1])
    dense, times = process.process(), np.array([[0.0, 0.3], [4.0, 1e-9]])
    M, A = process.stationary_covariance(), np.diag(H)
    np.testing.assert_allclose(A @ M + M @ A, C, rtol=1e-12)
    np.testing.assert_allclose(process.circulation(), A @ M - C / 2, atol=1e-13)
    np.testing.assert_allclose(process.mean_at(times, x0), dense.mean_at(times, x0), rtol=1e-12)
    np.testing.assert_allclose(process.covariance_at(times, P), dense.covariance_at(times, P), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(process.covariance_at(1e-9), 1e-9 * C, rtol=1e-8)
    F = scipy.linalg.expm(-0.7 * A)
    np.testing.assert_allclose(process.autocovariance(np.array([0.7, -0.7, 0.0])), [F @ M, M @ F, M], atol=1e-12)
    assert process.slowest_rate() == 0.02


def test_some_modes_do_not_need_the_others_and_frozen_modes_stay():
    some = np.array([0, 3, 4])
    block = np.ix_(some, some)
    part, langevin = descent(0.9, H[some], noise=C[block]), HarmonicLangevin(H[some], C[block])
    M = part.stationary_covariance()
    np.testing.assert_allclose(M, descent(0.9).stationary_covariance()[block], rtol=1e-14)
    whole = HarmonicLangevin(H, C).stationary_covariance()
    np.testing.assert_allclose(langevin.stationary_covariance(), whole[block], rtol=1e-14)
    h, noise = np.pad(H[some], 1), np.pad(C[block], 1)
    noise[0, 0] = 1e-14  # rounding
    frozen = descent(0.9, h, noise=noise)
    np.testing.assert_allclose(frozen.stationary_covariance(), np.pad(M, 1), rtol=1e-14)
    np.testing.assert_allclose(frozen.covariance_after(10**6), frozen.phase_covariance(), rtol=1e-9)
    np.testing.assert_array_equal(frozen.mean_after(100, np.ones(5))[np.array([0, 4])], 1)
    langevin = HarmonicLangevin(h, noise)
    np.testing.assert_allclose(langevin.covariance_at(1e4), langevin.stationary_covariance(), rtol=1e-12)
    assert langevin.covariance_at(3.0, np.eye(5))[0, 0] == 1


def test_regression_at_its_minimum():
    rng = np.random.default_rng(3)
    x, y, η, batch = rng.normal(size=(12, 4)), rng.normal(size=12), 0.2, 3
    h, V = np.linalg.eigh(x.T @ x / 12)
    gradients = (x @ np.linalg.lstsq(x, y)[0] - y)[:, None] * x @ V
    noise = gradients.T @ gradients / 12 / batch
    for form, process in (
        ("additive", descent(0.0, h, η, noise)),
        ("lyapunov", HarmonicLangevin(h, η * noise)),
    ):
        expected = regression.stationary_covariance(x, y, learning_rate=η, batch_size=batch, form=form)
        np.testing.assert_allclose(V @ process.stationary_covariance() @ V.T, expected, rtol=1e-9)


def summary(h, root, η, β):
    """A number made of everything, with noise of rank 1 and one frozen mode."""
    h, noise = jnp.concatenate([h, jnp.zeros(1)]), jnp.pad(root[:, None] * root[None, :], (0, 1))
    process, langevin = HarmonicDescent(h, noise, learning_rate=η, momentum=β), HarmonicLangevin(h, η * noise)
    matrices = [
        process.phase_covariance(), process.autocovariance(jnp.array([-2, 3])), process.circulation(),
        process.covariance_after(5), process.mean_after(7, h), process.decay(), process.slowest_rate(),
        langevin.covariance_at(0.7), langevin.autocovariance(-0.4), langevin.circulation(),
    ]  # fmt: skip
    return sum(jnp.sum(jnp.sin(m + jnp.arange(1.0 * m.size).reshape(m.shape))) for m in matrices)


@pytest.mark.long
def test_derivatives_compilation_and_vectorisation():
    args = (jnp.array([0.1, 0.7, 0.7]), jnp.array([0.3, -1.0, 0.6]), jnp.array(0.3), jnp.array(0.35))
    tangents = (jnp.array([0.02, 0.4, -0.3]), jnp.array([1.0, 0.5, -0.2]), jnp.array(0.1), jnp.array(0.2))
    ε, still = 1e-5, (*args[:3], jnp.array(0.0))
    near = [tuple(a + s * ε * t for a, t in zip(args, tangents, strict=True)) for s in (1, -1)]
    points = [jnp.stack(column) for column in zip(args, *near, still, strict=True)]
    value, ahead, behind, _ = jax.jit(jax.vmap(summary))(*points)
    both = jax.jit(lambda *a: (jax.jvp(summary, a, tangents), jax.grad(summary, (0, 1, 2, 3))(*a)))
    (alone, slope), pulled = both(*args)
    np.testing.assert_allclose(alone, value, rtol=1e-12)
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * ε), rtol=1e-7)
    np.testing.assert_allclose(sum(jnp.sum(g * t) for g, t in zip(pulled, tangents, strict=True)), slope, rtol=1e-10)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(both(*still)))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: descent(0.5, learning_rate=1.0), r"learning_rate = 1.0, .* largest stable .* = 1\b"),
        (lambda: descent(1.0), "momentum = 1.0"),
        (lambda: descent(0.0, learning_rate=0.0), "learning_rate = 0.0"),
        (lambda: descent(0.0, np.array([-0.1, 1.0]), noise=np.eye(2)), r"curvature = \[-0.1, 1.0\].*minimum"),
        (lambda: descent(0.0, H[None], noise=C), "curvature"),
        (lambda: descent(0.0, H[:0], noise=C[:0, :0]), "curvature has shape"),
        (lambda: descent(0.0, H[:4]), "noise"),
        (lambda: descent(0.0, noise=-C), "noise .* negative eigenvalues"),
        (lambda: descent(0.0, noise=C + np.triu(C)), "noise .* symmetric"),
        (lambda: descent(0.0, np.array([0.0, 1.0]), noise=np.diag([0.25, 2])), "noise .* up to 0.25 .*weight decay"),
        (lambda: HarmonicLangevin(np.array([0.0, 1.0]), np.eye(2)), "noise .* where rates is 0.*leave"),
        (lambda: descent(0.0).covariance_after(-1), "steps = -1"),
        (lambda: descent(0.0).covariance_after(1, np.eye(3)), r"initial has shape \(3, 3\).*\(10, 10\)"),
        (lambda: descent(0.0).covariance_after(1, -np.eye(5)), "initial .* negative eigenvalues"),
        (lambda: descent(0.0).mean_after(1, np.ones(3)), r"initial has shape \(3,\)"),
        (lambda: HarmonicLangevin(H, C).covariance_at(-0.5), "t = -0.5"),
        (lambda: HarmonicLangevin(H, C).covariance_at(0.5, np.eye(3)), "initial has shape"),
    ],
)  # fmt: skip
def test_what_it_refuses(make, message):
    with pytest.raises((ValueError, TypeCheckError), match=message):
        make()


def test_traced_values_are_refused_at_run_time():
    with pytest.raises(Exception, match="largest stable"):
        jax.jit(lambda η: descent(0.0, learning_rate=η).stationary_covariance())(0.7).block_until_ready()
