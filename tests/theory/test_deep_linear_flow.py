"""Gradient flow of a mode in closed form, against integration of its equation and quadrature of its time."""

import jax
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from sgdynamics.theory import deep_linear

STARTS = np.array([1e-6, 0.3, 1.29, 1.3, 1.31, 40.0])
S = 1.3
DEPTHS = [2, 3, 7]


@pytest.mark.parametrize("L", DEPTHS)
def test_flow_solves_its_equation(L):
    times = np.array([0.0, 0.01, 0.3, 1.0, 4.0])
    path = solve_ivp(
        lambda t, w: L * w ** (2 - 2 / L) * (S - w),
        (0, 4),
        STARTS,
        method="DOP853",
        t_eval=times,
        rtol=3e-14,
        first_step=1e-5,
        atol=1e-18,
    )
    value = deep_linear.gradient_flow(times[:, None], STARTS, S, depth=L)
    np.testing.assert_allclose(value, path.y.T, rtol=1e-12)


def test_two_layers():
    """(3) as printed."""
    times, w0, s = np.linspace(0, 5, 7), 0.02, 0.8
    grown = np.exp(2 * s * times)
    value = deep_linear.gradient_flow(times, w0, s, depth=2)
    np.testing.assert_allclose(value, s * w0 * grown / (s - w0 + w0 * grown), rtol=1e-13)


@pytest.mark.parametrize("L", DEPTHS)
def test_nothing_is_left_after_very_long_times(L):
    starts = np.array([1e-3, 0.3, 1.3, 1e5])
    np.testing.assert_allclose(deep_linear.gradient_flow(1e9, starts, S, depth=L), np.full(4, S), rtol=1e-14)
    np.testing.assert_allclose(deep_linear.gradient_flow(0.0, starts, S, depth=L), starts, rtol=1e-14)


@pytest.mark.parametrize("L", DEPTHS)
def test_learning_time_is_that_of_the_flow(L):
    levels, starts = np.array([0.6, 1.29, 1.31, 7.0]), np.array([1e-4, 0.6, 12.0, 9.0])
    times = deep_linear.learning_time(levels, starts, S, depth=L)
    for level, start, time in zip(levels, starts, times, strict=True):
        # the logarithm of w is smooth where w starts small
        expected, _ = quad(
            lambda x: np.exp(x) / (L * np.exp(x * (2 - 2 / L)) * (S - np.exp(x))), np.log(start), np.log(level),
            epsabs=0, epsrel=1e-12, limit=200,
        )  # fmt: skip
        np.testing.assert_allclose(time, expected, rtol=1e-11)
    np.testing.assert_allclose(deep_linear.gradient_flow(times, starts, S, depth=L), levels, rtol=1e-12)
    assert deep_linear.learning_time(0.3, 0.3, S, depth=L) == 0


def derivatives_hold(function, points, rtol):
    """First derivatives against differences of values, second (backwards, then forwards) against those of the first."""

    def with_slope(x):
        value, slope = jax.value_and_grad(function)(x)
        return slope, (value, slope)

    evaluate = jax.jit(jax.vmap(jax.jacfwd(with_slope, has_aux=True)))
    curvature, (_, slope) = evaluate(points)
    step = 1e-5 * points
    for i, unit in enumerate(np.eye(points.shape[1])):
        (_, up), (_, down) = evaluate(points + step * unit), evaluate(points - step * unit)
        difference = [
            (a - b).T / (2 * step[:, i]) for a, b in zip(map(np.asarray, up), map(np.asarray, down), strict=True)
        ]
        np.testing.assert_allclose(slope[:, i], difference[0], rtol=rtol, atol=1e-9)
        np.testing.assert_allclose(curvature[:, i], difference[1].T, rtol=rtol, atol=1e-8)


def test_derivatives():
    times, starts = np.full(4, 0.9), np.array([0.01, 0.3, 1.2, 2.5])
    points = np.stack([times, starts, np.full(4, S)], axis=1)
    derivatives_hold(lambda x: deep_linear.gradient_flow(x[0], x[1], x[2], depth=4), points, 1e-6)
    levels, starts = np.array([0.2, 0.5, 1.0, 1.7]), np.array([0.01, 0.3, 0.8, 2.5])
    points = np.stack([levels, starts, np.full(4, S)], axis=1)
    derivatives_hold(lambda x: deep_linear.learning_time(x[0], x[1], x[2], depth=4), points, 1e-6)


@pytest.mark.parametrize("L", [2, 5])
def test_the_derivative_at_the_minimum_is_that_of_relaxation(L):
    """At w₀ = s: e^{−L s^{2−2/L} t}; and it is continuous there."""
    slope = jax.jit(jax.vmap(jax.grad(lambda w0: deep_linear.gradient_flow(0.2, w0, S, depth=L))))
    starts = S * (1 + np.array([-1e-7, 0.0, 1e-7, -1.001e-5, -0.999e-5]))
    value = slope(starts)
    np.testing.assert_allclose(value[1], np.exp(-L * S ** (2 - 2 / L) * 0.2), rtol=1e-13)
    np.testing.assert_allclose(value[:3], np.full(3, value[1]), rtol=1e-5)
    curvature = (value[2] - value[0]) / (2e-7 * S)
    np.testing.assert_allclose(value[3] - value[4], -curvature * 0.002e-5 * S, atol=3e-10)


@pytest.mark.parametrize(
    "change, message",
    [(dict(time=-1.0), "time"), (dict(initial=0.0), "initial"), (dict(singular_values=-1.0), "singular_values"),
     (dict(depth=1), "depth")],
)  # fmt: skip
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        deep_linear.gradient_flow(**dict(time=1.0, initial=0.1, singular_values=1.0, depth=2) | change)


@pytest.mark.parametrize("level", [0.05, 1.0, 1.2])
def test_a_level_out_of_reach_is_an_error(level):
    with pytest.raises(ValueError, match="level"):
        deep_linear.learning_time(level, 0.1, 1.0, depth=3)
