"""Several inputs: the exact fourth moments of the stationary law of SGD, and how far its modes are from normal.

With δ̂ = (δ, 1), δ = w − w* in the basis of the Hessian's modes, an example acts as a matrix,

    Â_μ = [[1 − η x_μ x_μᵀ, η r_μ x_μ], [0, 1]] = T + N_μ,     T = mean of Â_μ = diag(1 − ηh, 1),

and a batch of S, drawn with replacement, as the mean of S of them. With K_k = (1/P) Σ_μ N_μ^{⊗k}, X = E δ̂^{⊗4} solves

    X = Sym [T⁴ + (6/S) T² K_2 + (4/S²) T K_3 + (1/S³) K_4 + (3(S−1)/S³) K_2 K_2] X,     X_1111 = 1,

which holds the moments of lower order too. Iterated with (1 − T⁴)⁻¹, it converges at a rate given by the multiplicative
noise; where fourth moments exist, X is a matrix of moments: without negative eigenvalues as [d², d²].
"""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar
from sgdynamics.theory.regression._least_squares import data, hessian, minimum

LARGEST = 16  # inputs: memory is samples × (inputs + 1)⁴ numbers
STEPS = 500
ACCURACY = 1e-11

Tensor = Float[Array, "d d d d"]


def excess_kurtosis(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
) -> Float[Array, " modes"]:
    """E z⁴/(E z²)² − 3 of the modes z of the Hessian, softest first, sampling with replacement; exact, [modes].

    **Raises** `ValueError` for more than 16 inputs, samples ≤ inputs, and where fourth moments diverge.
    """
    x, y = data(x, y)
    P, d = x.shape
    _checks.require("x", x, d <= LARGEST, allowed=f"[samples, inputs] with at most {LARGEST} inputs")
    _checks.require("x", x, P > d, allowed="[samples, inputs] with more samples than inputs")
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    X, change = _fourth_moments(x, y, η, _checks.count("batch_size", batch_size))
    lowest = jnp.min(jnp.linalg.eigvalsh(X.reshape((d + 1) ** 2, -1))) / jnp.max(jnp.abs(X))
    η = _checks.require(
        "learning_rate", η, (change < 1e3 * ACCURACY) & (lowest > -1e-7), allowed="so small that fourth moments exist"
    )
    i = jnp.arange(d)
    return X[i, i, i, i] / X[i, i, d, d] ** 2 - 3


@partial(jax.jit, static_argnames="S")
def _fourth_moments(x: Array, y: Array, η: Array, S: int) -> tuple[Tensor, Array]:
    """X, and the last relative change of its iteration."""
    h, V = jnp.linalg.eigh(hessian(x))
    t = jnp.append(1 - η * h, 1.0)
    step = _map(t, _noise(x @ V, y - x @ minimum(x, y), η, t), S)
    d = len(h)
    T4 = jnp.einsum("i,j,k,l->ijkl", t, t, t, t)
    left = (1 - T4).at[d, d, d, d].set(1.0)

    def improve(carry: tuple[Tensor, Array, Array]) -> tuple[Tensor, Array, Array]:
        X, _, k = carry
        new = (step(X) / left).at[d, d, d, d].set(1.0)
        size = jnp.max(jnp.abs(new[:d, :d, :d, :d]))
        return new, jnp.max(jnp.abs((new - X)[:d, :d, :d, :d])) / size, k + 1

    unfinished = lambda carry: (carry[1] > ACCURACY) & (carry[2] < STEPS)
    start = (jnp.zeros_like(T4).at[d, d, d, d].set(1.0), jnp.array(jnp.inf), jnp.array(0))
    X, change, _ = jax.lax.while_loop(unfinished, improve, start)
    return X, change


def _noise(x: Array, r: Array, η: Array, t: Array) -> Float[Array, "samples d d"]:
    """N_μ."""
    linear = -η * x[:, :, None] * x[:, None, :]
    affine = jnp.concatenate([linear, (η * r[:, None] * x)[:, :, None]], axis=2)
    matrices = jnp.concatenate([affine, jnp.zeros((len(x), 1, len(t)))], axis=1)
    return matrices - jnp.mean(matrices, axis=0, keepdims=True)


def _map(t: Array, N: Float[Array, "samples d d"], S: int):
    """X ↦ Sym [everything but T⁴] X, with X as a matrix over pairs of indices."""
    P, d, _ = N.shape
    pairs = jnp.einsum("mij,mkl->mikjl", N, N).reshape(P, d * d, d * d)
    mixed = jnp.einsum("mij,kl->mikjl", N, jnp.diag(t)).reshape(P, d * d, d * d)
    second, drift = jnp.mean(pairs, axis=0), jnp.outer(t, t).ravel()

    def step(X: Tensor) -> Tensor:
        matrix = X.reshape(d * d, d * d)
        right = jnp.einsum("ab,mcb->mac", matrix, pairs)
        fourth = jnp.einsum("mab,mbc->ac", pairs, right) / P
        third = jnp.einsum("mab,mbc->ac", mixed, right) / P
        pair = (6 / S * drift[:, None] * matrix + 3 * (S - 1) / S**3 * second @ matrix) @ second.T
        return _symmetric((pair + 4 / S**2 * third + fourth / S**3).reshape((d,) * 4))

    return step


def _symmetric(X: Tensor) -> Tensor:
    return sum((jnp.transpose(X, order) for order in itertools.permutations(range(4))), start=jnp.zeros_like(X)) / 24
