"""What a dynamics is: one replica's state, and the step that takes it from step k to step k + 1.

The readable `step` of one replica is the definition. The ensemble maps it over replicas; every faster form is
held equal to it by tests. Randomness is addressed: a step depends on the replica's key and the step's number.

Time t = Σ learning rates over the steps; hyperparameters are arrays, or schedules from the step to a value.
"""

from abc import abstractmethod
from collections.abc import Callable
from numbers import Number
from typing import Any, TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics import _checks
from sgdynamics._problem import Problem
from sgdynamics._types import PRNGKey, RealScalar, Scalar, Step, Vector

Hyperparameter: TypeAlias = Float[Array, ""] | Callable[[Step], RealScalar]


class State(eqx.Module):
    """One replica: position θ [parameters], velocity [parameters] where there is one, and the dynamics' memory."""

    position: Float[Array, "*replicas parameters"]
    velocity: Float[Array, "*replicas parameters"] | None = None
    memory: Any = None


class AbstractDynamics(eqx.Module):
    """A discrete process, or a continuous one with its steps.

    `takes_velocity`: whether a replica's start has a velocity of its own.
    """

    takes_velocity: eqx.AbstractClassVar[bool]

    @abstractmethod
    def initial_position(self) -> Vector:
        """Where a run starts unless told."""

    @abstractmethod
    def init(self, position: Vector, velocity: Vector | None = None) -> State:
        """The state of a replica at `position`, before its first step."""

    @abstractmethod
    def step(self, state: State, step: Step, key: PRNGKey) -> State:
        """The state after step number `step`; `key` is the replica's, the same in every step."""

    @abstractmethod
    def time_step(self, step: Step) -> Scalar:
        """How much time t passes in this step (the learning rate, where there is one)."""


def at_step(hyperparameter: Hyperparameter, step: Step, dtype) -> Scalar:
    """The value of a constant or a schedule at a step."""
    value = hyperparameter(step) if callable(hyperparameter) else hyperparameter
    return jnp.asarray(value).astype(dtype)


def step_at(learning_rate: Hyperparameter, t: Scalar) -> Step:
    """The number of the step in which time t lies, for a constant learning rate."""
    if callable(learning_rate):
        raise ValueError("learning_rate is a schedule: a time alone does not tell the step. Use simulate().")
    # a time reached by adding up steps may fall short of its step by rounding
    return jnp.floor(t / learning_rate.astype(jnp.asarray(t).dtype) + 1e-3).astype(jnp.int32)


def problem(value: Problem) -> Problem:
    """What is learned; an error where it is anything but a `Problem`, such as a network alone."""
    if not isinstance(value, Problem):
        raise ValueError(
            f"problem is a {type(value).__name__}, but it must be a Problem: sgdynamics.Problem(network, data)."
        )
    return value


def learning_rate(value: RealScalar | Callable) -> Hyperparameter:
    """A learning rate, checked: finite and not negative, or a schedule."""
    return _hyperparameter("learning_rate", value, _checks.not_negative)


def positive_learning_rate(value: RealScalar | Callable) -> Hyperparameter:
    """A learning rate by which something is divided, checked: finite and positive, or a schedule."""
    return _hyperparameter("learning_rate", value, _checks.positive)


def weight_decay(value: RealScalar | Callable) -> Hyperparameter:
    """A weight decay, checked: finite and not negative, or a schedule."""
    return _hyperparameter("weight_decay", value, _checks.not_negative)


def momentum(value: RealScalar | Callable) -> Hyperparameter:
    """A momentum, checked: in [0, 1), or a schedule."""
    return _hyperparameter("momentum", value, _checks.momentum)


def _hyperparameter(name: str, value, check) -> Hyperparameter:
    if callable(value):
        return value
    if not (isinstance(value, Number | list | tuple) or hasattr(value, "shape")):
        raise ValueError(f"{name} = {value!r}, but it must be a number, or a schedule: a function of the step.")
    array = jnp.asarray(value, jnp.result_type(float))
    if array.shape != ():
        raise ValueError(f"{name} has shape {array.shape}, but it must be a scalar. Use jax.vmap for a sweep.")
    return check(name, array)
