"""SGD on one-output linear regression, in the parameters: every replica's minibatch is fetched once.

    v ← βv − (1/S) Σ_s (x_{i_s}·w − y_{i_s}) x_{i_s} − λw,      w ← w + ηv

A step costs S gathered rows of length N, used twice: for many samples and small batches, and for X of any rank.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int

from sgdynamics._types import Step
from sgdynamics.dynamics import SGD, AbstractDynamics, State
from sgdynamics.ensemble._core import Replicas
from sgdynamics.ensemble._fence import fence
from sgdynamics.ensemble._regression import Indices, Terms, descend, is_regression, stacked


class ParametersKernel(eqx.Module):
    """The kernel for any data set (`build`)."""

    terms: Terms

    def __call__(self, dynamics: SGD, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        x, y = dynamics.problem.data.x, dynamics.problem.data.y.reshape(-1)

        def force(w: Array, indices: Indices, step: Step) -> Array:
            fetch = lambda matrix: lambda i: matrix.at[i].get(mode="promise_in_bounds")
            i = stacked(indices)
            batch = fence(step, fetch(x), i)
            r = (jnp.einsum("rsn,rn->rs", batch, w) - fetch(y)(i)) / len(indices)
            return -jnp.einsum("rs,rsn->rn", r, batch)

        w, v = replicas.states.position, replicas.states.velocity
        return State(*descend(dynamics, self.terms, replicas, steps, w, v, force))


def build(dynamics: AbstractDynamics, every: int, dtype) -> ParametersKernel | None:
    """The kernel, where it is right; else None."""
    return ParametersKernel(Terms.of(dynamics)) if is_regression(dynamics) else None
