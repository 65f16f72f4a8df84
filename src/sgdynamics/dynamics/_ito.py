"""Stochastic differential equations, each written once, as drift and diffusion (Itô).

    dθ = drift(t, θ) dt + diffusion(t, θ) dW                                                    ItoProcess
    dθ = −∇L(θ) dt − λ θ dt + √η B(θ) dW,   B Bᵀ = C(θ)                                 Langevin, order 1

(Gross, Raulf and Räth, Eq. 2.13; Li, Tai and E, Thm. 1), and with the order-2 drift
−∇(L_λ + (η/4)|∇L_λ|²) of Li, Tai and E, Thm. 2. diffrax integrates them (`solve`); the ensemble steps the same
object by Euler-Maruyama,

    θ ← θ + drift dt + diffusion √dt z,        dt = η/substeps.

At substeps = 1 that has SGD's first two moments in every step: it is SGD in disguise, and says nothing about
the differential equation. Double `substeps` until nothing changes.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, PyTree, Real
from jaxtyping import ArrayLike as ArrayLike

from sgdynamics import _checks
from sgdynamics._problem import Problem
from sgdynamics._types import PRNGKey, RealScalar, Scalar, Step, Vector
from sgdynamics.dynamics import _interface
from sgdynamics.dynamics._brownian import increment
from sgdynamics.dynamics._interface import AbstractDynamics, Hyperparameter, State, at_step, step_at
from sgdynamics.dynamics._operator import DiffusionOperator
from sgdynamics.noise import AbstractGradientNoise, AbstractNoise, minibatch
from sgdynamics.samplers import AbstractSampler, as_sampler


class AbstractItoProcess(AbstractDynamics):
    """dθ = drift dt + diffusion dW. Its steps are Euler-Maruyama's: `substeps` of them make one step."""

    takes_velocity: ClassVar[bool] = False
    substeps: eqx.AbstractVar[int]

    @abstractmethod
    def drift(self, t: Scalar, θ: Vector) -> Vector:
        """The drift at θ."""

    @abstractmethod
    def diffusion(self, t: Scalar, θ: Vector) -> lx.AbstractLinearOperator:
        """The diffusion coefficient: from Brownian increments to parameters."""

    @abstractmethod
    def sources(self) -> PyTree[jax.ShapeDtypeStruct]:
        """The shapes of a Brownian increment."""

    @abstractmethod
    def displacement(self, step: Step, t: Scalar, θ: Vector, dt: Scalar, dW: PyTree) -> Vector:
        """drift · dt + diffusion · dW, in the course of step number `step`."""

    def init(self, position: Vector, velocity: Vector | None = None) -> State:
        if velocity is not None:
            raise ValueError("velocity was given, but a first-order process has none. Leave it out.")
        return State(position)

    def step(self, state: State, step: Step, key: PRNGKey) -> State:
        dt = self.time_step(step).astype(state.position.dtype) / self.substeps

        def substep(j, θ):
            n = step * self.substeps + j.astype(step.dtype)
            dW = increment(key, n, dt, self.sources())
            return θ + self.displacement(step, n.astype(dt.dtype) * dt, θ, dt, dW)

        return State(jax.lax.fori_loop(0, self.substeps, substep, state.position))


class ItoProcess(AbstractItoProcess):
    """A process given by its coefficients.

    Arguments
    - drift(t, θ) -> [parameters].
    - diffusion(t, θ) -> a matrix [parameters, noises], a vector [parameters] (a diagonal matrix), or a lineax
      operator: the coefficient of dW, a root of the covariance rate. Arrays are cast to the dtype of θ; an operator
      must keep it.
    - initial: where a run starts unless told [parameters].
    - time_step: what `steps` counts; noises: independent Brownian motions (None: one for each parameter).
    """

    drift_function: Callable
    diffusion_function: Callable
    initial: Vector
    duration: Scalar
    noises: int = eqx.field(static=True)
    substeps: int = eqx.field(static=True)

    def __init__(
        self,
        drift: Callable,
        diffusion: Callable,
        *,
        initial: Real[ArrayLike, " parameters"],
        time_step: RealScalar,
        noises: int | None = None,
        substeps: int = 1,
    ):
        self.drift_function, self.diffusion_function = drift, diffusion
        self.initial = _checks.finite("initial", jnp.asarray(initial, jnp.result_type(float)))
        self.duration = jnp.asarray(_checks.positive("time_step", time_step), self.initial.dtype)
        self.noises = self.initial.shape[0] if noises is None else _checks.count("noises", noises)
        self.substeps = _checks.count("substeps", substeps)

    def drift(self, t: Scalar, θ: Vector) -> Vector:
        # coefficients may compute in more bits than θ has, as those of theory do
        return jnp.asarray(self.drift_function(t, θ)).astype(θ.dtype)

    def diffusion(self, t: Scalar, θ: Vector) -> lx.AbstractLinearOperator:
        coefficient = self.diffusion_function(t, θ)
        if isinstance(coefficient, lx.AbstractLinearOperator):
            return coefficient
        coefficient = jnp.asarray(coefficient).astype(θ.dtype)
        if coefficient.ndim == 1:
            return lx.DiagonalLinearOperator(coefficient)
        return lx.MatrixLinearOperator(coefficient)

    def sources(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((self.noises,), self.initial.dtype)

    def displacement(self, step: Step, t: Scalar, θ: Vector, dt: Scalar, dW: Float[Array, " noises"]) -> Vector:
        return self.drift(t, θ) * dt + self.diffusion(t, θ).mv(dW)

    def initial_position(self) -> Vector:
        return self.initial

    def time_step(self, step: Step) -> Scalar:
        return self.duration


class Langevin(AbstractItoProcess):
    """The stochastic differential equation that is said to model SGD.

    Arguments
    - problem, learning_rate, sampler, weight_decay: of the SGD that is modelled. The learning rate η sets the
      noise, √(η C); a step lasts η. An integer sampler means that batch size, with replacement.
    - noise: the covariance C(θ) of the minibatch gradient; None: the sampler's own, state-dependent
      (`noise.minibatch`). Others: `noise.frozen`, `noise.hessian_proportional`, `noise.isotropic`.
    - order: 1, or 2 for the modified drift.
    - substeps: Euler-Maruyama steps in one step of the ensemble's loop.

    The noise is white: of `Epochs` it has the covariance in each step and not the anti-correlation.
    """

    problem: Problem
    learning_rate: Hyperparameter
    weight_decay: Hyperparameter
    noise: AbstractNoise
    order: int = eqx.field(static=True)
    substeps: int = eqx.field(static=True)
    fused: bool = eqx.field(static=True)

    def __init__(
        self,
        problem: Problem,
        *,
        learning_rate: RealScalar | Callable,
        sampler: AbstractSampler | int,
        weight_decay: RealScalar | Callable = 0.0,
        noise: AbstractNoise | None = None,
        order: int = 1,
        substeps: int = 8,
    ):
        problem, sampler = _interface.problem(problem), as_sampler(sampler)
        sampler.check(problem.data)
        if order not in (1, 2):
            raise ValueError(f"order = {order}, but it must be 1 or 2.")
        self.problem, self.order = problem, order
        self.learning_rate = _interface.learning_rate(learning_rate)
        self.weight_decay = _interface.weight_decay(weight_decay)
        self.noise = minibatch(problem, sampler) if noise is None else noise
        self.substeps = _checks.count("substeps", substeps)
        # then drift and noise are pulled back from the same outputs: one vector-Jacobian product does for both
        self.fused = order == 1 and isinstance(self.noise, AbstractGradientNoise) and self.noise.problem is problem

    def drift(self, t: Scalar, θ: Vector) -> Vector:
        """−∇L − λθ, or −∇(L_λ + (η/4)|∇L_λ|²) in order 2; `t` picks the step of a schedule (see `step_at`)."""
        return self._drift(self.step_at(t), θ)

    def diffusion(self, t: Scalar, θ: Vector) -> DiffusionOperator:
        """√η B(θ)."""
        η = at_step(self.learning_rate, self.step_at(t), θ.dtype)
        sources = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, θ.dtype), self.sources())
        return DiffusionOperator(lambda z: jnp.sqrt(η) * self.noise.apply(θ, z), sources)

    def step_at(self, t: Scalar) -> Step:
        """The number of the step in which time t lies, for a constant learning rate."""
        return step_at(self.learning_rate, t)

    def displacement(self, step: Step, t: Scalar, θ: Vector, dt: Scalar, dW: PyTree) -> Vector:
        η, λ = (at_step(h, step, θ.dtype) for h in (self.learning_rate, self.weight_decay))
        if self.fused:
            return self.noise.descend(θ, dt, jnp.sqrt(η), dW) - λ * θ * dt
        return self._drift(step, θ) * dt + jnp.sqrt(η) * self.noise.apply(θ, dW)

    def _drift(self, step: Step, θ: Vector) -> Vector:
        η, λ = (at_step(h, step, θ.dtype) for h in (self.learning_rate, self.weight_decay))
        gradient = lambda θ: self.problem.gradient(θ) + λ * θ
        if self.order == 1:
            return -gradient(θ)
        g, Hg = jax.jvp(gradient, (θ,), (gradient(θ),))
        return -g - η / 2 * Hg

    def sources(self) -> PyTree[jax.ShapeDtypeStruct]:
        return self.noise.sources()

    def initial_position(self) -> Vector:
        return self.problem.parameters

    def time_step(self, step: Step) -> Scalar:
        return at_step(self.learning_rate, step, jnp.result_type(float))
