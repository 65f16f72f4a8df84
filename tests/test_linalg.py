"""Shared linear algebra against its defining equations, SciPy, Kronecker systems and finite differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from sgdynamics import _linalg

SIZES = (1, 7, 33, 500)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def stable_drift(d, seed=0):
    return normal(seed, d, d) / np.sqrt(d) + 1.2 * jnp.eye(d)


def contraction(d, seed=0):
    T = normal(seed, d, d)
    return 0.95 * T / jnp.max(jnp.abs(jnp.linalg.eigvals(T)))


def relative(error, scale):
    return float(jnp.linalg.norm(error) / jnp.linalg.norm(scale))


@pytest.mark.parametrize("d", SIZES)
def test_lyapunov_residual(d):
    A, N = stable_drift(d), normal(1, d, d)  # N not symmetric
    X = _linalg.lyapunov(A, N)
    assert relative(A @ X + X @ A.T - N, N) < 1e-12


@pytest.mark.parametrize("d", SIZES)
def test_discrete_lyapunov_residual(d):
    T, N = contraction(d), normal(1, d, d)
    X = _linalg.discrete_lyapunov(T, N)
    assert relative(X - T @ X @ T.T - N, N) < 1e-11


@pytest.mark.parametrize("step", [0.0, 0.1])
def test_symmetric_lyapunov_residual(step):
    A = normal(0, 500, 600)
    A, N = A @ A.T / 600, normal(1, 500, 500)
    X = _linalg.symmetric_lyapunov(A, N, step)
    assert relative(A @ X + X @ A - step * A @ X @ A - N, N) < 1e-10
    general = _linalg.lyapunov(A[:60, :60], N[:60, :60])
    symmetric = _linalg.symmetric_lyapunov(A[:60, :60], N[:60, :60])
    np.testing.assert_allclose(symmetric, general, rtol=1e-9, atol=1e-10)


def test_against_scipy():
    A, T, N = stable_drift(40), contraction(40), normal(1, 40, 40)
    np.testing.assert_allclose(
        _linalg.lyapunov(A, N), scipy.linalg.solve_continuous_lyapunov(A, N), rtol=1e-9, atol=1e-10
    )
    np.testing.assert_allclose(
        _linalg.discrete_lyapunov(T, N), scipy.linalg.solve_discrete_lyapunov(T, N), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("split", [0.0, 1e-13, 1e-7])
def test_nearly_defective(split):
    """Jordan blocks, exact and perturbed: eigenvectors would be useless."""
    A = jnp.diag(jnp.full(12, 0.7)) + jnp.diag(jnp.ones(11), 1) + jnp.diag(split * jnp.arange(12.0))
    N = jnp.eye(12)
    X = _linalg.lyapunov(A, N)
    assert relative(A @ X + X @ A.T - N, X) < 1e-14
    T = A - 0.2 * jnp.eye(12)
    X = _linalg.discrete_lyapunov(T, N)
    assert relative(X - T @ X @ T.T - N, X) < 1e-14


def central_difference(f, x, direction, h=1e-5):
    return (f(x + h * direction) - f(x - h * direction)) / (2 * h)


def _swapped(solve, N, A):
    return solve(A, N)


SOLVERS = {
    "continuous": (_linalg.lyapunov, stable_drift(6)),
    "discrete": (_linalg.discrete_lyapunov, contraction(6)),
    "symmetric": (_linalg.symmetric_lyapunov, jnp.diag(jnp.array([1.0, 1, 1, 2, 2, 3]))),  # degenerate
    "damped": (lambda A, N: _linalg.symmetric_lyapunov(A, N, 0.3), jnp.diag(jnp.array([1.0, 1, 1, 2, 2, 3]))),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_derivatives(name):
    solve, A = SOLVERS[name]
    N = normal(3, 6, 6) + 4 * jnp.eye(6)
    for argument in (0, 1):
        direction = normal(4, 6, 6)
        if name in ("symmetric", "damped"):
            direction = direction + direction.T
        jacobians = [jacobian(solve, argument) for jacobian in (jax.jacfwd, jax.jacrev)]
        forward, reverse = jax.jit(lambda A, N, both=jacobians: [f(A, N) for f in both])(A, N)
        np.testing.assert_allclose(forward, reverse, rtol=1e-9, atol=1e-11)
        along = (partial(_swapped, solve, N), partial(solve, A))[argument]
        expected = central_difference(along, (A, N)[argument], direction)
        np.testing.assert_allclose(jnp.tensordot(forward, direction, 2), expected, rtol=1e-6, atol=1e-7)


def test_second_derivative():
    A, N, E = stable_drift(4), jnp.eye(4), normal(5, 4, 4)

    def trace(h):
        return jnp.trace(_linalg.lyapunov(A + h * E, N))

    slope = jax.jit(jax.grad(trace))
    expected = (slope(1e-5) - slope(-1e-5)) / 2e-5
    np.testing.assert_allclose(jax.jacfwd(slope)(0.0), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(slope)(0.0), expected, rtol=1e-6)


def test_jit_and_vmap():
    A = jnp.stack([stable_drift(5, s) for s in range(3)])
    N = jnp.eye(5)
    together = jax.jit(jax.vmap(_linalg.lyapunov, (0, None)))(A, N)
    for one, a in zip(together, A, strict=True):
        np.testing.assert_allclose(one, _linalg.lyapunov(a, N), rtol=1e-10, atol=1e-12)


def singular_drift(d=8, null=3, seed=0):
    """A semisimple eigenvalue 0, its left and right null vectors different; and noise that avoids it."""
    basis = normal(seed, d, d) + 3 * jnp.eye(d)
    rates = jnp.concatenate([jnp.zeros(null), jnp.linspace(0.5, 2, d - null)])
    inverse = jnp.linalg.inv(basis)
    B = basis[:, null:]
    return basis @ jnp.diag(rates) @ inverse, B @ B.T, basis[:, :null] @ inverse[:null]


def test_singular_drift():
    A, N, projector = singular_drift()
    np.testing.assert_allclose(_linalg.null_projector(A, jnp.linalg.norm(A)), projector, atol=1e-12)
    X = _linalg.lyapunov(A, N)
    assert relative(A @ X + X @ A.T - N, N) < 1e-12
    np.testing.assert_allclose(projector @ X, 0, atol=1e-11)
    np.testing.assert_allclose(_linalg.transition(A, N, jnp.asarray(100.0))[1], X, rtol=1e-8, atol=1e-9)
    Y = _linalg.discrete_lyapunov(jnp.eye(8) - 0.3 * A, N)
    late = _linalg.accumulated(jnp.eye(8) - 0.3 * A, N, jnp.asarray(1000))[1]
    np.testing.assert_allclose(Y, late, rtol=1e-8, atol=1e-9)


def test_no_drift_and_no_noise():
    zero = jnp.zeros((3, 3))
    np.testing.assert_array_equal(_linalg.lyapunov(zero, zero), zero)
    np.testing.assert_array_equal(_linalg.discrete_lyapunov(jnp.eye(3), zero), zero)
    np.testing.assert_array_equal(_linalg.symmetric_lyapunov(zero, zero), zero)


def test_derivative_where_the_null_space_turns():
    """A and N turn together, so the null space stays quiet but moves."""
    A0, N0, _ = singular_drift()
    E = normal(7, 8, 8) / 10

    def solution(h):
        turn = jax.scipy.linalg.expm(h * E)
        A = turn @ A0 @ jnp.linalg.inv(turn)
        return _linalg.lyapunov(A * jnp.exp(h), turn @ N0 @ turn.T)

    expected = (solution(1e-5) - solution(-1e-5)) / 2e-5
    for slope in jax.jit(lambda h: (jax.jacfwd(solution)(h), jax.jacrev(solution)(h)))(0.0):
        np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-6)


ILL_POSED = {
    "unstable": (jnp.diag(jnp.array([1.0, -0.1])), jnp.eye(2), "drift"),
    "undamped rotation": (jnp.array([[0.0, 1.0], [-1.0, 0.0]]), jnp.eye(2), "drift"),
    "Jordan block at 0": (jnp.array([[0.0, 1.0], [0.0, 0.0]]), jnp.zeros((2, 2)), "drift"),
    "noise in the null space": (jnp.diag(jnp.array([1.0, 0.0])), jnp.eye(2), "noise"),
}


@pytest.mark.parametrize("name", ILL_POSED)
def test_no_stationary_solution_is_an_error(name):
    A, N, culprit = ILL_POSED[name]
    with pytest.raises(ValueError, match=culprit):
        _linalg.lyapunov(A, N)
    with pytest.raises(ValueError, match="transition" if culprit == "drift" else "noise"):
        _linalg.discrete_lyapunov(jnp.eye(2) - A, N)
    with pytest.raises(Exception, match=culprit):
        jax.block_until_ready(jax.jit(_linalg.lyapunov)(A, N))
    with pytest.raises(ValueError, match=culprit):
        jax.jacfwd(_linalg.lyapunov)(A, N)


def test_symmetric_ill_posed():
    with pytest.raises(ValueError, match="drift"):
        _linalg.symmetric_lyapunov(jnp.diag(jnp.array([1.0, -0.1])), jnp.eye(2))
    with pytest.raises(ValueError, match="noise"):
        _linalg.symmetric_lyapunov(jnp.diag(jnp.array([1.0, 0.0])), jnp.eye(2))
    with pytest.raises(ValueError, match="step"):
        _linalg.symmetric_lyapunov(jnp.eye(2), jnp.eye(2), 2.1)


DRIFTS = {
    "stable": stable_drift(3),
    "singular": singular_drift(3, 1)[0],
    "defective": jnp.array([[0.0, 1, 0], [0, 0, 1], [0, 0, 0]]),
    "unstable": -0.3 * jnp.eye(3),
}


@pytest.mark.parametrize("name", DRIFTS)
@pytest.mark.parametrize("t", [0.0, 1e-6, 0.3, 7.0])
def test_transition_against_quadrature(name, t):
    A = DRIFTS[name]
    d = len(A)
    N = normal(2, d, d) @ normal(2, d, d).T
    F, Q = _linalg.transition(A, N, jnp.asarray(t))
    np.testing.assert_allclose(F, scipy.linalg.expm(-A * t), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(F, _linalg.propagator(A, jnp.asarray(t)), rtol=1e-13, atol=1e-15)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    roots = [scipy.linalg.expm(-A * s) for s in t * (nodes + 1) / 2]
    expected = sum(w * R @ N @ R.T for w, R in zip(t * weights / 2, roots, strict=True))
    np.testing.assert_allclose(Q, expected, rtol=1e-10, atol=1e-14)


def test_transition_late_and_many_times():
    A, N = stable_drift(5), jnp.eye(5)
    times = jnp.array([[0.0, 1.0], [1e3, 1e12]])
    F, Q = _linalg.transition(A, N, times)
    assert F.shape == Q.shape == (2, 2, 5, 5)
    np.testing.assert_allclose(F[0, 1], _linalg.propagator(A, jnp.asarray(1.0)), rtol=1e-12)
    for late in (0, 1):
        np.testing.assert_allclose(Q[1, late], _linalg.lyapunov(A, N), rtol=1e-9, atol=1e-10)
    # noise where nothing pulls back: variance = t, at any t
    Q = _linalg.transition(jnp.diag(jnp.array([1.0, 0.0])), jnp.eye(2), jnp.asarray(1e9))[1]
    np.testing.assert_allclose(jnp.diag(Q), [0.5, 1e9], rtol=1e-6)
    with pytest.raises(ValueError, match="finite"):
        _linalg.transition(-A, N, jnp.asarray(1e9))


@pytest.mark.parametrize("t", [0.2, 30.0])
def test_transition_derivatives(t):
    A, N = stable_drift(3), normal(1, 3, 3)
    N = N @ N.T

    def parts(A, N, t):
        F, Q = _linalg.transition(A, N, t)
        return F + 2 * Q

    arguments = (A, N, jnp.asarray(t))
    jacobians = [jacobian(parts, (0, 1, 2)) for jacobian in (jax.jacfwd, jax.jacrev)]
    forward, reverse = jax.jit(lambda *a: [f(*a) for f in jacobians])(*arguments)
    for i, (one, other) in enumerate(zip(forward, reverse, strict=True)):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-11)
        E = normal(8, *arguments[i].shape)
        h = 1e-5 * E
        ahead, behind = ((*arguments[:i], arguments[i] + e, *arguments[i + 1 :]) for e in (h, -h))
        expected = (parts(*ahead) - parts(*behind)) / 2e-5
        np.testing.assert_allclose(jnp.tensordot(one, E, E.ndim), expected, rtol=1e-6, atol=1e-8)


def test_powers():
    T, N = contraction(4), jnp.eye(4)
    exponents = jnp.array([0, 1, 2, 5, 64, 1000])
    powers = _linalg.matrix_power(T, exponents)
    total = np.zeros((4, 4))
    for k in range(1001):
        power = np.linalg.matrix_power(T, k)
        if k in exponents:
            i = list(exponents).index(k)
            np.testing.assert_allclose(powers[i], power, rtol=1e-9, atol=1e-14)
            np.testing.assert_allclose(_linalg.accumulated(T, N, exponents)[1][i], total, rtol=1e-9)
        total += power @ power.T
    gradient = jax.grad(lambda T: jnp.sum(_linalg.matrix_power(T, jnp.asarray(5))))(T)
    expected = jax.grad(lambda T: jnp.sum(T @ T @ T @ T @ T))(T)
    np.testing.assert_allclose(gradient, expected, rtol=1e-10)


def test_symmetric_root():
    B = normal(0, 6, 4)
    M = B @ B.T  # rank 4 of 6
    R = _linalg.symmetric_root(M)
    np.testing.assert_allclose(R @ R, M, atol=1e-12)
    np.testing.assert_allclose(R, R.T, atol=1e-13)

    def root(h):
        return _linalg.symmetric_root((B * (1 + h)) @ B.T)

    for slope in (jax.jacfwd(root)(0.0), jax.jacrev(root)(0.0)):
        np.testing.assert_allclose(slope, R / 2, atol=1e-7)  # √(1+h) at 0
    np.testing.assert_array_equal(_linalg.symmetric_root(jnp.zeros((2, 2))), 0)
    assert jnp.all(jnp.isfinite(jax.jacrev(_linalg.symmetric_root)(jnp.zeros((2, 2)))))
    assert _linalg.symmetric_root(M.astype(jnp.float32)).dtype == jnp.float32
    with pytest.raises(ValueError, match="covariance"):
        _linalg.symmetric_root(-jnp.eye(2))


def test_float32():
    A, N = stable_drift(20).astype(jnp.float32), jnp.eye(20, dtype=jnp.float32)
    X = _linalg.lyapunov(A, N)
    assert X.dtype == jnp.float32
    assert relative(A @ X + X @ A.T - N, N) < 1e-4


SPECTRA = {
    "alike but for 30": np.r_[1 / np.arange(1, 31), np.full(470, 1e-4)],
    "rank 30": np.r_[1 / np.arange(1, 31), np.zeros(470)],
    "every one five times": np.repeat(1 / np.arange(1, 101), 5),
    "one negative": np.r_[1 / np.arange(1, 500), -0.1],
    "few": np.linspace(0, 1, 40),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_leading_eigenpairs(name):
    """Also where the space is exhausted, and where eigenvalues are degenerate."""
    values = SPECTRA[name]
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=2 * values.shape))[0]
    A = jnp.asarray(rotation * values[None, :] @ rotation.T)
    found = jax.jit(lambda A: _linalg.leading_eigenpairs(lambda v: A @ v, len(values), 12))(A)
    np.testing.assert_allclose(found.values, np.sort(values)[::-1][:12], atol=1e-12)
    np.testing.assert_allclose(A @ found.vectors, found.vectors * found.values[None, :], atol=1e-8)
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(12), atol=1e-10)
    assert jnp.max(found.residuals) < 1e-8 and found.lowest >= values.min() - 1e-12
    if name == "one negative":
        assert found.lowest < -0.09
    with pytest.raises(ValueError, match="modes = 501"):
        _linalg.leading_eigenpairs(lambda v: v, 500, 501)
