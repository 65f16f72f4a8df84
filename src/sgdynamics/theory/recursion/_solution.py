"""Stationary equations solved by pairs of modes, with derivatives through the defining equation."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sgdynamics.theory.recursion._mode_pairs import ModePairs


def solve(equation, pairs: ModePairs, right: Array) -> tuple[Array, Array]:
    """The solution of equation(M) = right by `pairs`, and its relative residual."""
    M = jax.lax.custom_linear_solve(
        equation,
        right,
        solve=lambda _, b: pairs.solve(b),
        transpose_solve=lambda _, b: pairs.adjoint().solve(b),
    )
    misfit = jnp.linalg.norm(jax.lax.stop_gradient(equation(M) - right))
    size = jnp.linalg.norm(jax.lax.stop_gradient(right))
    return M, misfit / jnp.where(size > 0, size, 1)


def constant(tree):
    """The arguments, which the pairs' own derivatives do not need."""
    return jax.tree.map(jax.lax.stop_gradient, (tree,) if isinstance(tree, jax.Array) else tree)
