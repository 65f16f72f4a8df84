"""SGD on deep linear networks with an endless teacher on a GPU: many steps in one launch, layers in registers.

For each of the S fresh examples x, y = M x + σ ξ of a step, drawn inside,

    a_0 = x,  a_l = W_l a_{l−1};      ε_L = (y − a_L)/S,  ε_{l−1} = W_lᵀ ε_l
    v_l ← βv_l − λW_l + Σ ε_l a_{l−1}ᵀ,      W_l ← W_l + η v_l

for a block of replicas at a time. Layers and velocities [block, d_l, d_{l−1}] stay in registers, padded with zeros to
powers of two, which remain zeros. Examples come one after the other: the kernel is for small batches.

Untested on hardware (`_pallas_launch`): how much a program takes at a time follows from registers, it is not tuned.
"""

from functools import partial
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sgdynamics._checks import known_zero
from sgdynamics._random import Words
from sgdynamics.dynamics import SGD, AbstractDynamics, State
from sgdynamics.ensemble import _pallas_draws as draws
from sgdynamics.ensemble._core import Replicas, reference_kernel
from sgdynamics.ensemble._deep_linear import learns_a_teacher
from sgdynamics.ensemble._pallas_launch import States, block_of, launch, padded, possible, power_of_two
from sgdynamics.samplers import Online

# what a thread holds of a program's layers and velocities: 64 registers of 32 bits, of 32 threads a warp
BYTES_OF_A_WARP = 8192
MOST_WARPS = 8
MOST_EXAMPLES = 16


class PallasDeepLinearKernel(eqx.Module):
    """The kernel; `noisy_labels` false: label noise is left out. `interpret`: by Pallas' interpreter, on any
    device.

    Keys of another generator than JAX's default are left to the reference step.
    """

    noisy_labels: bool = eqx.field(static=True)
    interpret: bool = eqx.field(static=True)

    def __call__(self, dynamics: SGD, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        if not draws.drawable(replicas.keys):
            return reference_kernel(dynamics, replicas, steps)
        state, teacher = replicas.states, dynamics.problem.data
        shapes = [W.shape for W in dynamics.problem.network.weights]
        layers = _cut(state.position, shapes) + _cut(state.velocity, shapes)
        size = _bytes(shapes, state.position.dtype.itemsize)
        widths = teacher.matrix.shape[::-1]
        ends = power_of_two(max(widths))
        arrays = (padded(teacher.matrix, ends, ends), teacher.label_noise_std.reshape(1))
        one_step = partial(_step, dynamics.sampler.batch_size, widths, self.noisy_labels)
        layers = launch(one_step, dynamics, replicas, steps, arrays, layers,
                        block=block_of(replicas.keys.size, BYTES_OF_A_WARP // size),
                        warps=max(1, size // BYTES_OF_A_WARP), interpret=self.interpret)  # fmt: skip
        return State(_flat(layers[: len(shapes)], shapes), _flat(layers[len(shapes) :], shapes), state.memory)


def _step(examples: int, widths, noisy_labels: bool, data, hyperparameters, key: Words, states: States) -> States:
    η, β, λ = hyperparameters
    layers, velocities = states[: len(states) // 2], states[len(states) // 2 :]
    M, σ = data[0][...][None], data[1][0]

    def descend(example, velocities: States) -> States:
        x, ξ = draws.together(lambda: _example(key, example, widths, layers[0].shape[0], M.shape[1], M.dtype))
        activations = [x]
        for W in layers:
            activations.append(_image(W, activations[-1]))
        target = _image(M, x) + σ * ξ if noisy_labels else _image(M, x)
        ε = (target - activations.pop()) / examples
        moved = []
        for W, v, a in zip(layers[::-1], velocities[::-1], activations[::-1], strict=True):
            moved.append(v + ε[:, :, None] * a[:, None, :])
            ε = jnp.sum(W * ε[:, :, None], axis=1)
        return tuple(moved[::-1])

    velocities = tuple(β * v - λ * W for W, v in zip(layers, velocities, strict=True))
    velocities = jax.lax.fori_loop(0, examples, descend, velocities)
    return tuple(W + η * v for W, v in zip(layers, velocities, strict=True)) + velocities


def _image(W: Float[Array, "_ after before"], a: Float[Array, "block before"]) -> Float[Array, "block after"]:
    """W a."""
    return jnp.sum(W * a[:, None, :], axis=2)


def _example(key: Words, example, widths: tuple[int, int], block: int, size: int, dtype) -> tuple[Array, Array]:
    """x and ξ of one example, as `Teacher.draws` makes them, with zeros behind: both in one array [block, 2, size]."""
    which, place = (jax.lax.broadcasted_iota(jnp.int32, (block, 2, size), axis) for axis in (1, 2))
    width = jnp.where(which == 0, widths[0], widths[1])
    own = draws.fold_in((key[0][:, :, None], key[1][:, :, None]), which)
    z = draws.normal(own, (example * width + place).astype(jnp.uint32), dtype)
    z = jnp.where(place < width, z, 0.0)
    return jnp.sum(jnp.where(which == 0, z, 0.0), axis=1), jnp.sum(jnp.where(which == 1, z, 0.0), axis=1)


def _paddings(shapes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Layers' sizes in registers: powers of two, and the same for inputs as for outputs."""
    ends = power_of_two(max(shapes[0][1], shapes[-1][0]))
    hidden = [power_of_two(rows) for rows, _ in shapes[:-1]]
    return list(pairwise([ends, *hidden, ends]))


def _cut(θ: Float[Array, "replicas parameters"], shapes: list[tuple[int, int]]) -> States:
    """The layers [replicas, d_l, d_{l−1}], padded."""
    cuts = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
    parts = zip(jnp.split(θ, cuts, axis=1), shapes, _paddings(shapes), strict=True)
    return tuple(padded(part.reshape(-1, *shape), None, after, before) for part, shape, (before, after) in parts)


def _flat(layers: States, shapes: list[tuple[int, int]]) -> Float[Array, "replicas parameters"]:
    parts = zip(layers, shapes, strict=True)
    return jnp.concatenate([W[:, :rows, :columns].reshape(W.shape[0], -1) for W, (rows, columns) in parts], axis=1)


def _bytes(shapes: list[tuple[int, int]], itemsize: int) -> int:
    """What layers and velocities of one replica take, padding included; a power of two."""
    return power_of_two(2 * itemsize * sum(before * after for before, after in _paddings(shapes)))


def build(dynamics: AbstractDynamics, every: int, dtype, *, interpret: bool = False) -> PallasDeepLinearKernel | None:
    """The kernel, where it makes the reference paths and the layers fit the registers; else None.

    It does not look at the platform: `_pallas_launch.worth` does.
    """
    if type(dynamics) is not SGD or type(dynamics.sampler) is not Online or not possible(dynamics, every, dtype):
        return None
    problem = dynamics.problem
    if not learns_a_teacher(problem):
        return None
    size = _bytes([W.shape for W in problem.network.weights], jnp.dtype(dtype).itemsize)
    if dynamics.sampler.batch_size > MOST_EXAMPLES or size > MOST_WARPS * BYTES_OF_A_WARP:
        return None
    return PallasDeepLinearKernel(not known_zero(problem.data.label_noise_std), interpret)
