"""SGD on one-output linear regression, in the parameters: every replica's minibatch is fetched once.

    v ← βv − (1/S) Σ_s (x_{i_s}·w − y_{i_s}) x_{i_s} − λw,      w ← w + ηv

A step costs S gathered rows of length N, used twice: for many samples and small batches, and for X of any rank.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int

from sgdynamics._types import Step
from sgdynamics.data import Dataset
from sgdynamics.dynamics import SGD, AbstractDynamics, State
from sgdynamics.ensemble._core import Replicas
from sgdynamics.ensemble._fence import fence
from sgdynamics.ensemble._regression import Indices, Terms, descend, is_regression, stacked


class ParametersKernel(eqx.Module):
    """The kernel for any data set (`build`)."""

    terms: Terms

    def __call__(self, dynamics: SGD, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        return State(*descend(dynamics, self.terms, replicas, steps, force_in_parameters(dynamics.problem.data)))


def force_in_parameters(data: Dataset) -> Callable[[Array, Indices, Step], Array]:
    """F = −(1/S) Σ_s (x_{i_s}·w − y_{i_s}) x_{i_s}, as a function of w, the indices and the step."""
    x, y = data.x, data.y.reshape(-1)

    def force(w: Array, indices: Indices, step: Step) -> Array:
        i = stacked(indices)
        batch = fence(step, lambda i: x.at[i].get(mode="promise_in_bounds"), i)
        r = (jnp.einsum("rsn,rn->rs", batch, w) - y.at[i].get(mode="promise_in_bounds")) / len(indices)
        return -jnp.einsum("rs,rsn->rn", r, batch)

    return force


def build(dynamics: AbstractDynamics, every: int, dtype) -> ParametersKernel | None:
    """The kernel, where it is right; else None."""
    return ParametersKernel(Terms.of(dynamics)) if is_regression(dynamics) else None
