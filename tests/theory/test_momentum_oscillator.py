"""Damped oscillators against matrix powers and exponentials of a hundred digits, and against other linear processes."""

from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from sgdynamics.theory import momentum

MOMENTA = (0.0, 0.5, 0.9, 0.99)
rng = np.random.default_rng(0)


def times(A, B):
    return [[sum(A[i][k] * B[k][j] for k in (0, 1)) for j in (0, 1)] for i in (0, 1)]


def exact_exponential(t, γ, ω2):
    return np.array(exact_decimals(t, γ, ω2), dtype=float)


def exact_decimals(t, γ, ω2):
    """e^{−St} by a Taylor series and squarings in 120 digits."""
    with localcontext() as context:
        context.prec = 120
        t, γ, ω2 = Decimal(t), Decimal(γ), Decimal(ω2)
        halvings = max(0, int((t * (1 + 2 * γ + ω2)).logb()) * 4 + 8) if t else 0
        part = t / Decimal(2) ** halvings
        A = [[Decimal(0), part], [-ω2 * part, -2 * γ * part]]
        F = term = [[Decimal(1), Decimal(0)], [Decimal(0), Decimal(1)]]
        for n in range(1, 40):
            term = [[x / n for x in row] for row in times(term, A)]
            F = [[x + y for x, y in zip(*rows, strict=True)] for rows in zip(F, term, strict=True)]
        for _ in range(halvings):
            F = times(F, F)
        return F


def exact_power(n, η, β, K):
    with localcontext() as context:
        context.prec = 80
        η, β, K = Decimal(η), Decimal(β), Decimal(K)
        F, square = [[Decimal(1), Decimal(0)], [Decimal(0), Decimal(1)]], [[1 - η * K, η * β], [-K, β]]
        while n:
            F, square, n = times(F, square) if n & 1 else F, times(square, square), n >> 1
        return np.array(F, dtype=float)


def settings():
    """Damping ratios ω/γ from 1e-6 to 1e6 and within rounding of 1; times from 0 to 1e6/η on the modes' own scales."""
    η = 0.07
    for β in (0.0, 0.9, 0.99):
        γ = (1 - β) / (η * (1 + β))
        for ratio in (1e-6, 1e-3, 0.5, 1 - 1e-3, 1 - 1e-9, 1.0, 1 + 1e-12, 1 + 1e-6, 1.1, 3.0, 1e3, 1e6):
            ω2 = (ratio * γ) ** 2
            for t in (0.0, 1e-9, 0.01, 0.3 / γ, 1 / γ, 3 / γ, 20 / γ, γ / ω2, 1e6 / η):
                yield t, ω2 * η * (1 + β) / 2, η, β


@pytest.fixture(scope="module")
def grid():
    t, h, η, β = np.array(list(settings())).T
    # the oracle starts from the same rounded numbers
    expected = np.stack([exact_exponential(*numbers) for numbers in zip(t, *rates(h, η, β), strict=True)])
    return t, h, η, β, expected


def rates(h, η, β):
    unit = [Decimal(a) * (1 + Decimal(b)) for a, b in zip(η, β, strict=True)]
    γ = [(1 - Decimal(b)) / u for b, u in zip(β, unit, strict=True)]
    return γ, [2 * Decimal(x) / u for x, u in zip(h, unit, strict=True)]


def balance(F, scale):
    """Entries with velocities in units of `scale` times positions."""
    return F * np.stack([np.stack([scale**0, scale], -1), np.stack([1 / scale, scale**0], -1)], -2)


def test_the_propagator_is_the_matrix_exponential_to_1e_10(grid):
    t, h, η, β, expected = grid
    F = np.asarray(momentum.propagator(t, h, learning_rate=η, momentum=β))
    scale = np.sqrt(2 * h / (η * (1 + β)))
    np.testing.assert_allclose(balance(F, scale), balance(expected, scale), rtol=0, atol=1e-10)
    # where nothing turns, each entry of the position keeps its digits
    slow = (scale <= (1 - β) / (η * (1 + β)) * 0.9) & (t < 1e5)
    np.testing.assert_allclose(F[slow][:, 0], expected[slow][:, 0], rtol=1e-10)


def test_derivatives_are_finite_and_right_at_critical_damping():
    """Second derivatives too, in all arguments, at momentum 0 and at time 0; against differences far from rounding."""
    f = jax.jit(lambda x: momentum.propagator(x[0], x[1], learning_rate=x[2], momentum=x[3]))
    first, along = jax.jit(jax.jacrev(f)), rng.normal(size=4)
    second = jax.jit(lambda x: jax.jvp(lambda x: jax.jvp(f, (x,), (along,))[1], (x,), (along,))[1])
    for β in (0.0, 0.9):
        critical = float(momentum.critical_curvature(learning_rate=0.3, momentum=β, form="sde"))
        for t in (0.0, 0.7, 40.0):
            x = np.array([t, critical, 0.3, β])
            assert np.all(np.isfinite(second(x)))
            for i, step in enumerate(np.diag([1e-4, 1e-3 * critical, 1e-4, 1e-4])):
                if x[i] > 0:
                    slope = (8 * (f(x + step) - f(x - step)) - f(x + 2 * step) + f(x - 2 * step)) / (12 * step[i])
                    np.testing.assert_allclose(first(x)[..., i], slope, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("h", [0.0, 1e-3, 0.21, 30.0])
def test_mean_and_covariance_of_one_mode_are_those_of_the_linear_process(h):
    η, β, λ, C, start = 0.13, 0.8, 0.02, 1.7, np.array([0.4, -1.3])
    setting = dict(learning_rate=η, momentum=β, weight_decay=λ)
    law = momentum.phase_space(np.array([[h]]), np.array([[C]]), **setting)
    t = np.array([0.0, 0.01, 0.5, 4.0, 70.0])
    mean = np.stack(momentum.mean_at(t, *start, h, **setting), -1)
    np.testing.assert_allclose(mean, law.mean_at(t, start), rtol=1e-9, atol=1e-12)
    spread = momentum.covariance_at(t, h, C, **setting)
    np.testing.assert_allclose(spread, law.covariance_at(t), rtol=1e-9, atol=1e-13)
    M = np.asarray(law.stationary_covariance())
    correlation = np.asarray(law.autocovariance(-t))[:, 1, 1] / M[1, 1]
    np.testing.assert_allclose(momentum.velocity_correlation(-t, h, **setting), correlation, atol=1e-11)


def test_the_covariance_keeps_its_digits(grid):
    """At short times the printed difference of D loses all of them; here the oracle has a hundred."""
    t, h, η, β, _ = grid
    kept = (t > 0) & (t < 1e5)
    t, h, η, β = t[kept], h[kept], η[kept], β[kept]
    γ, ω2 = rates(h, η, β)
    expected = np.stack([exact_covariance(*numbers) for numbers in zip(t, γ, ω2, strict=True)])
    N = η * (2 / (η * (1 + β))) ** 2
    got = np.asarray(momentum.covariance_at(t, h, 1 / N, learning_rate=η, momentum=β))
    np.testing.assert_allclose(got[:, 0, 0], expected[:, 0], rtol=1e-9)
    np.testing.assert_allclose(got[:, 1, 1], expected[:, 1], rtol=1e-9)
    square = 2 * h / (η * (1 + β))
    F = np.asarray(momentum.propagator(t, h, learning_rate=η, momentum=β))
    remaining = 1 - F[:, 0, 0] ** 2 - square * F[:, 0, 1] ** 2
    printed = remaining / (4 * (1 - β) / (η * (1 + β)) * square)
    assert np.max(np.abs(printed / expected[:, 0] - 1)) > 1


def exact_covariance(t, γ, ω2):
    """Variances of position and velocity for unit noise: D − e^{−St} D e^{−Sᵀt} where digits do not matter."""
    F = exact_decimals(t, γ, ω2)
    with localcontext() as context:
        context.prec = 120
        D = [1 / (4 * γ * ω2), 1 / (4 * γ)]
        left = [F[i][0] ** 2 * D[0] + F[i][1] ** 2 * D[1] for i in (0, 1)]
        return np.array([D[i] - left[i] for i in (0, 1)], dtype=float)


def test_powers_of_one_step():
    """Up to 10⁹ steps, momentum 0 included, at both critical curvatures, without restoring force, and unstable."""
    cases = []
    for β in MOMENTA:
        η = 0.3
        low, high = (1 - np.sqrt(β)) ** 2 / η, (1 + np.sqrt(β)) ** 2 / η
        for h in (
            0.0,
            1e-9,
            1e-3 * low,
            low,
            low * (1 + 1e-10),
            0.5 * (low + high),
            high,
            0.5 * (high + 2 * (1 + β) / η),
        ):
            cases += [(k, h, η, β) for k in (0, 1, 2, 7, 1000, 10**6 + 1, 10**9)]
    k, h, η, β = np.array(cases).T
    k = k.astype(int)
    F = np.asarray(momentum.propagator_after(k, h, learning_rate=η, momentum=β))
    expected = np.stack([exact_power(int(n), *rest) for n, *rest in zip(k, η, β, h, strict=True)])
    # 1e-14 but for the alternating modes near their critical damping, where rounding ηK alone does more
    size = 1 + h + 1 / (1 - β)
    np.testing.assert_allclose(F / size[:, None, None], expected / size[:, None, None], rtol=0, atol=1e-9)
    unstable = momentum.propagator_after(5, 20.0, learning_rate=0.3, momentum=0.9)
    np.testing.assert_allclose(unstable, exact_power(5, 0.3, 0.9, 20.0), rtol=1e-12)


def test_powers_have_derivatives_of_all_kinds():
    """At critical damping and momentum 0, against matrix powers differentiated by JAX."""

    def direct(x):
        K, η, β = x
        F = jnp.array([[1 - η * K, η * β], [-K, β]])
        out = jnp.eye(2)
        for _ in range(6):
            out = out @ F
        return out

    def derivatives(f):
        return jax.jit(jax.jacrev(f)), jax.jit(
            lambda x: jax.jvp(lambda x: jax.jvp(f, (x,), (along,))[1], (x,), (along,))[1]
        )

    along = rng.normal(size=3)
    f = lambda x: momentum.propagator_after(6, x[0], learning_rate=x[1], momentum=x[2])
    ours, theirs = derivatives(f), derivatives(direct)
    for x in (np.array([1.0 / 0.3, 0.3, 0.0]), np.array([0.25 / 0.3, 0.3, 0.25]), np.array([0.4, 0.3, 0.7])):
        for got, expected in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(got(x), expected(x), rtol=1e-9, atol=1e-9)


def test_discrete_mean_covariance_and_correlation_are_those_of_the_recursion():
    η, λ, C, k = 0.13, 0.02, 1.7, np.array([0, 1, 2, 5, 64, 1001])
    start = np.array([0.4, -1.3])
    for β in MOMENTA:
        for h in (1e-3, 0.4, 6.0):
            setting = dict(learning_rate=η, momentum=β, weight_decay=λ)
            T = np.array([[1 - η * (h + λ), η * β], [-(h + λ), β]])
            N = C * np.outer([η, 1], [η, 1])
            F = np.stack([np.linalg.matrix_power(T, n) for n in k])
            mean = np.stack(momentum.mean_after(k, *start, h, **setting), -1)
            np.testing.assert_allclose(mean, F @ start, rtol=1e-9, atol=1e-12)
            M = scipy.linalg.solve_discrete_lyapunov(T, N)
            spread = momentum.covariance_after(k, h, C, **setting)
            np.testing.assert_allclose(spread, M - F @ M @ F.swapaxes(1, 2), rtol=1e-9, atol=1e-11 * M[0, 0])
            correlation = momentum.velocity_correlation_after(-k, h, **setting)
            np.testing.assert_allclose(correlation, (F @ M)[:, 1, 1] / M[1, 1], atol=1e-10)
    free = momentum.covariance_after(1000, 0.0, 1.0, learning_rate=0.1, momentum=0.5)
    direct = sum(0.01 * ((1 - 0.5**n) / 0.5) ** 2 for n in range(1, 1001))
    np.testing.assert_allclose(free[0, 0], direct, rtol=1e-12)


def test_roots_and_rates():
    """Against eigenvalues; overdamped, oscillating, alternating."""
    for η, β, λ, h in (
        (0.1, 0.5, 0.0, 0.02),
        (0.1, 0.5, 0.3, 1.0),
        (0.1, 0.5, 0.0, 29.5),
        (0.2, 0.0, 0.0, 3.0),
        (0.2, 0.0, 0.1, 9.0),
    ):
        setting = dict(learning_rate=η, momentum=β, weight_decay=λ)
        K = h + λ
        z = np.linalg.eigvals(np.array([[1 - η * K, η * β], [-K, β]]))
        z = z[np.argmax(np.abs(z))]
        np.testing.assert_allclose(momentum.decay_per_step(h, **setting), -np.log(np.abs(z)), rtol=1e-12)
        turning = np.abs(np.angle(z))
        np.testing.assert_allclose(momentum.oscillation_frequency_per_step(h, **setting), turning, rtol=1e-12)
        S = np.array([[0, -1], [2 * K / (η * (1 + β)), 2 * (1 - β) / (η * (1 + β))]])
        s = np.linalg.eigvals(S)
        s = s[np.argmin(s.real)]
        np.testing.assert_allclose(momentum.decay_rate(h, **setting), s.real, rtol=1e-12)
        np.testing.assert_allclose(momentum.oscillation_frequency(h, **setting), abs(s.imag), rtol=1e-12)
        γ, ω = momentum.damping(η, β), momentum.natural_frequency(h, **setting)
        np.testing.assert_allclose(momentum.damping_ratio(h, **setting), γ / ω, rtol=1e-14)
    slow = momentum.decay_per_step(1e-9, learning_rate=0.1, momentum=0.9)
    np.testing.assert_allclose(slow, 1e-9, rtol=1e-7)
    assert momentum.decay_per_step(5.0, learning_rate=0.2, momentum=0.0) == np.inf


def test_critical_curvatures():
    """Where the roots meet, with weight decay; the two differ by 0.1 % at momentum 0.9 and by a factor 2 at 0."""
    for β, ratio in ((0.9, 1.001), (0.5, 1.03), (0.0, 2.0)):
        setting = dict(learning_rate=0.1, momentum=β, weight_decay=1e-5)
        exact = momentum.critical_curvature(**setting)
        sde = momentum.critical_curvature(**setting, form="sde")
        np.testing.assert_allclose((exact + 1e-5) / (sde + 1e-5), ratio, rtol=1e-3)
        np.testing.assert_allclose(momentum.damping_ratio(sde, **setting), 1, rtol=1e-12)
        assert momentum.oscillation_frequency_per_step(exact * 1.0001, **setting) > 0
        assert momentum.oscillation_frequency_per_step(exact * 0.9999, **setting) == 0


def test_arguments_broadcast_and_what_is_wrong_is_refused():
    setting = dict(learning_rate=0.1, momentum=0.9)
    assert momentum.propagator(1.0, 0.3, **setting).shape == (2, 2)
    assert momentum.propagator(np.ones((3, 1)), np.ones(2), **setting).shape == (3, 2, 2, 2)
    assert momentum.covariance_after(3, np.ones(2), 1.0, learning_rate=np.full((4, 1), 0.1), momentum=0.5).shape == (
        4,
        2,
        2,
        2,
    )
    assert momentum.damping(0.1, np.array([0.0, 0.5])).shape == (2,)
    mapped = jax.vmap(lambda h: momentum.covariance_at(2.0, h, 1.0, **setting))(jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(mapped, momentum.covariance_at(2.0, np.array([0.1, 0.2]), 1.0, **setting), rtol=1e-14)
    for bad in (dict(learning_rate=0.0), dict(momentum=1.0), dict(weight_decay=-1.0)):
        with pytest.raises(ValueError, match=next(iter(bad))):
            momentum.propagator(1.0, 0.3, **(setting | bad))
    with pytest.raises(ValueError, match="curvature"):
        momentum.propagator(1.0, -0.3, **setting)
    with pytest.raises(ValueError, match="t = "):
        momentum.mean_at(-1.0, 1.0, 0.0, 0.3, **setting)
    with pytest.raises(ValueError, match="steps"):
        momentum.propagator_after(-1, 0.3, **setting)
    with pytest.raises(ValueError, match="noise_variance"):
        momentum.covariance_at(1.0, 0.3, -1.0, **setting)
    with pytest.raises(ValueError, match="learning_rate"):
        momentum.decay_per_step(50.0, **setting)
    with pytest.raises(ValueError, match="curvature"):
        momentum.damping_ratio(0.0, **setting)
