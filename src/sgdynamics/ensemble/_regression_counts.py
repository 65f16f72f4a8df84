"""SGD on one-output linear regression by counts: two products of matrices over all replicas.

With n_i how often example i was drawn into the minibatch, and E = X w − y,

    v ← βv − (1/S) Xᵀ (n ∘ E) − λw,      w ← w + ηv.

All P examples are worked on, whatever the batch size: for large batches.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int

from sgdynamics._types import Step
from sgdynamics.dynamics import SGD, AbstractDynamics, State
from sgdynamics.ensemble._core import Replicas
from sgdynamics.ensemble._fence import fence
from sgdynamics.ensemble._regression import Indices, Terms, descend, is_regression, stacked


class CountsKernel(eqx.Module):
    """The kernel for any data set (`build`)."""

    terms: Terms

    def __call__(self, dynamics: SGD, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        x, y = dynamics.problem.data.x, dynamics.problem.data.y.reshape(1, -1)

        def force(w: Array, indices: Indices, step: Step) -> Array:
            E = jnp.matmul(w, x.T, precision="highest") - y
            share = jnp.asarray(-1 / len(indices), x.dtype)
            replica = jnp.arange(w.shape[0])[:, None]
            n = fence(
                step, lambda i: jnp.zeros_like(E).at[replica, i].add(share, mode="promise_in_bounds"), stacked(indices)
            )
            return jnp.matmul(n * E, x, precision="highest")

        return State(*descend(dynamics, self.terms, replicas, steps, force))


def build(dynamics: AbstractDynamics, every: int, dtype) -> CountsKernel | None:
    """The kernel, where it is right; else None."""
    return CountsKernel(Terms.of(dynamics)) if is_regression(dynamics) else None
