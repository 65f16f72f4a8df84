"""Many steps of all replicas in one launch on a GPU (Pallas, by way of Triton).

Every program takes a block of replicas through all the steps: their states are read once, stay in registers, and are
written once, at the end; what they draw is made on the spot from their keys and the step's number. One step is a
function of arrays [block, …] whose sizes are powers of two, as Triton wants them:

    one_step(data, hyperparameters, key of the step, states) -> states

Untested on hardware: no GPU was at hand. What the tests hold is that the kernels make the reference paths in Pallas'
interpreter, and that they lower to Triton for CUDA. Done once beside them: Triton 3.9 compiled what they lower to for
sm_90 without spilling registers, and a NumPy evaluation of it made the reference paths too.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.experimental import pallas
from jaxtyping import Array, Float, Int

from sgdynamics.dynamics import SGD
from sgdynamics.ensemble import _pallas_draws as draws
from sgdynamics.ensemble._core import Replicas
from sgdynamics.ensemble._normals import drawn_in

try:
    from jax.experimental.pallas import triton
except ImportError:  # JAX has announced that it will remove this way to the GPU
    triton = None

States: TypeAlias = tuple[Float[Array, "block ..."], ...]
# a GPU of the size of an H100 has some 500 schedulers, and each wants more than one program
ENOUGH_PROGRAMS = 1024
MOST_BLOCK = 32
# a launch pads and cuts, in about as many kernels as one step of XLA's loop takes
LEAST_STEPS = 2
LEAST_CAPABILITY = 8


def worth(device: Any) -> bool:
    """Whether kernels of this kind are to be chosen on a device (`jax.devices()[0]`): an NVIDIA GPU that Triton knows.

    Its compute capability is 8.0 (Ampere) or more. AMD's, which have names instead, are left to XLA: none was tried.
    """
    capability = str(getattr(device, "compute_capability", ""))
    major = capability.partition(".")[0]
    return device.platform in ("cuda", "gpu") and major.isdecimal() and int(major) >= LEAST_CAPABILITY


def possible(dynamics: SGD, every: int, dtype) -> bool:
    """Whether Pallas, the precision and the hyperparameters (constants, not schedules) allow such a kernel."""
    hyperparameters = (dynamics.learning_rate, dynamics.momentum, dynamics.weight_decay)
    constant = not any(callable(h) for h in hyperparameters)
    drawable = bool(jax.config.jax_threefry_partitionable)
    known = triton is not None and drawn_in(dtype)
    return known and constant and drawable and every >= LEAST_STEPS


def power_of_two(size: int) -> int:
    """The least that is not smaller."""
    return 1 << (size - 1).bit_length()


def block_of(replicas: int, most: int) -> int:
    """How many replicas a program takes: `most`, or fewer where there would not be enough programs to go round."""
    fair = max(1, min(most, MOST_BLOCK, replicas // ENOUGH_PROGRAMS))
    return 1 << (fair.bit_length() - 1)


def padded(x: Array, *shape: int | None) -> Array:
    """x with zeros behind it, up to the shape; None: as it is."""
    return jnp.pad(x, [(0, 0 if size is None else size - old) for old, size in zip(x.shape, shape, strict=True)])


def launch(
    one_step: Callable[[Any, tuple[Array, ...], draws.Words, States], States],
    sgd: SGD,
    replicas: Replicas,
    steps: Int[Array, ""] | int,
    data: tuple[Array, ...],
    states: States,
    *,
    block: int,
    interpret: bool,
    warps: int = 1,
) -> States:
    """`states` after the steps; `data` are handed to `one_step` as references to memory."""
    count, dtype = states[0].shape[0], states[0].dtype
    full = -(-count // block) * block
    words = jax.random.key_data(replicas.keys)
    per_replica = [padded(x, full, *[None] * (x.ndim - 1)) for x in (words[:, :1], words[:, 1:], *states)]
    hyperparameters = jnp.stack([h.astype(dtype) for h in (sgd.learning_rate, sgd.momentum, sgd.weight_decay)])
    counts = jnp.stack([replicas.step.astype(jnp.int32), jnp.asarray(steps, jnp.int32)])
    shared = [counts, hyperparameters, *data]

    def program(*refs) -> None:
        counts, hyperparameters, *data = refs[: len(shared)]
        high, low, *before = refs[len(shared) : len(shared) + len(per_replica)]
        after = refs[len(shared) + len(per_replica) :]
        first, key = counts[0], (high[...], low[...])
        numbers = (hyperparameters[0], hyperparameters[1], hyperparameters[2])
        body = lambda i, states: one_step(data, numbers, draws.fold_in(key, first + i), states)
        ends = jax.lax.fori_loop(jnp.int32(0), counts[1], body, tuple(ref[...] for ref in before))
        for ref, end in zip(after, ends, strict=True):
            ref[...] = end

    run = pallas.pallas_call(
        program,
        grid=(full // block,),
        in_specs=[_whole(x) for x in shared] + [_blocks(x, block) for x in per_replica],
        out_specs=[_blocks(x, block) for x in per_replica[2:]],
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in per_replica[2:]],
        compiler_params=triton.CompilerParams(num_warps=warps, num_stages=1),
        interpret=interpret,
    )
    return tuple(x[:count] for x in run(*shared, *per_replica))


def _whole(x: Array) -> pallas.BlockSpec:
    return pallas.BlockSpec(x.shape, lambda program: (jnp.int32(0),) * x.ndim)


def _blocks(x: Array, block: int) -> pallas.BlockSpec:
    return pallas.BlockSpec((block, *x.shape[1:]), lambda program: (program, *(jnp.int32(0),) * (x.ndim - 1)))
