"""Displacements against dense linear processes, double sums, exact fractions, and the numbers of the catalogue."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from sgdynamics.theory import momentum

rng = np.random.default_rng(0)
MOMENTA = (0.0, 0.5, 0.9, 0.99)
displacement = jax.jit(momentum.displacement, static_argnames="form")


def dense(d=4):
    """A Hessian and a singular covariance that do not commute, and C's diagonal in the Hessian's eigenbasis."""
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    h = np.array([0.01, 0.2, 1.0, 4.0])
    root = rng.normal(size=(d, d - 1))
    C = root @ root.T
    return (turn * h) @ turn.T, C, h, np.diag(turn.T @ C @ turn)


def test_only_the_diagonal_of_the_noise_matters():
    """Against the autocovariance of the dense recursion and of the dense SDE, [H, C] ≠ 0."""
    H, C, h, diagonal = dense()
    assert np.linalg.norm(H @ C - C @ H) > 1
    k = np.array([0, 1, 3, 30, 2000])
    for β in MOMENTA:
        setting = dict(learning_rate=0.1, momentum=β, weight_decay=0.02)
        law = momentum.recursion(H, C, **setting)
        T, N = np.asarray(law.transition), np.asarray(law.noise)
        M = scipy.linalg.solve_discrete_lyapunov(T, N)
        expected = [2 * np.trace((M - np.linalg.matrix_power(T, n) @ M)[:4, :4]) for n in k]
        np.testing.assert_allclose(displacement(k, h, diagonal, **setting), expected, rtol=1e-8, atol=1e-11)
        speed = momentum.speed(h, diagonal, **setting)
        np.testing.assert_allclose(speed, displacement(1, h, diagonal, **setting), rtol=1e-14)
        np.testing.assert_allclose(speed, expected[1], rtol=1e-8)
        law = momentum.phase_space(H, C, **setting)
        A, N = np.asarray(law.drift), np.asarray(law.noise)
        M = scipy.linalg.solve_continuous_lyapunov(A, N)
        expected = [2 * np.trace((M - scipy.linalg.expm(-0.1 * n * A) @ M)[:4, :4]) for n in k]
        got = displacement(k, h, diagonal, form="sde", **setting)
        np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-10)


def test_slow_modes_keep_their_digits():
    """Against 1 − correlation in exact fractions, which shows no difference of 1 and 1 − 10⁻¹⁴."""
    for β, α in (
        (Fraction(0), Fraction(1, 10**14)),
        (Fraction(9, 10), Fraction(1, 10**14)),
        (Fraction(1, 2), Fraction(5, 2)),
    ):
        correlation = [Fraction(1), 1 - α / (1 + β)]
        for _ in range(40):
            correlation.append((1 + β - α) * correlation[-1] - β * correlation[-2])
        M = 1 / (α * (1 - β) * (2 - α / (1 + β)))  # η = C = 1
        k = np.array([1, 2, 5, 40])
        expected = [float(2 * M * (1 - correlation[n])) for n in k]
        got = displacement(k, float(α), 1.0, learning_rate=1.0, momentum=float(β))
        np.testing.assert_allclose(got, expected, rtol=1e-13)


def test_five_decades_saturation_and_free_modes():
    k = 10 ** np.arange(10)
    for β in (0.0, 0.9):
        setting = dict(learning_rate=0.1, momentum=β)
        for form in ("exact", "sde"):
            free = displacement(k, 0.0, 2.0, form=form, **setting)
            np.testing.assert_allclose(free[-1], 1e9 * 0.1**2 * 2 / (1 - β) ** 2, rtol=1e-7)
            np.testing.assert_allclose(displacement(k[:5], 1e-13, 2.0, form=form, **setting), free[:5], rtol=1e-7)
            saturated = displacement(k, 1.0, 2.0, form=form, **setting)[-1]
            process = momentum.recursion if form == "exact" else momentum.phase_space
            M = process(np.eye(1), 2 * np.eye(1), **setting).stationary_covariance()
            np.testing.assert_allclose(saturated, 2 * M[0, 0], rtol=1e-12)


def printed(t, h, C, η, β, unit):
    """Eq. 13 as a sum over lags of C_l as App. G.2 prints it, at times `unit` per step."""
    γ, square = (1 - β) / (η * (1 + β)), 2 * h / (η * (1 + β))
    α = np.emath.sqrt(γ**2 - square)
    lag = np.arange(1, t) * unit
    if γ**2 > square:  # the printed cosh would overflow
        correlation = ((1 - γ / α) * np.exp((α - γ) * lag) + (1 + γ / α) * np.exp(-(α + γ) * lag)) / 2
    else:
        correlation = np.exp(-γ * lag) * (np.cos(abs(α) * lag) - γ / abs(α) * np.sin(abs(α) * lag))
    return η**2 * C / (1 - β**2) * (t + 2 * np.sum((t - np.arange(1, t)) * correlation))


def test_published_forms_are_the_printed_sum():
    k, h, C = np.array([0, 1, 2, 37, 1000, 30_000]), np.array([1e-3, 0.2, 3.0]), np.array([0.3, 0.0, 2.0])
    for β in MOMENTA:
        for form, unit in (("published", 1.0), ("published_repaired", 0.1)):
            expected = [sum(printed(t, *mode, 0.1, β, unit) for mode in zip(h, C, strict=True)) for t in k[1:]]
            got = displacement(k, h, C, learning_rate=0.1, momentum=β, form=form)
            assert got[0] == 0
            np.testing.assert_allclose(got[1:], expected, rtol=1e-8)


def test_the_published_sum_grows_where_the_truth_saturates():
    """Numbers of the catalogue, in units of steps that do not know of each other, η² C/(1 − β²) each."""
    for β, k, wrong, repaired, exact in (
        (0.9, 100, 0.196, 0.965, 0.951),
        (0.9, 10_000, None, 0.0271, 0.00955),
        (0.5, 10_000, None, 0.118, 0.00755),
    ):
        setting = dict(learning_rate=0.1, momentum=β)
        unit = k * momentum.speed(0.2, 1.0, form="published", **setting)
        for form, number in (("published", wrong), ("published_repaired", repaired), ("exact", exact)):
            if number is not None:
                got = displacement(k, 0.2, 1.0, form=form, **setting) / unit
                np.testing.assert_allclose(got, number, rtol=3e-3)


def test_local_exponent():
    """2 while steps persist, 1 in between, 0 at the end; against differences of the displacement."""
    h, C, setting = np.array([1e-9, 1e-8]), np.array([1.0, 3.0]), dict(learning_rate=0.1, momentum=0.99)
    k = np.array([1, 2, 20, 300, 20_000, 10**10])
    near = [np.asarray(displacement(k + i, h, C, **setting)) for i in (-1, 0, 1)]
    exponent = np.asarray(momentum.local_exponent(k, h, C, **setting))
    np.testing.assert_allclose(exponent, k * (near[2] - near[0]) / (2 * near[1]), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(exponent[[0, 4]], [2, 1], atol=0.02)
    assert 0 <= exponent[-1] < 1e-6
    np.testing.assert_allclose(momentum.local_exponent(5, 0.0, 1.0, learning_rate=0.1, momentum=0.0), 1, rtol=1e-12)
    slope = jax.vmap(jax.grad(lambda k: jnp.log(momentum.displacement(jnp.exp(k), h, C, form="sde", **setting))))
    got = momentum.local_exponent(1.0 * k, h, C, form="sde", **setting)
    np.testing.assert_allclose(got, slope(jnp.log(1.0 * k)), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("form", ["exact", "sde", "published_repaired"])
def test_derivatives_at_critical_damping(form):
    """With respect to curvature, noise, learning rate and momentum, by transposing what forward mode does."""
    h = momentum.critical_curvature(learning_rate=0.3, momentum=0.4, form="exact" if form == "exact" else "sde")
    steps = 7.0 if form == "sde" else 7
    f = jax.jit(lambda x: momentum.displacement(steps, x[0], x[1], learning_rate=x[2], momentum=x[3], form=form))
    x = np.array([h, 1.3, 0.3, 0.4])
    slopes = jax.grad(f)(x)
    for i, step in enumerate(np.diag(x * 1e-4)):
        slope = (8 * (f(x + step) - f(x - step)) - f(x + 2 * step) + f(x - 2 * step)) / (12 * step[i])
        np.testing.assert_allclose(slopes[i], slope, rtol=1e-7)


def test_what_is_wrong_is_refused():
    setting = dict(learning_rate=0.1, momentum=0.9)
    with pytest.raises(ValueError, match="whole"):
        momentum.displacement(1.5, 0.2, 1.0, **setting)
    with pytest.raises(ValueError, match="steps"):
        momentum.displacement(-1, 0.2, 1.0, **setting)
    with pytest.raises(ValueError, match="form"):
        momentum.displacement(1, 0.2, 1.0, form="printed", **setting)
    for f in (momentum.speed, lambda h, C, **s: momentum.displacement(3, h, C, **s)):
        for variances in (np.ones((3, 1)), np.eye(3), np.ones(2)):
            with pytest.raises(ValueError, match=r"curvature and noise_variance have shapes.*diagonal of VᵀCV"):
                f(np.ones(3), variances, **setting)
    with pytest.raises(ValueError, match="curvature"):
        momentum.displacement(1, -0.2, 1.0, **setting)
    with pytest.raises(ValueError, match="noise_variance"):
        momentum.speed(0.2, -1.0, **setting)
    for f in (lambda h: momentum.displacement(1, h, 1.0, **setting), lambda h: momentum.speed(h, 1.0, **setting)):
        with pytest.raises(ValueError, match="learning_rate"):
            f(40.0)
    with pytest.raises(ValueError, match="noise_variance"):
        momentum.local_exponent(3, 0.2, 0.0, **setting)
    with pytest.raises(ValueError, match="steps"):
        momentum.local_exponent(0, 0.2, 1.0, **setting)
    momentum.displacement(1, 40.0, 1.0, form="sde", **setting)


def test_steps_are_whole_numbers_of_any_kind():
    setting = dict(learning_rate=0.1, momentum=0.9)
    expected = momentum.displacement(200, 0.2, 1.0, **setting)
    for steps in (200.0, np.uint8(200), np.float32(200)):
        assert momentum.displacement(steps, 0.2, 1.0, **setting) == expected
    moved = momentum.mean_after(200, 1.0, 0.0, 0.2, **setting)
    assert momentum.mean_after(np.uint8(200), 1.0, 0.0, 0.2, **setting) == moved
    assert momentum.mean_after(200.0, 1.0, 0.0, 0.2, **setting) == moved
