"""SGD on one-output linear regression in residual space: the replicas' loop without parameters.

With residuals E = X w − y and V = X v [samples], the Gram matrix K = X Xᵀ and a minibatch of indices i_1 … i_S,

    v ← βv − (1/S) Σ_s E_{i_s} x_{i_s} − λw        becomes      V ← βV − (1/S) Σ_s E_{i_s} K_{i_s} − λ (E + y)
    w ← w + ηv                                                   E ← E + ηV

so that a step costs S rows of length P instead of 2 S of length N, all of them contiguous. Weights come back as
w = X⁺(E + y), which needs X to be of full column rank and well enough conditioned for the precision. The
draws are the sampler's own: the same replica makes the same path as by the reference step, to rounding.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sgdynamics._random import unrolled
from sgdynamics.data import Dataset
from sgdynamics.dynamics import SGD, AbstractDynamics, State, at_step
from sgdynamics.ensemble._core import Replicas, repeat
from sgdynamics.samplers import AbstractIndexSampler

# X⁺ multiplies rounding by up to the condition number of X: leave at least four digits
LARGEST_CONDITION = {"float32": 1e3, "float64": 1e8}
# going to residuals and back costs about as much as this many steps
LEAST_STEPS = 8
# the Gram matrix has as many rows and columns
MOST_SAMPLES = 8192


class RegressionKernel(eqx.Module):
    """The kernel for one data set: its Gram matrix X Xᵀ and pseudo-inverse X⁺ (`build`)."""

    gram: Float[Array, "samples samples"]
    pseudo_inverse: Float[Array, "inputs samples"]

    def __call__(self, dynamics: SGD, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        x, y = dynamics.problem.data.x, dynamics.problem.data.y.reshape(1, -1)
        w, v = replicas.states.position, replicas.states.velocity
        body = lambda carry, i: self._step(dynamics, y, replicas.keys, carry, replicas.step + i)
        carry = (w @ x.T - y, v @ x.T, replicas.states.memory)
        E, V, memory = repeat(steps, body, carry)
        back = self.pseudo_inverse.T
        return State((E + y) @ back, V @ back, memory)

    def _step(self, dynamics, y, keys, carry, step):
        E, V, memory = carry
        samples, batch_size = E.shape[1], dynamics.sampler.batch_size
        hyperparameters = (dynamics.learning_rate, dynamics.momentum, dynamics.weight_decay)
        η, β, λ = (at_step(h, step, E.dtype) for h in hyperparameters)

        def draw(memory):
            step_keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(unrolled(keys), step)
            return jax.vmap(lambda key, memory: dynamics.sampler.indices(samples, memory, step, key))(step_keys, memory)

        # never false: a fence that keeps XLA from drawing the indices again for every row it gathers
        nothing = lambda memory: (jnp.zeros((E.shape[0], batch_size), jnp.int32), memory)
        indices, memory = jax.lax.cond(step >= 0, draw, nothing, memory)
        r = jnp.take_along_axis(E, indices, axis=1) / batch_size
        V = β * V - λ * (E + y)
        for s in range(batch_size):
            V = V - r[:, s, None] * self.gram[indices[:, s]]
        return E + η * V, V, memory


def build(dynamics: AbstractDynamics, every: int, dtype) -> RegressionKernel | None:
    """The kernel, where the residual form is right, accurate in this precision, and worth while; else None."""
    if not _is_regression(dynamics) or every < LEAST_STEPS:
        return None
    samples, inputs = dynamics.problem.data.x.shape
    if not inputs <= samples <= MOST_SAMPLES or _rows(samples, inputs, dynamics.sampler.batch_size) > 1:
        return None
    x = np.asarray(dynamics.problem.data.x, np.float64)
    U, s, Vt = np.linalg.svd(x, full_matrices=False)
    if not s[-1] * LARGEST_CONDITION.get(jnp.dtype(dtype).name, 0) > s[0]:
        return None
    return RegressionKernel(jnp.asarray(x @ x.T), jnp.asarray(Vt.T / s @ U.T))


def _is_regression(dynamics: AbstractDynamics) -> bool:
    """SGD on a plain finite data set, drawn by index, with a linear network of one output."""
    if not (isinstance(dynamics, SGD) and isinstance(dynamics.sampler, AbstractIndexSampler)):
        return False
    problem = dynamics.problem
    if not (problem.is_linear_regression and type(problem.data) is Dataset):
        return False
    return problem.parameters.size == problem.data.x.shape[1]


def _rows(samples: int, inputs: int, batch_size: int) -> float:
    """Numbers moved in a step, S rows of P, over those of the reference step: 2 S rows of N with a gather, which
    was measured to cost four times as much a number, and drawing."""
    return batch_size * samples / (8 * batch_size * inputs + 4 * samples)
