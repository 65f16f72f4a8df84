"""Preconditioning and injected noise as optax transformations of the minibatch gradient g, for `Descent`:

    optax.chain(inject_noise(v, key), precondition(A), optax.sgd(η))        θ ← θ − η A (g + √v z),   z ~ N(0, 1)

Gross, Raulf and Räth, App. B; the stationary law is `theory.bayesian`'s. A `Descent` hands every transformation
that takes extra arguments a `key` of its replica and step, so that replicas draw independently.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Int, Real

from sgdynamics import _checks
from sgdynamics._types import PRNGKey, RealScalar


class InjectedNoise(NamedTuple):
    """What `inject_noise` remembers: how many updates it has seen."""

    count: Int[Array, ""]


def precondition(
    matrix: RealScalar | Real[ArrayLike, " parameters"] | Real[ArrayLike, "parameters parameters"],
) -> optax.GradientTransformation:
    """u = A g. A = `matrix`: [parameters, parameters]; or its diagonal, [parameters]; or a number times 1.

    Parameters that are not one vector are taken flat, leaf after leaf. Raises `ValueError` for entries that are not
    finite, and, when a run starts, for a matrix that does not fit the parameters.
    """
    A = _checks.finite("matrix", jnp.asarray(matrix, jnp.result_type(float)))

    def init(parameters: Any) -> optax.EmptyState:
        size = sum(jnp.size(leaf) for leaf in jax.tree.leaves(parameters))
        if A.shape not in ((), (size,), (size, size)):
            raise ValueError(
                f"matrix has shape {A.shape}, but it must be a scalar, {(size,)} or {(size, size)} "
                f"for {size} parameters."
            )
        return optax.EmptyState()

    def update(gradient: Any, state: optax.EmptyState, parameters: Any = None) -> tuple[Any, optax.EmptyState]:
        g, unravel = ravel_pytree(gradient)
        factor = A.astype(g.dtype)
        return unravel(factor @ g if factor.ndim == 2 else factor * g), state

    return optax.GradientTransformation(init, update)


def inject_noise(variance: RealScalar, key: PRNGKey) -> optax.GradientTransformationExtraArgs:
    """g + √variance z with z ~ N(0, 1) drawn anew for every parameter and update.

    `key` names this noise: two of them in one chain need different keys. In a `Descent` the draws depend on the
    replica too; in a loop of your own on `key` and the number of updates done, and on the `key` that you hand to
    `update`, if any. Raises `ValueError` for a variance that is negative, not finite, or no scalar.
    """
    v = _checks.shaped("variance", jnp.asarray(variance, jnp.result_type(float)), ())
    v = _checks.not_negative("variance", v)
    own = key

    def init(parameters: Any) -> InjectedNoise:
        return InjectedNoise(jnp.zeros((), jnp.int32))

    def update(
        gradient: Any, state: InjectedNoise, parameters: Any = None, *, key: PRNGKey | None = None, **_: Any
    ) -> tuple[Any, InjectedNoise]:
        g, unravel = ravel_pytree(gradient)
        draw = jax.random.fold_in(own, state.count)
        if key is not None:
            draw = jax.random.fold_in(key, jax.random.bits(draw, dtype=jnp.uint32))
        z = jax.random.normal(draw, g.shape, g.dtype)
        return unravel(g + jnp.sqrt(v).astype(g.dtype) * z), InjectedNoise(state.count + 1)

    return optax.GradientTransformationExtraArgs(init, update)
