"""The symmetric root of a covariance, R R = M, with a derivative that survives zero eigenvalues.

R dR + dR R = dM gives dR_ij = dM_ij / (r_i + r_j) in the eigenbasis; where r_i + r_j = 0 a change of M that
keeps M ≥ 0 to first order has dM_ij = 0, and dR_ij is taken as 0.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics import _checks

Square = Float[Array, "d d"]


def symmetric_root(M: Square) -> Square:
    """R = Rᵀ ≥ 0 with R R = M. **Raises** where M has a negative eigenvalue beyond rounding."""
    R, lowest, highest = _root(M)
    smallest = -10 * M.shape[0] * jnp.finfo(M.dtype).eps * highest
    return _checks.provided(
        R, "covariance", M, lowest >= smallest, allowed="positive semidefinite (to rounding)",
        remedy="Symmetrise it, or drop its negative eigenvalues on purpose.",
    )  # fmt: skip


def scaled_root(M: Square) -> Square:
    """R with R Rᵀ = M, not symmetric: the symmetric root of the correlations, under their standard deviations.

    In a short time h positions spread by h³ and velocities by h: without the scale, positions would lose their digits.
    """
    M = (M + M.T) / 2
    spread = jnp.sqrt(jnp.maximum(jax.lax.stop_gradient(jnp.diagonal(M)), 0))
    spread = jnp.where(spread > 0, spread, 1)
    return spread[:, None] * symmetric_root(M / (spread[:, None] * spread[None, :]))


@jax.jit
def _root(M: Square):
    eigenvalues = jnp.linalg.eigvalsh(jax.lax.stop_gradient(M))
    return _rooted(M), eigenvalues[0], jnp.max(jnp.abs(eigenvalues))


@jax.custom_jvp
def _rooted(M: Square) -> Square:
    return _parts(M)[2]


def _parts(M: Square):
    eigenvalues, V = jnp.linalg.eigh(jax.lax.stop_gradient(M))
    r = jnp.sqrt(jnp.maximum(eigenvalues, 0))
    return r, V, (V * r[None, :]) @ V.T


@_rooted.defjvp
def _rooted_jvp(primals, tangents):
    r, V, R = _parts(primals[0])
    sums = r[:, None] + r[None, :]
    # an eigenvalue that is 0 up to rounding, ε λ_max, has the root √ε r_max
    zero = sums <= jnp.sqrt(len(r) * jnp.finfo(r.dtype).eps) * r[-1]
    modes = V.T @ tangents[0] @ V / jnp.where(zero, 1, sums)
    return R, V @ jnp.where(zero, 0, modes) @ V.T
