"""What the harmonic processes share: their checks, powers of the modes' 2 × 2 matrices, and how these act on pairs.

Small matrices E_i [modes, 2, 2] stand for 1 + E_i, so that the slow modes lose no digits:

    (1 + E)(1 + G) − 1 = E + G + E G.

Covariances of the states (δ, v) of a pair of modes are P_ab,ij = E[a_i b_j], [2, 2, modes, modes].
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sgdynamics import _checks
from sgdynamics._linalg import left, right

NOISELESS = 1e-12  # of the largest variance of the noise: what projections leave of 0 by rounding

Modes = Float[Array, " modes"]
Pairs = Float[Array, "modes modes"]
Small = Float[Array, "modes 2 2"]
Blocks = Float[Array, "2 2 modes modes"]


def stiffness(name: str, value) -> Modes:
    """The curvatures or rates: one for each mode, none negative."""
    h = _checks.float64(name, value)
    if h.ndim != 1 or h.size == 0:
        raise ValueError(f"{name} has shape {h.shape}, but it must have one entry for each mode, [modes].")
    return _checks.not_negative(
        name, h, remedy="Along negative curvature there is no stationary law: go to a minimum, or leave the mode out."
    )


def mode_noise(noise, name: str, stiff: Modes) -> Pairs:
    """The noise as a covariance without any in modes of stiffness 0, whose variance would grow without limit."""
    C = _checks.float64("noise", noise)
    C = covariance("noise", _checks.shaped("noise", C, 2 * stiff.shape))
    variance = jnp.diagonal(C)
    free = stiff <= 0
    reaching, most = jnp.max(jnp.where(free, variance, 0)), jnp.max(variance)
    allowed = "0 in the modes without restoring force"
    if _checks.is_concrete(reaching):
        allowed = (
            f"0 where {name} is 0, but variances up to {_checks.shown(reaching)} (of {_checks.shown(most)}) reach it"
        )
    C = _checks.provided(
        C, "noise", C, reaching <= NOISELESS * most, allowed=allowed,
        remedy="Their variance grows without limit: leave those modes out, or add weight decay.",
    )  # fmt: skip
    return jnp.where(free[:, None] | free[None, :], 0, C)


def covariance(name: str, value: Pairs) -> Pairs:
    """`value` made symmetric to the last digit, where it has no negative eigenvalue (to rounding).

    By a Cholesky decomposition: eigenvalues of 4,000 rows would take longer than all the rest here.
    """
    value = _checks.symmetric(name, value)
    M = jax.lax.stop_gradient(value)
    size = jnp.max(jnp.abs(M))
    rounding = jnp.where(size > 0, 1e-8 * len(M) * size, 1)
    positive = jnp.isfinite(jnp.linalg.cholesky(M + rounding * jnp.eye(len(M)), symmetrize_input=False)[-1, -1])
    return _checks.require(
        name, value, positive, allowed="free of negative eigenvalues", remedy="A covariance has none."
    )


@jax.jit
def powers(E: Small, exponents: Int[Array, "*steps"]) -> Float[Array, "*steps modes 2 2"]:
    """(1 + E)ⁿ − 1 for each n ≥ 0, by binary powers."""
    n = exponents[..., None, None, None]

    def bit(carry, i):
        power, square = carry
        times = jnp.expand_dims(square, tuple(range(exponents.ndim)))
        power = jnp.where((n >> i) & 1, power + times + power @ times, power)
        return (power, 2 * square + square @ square), None

    start = jnp.zeros(exponents.shape + E.shape)
    return jax.lax.scan(bit, (start, E), jnp.arange(jnp.iinfo(n.dtype).bits - 1, dtype=n.dtype))[0][0]


def congruence(E: Small, P: Blocks) -> Blocks:
    """(1 + E) P (1 + E)ᵀ − P, without the cancellation."""
    moved = left(E, P)
    return moved + right(P + moved, E)


def joined(P: Blocks) -> Float[Array, "phase phase"]:
    """Over (δ, v), all of δ first."""
    return jnp.concatenate([jnp.concatenate([P[0, 0], P[0, 1]], 1), jnp.concatenate([P[1, 0], P[1, 1]], 1)], 0)


def split(P: Float[Array, "phase phase"]) -> Blocks:
    modes = len(P) // 2
    return P.reshape(2, modes, 2, modes).transpose(0, 2, 1, 3)


def each(f, steps: Int[Array, "*steps"] | Float[Array, "*steps"], *rest):
    """f of each entry one after the other: only one set of intermediates is held at a time."""
    flat = [leaf.reshape((-1, *leaf.shape[steps.ndim :])) for leaf in rest]
    out = jax.lax.map(lambda entry: f(*entry), (steps.reshape(-1), *flat))
    return out.reshape(steps.shape + out.shape[1:])
