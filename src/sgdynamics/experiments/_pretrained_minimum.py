"""Minima of L + ½λ|θ|² of small networks, and the spectrum there, from products with the Hessian alone.

L-BFGS leads into a basin, and Newton's method with conjugate gradients, which sees gradients and never differences of
losses, to its bottom: K Δ = −g, K = ∇²L + λ, θ ← θ + Δ while |g| halves and Δ K Δ > 0.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics._linalg import LeadingEigenpairs, leading_eigenpairs
from sgdynamics._minimise import descent
from sgdynamics._types import Scalar, Vector

TOLERANCE = 1e-8  # |gradient| left, of that at the start
ROUNDS, DESCENT_STEPS, NEWTON_STEPS, PRODUCTS = 10, 500, 30, 500
ENTER = 1e-3  # |gradient|, of that at the start, below which Newton's method takes over


def minimum(problem: sgd.Problem, weight_decay: float) -> Vector:
    """θ* from the problem's own start; without a matrix [parameters, parameters], of which convolutions are slow."""
    θ, left, first = _minimised(problem, jnp.asarray(weight_decay, jnp.float64))
    _checks.require(
        "|gradient| of a pretrained network", left, left <= TOLERANCE * first,
        allowed=f"below {TOLERANCE} × {first}", remedy="Give the recipe a larger weight_decay.",
    )  # fmt: skip
    return θ


@eqx.filter_jit
def _minimised(problem: sgd.Problem, λ: Scalar) -> tuple[Vector, Scalar, Scalar]:
    objective = lambda θ: problem.loss(θ) + λ * jnp.sum(θ**2) / 2
    gradient = lambda θ: problem.gradient(θ) + λ * θ
    product = lambda θ, v: problem.hessian_product(θ, v) + λ * v
    start = problem.parameters
    first = jnp.linalg.norm(gradient(start))
    target = TOLERANCE * first

    def attempt(carry):
        θ, _, k = carry
        θ, _ = descent(objective, θ, ENTER * first * 0.1**k, DESCENT_STEPS)
        θ, left = _newton(gradient, product, θ, target)
        return θ, left, k + 1

    unfinished = lambda carry: (carry[1] > target) & (carry[2] < ROUNDS)
    θ, left, _ = jax.lax.while_loop(unfinished, attempt, (start, jnp.asarray(jnp.inf), 0))
    return θ, left, first


def _newton(
    gradient: Callable[[Vector], Vector], product: Callable[[Vector, Vector], Vector], θ: Vector, target: Scalar
) -> tuple[Vector, Scalar]:
    """θ ← θ − K⁻¹ g by conjugate gradients while |g| halves; gives up where it does not, as far from a minimum."""

    def step(carry):
        θ, left, _, k = carry
        g = gradient(θ)
        Δ = jax.scipy.sparse.linalg.cg(lambda v: product(θ, v), -g, tol=1e-3, maxiter=PRODUCTS)[0]
        norm = jnp.linalg.norm(gradient(θ + Δ))
        # a saddle attracts Newton's method: what CG solves must be a descent along positive curvature
        better = (norm < left / 2) & (Δ @ product(θ, Δ) > 0)
        return jnp.where(better, θ + Δ, θ), jnp.where(better, norm, left), better, k + 1

    going = lambda carry: (carry[1] > target) & carry[2] & (carry[3] < NEWTON_STEPS)
    start = (θ, jnp.linalg.norm(gradient(θ)), jnp.asarray(True), 0)
    θ, left, *_ = jax.lax.while_loop(going, step, start)
    return θ, left


@eqx.filter_jit
def leading(problem: sgd.Problem, θ: Vector, λ: float, count: int) -> LeadingEigenpairs:
    return leading_eigenpairs(lambda v: _product(problem, θ, λ, v), θ.shape[0], count)


@eqx.filter_jit
def spectrum(problem: sgd.Problem, θ: Vector, λ: float) -> Vector:
    K = jax.lax.map(lambda v: _product(problem, θ, λ, v), jnp.eye(θ.shape[0]))
    return jnp.linalg.eigvalsh((K + K.T) / 2)[::-1]


def _product(problem: sgd.Problem, θ: Vector, λ: float, v: Vector) -> Vector:
    """(∇²L(θ) + λ) v."""
    arrays, rest = eqx.partition(problem, eqx.is_array)

    def product(arrays: sgd.Problem, θ: Vector, v: Vector) -> Vector:
        return eqx.combine(arrays, rest).hessian_product(θ, v)

    # convolutions with many kernels at once are far slower than one after the other, products of matrices faster
    is_convolutional = isinstance(problem.network, sgd.networks.ConvNet)
    product = jax.custom_batching.sequential_vmap(product) if is_convolutional else product
    return product(arrays, θ, v) + λ * v
