"""Continuous and discrete Lyapunov equations in Schur form, solved block by block.

With the complex Schur form A = U S Uᴴ (S upper triangular) and Y = Uᴴ X U, G = Uᴴ N U,

    A X + X Aᵀ = N    ⇔    S Y + Y Sᴴ = G           (continuous; Bartels & Stewart 1972)
    X − A X Aᵀ = N    ⇔    Y − S Y Sᴴ = G           (discrete; Kitagawa 1977).

Column j of Y needs only the columns after it, and within a column each row only the rows below it.
Blocks of `BLOCK` columns and rows turn all but the innermost substitution into matrix products: O(d³).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Inexact

BLOCK = 32

Square = Complex[Array, "d d"]


class Schur(NamedTuple):
    """A = U S Uᴴ with S upper triangular."""

    triangle: Square
    basis: Square

    def transposed(self) -> "Schur":
        """The Schur form of Aᵀ (A real): the order of the basis reversed makes Sᴴ upper triangular."""
        return Schur(self.triangle.conj().T[::-1, ::-1], self.basis[:, ::-1])


class Equation(NamedTuple):
    """The three places where the two equations differ; R_j = row j of S, r = its diagonal entry."""

    pivot: Callable  # (S, r) -> the triangular matrix that acts on one column
    carried: Callable  # (S, Z = Y R_jᴴ over the columns already solved) -> their part of the right-hand side
    below: Callable  # (rows of S, block column of Y so far, R_jj) -> the part of the rows already solved


def _identity(S: Array) -> Array:
    return jnp.eye(S.shape[0], dtype=S.dtype)


CONTINUOUS = Equation(
    pivot=lambda S, r: S + r.conj() * _identity(S),
    carried=lambda S, Z: -Z,
    below=lambda S, Y, R: -S @ Y,
)
DISCRETE = Equation(
    pivot=lambda S, r: _identity(S) - r.conj() * S,
    carried=lambda S, Z: S @ Z,
    below=lambda S, Y, R: S @ Y @ R.conj().T,
)


@jax.jit
def schur(A: Float[Array, "d d"]) -> Schur:
    """The complex Schur form (on the CPU only: no other device has it)."""
    return Schur(*jax.scipy.linalg.schur(jax.lax.complex(A, jnp.zeros_like(A))))


def solve(equation: Equation, form: Schur, N: Inexact[Array, "d d"]) -> Float[Array, "d d"]:
    """X for a real right-hand side N."""
    S, U = form
    Y = _blocks(equation, S, U.conj().T @ N.astype(S.dtype) @ U)
    return jnp.real(U @ Y @ U.conj().T).astype(N.dtype)


def _leaf(equation: Equation, S: Array, R: Array, G: Array) -> Array:
    """One block: column by column from the last, one triangular solve each."""

    def column(Y: Array, c: Array) -> tuple[Array, None]:
        right = G[:, c] + equation.carried(S, Y @ R[c].conj())
        y = jax.scipy.linalg.solve_triangular(equation.pivot(S, R[c, c]), right)
        return Y.at[:, c].set(y), None

    return jax.lax.scan(column, jnp.zeros_like(G), jnp.arange(G.shape[1]), reverse=True)[0]


def _blocks(equation: Equation, S: Square, G: Square) -> Square:
    """All blocks: columns of blocks from the last, in each the rows from the last. Unsolved blocks are 0."""
    d, b = S.shape[0], min(BLOCK, S.shape[0])
    n = -(-d // b)
    # Padding by a diagonal of 1/2 keeps both equations solvable (1/2 + 1/2 > 0, |1/2| < 1); its Y is 0.
    size = n * b
    S = jnp.zeros((size, size), S.dtype).at[:d, :d].set(S)
    S = S + jnp.diag(jnp.where(jnp.arange(size) < d, 0, 0.5).astype(S.dtype))
    G = jnp.zeros_like(S).at[:d, :d].set(G)
    rows = S.reshape(n, b, size)

    def diagonal(i: Array) -> Array:
        return jax.lax.dynamic_slice(S, (i * b, i * b), (b, b))

    def block_column(Y: Array, j: Array) -> tuple[Array, None]:
        R = diagonal(j)
        right = jax.lax.dynamic_slice(G, (0, j * b), (size, b))
        right = right + equation.carried(S, Y @ rows[j].conj().T)

        def block(y: Array, i: Array) -> tuple[Array, None]:
            g = jax.lax.dynamic_slice(right, (i * b, 0), (b, b)) + equation.below(rows[i], y, R)
            solved = _leaf(equation, diagonal(i), R, g)
            return jax.lax.dynamic_update_slice(y, solved, (i * b, 0)), None

        y = jax.lax.scan(block, jnp.zeros_like(right), jnp.arange(n), reverse=True)[0]
        return jax.lax.dynamic_update_slice(Y, y, (0, j * b)), None

    return jax.lax.scan(block_column, jnp.zeros_like(G), jnp.arange(n), reverse=True)[0][:d, :d]
