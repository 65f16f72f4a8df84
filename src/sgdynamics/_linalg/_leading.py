"""The leading eigenpairs of a symmetric matrix that is known by its products with vectors: block Krylov spaces.

    Q = orth[X, A X, A² X, …],   T = Qᵀ A Q,   (τ, s) of T:   Ritz pairs (τ, Q s), residuals |A Q s − τ Q s|,

restarted from the leading Ritz vectors until the residuals vanish. An eigenvalue of A lies within a residual of each τ.

X has more columns than eigenpairs are asked for, so that every multiplicity is seen: Lanczos' method from one vector
finds one eigenvector of each eigenvalue, and breaks down where its space is exhausted, as the Hessians of
overparameterised networks with weight decay exhaust it (all but a few eigenvalues alike). Q is orthogonalised twice and
A Q is kept, so that T is the true projection whatever rounding did to Q.
"""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sgdynamics import _checks

Vector: TypeAlias = Float[Array, " parameters"]
Block: TypeAlias = Float[Array, "parameters _"]

MARGIN = 8  # columns of X beyond those that are asked for
BLOCKS, RESTARTS = 6, 12
TOLERANCE = 1e-9  # of the residuals, in units of the largest eigenvalue
FRESH = 1e-12  # of the block's entries
TOGETHER = 32  # products that are worked out at once


class LeadingEigenpairs(eqx.Module):
    """values [modes] (descending), vectors [parameters, modes], residuals |A v − λ v| [modes], `lowest` Ritz value."""

    values: Float[Array, " modes"]
    vectors: Float[Array, "parameters modes"]
    residuals: Float[Array, " modes"]
    lowest: Float[Array, ""]


def leading_eigenpairs(
    matvec: Callable[[Vector], Vector], size: int, count: int, *, restarts: int = RESTARTS
) -> LeadingEigenpairs:
    """The `count` largest eigenvalues of a symmetric [size, size] matrix. The start is random and always the same.

    What has not converged shows in `residuals`; nothing is raised. `lowest` is an upper bound of the lowest eigenvalue.
    """
    count = _checks.count("modes", count)
    _checks.require("modes", count, count <= size, allowed=f"at most the number of parameters, {size}")
    product = lambda Q: jax.lax.map(matvec, Q.T, batch_size=TOGETHER).T
    width = count + MARGIN
    if size <= 3 * BLOCKS * width:  # a few restarts take as many products as there are parameters
        basis = jnp.eye(size)
        return _ritz(basis, product(basis), count)[0]

    def restart(carry):
        before, start, k = carry
        found, start = _ritz(*_krylov(product, start, width, jax.random.fold_in(key, k)), count)
        lowest = jnp.minimum(before.lowest, found.lowest)
        return eqx.tree_at(lambda f: f.lowest, found, lowest), start, k + 1

    def unfinished(carry):
        found, _, k = carry
        return (jnp.max(found.residuals) > TOLERANCE * jnp.max(jnp.abs(found.values))) & (k < restarts)

    key, first_key, start_key = jax.random.split(jax.random.key(0), 3)
    start = _orthonormal(jax.random.normal(start_key, (size, 2 * width), jnp.result_type(float)))
    first = _ritz(*_krylov(product, start, width, first_key), count)
    return jax.lax.while_loop(unfinished, restart, (*first, 1))[0]


def _krylov(product: Callable[[Block], Block], start: Block, width: int, key: Key[Array, ""]) -> tuple[Block, Block]:
    """Q and A Q, from the orthonormal columns of `start` and the images of the first `width` of them."""
    basis, image = start, product(start)
    new = image[:, :width]
    for k in range(BLOCKS - 2):
        # where the space is exhausted nothing but rounding is left: random directions take over
        fresh = jax.random.normal(jax.random.fold_in(key, k), new.shape, new.dtype)
        new = _outside(basis, new) + FRESH * jnp.sqrt(jnp.mean(image[:, :width] ** 2)) * fresh
        for _ in range(3):
            new = _orthonormal(_outside(basis, new))
        basis, new = jnp.concatenate([basis, new], axis=1), product(new)
        image = jnp.concatenate([image, new], axis=1)
    return basis, image


def _ritz(basis: Block, image: Block, count: int) -> tuple[LeadingEigenpairs, Block]:
    """The leading Ritz pairs, and the vectors from which to restart."""
    T = basis.T @ image
    values, s = jnp.linalg.eigh((T + T.T) / 2)
    kept, s = values[::-1][:count], s[:, ::-1]
    vectors = basis @ s[:, :count]
    residuals = jnp.linalg.norm(image @ s[:, :count] - vectors * kept[None, :], axis=0)
    restart = _orthonormal(basis @ s[:, : 2 * (count + MARGIN)])
    return LeadingEigenpairs(kept, vectors, residuals, values[0]), restart


def _outside(basis: Block, block: Block) -> Block:
    return block - basis @ (basis.T @ block)


def _orthonormal(block: Block) -> Block:
    return jnp.linalg.qr(block)[0]
