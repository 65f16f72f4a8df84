"""SGD on one-output linear regression on a GPU: many steps in one launch, parameters in registers.

With a minibatch of indices i_1 … i_S drawn inside (⌊P u / 2³²⌋, as the sampler does),

    v ← βv − (1/S) Σ_s (x_{i_s}·θ − y_{i_s}) x_{i_s} − λθ,      θ ← θ + ηv

for a block of replicas at a time: θ and v [block, inputs] stay in registers, the rows x_{i_s} of the inputs
[samples, inputs] come from memory, which is to say from the cache, once a step for both products. Nothing is
asked of the data's rank, as the residual form does.

Untested on hardware (`_pallas_launch`): how much a program takes at a time follows from registers, it is not tuned.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from sgdynamics._problem import Problem
from sgdynamics._random import Words
from sgdynamics.data import Dataset
from sgdynamics.dynamics import SGD, AbstractDynamics, State
from sgdynamics.ensemble import _pallas_draws as draws
from sgdynamics.ensemble._core import Replicas, reference_kernel
from sgdynamics.ensemble._pallas_launch import States, block_of, launch, padded, possible, power_of_two, triton
from sgdynamics.networks import Linear
from sgdynamics.samplers import WithReplacement
from sgdynamics.samplers._indices import high_word

# what a thread, one of 32, holds of a program's θ and v, and of its rows: 64 registers of 32 bits each
MOST_BYTES = 8192
# addresses inside an array are 32 bits wide
MOST_ENTRIES = 2**29


class PallasRegressionKernel(eqx.Module):
    """The kernel; `interpret`: by Pallas' interpreter, on any device.

    Keys of another generator than JAX's default are left to the reference step.
    """

    interpret: bool = eqx.field(static=True)

    def __call__(self, dynamics: SGD, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        if not draws.drawable(replicas.keys):
            return reference_kernel(dynamics, replicas, steps)
        data, state, batch_size = dynamics.problem.data, replicas.states, dynamics.sampler.batch_size
        count, inputs = state.position.shape
        width = power_of_two(inputs)
        block, slots = _shape(count, width, batch_size, state.position.dtype.itemsize)
        states = tuple(padded(part, None, width) for part in (state.position, state.velocity))
        arrays = tuple(a.astype(state.position.dtype) for a in (padded(data.x, None, width), data.y.reshape(-1)))
        one_step = partial(_step, batch_size, slots)
        θ, v = launch(one_step, dynamics, replicas, steps, arrays, states, block=block, interpret=self.interpret)
        return State(θ[:, :inputs], v[:, :inputs], state.memory)


def _shape(count: int, width: int, batch_size: int, itemsize: int) -> tuple[int, int]:
    """Replicas in a program, and how many rows of the data it takes at a time for each."""
    block = block_of(count, MOST_BYTES // (2 * width * itemsize))
    return block, max(1, min(power_of_two(batch_size), MOST_BYTES // (block * width * itemsize)))


def _step(batch_size: int, slots: int, data, hyperparameters, key: Words, states: States) -> States:
    η, β, λ = hyperparameters
    θ, v = states
    lanes = jax.lax.broadcasted_iota(jnp.uint32, (θ.shape[0], slots), 1)

    def descend(tile, v):
        slot = lanes + jnp.asarray(tile * slots).astype(jnp.uint32)
        return v - _gradient(data, θ, key, slot, slot < batch_size) / batch_size

    v = jax.lax.fori_loop(0, -(-batch_size // slots), descend, β * v - λ * θ)
    return θ + η * v, v


def _gradient(data, θ: Float[Array, "block inputs"], key: Words, slot: UInt32[Array, "block slots"], taken) -> Array:
    """Σ_s (x_s·θ − y_s) x_s over the slots that are taken."""
    inputs, labels = data

    def draw():
        indices = high_word(draws.bits(key, slot), inputs.shape[0]).astype(jnp.int32)
        return indices, triton.load(labels.at[indices], mask=taken, other=0.0)

    indices, y = draws.together(draw)
    # one array of addresses for each axis: Pallas' interpreter takes no slice beside an array
    shape = (*slot.shape, θ.shape[1])
    rows, everywhere = (jnp.broadcast_to(a[:, :, None], shape) for a in (indices, taken))
    columns = jax.lax.broadcasted_iota(jnp.int32, shape, 2)
    x = triton.load(inputs.at[rows, columns], mask=everywhere, other=0.0)
    r = jnp.sum(x * θ[:, None, :], axis=2) - y
    return jnp.sum(r[:, :, None] * x, axis=1)


def build(dynamics: AbstractDynamics, every: int, dtype, *, interpret: bool = False) -> PallasRegressionKernel | None:
    """The kernel, where it makes the reference paths and its arrays fit the registers; else None.

    It does not look at the platform: `_pallas_launch.worth` does.
    """
    kinds = (type(dynamics), type(dynamics.problem), type(dynamics.problem.data), type(dynamics.problem.network))
    if kinds != (SGD, Problem, Dataset, Linear) or type(dynamics.sampler) is not WithReplacement:
        return None
    problem = dynamics.problem
    if not problem.is_linear_regression or not possible(dynamics, every, dtype):
        return None
    samples, inputs = problem.data.x.shape
    width = power_of_two(inputs)
    too_large = 2 * width * jnp.dtype(dtype).itemsize > MOST_BYTES or samples * width > MOST_ENTRIES
    return None if too_large or problem.parameters.size != inputs else PallasRegressionKernel(interpret)
