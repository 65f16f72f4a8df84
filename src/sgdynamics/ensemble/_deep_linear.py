"""SGD of deep linear networks on an endless teacher: the replicas' loop with replicas in the last axis.

    Online        v ← βv + (1/S) Σ_s e_l(s) a_l(s)ᵀ − λ W_l,    W_l ← W_l + η v
                  a_0 = x, a_l = W_l a_{l−1};   e_L = M x + σ ξ − a_L, e_{l−1} = W_lᵀ e_l
    FullBatch     v ← βv + W_>lᵀ (M − W) W_<lᵀ − λ W_l

At β = λ = 0 the velocity is not carried: that of the last step is the outer product of what the last step leaves.

The draws are those of the reference step: the same replica makes the same path, to rounding.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int

from sgdynamics._checks import known_zero
from sgdynamics._problem import Problem, squared_error
from sgdynamics._types import Step
from sgdynamics.data import Teacher
from sgdynamics.dynamics import SGD, AbstractDynamics, State, at_step
from sgdynamics.ensemble._core import Replicas, repeat
from sgdynamics.ensemble._normals import Pipeline, drawn_in, one_stream
from sgdynamics.ensemble._stacks import (
    Matrices,
    Stacks,
    Vectors,
    apply,
    apply_transposed,
    in_blocks,
    once,
    products,
    pulled_back,
    runtime_one,
)
from sgdynamics.networks import DeepLinear
from sgdynamics.samplers import FullBatch, Online

# sums over the batch are written out: beyond this, programs grow and matrix products win
MOST_EXAMPLES = 16
# sums over widths are written out too
WIDEST = 64
# going to another layout and back costs about as much as this many steps
LEAST_STEPS = 2


class DeepLinearKernel(eqx.Module):
    """The kernel for SGD.

    - noisy_labels: false if label noise is not even drawn
    - plain: no momentum and no weight decay
    """

    noisy_labels: bool = eqx.field(static=True)
    plain: bool = eqx.field(static=True)

    def __call__(self, dynamics: SGD, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        θ, v = replicas.states.position, replicas.states.velocity
        run = self._outer if self.plain and isinstance(dynamics.sampler, Online) else self._general
        block = lambda keys, θ, v: run(dynamics, θ, v, keys, replicas.step, steps)
        θ, v = in_blocks(block, replicas.keys, θ, v)
        return State(θ, v, replicas.states.memory)

    def _outer(
        self, sgd: SGD, θ: Array, v: Array, keys: Array, first: Step, steps: Int[Array, ""] | int
    ) -> tuple[Array, Array]:
        """Without momentum and weight decay."""
        stacks, one, pipeline = self._prepared(sgd, θ, keys, first)

        def body(carry, i):
            W, _, _, drawn = carry
            η = at_step(sgd.learning_rate, first + i, θ.dtype)
            errors, inputs = self._passes(sgd, stacks.layers(W), pipeline.normals(drawn), one)
            W = [W + η * V for W, V in zip(W, stacks.outer(errors, inputs), strict=True)]
            return W, errors, inputs, pipeline.next(drawn, first + i)

        S, R = sgd.sampler.batch_size, θ.shape[1]
        examples = () if S == 1 else (S,)
        nothing = lambda axis: [jnp.zeros((shape[axis], *examples, R), θ.dtype) for shape in stacks.shapes]
        start = (stacks.cut(θ), nothing(0), nothing(1), pipeline.start(first))
        W, errors, inputs, _ = repeat(steps, body, start)
        v = jnp.where(steps > 0, stacks.flat(stacks.outer(errors, inputs)), v)
        return stacks.flat(W), v

    def _general(
        self, sgd: SGD, θ: Array, v: Array, keys: Array, first: Step, steps: Int[Array, ""] | int
    ) -> tuple[Array, Array]:
        """With momentum and weight decay, or full batches."""
        stacks, one, pipeline = self._prepared(sgd, θ, keys, first)
        hyperparameters = (sgd.learning_rate, sgd.momentum, sgd.weight_decay)

        def body(carry, i):
            W, V, drawn = carry
            η, β, λ = (at_step(h, first + i, θ.dtype) for h in hyperparameters)
            if isinstance(sgd.sampler, FullBatch):
                descent = stacks.stack(self._population(sgd.problem.data, stacks.layers(W), one))
            else:
                descent = stacks.outer(*self._passes(sgd, stacks.layers(W), pipeline.normals(drawn), one))
            V = [β * V + D - λ * W for W, V, D in zip(W, V, descent, strict=True)]
            return [W + η * V for W, V in zip(W, V, strict=True)], V, pipeline.next(drawn, first + i)

        start = *(stacks.cut(part) for part in (θ, v)), pipeline.start(first)
        W, V, _ = repeat(steps, body, start)
        return stacks.flat(W), stacks.flat(V)

    def _prepared(self, sgd: SGD, θ: Array, keys: Array, first: Step) -> tuple[Stacks, Array, Pipeline]:
        shapes = []
        if isinstance(sgd.sampler, Online):
            outputs, inputs = sgd.problem.data.matrix.shape
            shapes = [(sgd.sampler.batch_size, inputs), (sgd.sampler.batch_size, outputs)][: 1 + self.noisy_labels]
        pipeline = Pipeline(one_stream(keys), tuple(shapes), 2, θ.dtype)
        return Stacks(sgd.problem.network.weights, θ.shape[1]), runtime_one(first, θ.dtype), pipeline

    def _population(self, teacher: Teacher, layers: list[Matrices], one: Array) -> list[Matrices]:
        """−∇L of the population."""
        before = products(layers, one)
        return pulled_back(layers, before, once(teacher.matrix[:, :, None] - before[-1], one), one)

    def _passes(
        self, sgd: SGD, layers: list[Matrices], draws: list[Array], one: Array
    ) -> tuple[list[Vectors], list[Vectors]]:
        """e_1 … e_L, divided by S, and a_0 … a_{L−1}."""
        teacher = sgd.problem.data
        # the width first, and no axis for a single example
        draws = [z[0] if z.shape[0] == 1 else jnp.moveaxis(z, 1, 0) for z in draws]
        x = once(draws[0], one)
        inputs = [x]
        for W in layers:
            inputs.append(once(apply(W, inputs[-1]), one))
        target = apply(teacher.matrix[:, :, None], x)
        target = target + teacher.label_noise_std * draws[1] if self.noisy_labels else target
        errors = [once((target - inputs.pop()) / sgd.sampler.batch_size, one)]
        for W in layers[:0:-1]:
            errors.append(once(apply_transposed(W, errors[-1]), one))
        return errors[::-1], inputs


def build(dynamics: AbstractDynamics, every: int, dtype) -> DeepLinearKernel | None:
    """The kernel, where it is for this dynamics and worth while; else None."""
    if every < LEAST_STEPS or not drawn_in(dtype) or type(dynamics) is not SGD:
        return None
    if not is_deep_linear(dynamics.problem):
        return None
    sampler = dynamics.sampler
    if type(sampler) is not FullBatch and not (type(sampler) is Online and sampler.batch_size <= MOST_EXAMPLES):
        return None
    plain = known_zero(dynamics.momentum) and known_zero(dynamics.weight_decay)
    return DeepLinearKernel(not known_zero(dynamics.problem.data.label_noise_std), plain)


def learns_a_teacher(problem: Problem) -> bool:
    """A deep linear network that learns from a stream by squared error. (A subclass may do anything else.)"""
    kinds = (type(problem), type(problem.data), type(problem.network))
    return kinds == (Problem, Teacher, DeepLinear) and problem.example_loss is squared_error


def is_deep_linear(problem: Problem) -> bool:
    """The same, of layers that are not too wide."""
    return learns_a_teacher(problem) and max(max(W.shape) for W in problem.network.weights) <= WIDEST
