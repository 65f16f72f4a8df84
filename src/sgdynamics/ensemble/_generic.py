"""SGD on any network of small layers: the replicas' loop with replicas in the last axis.

    v ← βv − ∇L_B(W) − λW,      W ← W + ηv

The network stays a tree of arrays from the first step to the last; replicas go in blocks that fit the cache; the
gradient is that of one replica, evaluated for a block at once by `_replicas_last`. The draws are the
reference step's: the same replica makes the same path, to rounding.
"""

from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn
from jaxtyping import Array, Float, Int

from sgdynamics._problem import Problem
from sgdynamics._random import unrolled
from sgdynamics._types import Scalar, Step
from sgdynamics.data import Dataset
from sgdynamics.dynamics import SGD, AbstractDynamics, State, at_step
from sgdynamics.ensemble._core import Replicas, repeat
from sgdynamics.ensemble._fence import fence
from sgdynamics.ensemble._normals import addressed, drawn_in
from sgdynamics.ensemble._replicas_last import Last, evaluate, operations, written_out
from sgdynamics.samplers import AbstractIndexSampler, AbstractSampler, Online

# replicas that are worked on at once: the arrays of a layer then fit the cache of a core
BLOCK, LANES = 32, 8
# multiplications in one replica's product. Up to 6,000 a step was 1.3 to 2 times as fast as by `NetworkKernel`, at
# 12,000 as fast: there a library's matrix products win
MOST_MULTIPLICATIONS = 2**13
# operations that `vmap` of the whole step does as well, or better
LARGE = {"conv_general_dilated", "sort", "scan", "while", "cond"}
# going to another layout and back costs about as much as this many steps
LEAST_STEPS = 4
# it compiles one or two seconds longer than `NetworkKernel`: as long as so many steps of parameters save
LEAST_WORK = 2e9

Leaves: TypeAlias = list[Float[Array, "... replicas"]]


class GenericKernel(eqx.Module):
    """The kernel for SGD; it has no parameters of its own."""

    def __call__(self, dynamics: SGD, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        count = addressed(replicas.keys).shape[0]
        blocks = -(-count // BLOCK)
        size = count if blocks == 1 else LANES * -(-count // (LANES * blocks))
        # replicas beyond the last are the first once more
        index = jnp.arange(blocks * size).reshape(blocks, size) % count
        run = lambda index: _run(dynamics, *_taken(replicas, index), replicas.step, steps)
        states = jax.lax.map(run, index)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], states)


def _taken(replicas: Replicas, index: Int[Array, " block"]) -> tuple[State, Array]:
    return jax.tree.map(lambda leaf: leaf[index], replicas.states), replicas.keys[index]


def _run(sgd: SGD, states: State, keys: Array, first: Step, steps: Int[Array, ""] | int) -> State:
    """A block of replicas, all steps on."""
    network, program, dtype = sgd.problem.network, gradient_program(sgd), states.position.dtype

    def body(carry: tuple[Leaves, Leaves, Any], i: Array) -> tuple[Leaves, Leaves, Any]:
        (weights, velocity, memory), step = carry, first + i
        η, β, λ = (at_step(h, step, dtype) for h in (sgd.learning_rate, sgd.momentum, sgd.weight_decay))
        (x, y), memory = _batches(sgd, keys, memory, step)
        gradient = evaluate(program, [*map(Last, weights), Last(x), Last(y)], step)
        velocity = [β * v - _array(g, v) - λ * W for W, v, g in zip(weights, velocity, gradient, strict=True)]
        return [W + η * v for W, v in zip(weights, velocity, strict=True)], velocity, memory

    carry = (_cut(states.position, network), _cut(states.velocity, network), states.memory)
    weights, velocity, memory = repeat(steps, body, carry)
    return State(_flat(weights), _flat(velocity), memory)


def _batches(sgd: SGD, keys: Array, memory: Any, step: Step) -> tuple[tuple[Array, Array], Any]:
    """The replicas' minibatches, [samples, ..., replicas], and the sampler's memory."""
    data, is_plain = sgd.problem.data, type(sgd.problem.data) is Dataset
    arrays, structure = jax.tree.flatten((unrolled(keys) if is_plain else keys, memory))

    def draw(*arrays: Array) -> tuple[Any, Any]:
        def one(key: Array, memory: Any) -> tuple[Any, Any]:
            if is_plain:
                return sgd.sampler.indices(data.samples, memory, step, jax.random.fold_in(key, step))
            return sgd.sampler.draw(data, memory, step, key)

        return jax.vmap(one, out_axes=(-1, 0))(*jax.tree.unflatten(structure, arrays))

    drawn, memory = fence(step, draw, *arrays)
    if is_plain:
        take = lambda indices: tuple(jnp.moveaxis(part[indices], 1, -1) for part in (data.x, data.y))
        # a fence of its own, or indices would be drawn again for every number that they fetch
        return fence(step, take, drawn), memory
    return (drawn.x, drawn.y), memory


def gradient_program(sgd: SGD) -> ClosedJaxpr:
    """One replica's gradient of the loss over a minibatch (x, y), for the network's floating-point arrays."""
    problem = sgd.problem
    arrays, rest = eqx.partition(problem.network, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(arrays)

    def loss(leaves: list[Array], x: Array, y: Array) -> Scalar:
        network = eqx.combine(jax.tree.unflatten(structure, leaves), rest)
        return jnp.mean(jax.vmap(problem.example_loss)(jax.vmap(network)(x), y))

    batch = eqx.filter_eval_shape(_minibatch, sgd)
    return jax.make_jaxpr(jax.grad(loss))(leaves, batch.x, batch.y)


def _minibatch(sgd: SGD) -> Dataset:
    data, step = sgd.problem.data, jnp.zeros((), jnp.int32)
    return sgd.sampler.draw(data, sgd.sampler.init(data), step, jax.random.key(0))[0]


# --- layouts --------------------------------------------------------------------------------------------------


def _cut(θ: Float[Array, "replicas parameters"], network: Any) -> Leaves:
    leaves = jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array))
    parts = jnp.split(θ.T, np.cumsum([leaf.size for leaf in leaves])[:-1])
    return [part.reshape(*leaf.shape, -1) for part, leaf in zip(parts, leaves, strict=True)]


def _flat(leaves: Leaves) -> Float[Array, "replicas parameters"]:
    return jnp.concatenate([leaf.reshape(-1, leaf.shape[-1]) for leaf in leaves]).T


def _array(gradient: Last | Array, like: Array) -> Array:
    """A gradient that depends on no replica (that of an unused weight) is the same for all."""
    return gradient.array if isinstance(gradient, Last) else jnp.broadcast_to(gradient[..., None], like.shape)


# --- where it is worth while ----------------------------------------------------------------------------------


def build(dynamics: AbstractDynamics, every: int, dtype, replica_steps: float | int) -> GenericKernel | None:
    """The kernel, on CPUs, where the network's gradient consists of small products and the run is long; else None."""
    if replica_steps * dynamics.initial_position().size < LEAST_WORK:
        return None
    if every < LEAST_STEPS or not drawn_in(dtype) or type(dynamics) is not SGD or jax.default_backend() != "cpu":
        return None
    if type(dynamics.problem) is not Problem or not draws_plainly(dynamics.sampler):
        return None
    return GenericKernel() if all(map(_is_small, operations(gradient_program(dynamics)))) else None


def draws_plainly(sampler: AbstractSampler) -> bool:
    """Whether a sampler draws from a stream as `Online` does, or by the indices that it gives."""
    by_index = isinstance(sampler, AbstractIndexSampler) and type(sampler).draw is AbstractIndexSampler.draw
    return by_index or type(sampler) is Online


def _is_small(operation: JaxprEqn) -> bool:
    """Whether an operation is a small product, or none and no larger operation."""
    if operation.primitive.name != "dot_general":
        return operation.primitive.name not in LARGE
    (contracted, _), _ = operation.params["dimension_numbers"]
    A, B = (factor.aval for factor in operation.invars)
    return written_out(operation) and A.size * B.size // A.shape[contracted[0]] <= MOST_MULTIPLICATIONS
