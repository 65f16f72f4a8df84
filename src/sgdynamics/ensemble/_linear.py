"""Linear processes by their exact transitions: all replicas in the modes, from the first step to the last.

`LinearModes` goes to its modes and back in every step of one replica; here the ensemble goes there once. With
(δ, u) = Vᵀ (θ − m, v) at the start and (δ', u') after all steps,

    θ' = θ + V (δ' − δ),      v' = v + V (u' − u)

so that what the modes leave out stays as it is. `LinearProcess` has no modes: a step is two products of matrices over
all replicas. The draws are the reference step's: the same replica makes the same path, to rounding.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from sgdynamics._random import unrolled
from sgdynamics._types import Step
from sgdynamics.dynamics import AbstractDynamics, LinearModes, LinearProcess, State
from sgdynamics.ensemble._core import Replicas, repeat
from sgdynamics.ensemble._fence import fence

# going to modes and back costs about as much as this many steps
LEAST_STEPS = 2


class LinearModesKernel(eqx.Module):
    """The kernel for `LinearModes`."""

    def __call__(self, dynamics: LinearModes, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        keys, V, (θ, v) = unrolled(replicas.keys), dynamics.vectors, _phase(replicas.states)
        before = jnp.stack([θ - dynamics.mean[None, :], v], axis=1)
        before = before if V is None else before @ V

        def body(phase: Float[Array, "replicas 2 modes"], i: Array) -> Float[Array, "replicas 2 modes"]:
            z = _normals(keys, replicas.step + i, phase.shape[1:], phase.dtype)
            return phase + jax.vmap(dynamics.moved)(phase, z)

        moved = repeat(steps, body, before) - before
        moved = moved if V is None else moved @ V.T
        return State(θ + moved[:, 0], v + moved[:, 1])


class LinearProcessKernel(eqx.Module):
    """The kernel for `LinearProcess`."""

    def __call__(self, dynamics: LinearProcess, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        keys, mean = unrolled(replicas.keys), dynamics.mean[None, :]

        def body(x: Float[Array, "replicas parameters"], i: Array) -> Float[Array, "replicas parameters"]:
            z = _normals(keys, replicas.step + i, x.shape[1:], x.dtype)
            return x @ dynamics.decay.T + z @ dynamics.kick.T

        return State(mean + repeat(steps, body, replicas.states.position - mean))


def _phase(states: State) -> tuple[Float[Array, "replicas parameters"], Float[Array, "replicas parameters"]]:
    assert states.velocity is not None
    return states.position, states.velocity


def _normals(keys: Key[Array, " replicas"], step: Step, shape: tuple[int, ...], dtype) -> Float[Array, "replicas ..."]:
    """The normal numbers of the reference step."""
    draw = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, step), shape, dtype))
    return fence(step, draw, keys)


def build(dynamics: AbstractDynamics, every: int) -> LinearModesKernel | LinearProcessKernel | None:
    """The kernel for a linear process stepped exactly, where it is worth while; else None."""
    if every < LEAST_STEPS:
        return None
    kernels = {LinearModes: LinearModesKernel, LinearProcess: LinearProcessKernel}
    return kernels[type(dynamics)]() if type(dynamics) in kernels else None
