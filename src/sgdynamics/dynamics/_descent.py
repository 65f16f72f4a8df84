"""Stochastic gradient descent, and descent by any optax transformation.

    SGD         v_{k+1} = β v_k − g_B(θ_k) − λ θ_k,      θ_{k+1} = θ_k + η v_{k+1}       (Kunin et al., Eq. 2)
    Descent     θ_{k+1} = θ_k + u_k,      (u_k, s_{k+1}) = transformation(g_B(θ_k), s_k, θ_k)

with g_B the gradient of the mean loss over the minibatch B, η the learning rate, β the momentum, λ the weight
decay. At β = 0 the first line is Gross, Raulf and Räth, Eq. (2.11).
"""

from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax

from sgdynamics._problem import Problem
from sgdynamics._types import PRNGKey, RealScalar, Scalar, Step, Vector
from sgdynamics.dynamics import _interface
from sgdynamics.dynamics._interface import AbstractDynamics, Hyperparameter, State, at_step
from sgdynamics.samplers import AbstractSampler, as_sampler

# no step has this number: what a transformation draws is independent of the minibatches
TRANSFORMATION = 2**32 - 1


class SGD(AbstractDynamics):
    """Minibatch gradient descent with momentum and weight decay.

    Arguments
    - problem, sampler: what is learned, and how minibatches are drawn (an integer: that batch size, with
      replacement).
    - learning_rate, momentum, weight_decay: numbers (arrays of shape ()), or schedules step -> value.

    Raises `ValueError` for negative or non-finite hyperparameters, a momentum outside [0, 1), and a sampler that
    does not fit the data.
    """

    takes_velocity: ClassVar[bool] = True
    problem: Problem
    learning_rate: Hyperparameter
    sampler: AbstractSampler
    momentum: Hyperparameter
    weight_decay: Hyperparameter

    def __init__(
        self,
        problem: Problem,
        *,
        learning_rate: RealScalar | Callable,
        sampler: AbstractSampler | int,
        momentum: RealScalar | Callable = 0.0,
        weight_decay: RealScalar | Callable = 0.0,
    ):
        self.problem, self.sampler = _interface.problem(problem), as_sampler(sampler)
        self.sampler.check(problem.data)
        self.learning_rate = _interface.learning_rate(learning_rate)
        self.momentum = _interface.momentum(momentum)
        self.weight_decay = _interface.weight_decay(weight_decay)

    def initial_position(self) -> Vector:
        return self.problem.parameters

    def init(self, position: Vector, velocity: Vector | None = None) -> State:
        velocity = jnp.zeros_like(position) if velocity is None else velocity
        return State(position, velocity, self.sampler.init(self.problem.data))

    def step(self, state: State, step: Step, key: PRNGKey) -> State:
        θ, v = state.position, state.velocity
        η, β, λ = (at_step(h, step, θ.dtype) for h in (self.learning_rate, self.momentum, self.weight_decay))
        batch, memory = self.sampler.draw(self.problem.data, state.memory, step, key)
        v = β * v - self.problem.gradient(θ, batch) - λ * θ
        return State(θ + η * v, v, memory)

    def time_step(self, step: Step) -> Scalar:
        return at_step(self.learning_rate, step, jnp.result_type(float))


class Descent(AbstractDynamics):
    """Descent by any `optax.GradientTransformation` on minibatch gradients. It has no learning rate of its own:
    time is counted in steps, and the velocity is θ_{k+1} − θ_k.

    A transformation that takes extra arguments (`optax.GradientTransformationExtraArgs`) is given `key`, another one
    for every replica and step.
    """

    takes_velocity: ClassVar[bool] = False
    problem: Problem
    transformation: optax.GradientTransformation
    sampler: AbstractSampler

    def __init__(self, problem: Problem, transformation: optax.GradientTransformation, sampler: AbstractSampler | int):
        if not (hasattr(transformation, "init") and hasattr(transformation, "update")):
            raise ValueError(
                f"transformation = {transformation!r}, but it must be one of optax, such as optax.adam(0.01). "
                "For gradient descent with a learning rate alone use SGD."
            )
        self.problem, self.sampler = _interface.problem(problem), as_sampler(sampler)
        self.transformation = transformation
        self.sampler.check(problem.data)

    def initial_position(self) -> Vector:
        return self.problem.parameters

    def init(self, position: Vector, velocity: Vector | None = None) -> State:
        if velocity is not None:
            raise ValueError("velocity was given, but a Descent keeps its memory in the optax state. Leave it out.")
        memory = (self.sampler.init(self.problem.data), self.transformation.init(position))
        return State(position, jnp.zeros_like(position), memory)

    def step(self, state: State, step: Step, key: PRNGKey) -> State:
        sampler_memory, optimiser = state.memory
        batch, sampler_memory = self.sampler.draw(self.problem.data, sampler_memory, step, key)
        gradient = self.problem.gradient(state.position, batch)
        transformation = optax.with_extra_args_support(self.transformation)
        own = jax.random.fold_in(jax.random.fold_in(key, jnp.uint32(TRANSFORMATION)), step)
        update, optimiser = transformation.update(gradient, optimiser, state.position, key=own)
        return State(optax.apply_updates(state.position, update), update, (sampler_memory, optimiser))

    def time_step(self, step: Step) -> Scalar:
        return jnp.ones((), jnp.result_type(float))
