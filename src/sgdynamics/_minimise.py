"""A minimum of a smooth function of many variables: L-BFGS into its basin, Newton's method to the bottom.

    newton      θ ← θ − r |H|⁺ g        |H|: absolute values of H's eigenvalues, so that saddles repel; r halved until
                                        the function falls
    descent     limited-memory BFGS with a line search (optax), until the gradient is small

A Newton step costs one Hessian and its eigenvectors: with thousands of variables seconds, so that it comes last.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

Vector: TypeAlias = Float[Array, " parameters"]
Matrix: TypeAlias = Float[Array, "parameters parameters"]
Scalar: TypeAlias = Float[Array, ""]
Objective: TypeAlias = Callable[[Vector], Scalar]


def newton(
    objective: Objective, hessian: Callable[[Vector], Matrix], θ: Vector, target: Scalar, steps: int
) -> tuple[Vector, Scalar]:
    """(θ, |gradient|) once |gradient| <= `target`, or after `steps`."""
    gradient = jax.grad(objective)

    def step(carry):
        θ, _, k = carry
        g = gradient(θ)
        values, vectors = jnp.linalg.eigh(hessian(θ))
        cut = θ.shape[0] * jnp.finfo(θ.dtype).eps * jnp.abs(values).max()
        inverse = jnp.where(jnp.abs(values) > cut, 1 / jnp.abs(values), 0)
        Δ = -(vectors @ (inverse * (vectors.T @ g)))
        before, margin = objective(θ), 10 * jnp.finfo(θ.dtype).eps
        falls = lambda r: objective(θ + r * Δ) <= before + margin * (1 + jnp.abs(before))
        worse = lambda r: ~falls(r) & (r > 1e-6)  # what is not a number does not fall
        r = jax.lax.while_loop(worse, lambda r: r / 2, jnp.ones((), θ.dtype))
        θ = θ + r * Δ
        return θ, jnp.linalg.norm(gradient(θ)), k + 1

    unfinished = lambda carry: (carry[1] > target) & (carry[2] < steps)
    θ, left, _ = jax.lax.while_loop(unfinished, step, (θ, jnp.linalg.norm(gradient(θ)), 0))
    return θ, left


def descent(objective: Objective, θ: Vector, target: Scalar, steps: int) -> tuple[Vector, Scalar]:
    """(θ, |gradient|) once |gradient| <= `target`, after `steps`, or where nothing falls any more."""
    solver = optax.lbfgs(memory_size=20)
    value_and_gradient = optax.value_and_grad_from_state(objective)

    def step(carry):
        θ, memory, _, k = carry
        value, g = value_and_gradient(θ, state=memory)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers of 32 and of 64 bits
            Δ, memory = solver.update(g, memory, θ, value=value, grad=g, value_fn=objective)
        return optax.apply_updates(θ, Δ), memory, jnp.linalg.norm(g), k + 1

    unfinished = lambda carry: (carry[2] > target) & (carry[3] < steps)
    start = (θ, solver.init(θ), jnp.asarray(jnp.inf, θ.dtype), 0)
    θ, _, left, _ = jax.lax.while_loop(unfinished, step, start)
    return θ, left
