"""The spectral projector onto the null space of a matrix, at fixed shapes.

With A = W Σ Vᵀ and m the mask of singular values below a relative cut,

    Π = V m (m WᵀV m + 1 − m)⁻¹ m Wᵀ,        A Π = Π A = 0,   Π² = Π,

which exists exactly if the zero eigenvalue is semisimple (no Jordan block). Under a change of A that keeps
the dimension of the null space,

    dΠ = −Π dA A# − A# dA Π,        A# = (A + sΠ)⁻¹ (1 − Π)   (the group inverse),

so no derivative of singular vectors, which degeneracy would make infinite, is ever taken.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LARGEST_NORM = 1e7  # of Π: beyond, the null vectors of A and Aᵀ are orthogonal to rounding, a Jordan block


@jax.custom_jvp
def null_projector(A: Float[Array, "d d"], scale: Float[Array, ""]) -> Float[Array, "d d"]:
    """Π; singular values below 4 d ε · `scale` count as zero. Entries are inf where Π does not exist."""
    W, singular, Vt = jnp.linalg.svd(A)
    d = A.shape[0]
    zero = (singular <= 4 * d * jnp.finfo(A.dtype).eps * scale).astype(A.dtype)
    left, right = zero[:, None] * W.T, Vt.T * zero[None, :]
    core = left @ right + jnp.diag(1 - zero)
    projector = right @ jnp.linalg.solve(core, left)
    return jnp.where(jnp.isfinite(projector), projector, jnp.inf)


@null_projector.defjvp
def _null_projector_jvp(primals, tangents):
    (A, scale), (dA, _) = primals, tangents
    projector = null_projector(A, scale)
    keep = jnp.eye(A.shape[0], dtype=A.dtype) - projector
    inverse = jnp.linalg.solve(A + scale * projector, keep)
    return projector, -projector @ dA @ inverse - inverse @ dA @ projector


def is_semisimple(projector: Float[Array, "d d"]):
    """Whether Π exists, to rounding."""
    return jnp.linalg.norm(projector) < LARGEST_NORM
