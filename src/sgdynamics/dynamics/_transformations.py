"""Preconditioning and injected noise as optax transformations of the minibatch gradient g, for `Descent`:

    optax.chain(inject_noise(v, key), precondition(A), optax.sgd(η))        θ ← θ − η A (g + √v z),   z ~ N(0, 1)

Gross, Raulf and Räth, App. B; the stationary law is `theory.bayesian`'s. Behind the descent the same noise perturbs
the parameters themselves, whatever the learning rate (Orvieto et al. 2022; Kühn and Rosenow, slides before Fig. 25):

    optax.chain(optax.sgd(η), inject_noise(v, key))                   PGD:       θ_{k+1} = θ_k − η g_k + ξ_{k+1}
    optax.chain(optax.sgd(η), inject_anticorrelated_noise(v, key))    Anti-PGD:  θ_{k+1} = θ_k − η g_k + ξ_{k+1} − ξ_k

with ξ_k ~ N(0, v) and ξ_0 = 0. In z_k = θ_k − ξ_k the second is z_{k+1} = z_k − η g(z_k + ξ_k), and z_k is independent
of ξ_k. Along a mode of curvature h, PGD's variance is v/(ηh(2 − ηh)) and Anti-PGD's 2v/(2 − ηh): the larger of the two
where ηh > ½; along a flat one they are k v and v.

A `Descent` hands every transformation that takes extra arguments a `key` of its replica and step, so that replicas
draw independently.
"""

from collections.abc import Callable
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


class AnticorrelatedNoise(NamedTuple):
    """What `inject_anticorrelated_noise` remembers: how many updates it has seen, and the last draw ξ, flat."""

    count: Int[Array, ""]
    last: Real[Array, " parameters"]


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
    ξ = _noise(variance, key)

    def init(parameters: Any) -> InjectedNoise:
        return InjectedNoise(jnp.zeros((), jnp.int32))

    def update(
        gradient: Any, state: InjectedNoise, parameters: Any = None, *, key: PRNGKey | None = None, **_: Any
    ) -> tuple[Any, InjectedNoise]:
        g, unravel = ravel_pytree(gradient)
        return unravel(g + ξ(g, state.count, key)), InjectedNoise(state.count + 1)

    return optax.GradientTransformationExtraArgs(init, update)


def inject_anticorrelated_noise(variance: RealScalar, key: PRNGKey) -> optax.GradientTransformationExtraArgs:
    """u + ξ_{k+1} − ξ_k with ξ ~ N(0, variance) for every parameter and ξ_0 = 0: Anti-PGD, behind `optax.sgd`.

    The ξ are `inject_noise`'s of the same variance and key, and all that K updates add is ξ_K. `key` as there.
    Raises `ValueError` for a variance that is negative, not finite, or no scalar.
    """
    ξ = _noise(variance, key)

    def init(parameters: Any) -> AnticorrelatedNoise:
        return AnticorrelatedNoise(jnp.zeros((), jnp.int32), jnp.zeros_like(ravel_pytree(parameters)[0]))

    def update(
        updates: Any, state: AnticorrelatedNoise, parameters: Any = None, *, key: PRNGKey | None = None, **_: Any
    ) -> tuple[Any, AnticorrelatedNoise]:
        u, unravel = ravel_pytree(updates)
        drawn = ξ(u, state.count, key)
        return unravel(u + (drawn - state.last)), AnticorrelatedNoise(state.count + 1, drawn)

    return optax.GradientTransformationExtraArgs(init, update)


def _noise(variance: RealScalar, key: PRNGKey) -> Callable[[Array, Array, PRNGKey | None], Array]:
    """Draws √variance z like a vector, at update number `count`, for the `key` handed to the update."""
    v = _checks.shaped("variance", jnp.asarray(variance, jnp.result_type(float)), ())
    v = _checks.not_negative("variance", v)
    own = key

    def draw(like: Array, count: Array, key: PRNGKey | None) -> Array:
        draw = jax.random.fold_in(own, count)
        if key is not None:
            draw = jax.random.fold_in(key, jax.random.bits(draw, dtype=jnp.uint32))
        return jnp.sqrt(v).astype(like.dtype) * jax.random.normal(draw, like.shape, like.dtype)

    return draw
