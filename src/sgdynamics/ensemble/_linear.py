"""Linear processes by their exact transitions: all replicas in the modes, from the first step to the last.

`LinearModes` goes to its modes and back in every step of one replica; here the ensemble goes there once. With
(δ, u) = Vᵀ (θ − m, v) at the start and (δ', u') after all steps,

    θ' = θ + V (δ' − δ),      v' = v + V (u' − u)

so that what the modes leave out stays as it is. `LinearProcess` has no modes: a step is two products of matrices over
all replicas. The draws are the reference step's: the same replica makes the same path, to rounding.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sgdynamics._types import Step
from sgdynamics.dynamics import AbstractDynamics, LinearModes, LinearProcess, State
from sgdynamics.ensemble._core import Replicas, repeat
from sgdynamics.ensemble._normals import Pipeline, drawn_in, one_stream
from sgdynamics.ensemble._stacks import in_blocks

# going to modes and back costs about as much as this many steps
LEAST_STEPS = 2
# GPUs multiply matrices in fewer bits, unless told
BITS = "highest"


class LinearModesKernel(eqx.Module):
    """The kernel for `LinearModes`."""

    def __call__(self, dynamics: LinearModes, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        V, (θ, v) = dynamics.vectors, _phase(replicas.states)
        before = [x if V is None else _times(x, V) for x in (θ - dynamics.mean[None, :], v)]
        move = jax.vmap(lambda x, z: x + dynamics.moved(x, z), in_axes=-1, out_axes=-1)

        def run(keys: Array, δ: Array, u: Array) -> Float[Array, "2 modes replicas"]:
            return _moved(jnp.stack([δ, u]), keys, replicas.step, steps, move)

        after = in_blocks(run, replicas.keys, *before)
        moved = [b - a if V is None else _times(b - a, V.T) for a, b in zip(before, after, strict=True)]
        return State(θ + moved[0], v + moved[1])


class LinearProcessKernel(eqx.Module):
    """The kernel for `LinearProcess`."""

    def __call__(self, dynamics: LinearProcess, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        move = lambda x, z: dynamics.decay @ x + dynamics.kick @ z
        run = lambda keys, x: [_moved(x, keys, replicas.step, steps, move)]
        mean = dynamics.mean[None, :]
        return State(mean + in_blocks(run, replicas.keys, replicas.states.position - mean)[0])


def _times(A: Array, B: Array) -> Array:
    return jnp.matmul(A, B, precision=BITS)


def _phase(states: State) -> tuple[Float[Array, "replicas parameters"], Float[Array, "replicas parameters"]]:
    assert states.velocity is not None
    return states.position, states.velocity


def _moved(
    x: Float[Array, "... replicas"], keys: Array, step: Step, steps: Int[Array, ""] | int, move: Callable
) -> Float[Array, "... replicas"]:
    """A block of replicas after all steps of x ← move(x, z), with normal numbers z of the shape of x."""
    pipeline = Pipeline(one_stream(keys), (x.shape[:-1],), 1, x.dtype)

    def body(carry: tuple[Array, Any], i: Array) -> tuple[Array, Any]:
        x, drawn = carry
        with jax.default_matmul_precision(BITS):
            x = move(x, pipeline.normals(drawn)[0])
        return x, pipeline.next(drawn, step + i)

    return repeat(steps, body, (x, pipeline.start(step)))[0]


def build(dynamics: AbstractDynamics, every: int, dtype) -> LinearModesKernel | LinearProcessKernel | None:
    """The kernel for a linear process stepped exactly, where it is worth while; else None."""
    if every < LEAST_STEPS or not drawn_in(dtype):
        return None
    kernels = {LinearModes: LinearModesKernel, LinearProcess: LinearProcessKernel}
    return kernels[type(dynamics)]() if type(dynamics) in kernels else None
