"""Stochastic variance amplified gradient: a discrete walk from SGD (l = 1) to its differential equation (l → ∞).

With two independent minibatches B, B' in each of l inner steps, which together last one learning rate η,

    θ ← θ − (η/l) [a g_B(θ) + b g_B'(θ) + λ θ],      a, b = (1 ± √(2l − 1))/2,
    a + b = 1,  a² + b² = l:                          mean −(η/l)(∇L + λθ), covariance (η²/l) C(θ),

(Li, Malladi and Arora, 2021, Eq. 5): the first two moments of an Euler-Maruyama step of length η/l of the
order-1 equation dθ = −(∇L + λθ) dt + √(η C) dW, with the minibatch noise's own higher ones, which fade as l grows.
The distance to that equation, not to SGD, falls as 1/l (their Thm. 4.3).
"""

import math
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from sgdynamics import _checks
from sgdynamics._problem import Problem
from sgdynamics._types import PRNGKey, RealScalar, Scalar, Step, Vector
from sgdynamics.dynamics import _interface
from sgdynamics.dynamics._interface import AbstractDynamics, Hyperparameter, State, at_step
from sgdynamics.samplers import AbstractSampler, as_sampler

# no step has this number: the second minibatch is independent of all first ones
SECOND = 2**32 - 1


class SVAG(AbstractDynamics):
    """Minibatch gradient descent with amplified noise in shorter steps.

    Arguments
    - problem, learning_rate, sampler, weight_decay: of the SGD that is modelled; no momentum.
    - stretch: l ≥ 1, inner steps in one step. `steps` count learning rates, as those of a differential equation;
      inner step j of step k draws what step k l + j of SGD would. At l = 1 the second minibatch has weight 0 and is
      not drawn: the path is SGD's.

    Raises `ValueError` for a sampler with a memory (`Epochs`), whose minibatches are not independent.
    """

    takes_velocity: ClassVar[bool] = False
    problem: Problem
    learning_rate: Hyperparameter
    sampler: AbstractSampler
    weight_decay: Hyperparameter
    stretch: int = eqx.field(static=True)

    def __init__(
        self,
        problem: Problem,
        *,
        learning_rate: RealScalar | Callable,
        sampler: AbstractSampler | int,
        stretch: int = 8,
        weight_decay: RealScalar | Callable = 0.0,
    ):
        self.problem, self.sampler = _interface.problem(problem), as_sampler(sampler)
        self.sampler.check(problem.data)
        if self.sampler.init(problem.data) is not None:
            raise ValueError(
                f"sampler = {self.sampler}, but its minibatches must be independent, and it remembers the last ones: "
                "their correlation, as that within an epoch, would be stretched with the steps. "
                "Use WithoutReplacement, WithReplacement or Online."
            )
        self.learning_rate = _interface.learning_rate(learning_rate)
        self.weight_decay = _interface.weight_decay(weight_decay)
        self.stretch = _checks.count("stretch", stretch)

    def initial_position(self) -> Vector:
        return self.problem.parameters

    def init(self, position: Vector, velocity: Vector | None = None) -> State:
        if velocity is not None:
            raise ValueError("velocity was given, but SVAG has none. Leave it out.")
        return State(position)

    def step(self, state: State, step: Step, key: PRNGKey) -> State:
        η, λ = (at_step(h, step, state.position.dtype) for h in (self.learning_rate, self.weight_decay))

        def inner(j, θ):
            n = step * self.stretch + j.astype(step.dtype)
            return θ - η / self.stretch * (self.amplified_gradient(θ, n, key) + λ * θ)

        return State(jax.lax.fori_loop(0, self.stretch, inner, state.position))

    def amplified_gradient(self, θ: Vector, inner_step: Step, key: PRNGKey) -> Vector:
        """a g_B + b g_B', of mean ∇L and covariance l C."""
        gradient = lambda key: self.problem.gradient(θ, self._batch(inner_step, key))
        if self.stretch == 1:
            return gradient(key)
        root = math.sqrt(2 * self.stretch - 1)
        second = jax.random.fold_in(key, jnp.uint32(SECOND))
        return (1 + root) / 2 * gradient(key) + (1 - root) / 2 * gradient(second)

    def time_step(self, step: Step) -> Scalar:
        return at_step(self.learning_rate, step, jnp.result_type(float))

    def _batch(self, inner_step: Step, key: PRNGKey):
        data = self.problem.data
        return self.sampler.draw(data, self.sampler.init(data), inner_step, key)[0]
