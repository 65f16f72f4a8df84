"""Exact transitions of dx = −A x dt + √N dW over a time t: x(t) = F x(0) + noise of covariance Q,

    F = e^{−At},    Q = ∫₀ᵗ e^{−As} N e^{−Aᵀs} ds,

for every A: singular, defective, unstable, or with noise in its null space. The Taylor series over a short
time h = t / 2ᵏ, ‖A‖h ≤ 1/4 (Q by its own series, Q' = N − A Q − Q Aᵀ: what Van Loan's block exponential
holds, without the growing block e^{Aᵀt} that overflows), then k doublings Q ← Q + F Q Fᵀ, F ← F F.
Sums of covariances lose no digits. Rounding is about ‖A‖t · 10⁻¹⁶ of the slow directions' decay.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics import _checks
from sgdynamics._linalg._powers import double, over

TERMS = 16  # (2 ‖A‖h)ⁿ/n! at n = 17 is 2e-20
DOUBLINGS = 90  # ‖A‖t up to 10²⁶; later times are taken as that one

Square = Float[Array, "d d"]


def propagator(A: Square, t: Float[Array, "*times"]) -> Float[Array, "*times d d"]:
    """e^{−At} for each t ≥ 0."""
    return _finite(_transitions(A, None, t)[0])


def transition(
    A: Square, N: Square, t: Float[Array, "*times"]
) -> tuple[Float[Array, "*times d d"], Float[Array, "*times d d"]]:
    """(F, Q) for each t ≥ 0."""
    F, Q = _transitions(A, N, t)
    return _finite(F), _finite(Q)


def _finite(value: Array) -> Array:
    ok = jnp.isfinite(value)
    return _checks.require("t", value, ok, allowed="short enough for the growth of an unstable drift to stay finite")


@jax.jit
def _transitions(A: Square, N: Square | None, t: Float[Array, "*times"]):
    norm = jnp.linalg.norm(jax.lax.stop_gradient(A), ord=1)
    latest = math.ldexp(0.25, DOUBLINGS) / jnp.where(norm > 0, norm, 1)
    return over(lambda s: _transition(A, N, jnp.minimum(s, latest), norm), t)


def _transition(A: Square, N: Square | None, t: Float[Array, ""], norm: Float[Array, ""]):
    size = norm * jax.lax.stop_gradient(t)
    doublings = jnp.clip(jnp.ceil(jnp.log2(jnp.maximum(4 * size, 1))), 0, DOUBLINGS)
    h = t * jnp.exp2(-doublings)
    start = _series(A * h, None if N is None else N * h)

    def maybe(pair, i):
        # a branch that runs or does not: idle doublings cost nothing, and reverse mode works
        return jax.lax.cond(i < doublings, lambda p: double(p, p), lambda p: p, pair), None

    return jax.lax.scan(maybe, start, jnp.arange(DOUBLINGS, dtype=h.dtype))[0]


def _series(A: Square, N: Square | None):
    """Taylor series of F and Q over unit time: Fₙ = −A Fₙ₋₁/n, Qₙ = −(A Qₙ₋₁ + Qₙ₋₁ Aᵀ)/n, Q₁ = N."""

    def term(carry, n):
        (F, Q), (f, q) = carry
        f = -A @ f / n
        if q is not None:
            q, Q = -(A @ q + q @ A.T) / (n + 1), Q + q
        return ((F + f, Q), (f, q)), None

    one = jnp.eye(A.shape[0], dtype=A.dtype)
    start = (one, None if N is None else jnp.zeros_like(N))
    n = jnp.arange(1, TERMS + 1, dtype=A.dtype)
    return jax.lax.scan(term, (start, (one, N)), n)[0][0]
