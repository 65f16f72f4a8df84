"""The leading eigenpairs of a symmetric matrix that is known by its products with vectors: Lanczos' method.

With the Krylov basis Q of m vectors and T = Qᵀ A Q, an eigenpair (τ, s) of T gives the Ritz pair (τ, Q s) of A, whose
residual is |A Q s − τ Q s|. An eigenvalue of A lies within that of τ.
"""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from matfree import decomp, eig

from sgdynamics import _checks

Vector: TypeAlias = Float[Array, " parameters"]


class LeadingEigenpairs(eqx.Module):
    """values [modes] (descending), vectors [parameters, modes], residuals |A v − λ v| [modes], `lowest` Ritz value."""

    values: Float[Array, " modes"]
    vectors: Float[Array, "parameters modes"]
    residuals: Float[Array, " modes"]
    lowest: Float[Array, ""]


def leading_eigenpairs(
    matvec: Callable[[Vector], Vector], size: int, count: int, *, krylov: int | None = None
) -> LeadingEigenpairs:
    """The `count` largest eigenvalues of a symmetric [size, size] matrix, by a Krylov space of `krylov` vectors.

    `krylov` is 3 count + 50 unless told, at most `size`. The start is random and always the same.
    """
    count = _checks.count("modes", count)
    _checks.require("modes", count, count <= size, allowed=f"at most the number of parameters, {size}")
    krylov = min(size, 3 * count + 50) if krylov is None else min(size, _checks.count("krylov", krylov, least=count))
    start = jax.random.normal(jax.random.key(0), (size,), jnp.result_type(float))
    values, rows = eig.eigh_partial(decomp.tridiag_sym(krylov))(matvec, start)
    vectors = rows[::-1][:count].T
    kept = values[::-1][:count]
    image = jax.lax.map(matvec, vectors.T).T
    residuals = jnp.linalg.norm(image - vectors * kept[None, :], axis=0)
    return LeadingEigenpairs(kept, vectors, residuals, values[0])
