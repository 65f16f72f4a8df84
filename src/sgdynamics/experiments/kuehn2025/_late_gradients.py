"""Gradients and Hessians of single examples along given directions, at the minimum and around it.

Examples and directions come one after the other: convolutions with many kernels at once are far slower.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import sgdynamics as sgd
from sgdynamics._types import Vector
from sgdynamics.data import Dataset


def _example(problem: sgd.Problem, θ: Vector, x: Array, y: Array) -> Vector:
    return problem.gradient(θ, Dataset(x[None], y[None]))


@eqx.filter_jit
def gradients(problem: sgd.Problem, θ: Vector) -> Float[Array, "samples parameters"]:
    """∇ℓ_n(θ)."""
    return jax.lax.map(lambda example: _example(problem, θ, *example), (problem.data.x, problem.data.y))


@eqx.filter_jit
def hessian(problem: sgd.Problem, θ: Vector) -> Float[Array, "parameters parameters"]:
    """∇²L(θ)."""
    H = jax.lax.map(lambda v: problem.hessian_product(θ, v), jnp.eye(len(θ)))
    return (H + H.T) / 2


@eqx.filter_jit
def excesses(problem: sgd.Problem, θ: Array, minimum: Vector, V: Array, left: Array | None, S: int) -> Array:
    """E (pᵀ(g_B − ∇L))² of a batch of S at each of θ, minus the same at the minimum, whose mean over batches is known:
    [replicas, modes]. The batch is drawn without replacement from the examples where `left` is 1 (None: from all,
    with replacement)."""

    def variance(g: Array, left: Array | None) -> Float[Array, " modes"]:
        g = g - jnp.mean(g, axis=0, keepdims=True)
        if left is None:
            return jnp.mean(g**2, axis=0) / S
        U = jnp.sum(left)
        mean = left @ g / U
        return mean**2 + (left @ g**2 / U - mean**2) * (U - S) / (S * jnp.maximum(U - 1, 1))

    still = gradients(problem, minimum) @ V
    of = lambda at: variance(gradients(problem, at[0]) @ V, at[1]) - variance(still, at[1])
    return jax.lax.map(of, (θ, left))


@eqx.filter_jit
def stiffnesses(problem: sgd.Problem, θ: Array, directions: Array) -> Float[Array, "replicas modes"]:
    """pᵀ ∇²L(θ) p of `directions` [modes, parameters]."""
    along = lambda θ: jax.lax.map(lambda v: v @ problem.hessian_product(θ, v), directions)
    return jax.lax.map(along, θ)


@eqx.filter_jit
def of_hessians(problem: sgd.Problem, θ: Vector, δ: Array, V: Array) -> Float[Array, "draws modes"]:
    """Var_n Vᵀ H_n δ of every one of δ [draws, parameters]."""
    examples = (problem.data.x, problem.data.y)
    of = lambda δ, x, y: jax.jvp(lambda θ: _example(problem, θ, x, y), (θ,), (δ,))[1]
    one = lambda δ: jnp.var(jax.lax.map(lambda example: of(δ, *example), examples) @ V, axis=0)
    return jax.lax.map(one, δ)
