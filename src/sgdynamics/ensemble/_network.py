"""SGD on any network, mapped over replicas as the reference step is, without its detours.

    v ← βv − ∇L_B(W) − λW,      W ← W + ηv

The network stays a tree of arrays from the first step to the last, where the reference step cuts θ into layers and
joins the gradient's pieces again in every step. Minibatches are drawn and fetched behind fences. The same replica makes
the same path, to rounding. It compiles no longer than the reference step.
"""

from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sgdynamics._problem import Problem
from sgdynamics._random import unrolled
from sgdynamics._types import Scalar, Step
from sgdynamics.data import Dataset
from sgdynamics.dynamics import SGD, AbstractDynamics, State, at_step
from sgdynamics.ensemble._core import Replicas, repeat
from sgdynamics.ensemble._fence import fence
from sgdynamics.ensemble._generic import draws_plainly
from sgdynamics.ensemble._regression import minibatch, stacked
from sgdynamics.samplers import Online

# cutting θ into layers and joining them again costs about as much as this many steps
LEAST_STEPS = 2

Leaves: TypeAlias = list[Float[Array, "replicas ..."]]


class NetworkKernel(eqx.Module):
    """The kernel for SGD; it has no parameters of its own."""

    def __call__(self, dynamics: SGD, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        gradient, keys = jax.vmap(jax.grad(_loss(dynamics))), unrolled(replicas.keys)

        def body(carry: tuple[Leaves, Leaves, Any], i: Array) -> tuple[Leaves, Leaves, Any]:
            (weights, velocity, memory), step = carry, replicas.step + i
            η, β, λ = (at_step(h, step, weights[0].dtype) for h in _hyperparameters(dynamics))
            (x, y), memory = _batches(dynamics, keys, memory, step)
            pull = gradient(weights, x, y)
            velocity = [β * v - g - λ * W for W, v, g in zip(weights, velocity, pull, strict=True)]
            return [W + η * v for W, v in zip(weights, velocity, strict=True)], velocity, memory

        cut = lambda θ: _cut(θ, jax.tree.leaves(_arrays(dynamics)))
        carry = (cut(replicas.states.position), cut(replicas.states.velocity), replicas.states.memory)
        weights, velocity, memory = repeat(steps, body, carry)
        return State(_flat(weights), _flat(velocity), memory)


def _hyperparameters(sgd: SGD) -> tuple[Any, Any, Any]:
    return sgd.learning_rate, sgd.momentum, sgd.weight_decay


def _arrays(sgd: SGD) -> Any:
    """The network's floating-point arrays: in this order they make θ."""
    return eqx.filter(sgd.problem.network, eqx.is_inexact_array)


def _loss(sgd: SGD) -> Any:
    """One replica's loss over a minibatch (x, y), of the network's arrays."""
    problem, structure = sgd.problem, jax.tree.structure(_arrays(sgd))
    rest = eqx.filter(problem.network, eqx.is_inexact_array, inverse=True)

    def loss(weights: list[Array], x: Array, y: Array) -> Scalar:
        network = eqx.combine(jax.tree.unflatten(structure, weights), rest)
        return jnp.mean(jax.vmap(problem.example_loss)(jax.vmap(network)(x), y))

    return loss


def _batches(sgd: SGD, keys: Array, memory: Any, step: Step) -> tuple[tuple[Array, Array], Any]:
    """The replicas' minibatches, [replicas, samples, ...], and the sampler's memory."""
    data = sgd.problem.data
    if type(data) is Dataset:
        indices, memory = minibatch(sgd, memory, keys, step)
        return fence(step, lambda i: (data.x[i], data.y[i]), stacked(indices)), memory
    draw = jax.vmap(lambda key: sgd.sampler.draw(data, memory, step, key)[0])
    batch = fence(step, lambda keys: draw(keys), keys)
    return (batch.x, batch.y), memory


def _cut(θ: Float[Array, "replicas parameters"], leaves: list[Array]) -> Leaves:
    parts = jnp.split(θ, np.cumsum([leaf.size for leaf in leaves])[:-1], axis=1)
    return [part.reshape(-1, *leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]


def _flat(leaves: Leaves) -> Float[Array, "replicas parameters"]:
    return jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], axis=1)


def build(dynamics: AbstractDynamics, every: int) -> NetworkKernel | None:
    """The kernel for SGD on a plain data set drawn by index, or online on a stream; else None."""
    if every < LEAST_STEPS or type(dynamics) is not SGD or type(dynamics.problem) is not Problem:
        return None
    plain = type(dynamics.problem.data) is Dataset
    drawn = draws_plainly(dynamics.sampler) and (plain or type(dynamics.sampler) is Online)
    return NetworkKernel() if drawn else None
