"""SGD on one-output linear regression in residual space: the replicas' loop without parameters.

With residuals E = X w − y and V = X v [samples], the Gram matrix K = X Xᵀ and a minibatch of indices i_1 … i_S,

    V ← βV − (1/S) Σ_s E_{i_s} K_{i_s} − λ (E + y),      E ← E + ηV,

so that a step costs S rows of length P, all of them contiguous. Weights come back as w = X⁺(E + y), which needs X to
be of full column rank and well enough conditioned for the precision.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sgdynamics._checks import is_concrete
from sgdynamics._random import unrolled
from sgdynamics._types import Step
from sgdynamics.dynamics import SGD, AbstractDynamics, State
from sgdynamics.ensemble._core import Replicas
from sgdynamics.ensemble._regression import Indices, Steps, Terms, combine_rows, is_regression, last_of
from sgdynamics.ensemble._regression_parameters import force_in_parameters

# X⁺ multiplies rounding by up to the condition number of X, at every record: measured over 1,000 steps, records 20
# apart, 5·10⁻⁶ at 30 in float32. (In float64 as much beside 10⁻¹².)
LARGEST_CONDITION = {"float32": 30, "float64": 3e3}
# the Gram matrix has as many rows and columns; singular values of so many inputs take seconds
MOST_SAMPLES, MOST_INPUTS = 8192, 1024


class ResidualKernel(eqx.Module):
    """The kernel for one data set: its Gram matrix X Xᵀ and pseudo-inverse X⁺ (`build`)."""

    gram: Float[Array, "samples samples"]
    pseudo_inverse: Float[Array, "inputs samples"]
    terms: Terms

    def __call__(self, dynamics: SGD, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        x, y = dynamics.problem.data.x, dynamics.problem.data.y.reshape(1, -1)
        w, v, memory = replicas.states.position, replicas.states.velocity, replicas.states.memory
        descent = Steps(dynamics, self.terms, unrolled(replicas.keys), self._force, offset=y)
        # accelerators have few bits unless told
        times = lambda a, b: jnp.matmul(a, b, precision="highest")
        residuals, weights = lambda w: times(w, x.T) - y, lambda E: times(E + y, self.pseudo_inverse.T)
        if self.terms.momentum:
            E, V, memory = descent.many(residuals(w), times(v, x.T), memory, replicas.step, steps)
            return State(weights(E), times(V, self.pseudo_inverse.T), memory)
        # the last step is made in the parameters: it gives v as well, which would cost two products of matrices more
        most = steps - last_of(steps)
        E, memory = descent.many_without_momentum(residuals(w), memory, replicas.step, most)
        last = Steps(dynamics, self.terms, descent.keys, force_in_parameters(dynamics.problem.data))
        return State(*last.many(weights(E), v, memory, replicas.step + most, last_of(steps)))

    def _force(self, E: Array, indices: Indices, step: Step) -> Array:
        """X F."""
        return combine_rows(E, self.gram, indices)


def build(dynamics: AbstractDynamics, every: int, dtype) -> ResidualKernel | None:
    """The kernel, where the residual form is right, and accurate in this precision; else None."""
    if not is_regression(dynamics) or not is_concrete(dynamics.problem.data.x):
        return None
    samples, inputs = dynamics.problem.data.x.shape
    if not inputs <= samples <= MOST_SAMPLES or inputs > MOST_INPUTS:
        return None
    x = np.asarray(dynamics.problem.data.x, np.float64)
    U, s, Vt = np.linalg.svd(x, full_matrices=False)
    if not s[-1] * LARGEST_CONDITION.get(jnp.dtype(dtype).name, 0) > s[0]:
        return None
    return ResidualKernel(jnp.asarray(x @ x.T), jnp.asarray(Vt.T / s @ U.T), Terms.of(dynamics))
