"""Exact transitions where the drift is made of small blocks A_i [modes, s, s], one for each mode, over a time t:

    F_i = e^{−A_i t},    Q_ij = ∫₀ᵗ e^{−A_i u} N_ij e^{−A_jᵀ u} du,

by the series and doublings of `_transition`, in O(modes) for F and O(modes²) for Q. F − 1 = E is what is kept, by
(1 + E)² − 1 = 2E + E², so that slow modes lose no digits. Covariances of pairs of modes are P_ab,ij,
[s, s, modes, modes].
"""

import math
from typing import overload

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics._linalg._powers import over

TERMS = 16  # (2 ‖A‖h)ⁿ/n! at n = 17 is 2e-20
DOUBLINGS = 64  # ‖A‖t up to 4e18; later times are taken as that one

Small = Float[Array, "modes s s"]
Pairs = Float[Array, "s s modes modes"]


def left(E: Small, P: Pairs) -> Pairs:
    """E P: Σ_c E_i,ac P_cb,ij."""
    s = range(E.shape[-1])
    return jnp.stack([jnp.stack([sum(E[:, a, c, None] * P[c, b] for c in s) for b in s]) for a in s])


def right(P: Pairs, E: Small) -> Pairs:
    """P Eᵀ: Σ_d P_ad,ij E_j,bd."""
    s = range(E.shape[-1])
    return jnp.stack([jnp.stack([sum(P[a, d] * E[None, :, b, d] for d in s) for b in s]) for a in s])


@overload
def pair_transition(A: Small, N: Pairs, t: Float[Array, "*times"]) -> tuple[Array, Array]: ...
@overload
def pair_transition(A: Small, N: None, t: Float[Array, "*times"]) -> tuple[Array, None]: ...
@jax.jit
def pair_transition(A, N, t):
    """(E, Q) for each t ≥ 0, [*times, modes, s, s] and [*times, s, s, modes, modes]; Q = None where N is."""
    norm = jnp.max(jnp.sum(jnp.abs(jax.lax.stop_gradient(A)), 1))
    latest = math.ldexp(0.25, DOUBLINGS) / jnp.where(norm > 0, norm, 1)
    return over(lambda time: _transition(A, N, jnp.minimum(time, latest), norm), t)


def _transition(A: Small, N: Pairs | None, t: Float[Array, ""], norm: Float[Array, ""]):
    size = norm * jax.lax.stop_gradient(t)
    doublings = jnp.clip(jnp.ceil(jnp.log2(jnp.maximum(4 * size, 1))), 0, DOUBLINGS)
    h = t * jnp.exp2(-doublings)
    start = _series(A * h, None if N is None else N * h)

    def maybe(pair, i):
        return jax.lax.cond(i < doublings, _doubled, lambda p: p, pair), None

    return jax.lax.scan(maybe, start, jnp.arange(DOUBLINGS, dtype=h.dtype))[0]


def _doubled(pair):
    E, Q = pair
    if Q is not None:
        moved = Q + left(E, Q)
        Q = Q + moved + right(moved, E)
    return 2 * E + E @ E, Q


def _series(A: Small, N: Pairs | None):
    """Taylor series over unit time: Eₙ = −A Eₙ₋₁/n, Qₙ = −(A Qₙ₋₁ + Qₙ₋₁ Aᵀ)/n, Q₁ = N."""

    def term(carry, n):
        (E, Q), (e, q) = carry
        e = -A @ e / n
        if q is not None:
            q, Q = -(left(A, q) + right(q, A)) / (n + 1), Q + q
        return ((E + e, Q), (e, q)), None

    one = jnp.broadcast_to(jnp.eye(A.shape[-1], dtype=A.dtype), A.shape)
    start = (jnp.zeros_like(A), None if N is None else jnp.zeros_like(N))
    n = jnp.arange(1, TERMS + 1, dtype=A.dtype)
    return jax.lax.scan(term, (start, (one, N)), n)[0][0]
