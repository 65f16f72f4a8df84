"""A diffusion coefficient as a lineax operator: the linear map from Brownian increments to parameters.

The matrix is never formed: `mv(dW)` calls the function. Transposition comes from JAX's linear transpose.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree


class DiffusionOperator(lx.AbstractLinearOperator):
    """z ↦ function(z), linear in z; `sources` are the shapes of z, the result is [parameters]."""

    function: Callable[[PyTree], PyTree[Float[Array, "..."]]]
    sources: PyTree[jax.ShapeDtypeStruct] = eqx.field(static=True)

    def mv(self, vector):
        return self.function(vector)

    def as_matrix(self):
        zeros, unravel = ravel_pytree(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), self.sources))
        return jax.jacfwd(lambda z: ravel_pytree(self.function(unravel(z)))[0])(zeros)

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
def _(operator: DiffusionOperator) -> lx.PyTreeLinearOperator:
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), operator.sources)
    return lx.PyTreeLinearOperator(jax.jacfwd(operator.function)(zeros), operator.out_structure())
