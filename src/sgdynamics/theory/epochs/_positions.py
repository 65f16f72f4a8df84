"""Second moments of two modes after l = 0 … M−1 batches of an epoch: what averaging over the position hides.

Noises of one epoch that sum to nothing are ζ_n − ζ̄ with independent ζ of variance C M/(M − 1). In the coordinates
(y, u), y = θ + β u/(1 − β), a flat mode only adds the noise up, y' = y − η (hθ + δg)/(1 − β), so that its y is a bridge
that closes. With T the transition of (y, u) in each mode, b = −η (1/(1 − β), 1), r_n = Tⁿ b and the law Q₀ at the
epoch's start,

    Q_l  = T^l Q₀ T^lᵀ + M/(M−1) C [Σ_{n<l} r_n r_nᵀ − g_l g_lᵀ/M],      g_l = Σ_{n<l} r_n,
    Q₀   = T^M Q₀ T^Mᵀ + M/(M−1) C Σ_{n<M} (r_n − r̄)(r_n − r̄)ᵀ.

Powers are kept as Tⁿ − 1, and r_n − r̄ as differences of r_n − b, so that flat modes lose no digits.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics.theory.epochs._moments import Field, Moments, Pair

Block = Float[Array, "... 2 2"]
Vector = Float[Array, "... 2"]


@partial(jax.jit, static_argnums=1)
def complete_epochs(pair: Pair, positions: int) -> Moments:
    """As `_moments.complete_epochs`, each [positions, *modes]."""
    first, second = _excess(pair.first, pair.momentum), _excess(pair.second, pair.momentum)
    start = _epoch_start(pair, first, second, positions)
    b = _kick(pair.momentum)
    zero = jnp.zeros_like(first)

    def step(carry, _):
        E, F, g, f, added = carry
        moved = _congruence(E, start, F)
        noise = positions / max(positions - 1, 1) * (added - _outer(g, f) / positions)
        r, s = b + _times(E, b), b + _times(F, b)
        carry = (_next(E, first), _next(F, second), g + r, f + s, added + _outer(r, s))
        return carry, _to_weights(moved + noise, pair.momentum)

    nothing = jnp.zeros_like(b)
    return jax.lax.scan(step, (zero, zero, nothing, nothing, zero), length=positions)[1]


@partial(jax.jit, static_argnums=1)
def between_epochs(pair: Pair, positions: int) -> Moments:
    """The first of `complete_epochs`."""
    first, second = _excess(pair.first, pair.momentum), _excess(pair.second, pair.momentum)
    return _to_weights(_epoch_start(pair, first, second, positions), pair.momentum)


def _epoch_start(pair: Pair, first: Block, second: Block, positions: int) -> Block:
    """Q₀, in units of η² C; 0 in what is flat and closes."""
    b, M = _kick(pair.momentum), positions

    def step(carry, _):
        E, F, sums = carry
        r, s = _times(E, b), _times(F, b)
        sums = tuple(x + y for x, y in zip(sums, (r, s, _outer(r, s)), strict=True))
        return (_next(E, first), _next(F, second), sums), None

    zero, nothing = jnp.zeros_like(first), jnp.zeros_like(b)
    (E, F, (r, s, both)), _ = jax.lax.scan(step, (zero, zero, (nothing, nothing, zero)), length=M)
    spread = M / max(M - 1, 1) * (both - _outer(r, s) / M)
    return _solve(E, F, spread)


def _solve(E: Block, F: Block, Q: Block) -> Block:
    """X = (1 + E) X (1 + F)ᵀ + Q."""
    one = jnp.broadcast_to(jnp.eye(2, dtype=E.dtype), E.shape)
    kron = lambda A, B: (A[..., :, None, :, None] * B[..., None, :, None, :]).reshape(*A.shape[:-2], 4, 4)
    lost = -(kron(E, one) + kron(one, F) + kron(E, F))
    corner = jnp.zeros((4, 4), bool).at[0, 0].set(True)
    closed = jnp.broadcast_to(corner, lost.shape) & (lost[..., :1, :1] == 0)  # yy of flat modes: its Q is 0
    X = jnp.linalg.solve(lost + closed.astype(E.dtype), Q.reshape(*Q.shape[:-2], 4, 1))
    return X.reshape(Q.shape)


def _excess(α: Field, β: Field) -> Block:
    """T − 1 of (y, u)."""
    slow, back = α / (1 - β), α * β / (1 - β)
    rows = [jnp.stack([-slow, back / (1 - β)], -1), jnp.stack([-α, β - 1 + back], -1)]
    return jnp.stack(rows, -2)


def _kick(β: Field) -> Vector:
    """b in units of η."""
    return -jnp.stack([1 / (1 - β), jnp.ones_like(β)], -1)


def _next(E: Block, excess: Block) -> Block:
    """T^{n+1} − 1 from Tⁿ − 1."""
    return E + excess + excess @ E


def _times(E: Block, b: Vector) -> Vector:
    return jnp.einsum("...ij,...j->...i", E, b)


def _outer(r: Vector, s: Vector) -> Block:
    return r[..., :, None] * s[..., None, :]


def _congruence(E: Block, X: Block, F: Block) -> Block:
    """(1 + E) X (1 + F)ᵀ."""
    left = X + E @ X
    return left + left @ jnp.swapaxes(F, -1, -2)


def _to_weights(Q: Block, β: Field) -> Moments:
    """From (y, u) to (θ, u), θ = y − β u/(1 − β)."""
    b = β / (1 - β)
    yy, yu, uy, uu = Q[..., 0, 0], Q[..., 0, 1], Q[..., 1, 0], Q[..., 1, 1]
    return Moments(yy - b * (yu + uy) + b**2 * uu, yu - b * uu, uy - b * uu, uu)
