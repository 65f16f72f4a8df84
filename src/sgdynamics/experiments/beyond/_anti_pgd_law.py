"""What perturbations of θ do about a minimum of L_λ = L + ½λ|θ|², to order σ², with the network's own derivatives.

With ∇²L_λ = Q diag(a) Qᵀ at the minimum, u = (1 − ηa)², and θ_k = m_k + fluctuations of variance V_k along Q,

    V_k = σ² + σ² ηa/(2 − ηa) (1 − u^{k−1})       Anti-PGD, the second term that of z = θ − ξ (k ≥ 1; V_0 = 0)
    V_k = σ² (1 − u^k)/(1 − u)                    PGD
    m_{k+1} = m_k − η ∇{L_λ + ½ tr(H V_k)}(m_k)
    E L_λ(θ_k) = L_λ* + ½ Σ a V_k,      E f(θ_k) = f(m_k) + ½ Σ_i V_k,i q_iᵀ(∇²f)q_i,      f = tr H or the test loss,

and the same for z with V_k less σ².

Of ½ tr(H V_k), the part ½σ² tr H of Anti-PGD (the slides' L̃) is taken at m_k, everything else at the minimum.
tr H of a network with one hidden layer of tanh φ, W its second layer, r = f − y, costs a forward pass:

    tr H = ⟨outputs (1 + |φ|²) + (1 + |x|²) Σ_j (|W_j|² φ'_j² + (rᵀW)_j φ''_j)⟩
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

import sgdynamics as sgd
from sgdynamics._types import Matrix, PRNGKey, Scalar, Vector
from sgdynamics.experiments._compiled import once

DRAWS = 1024  # pairs, for the remainder of order σ⁴

Variances = Float[np.ndarray, "steps parameters"]


def trace(problem: sgd.Problem, θ: Vector) -> Scalar:
    """tr ∇²L(θ) of a network with one hidden layer of tanh, squared error."""
    first, second = problem.unflatten(θ).layers
    W = second.weight

    def of_one(x: Float[Array, " inputs"], y: Float[Array, " outputs"]) -> Scalar:
        φ = jnp.tanh(first(x))
        φ1, r = 1 - φ**2, second(φ) - y
        hidden = jnp.sum(W**2, axis=0) * φ1**2 - 2 * (r @ W) * φ * φ1  # φ'' = −2 φ φ'
        return W.shape[0] * (1 + φ @ φ) + (1 + x @ x) * jnp.sum(hidden)

    return jnp.mean(jax.vmap(of_one)(problem.data.x, problem.data.y))


class Derivatives(NamedTuple):
    """At the minimum: a and Q of ∇²L_λ; ∇(q_iᵀHq_i) [modes, parameters]; ∇² tr H; ∇² of the test loss."""

    curvatures: Vector
    modes: Matrix
    forces: Matrix
    trace_hessian: Matrix
    test_hessian: Matrix


@once
def derivatives(problem: sgd.Problem, test: sgd.data.Dataset, θ: Vector, weight_decay: float) -> Derivatives:
    """All that the law needs, of second to fourth order in θ."""
    a, Q = jnp.linalg.eigh(problem.hessian(θ))
    along = lambda q: jax.grad(lambda θ: q @ problem.hessian_product(θ, q))(θ)
    product = lambda e: jax.jvp(jax.grad(lambda θ: trace(problem, θ)), (θ,), (e,))[1]
    second = jax.lax.map(product, jnp.eye(θ.size, dtype=θ.dtype))
    return Derivatives(a + weight_decay, Q, jax.lax.map(along, Q.T), second, problem.hessian(θ, test))


def variances(
    a: Float[ArrayLike, " parameters"], steps: int, *, learning_rate: float, std: float, anticorrelated: bool
) -> Variances:
    """V_k, k = 0, …, `steps`."""
    x, k = learning_rate * np.asarray(a), np.arange(steps + 1)[:, None]
    u = (1 - x) ** 2
    if not anticorrelated:
        return std**2 * (1 - u**k) / (1 - u)
    return std**2 * (k > 0) * (1 + x / (2 - x) * (1 - u ** np.maximum(k - 1, 0)))


@once
def means(
    problem: sgd.Problem,
    θ: Vector,
    at: Derivatives,
    variances: Float[Array, "steps parameters"],
    smoothed: Float[Array, " steps"],
    learning_rate: float,
    weight_decay: float,
) -> Float[Array, "steps parameters"]:
    """m_k; `smoothed` is the part of every variance whose force is taken at m_k."""
    objective = lambda m, s: problem.loss(m) + weight_decay * jnp.sum(m**2) / 2 + s / 2 * trace(problem, m)

    def step(m: Vector, known: tuple[Vector, Scalar]) -> tuple[Vector, Vector]:
        V, s = known
        return m - learning_rate * (jax.grad(objective)(m, s) + (V - s) @ at.forces / 2), m

    return jax.lax.scan(step, θ, (variances, smoothed))[1]


@once
def losses(
    problem: sgd.Problem, test: sgd.data.Dataset, points: Float[Array, "points parameters"]
) -> Float[Array, " points"]:
    """Test loss at several points."""
    return jax.lax.map(lambda θ: problem.loss(θ, test), points)


@once
def traces(problem: sgd.Problem, points: Float[Array, "points parameters"]) -> Float[Array, " points"]:
    """tr H at several points."""
    return jax.lax.map(lambda θ: trace(problem, θ), points)


def rounding(at: Derivatives, second: Matrix, variances: Variances) -> Float[np.ndarray, " steps"]:
    """½ Σ V_i q_iᵀ(∇²f)q_i: what fluctuations add to f, whose second derivatives are `second`."""
    Q = np.asarray(at.modes)
    return np.asarray(variances) @ np.sum(Q * (np.asarray(second) @ Q), axis=0) / 2


@once
def remainder(problem: sgd.Problem, θ: Vector, second: Matrix, std: float, key: PRNGKey) -> Scalar:
    """E tr H(θ + ξ) − tr H − ½σ² Δ tr H, of order σ⁴: from pairs ±ξ, less the quadratic form."""
    ξ = std * jax.random.normal(key, (DRAWS, θ.size), θ.dtype)
    both = jax.lax.map(lambda ξ: (trace(problem, θ + ξ) + trace(problem, θ - ξ)) / 2, ξ)
    return jnp.mean(both - jnp.sum((ξ @ second) * ξ, axis=1) / 2) - trace(problem, θ)
