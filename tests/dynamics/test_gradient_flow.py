"""Gradient flow, to where it ends: which minimum that is depends on the start."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

import sgdynamics as sgd
from sgdynamics.dynamics import gradient_flow
from sgdynamics.theory import deep_linear


def deep(*widths, samples=12):
    data = sgd.data.teacher_student(
        jax.random.key(1), samples=samples, inputs=widths[0], outputs=widths[-1], label_noise_std=0.5
    )
    return sgd.Problem(sgd.networks.DeepLinear(widths, key=jax.random.key(2)), data)


def balances(problem, θ):
    return deep_linear.balances(problem.unflatten(θ).weights)


@pytest.fixture(scope="module")
def shallow():
    return deep(4, 3, 2)


@pytest.fixture(scope="module")
def end(shallow):
    return gradient_flow(shallow)


@pytest.mark.parametrize("widths", [(4, 3, 2), (3, 4, 2, 2)])
def test_balance_is_kept_to_the_end(widths):
    problem = deep(*widths)
    end = gradient_flow(problem)
    assert jnp.linalg.norm(problem.gradient(end)) <= 1e-10 * (1 + jnp.linalg.norm(problem.gradient(problem.parameters)))
    for before, after in zip(balances(problem, problem.parameters), balances(problem, end), strict=True):
        assert jnp.abs(after - before).max() < 1e-10


def test_newton_steps_reach_another_minimum(shallow, end):
    newton = shallow.minimum()
    assert abs(shallow.loss(newton) - shallow.loss(end)) < 1e-12
    assert jnp.abs(balances(shallow, newton)[0] - balances(shallow, shallow.parameters)[0]).max() > 1e-3


def test_it_ends_where_another_integrator_ends(shallow, end):
    gradient = jax.jit(lambda θ: shallow.gradient(θ))  # a bound method has no hash
    velocity = lambda t, θ: -np.asarray(gradient(jnp.asarray(θ)))
    path = integrate.solve_ivp(velocity, (0, 600), np.asarray(shallow.parameters), method="LSODA", rtol=1e-11,
                               atol=1e-12)  # fmt: skip
    assert np.abs(path.y[:, -1] - np.asarray(end)).max() < 1e-8


def test_an_implicit_solver_ends_there_too(shallow, end):
    implicit = gradient_flow(shallow, solver=diffrax.Kvaerno5(), accuracy=1e-11)
    assert jnp.abs(implicit - end).max() < 1e-7


def test_with_weight_decay_it_ends_at_the_regularised_minimum_and_balanced(shallow):
    data = sgd.data.teacher_student(jax.random.key(1), samples=12, inputs=4, label_noise_std=0.5)
    end = gradient_flow(sgd.Problem(sgd.networks.Linear(4, 1), data), weight_decay=0.1)
    x, y = np.asarray(data.x), np.asarray(data.y)
    assert np.abs(end - np.linalg.solve(x.T @ x / 12 + 0.1 * np.eye(4), x.T @ y / 12)).max() < 1e-8
    decayed = balances(shallow, gradient_flow(shallow, weight_decay=0.05))[0]
    assert jnp.abs(decayed).max() < 1e-8


def test_other_numbers_compile_nothing():
    traced = []

    def loss(prediction, target):
        traced.append(1)
        return jnp.sum((prediction - target) ** 2) / 2

    data = sgd.data.Dataset(np.eye(2), np.array([1.0, 2.0]))
    problem = sgd.Problem(sgd.networks.Linear(2, 1), data, loss)
    assert jnp.abs(gradient_flow(problem) - jnp.array([1.0, 2.0])).max() < 1e-8
    before = len(traced)
    gradient_flow(problem, jnp.array([3.0, 1.0]), tolerance=1e-8, weight_decay=0.2, time=1e4)
    assert len(traced) == before


def test_derivatives_are_right_or_refused(shallow, end):
    start, direction = shallow.parameters, jnp.asarray(np.random.default_rng(0).normal(size=18))
    flow = lambda θ: gradient_flow(shallow, θ)
    moved, derivative = jax.jvp(flow, (start,), (direction,))
    assert jnp.abs(moved - end).max() < 1e-12
    ε = 1e-4
    central = (flow(start + ε * direction) - flow(start - ε * direction)) / (2 * ε)
    assert jnp.abs(derivative - central).max() < 1e-6 * jnp.abs(central).max()
    with pytest.raises(ValueError, match=r"[Rr]everse"):
        jax.grad(lambda θ: jnp.sum(flow(θ)))(start)


@pytest.mark.parametrize("limits", [{"time": 1.0}, {"max_steps": 5}])
def test_a_flow_that_does_not_come_to_rest_says_what_is_left(shallow, limits):
    with pytest.raises(ValueError, match=r"\|gradient\| at the end.* = \d\.\d{3,}, .*far as time"):
        gradient_flow(shallow, **limits)


def test_arguments_are_checked(shallow):
    for name, value in [("weight_decay", -1.0), ("tolerance", 0.0), ("time", 0.0), ("max_steps", 0)]:
        with pytest.raises(ValueError, match=name):
            gradient_flow(shallow, **{name: value})
    with pytest.raises(ValueError, match="start has shape"):
        gradient_flow(shallow, jnp.zeros(3))
