"""Powers of matrices and of affine second-moment maps, for exponents known only at run time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

BITS = 63

Square = Float[Array, "d d"]
Affine = tuple[Square, Square | None]  # (F, Q): M ↦ F M Fᵀ + Q; Q = None where it is not wanted


def double(later: Affine, earlier: Affine) -> Affine:
    """The map `earlier` followed by `later`."""
    (F, Q), (E, P) = later, earlier
    return F @ E, None if Q is None or P is None else Q + F @ P @ F.T


def over(f: Callable, values: Array):
    """f of each entry, one after the other: a branch inside f stays a branch, which `vmap` would not keep."""
    if values.ndim == 0:
        return f(values)
    out = jax.lax.map(f, values.reshape(-1))
    return jax.tree.map(lambda leaf: leaf.reshape(values.shape + leaf.shape[1:]), out)


@jax.jit
def matrix_power(T: Square, exponents: Int[Array, "*lags"]) -> Float[Array, "*lags d d"]:
    """Tⁿ for each exponent n ≥ 0."""
    return over(lambda n: _power((T, None), n)[0], exponents)


@jax.jit
def accumulated(T: Square, N: Square, steps: Int[Array, "*steps"]):
    """(Tⁿ, Σ_{k<n} Tᵏ N Tᵏᵀ) for each n ≥ 0: n steps of x ← T x + e, cov e = N."""
    return over(lambda n: _power((T, N), n), steps)


def _power(base: Affine, n: Int[Array, ""]) -> Affine:
    """Binary powers; the branches run only for the bits that n has."""
    one = jnp.eye(base[0].shape[0], dtype=base[0].dtype)
    nothing = (one, None if base[1] is None else jnp.zeros_like(base[1]))

    def bit(carry, i):
        power, square = carry
        rest = n >> i
        power = jax.lax.cond(rest & 1, lambda p, s: double(p, s), lambda p, s: p, power, square)
        square = jax.lax.cond(rest > 1, lambda s: double(s, s), lambda s: s, square)
        return (power, square), None

    bits = jnp.arange(min(BITS, jnp.iinfo(n.dtype).bits - 1), dtype=n.dtype)
    return jax.lax.scan(bit, (nothing, base), bits)[0][0]
