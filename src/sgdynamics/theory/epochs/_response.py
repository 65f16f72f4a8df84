"""How a mode answers one kick, and the epoch's means of the answer.

With α = ηh, θ_k = −η Σ_n p_n δg_{k−n}, where p_0 = 1, p_{−1} = 0 and p_{n+1} = (1 + β − α) p_n − β p_{n−1}: it is
[Dⁿ]₁₁ of (8). A slow part of it, p_n − β p_{n−1}, loses α p_n in each step, so that

    1 − p_h + β p_{h−1} = α P_h,      P_h = Σ_{n<h} p_n.                                                    (*)

All averages over an epoch need two means with the weights of (2), w_h = (M − h)/(M (M − 1)), Σ_h w_h = ½:

    A = 2 Σ_{h=1}^{M−1} w_h P_h,      B = 2 Σ_{h=1}^{M−1} w_h p_{h−1}.

(13) is their sum in closed form, which has differences of nearly equal numbers over (ηh)², and loses its digits in
flat modes. Here (*) is used instead, and the sums are made by doubling: (p_m, p_{m−1}, Σp, ΣΣp, ΣΣΣp) has a constant
matrix, whose power costs log M products of positive terms (overdamped), for any M and any number of modes.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

BITS = 53  # whole numbers that a float holds

Means = tuple[Float[Array, "..."], Float[Array, "..."]]


def means(α: Float[Array, "..."], β: Float[Array, "..."], M: Float[Array, "..."]) -> Means:
    """(A, B), all of one shape; 0 for M = 1."""
    total = power(_cumulating(α, β), M)
    # started at p_0 = 1: the doubly summed p up to M − 1, and the triply summed one up to M
    twice, thrice = total[..., 3, 0], total[..., 4, 0] + total[..., 3, 0]
    pairs = jnp.maximum(M * (M - 1), 1) / 2
    return thrice / pairs, twice / pairs


def _cumulating(α: Float[Array, "..."], β: Float[Array, "..."]) -> Float[Array, "... 5 5"]:
    """(p_m, p_{m−1}, c₁, c₂, c₃) → the same of m + 1: c₁ gains p_m, c₂ gains c₁, c₃ gains c₂."""
    rows = [[1 + β - α, -β, 0, 0, 0], [1, 0, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 1]]
    full = lambda entry: jnp.broadcast_to(jnp.asarray(entry, α.dtype), α.shape)
    return jnp.stack([jnp.stack([full(entry) for entry in row], -1) for row in rows], -2)


def power(T: Float[Array, "... s s"], exponents: Float[Array, "..."]) -> Float[Array, "... s s"]:
    """Tⁿ, each matrix with its own n, a whole number."""
    n = jax.lax.stop_gradient(exponents).astype(jnp.int64)

    def bit(carry, i):
        power, square = carry
        wanted = ((n >> i) & 1)[..., None, None] == 1
        left = (n >> i)[..., None, None] > 1  # squares beyond are not needed, and would overflow
        return (jnp.where(wanted, square @ power, power), jnp.where(left, square @ square, square)), None

    one = jnp.broadcast_to(jnp.eye(T.shape[-1], dtype=T.dtype), T.shape)
    return jax.lax.scan(bit, (one, T), jnp.arange(BITS, dtype=n.dtype))[0][0]
