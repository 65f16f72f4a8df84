"""A diffusion coefficient as a lineax operator: the linear map from Brownian increments to parameters.

The matrix is never formed: `mv(dW)` calls the function. Transposition comes from JAX's linear transpose.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, PyTree


class DiffusionOperator(lx.AbstractLinearOperator):
    """z ↦ function(z), linear in z; `sources` are the shapes of z, the result is [parameters]."""

    function: Callable[[PyTree], Float[Array, " parameters"]]
    sources: PyTree[jax.ShapeDtypeStruct] = eqx.field(static=True)

    def mv(self, vector):
        return self.function(vector)

    def as_matrix(self):
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), self.sources)
        columns = jax.tree.leaves(jax.jacfwd(self.function)(zeros))
        return jnp.concatenate([c.reshape(c.shape[0], -1) for c in columns], axis=1)

    def transpose(self):
        transposed = jax.linear_transpose(self.function, self.sources)
        return DiffusionOperator(lambda y: transposed(y)[0], self.out_structure())

    def in_structure(self):
        return self.sources

    def out_structure(self):
        return eqx.filter_eval_shape(self.function, self.sources)


def _never(operator: DiffusionOperator) -> bool:
    return False


# lineax asks what is known of an operator's structure: of a diffusion coefficient, nothing.
for question in (
    lx.is_symmetric,
    lx.is_diagonal,
    lx.is_tridiagonal,
    lx.has_unit_diagonal,
    lx.is_lower_triangular,
    lx.is_upper_triangular,
    lx.is_positive_semidefinite,
    lx.is_negative_semidefinite,
):
    question.register(DiffusionOperator)(_never)


@lx.linearise.register(DiffusionOperator)
def _(operator: DiffusionOperator) -> DiffusionOperator:
    return operator


@lx.materialise.register(DiffusionOperator)
def _(operator: DiffusionOperator) -> lx.MatrixLinearOperator:
    return lx.MatrixLinearOperator(operator.as_matrix())
