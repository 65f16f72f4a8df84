"""Orthonormal columns, uniformly distributed.

Q of the QR decomposition of a normal matrix, with the signs that make R's diagonal positive (Mezzadri 2007): what a
library's QR returns alone is not uniform.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def orthonormal(key: Key[Array, ""], rows: int, columns: int) -> Float[Array, "rows columns"]:
    """`columns` ≤ `rows` orthonormal columns, drawn uniformly."""
    Q, R = jnp.linalg.qr(jax.random.normal(key, (rows, columns)))
    return Q * jnp.sign(jnp.diagonal(R))[None, :]
