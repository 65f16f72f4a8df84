"""Lyapunov equations, continuous and discrete, with derivatives in both modes.

    continuous   A X + X Aᵀ = N            covariance of dx = −A x dt + √N dW
    discrete     X = T X Tᵀ + N            covariance of x ← T x + e,  cov e = N
    symmetric    A X + X A − s A X A = N   A = Aᵀ; s = 0 continuous, s = η with N = ηC: T = 1 − ηA, noise η²C

The derivative of a solution solves the same equation (`jax.lax.custom_linear_solve`), so eigenvectors and
Schur vectors are never differentiated. Eigenvalue 0 of A (1 of T) is allowed where it is semisimple and
carries no noise: the solution is then the covariance that grows from 0, without a part in the null space.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sgdynamics import _checks
from sgdynamics._linalg._projector import is_semisimple, null_projector
from sgdynamics._linalg._triangular import CONTINUOUS, DISCRETE, schur, solve

Square = Float[Array, "d d"]
LARGEST_NULL_NOISE = 1e-10  # of |N|: what counts as rounding


class Verdict(NamedTuple):
    """What must hold for the solution to be the law of a stationary process."""

    semisimple: Bool[Array, ""]
    stable: Bool[Array, ""]
    quiet: Bool[Array, ""]  # no noise in the null space


def lyapunov(A: Square, N: Square) -> Square:
    """X of A X + X Aᵀ = N; N need not be symmetric.

    **Raises** where an eigenvalue of A has a negative real part, or is 0 with a Jordan block or with noise.
    """
    X, verdict = _continuous(A, N)
    X = _checks.provided(
        X, "drift", A, verdict.semisimple, allowed="without a Jordan block at eigenvalue 0", remedy=_CHANGE
    )
    X = _checks.provided(
        X,
        "drift",
        A,
        verdict.stable,
        allowed="free of eigenvalues with real part ≤ 0 (save 0)",
        remedy=_CHANGE,
    )
    return _checks.provided(
        X, "noise", N, verdict.quiet, allowed="zero in the null space of the drift",
        remedy="There the variance grows without limit: ask for `covariance_at` a time.",
    )  # fmt: skip


def discrete_lyapunov(T: Square, N: Square) -> Square:
    """X of X = T X Tᵀ + N; N need not be symmetric.

    **Raises** where an eigenvalue of T has modulus ≥ 1, save a semisimple, noiseless eigenvalue 1.
    """
    X, verdict = _discrete(T, N)
    X = _checks.provided(
        X, "transition", T, verdict.semisimple, allowed="without a Jordan block at eigenvalue 1",
        remedy=_CHANGE,
    )  # fmt: skip
    X = _checks.provided(
        X, "transition", T, verdict.stable, allowed="free of eigenvalues of modulus ≥ 1 (save 1)",
        remedy="Nothing is stationary here: reduce the learning rate.",
    )  # fmt: skip
    return _checks.provided(
        X, "noise", N, verdict.quiet, allowed="zero where the transition has eigenvalue 1",
        remedy="There the variance grows without limit: ask for `covariance_after` some steps.",
    )  # fmt: skip


_CHANGE = "Nothing is stationary here: check its sign, or add weight decay."


def symmetric_lyapunov(A: Square, N: Square, step: Float[Array, ""] | float = 0.0) -> Square:
    """X of A X + X A − step · A X A = N for symmetric A ≥ 0, in its eigenbasis, on any device.

    **Raises** where A has a negative eigenvalue, step · A one ≥ 2, or the null space of A carries noise.
    """
    X, verdict = _symmetric(A, N, jnp.asarray(step, A.dtype))
    X = _checks.provided(X, "drift", A, verdict.semisimple, allowed="free of negative eigenvalues", remedy=_CHANGE)
    X = _checks.provided(X, "step", step, verdict.stable, allowed="< 2 / (largest eigenvalue)", remedy="Reduce it.")
    return _checks.provided(X, "noise", N, verdict.quiet, allowed="zero in the null space of the drift")


def _scale(A: Square) -> Float[Array, ""]:
    norm = jnp.linalg.norm(jax.lax.stop_gradient(A))
    return jnp.where(norm > 0, norm, 1)


def _cut_noise(projector: Square, N: Square) -> tuple[Square, Bool[Array, ""]]:
    """(1 − Π) N (1 − Π)ᵀ, and whether nothing but rounding was cut."""
    keep = jnp.eye(N.shape[0], dtype=N.dtype) - projector
    lost = jnp.linalg.norm(projector @ N) + jnp.linalg.norm(N @ projector.T)
    largest = LARGEST_NULL_NOISE * jnp.linalg.norm(N) * (1 + jnp.linalg.norm(projector))
    return keep @ N @ keep.T, lost <= largest


@jax.jit
def _continuous(A: Square, N: Square) -> tuple[Square, Verdict]:
    scale = _scale(A)
    projector = null_projector(A, scale)
    A = A + scale * projector
    N, quiet = _cut_noise(projector, N)
    form = schur(jax.lax.stop_gradient(jnp.where(jnp.isfinite(A), A, 0)))
    slowest = jnp.min(jnp.real(jnp.diag(form.triangle)))
    stable = slowest > A.shape[0] * jnp.finfo(A.dtype).eps * scale
    X = jax.lax.custom_linear_solve(
        lambda X: A @ X + X @ A.T,
        N,
        solve=lambda _, right: solve(CONTINUOUS, form, right),
        transpose_solve=lambda _, right: solve(CONTINUOUS, form.transposed(), right),
    )
    return X, Verdict(is_semisimple(projector), stable, quiet)


@jax.jit
def _discrete(T: Square, N: Square) -> tuple[Square, Verdict]:
    difference = jnp.eye(T.shape[0], dtype=T.dtype) - T
    projector = null_projector(difference, jnp.maximum(_scale(difference), 1))
    T = T - projector
    N, quiet = _cut_noise(projector, N)
    form = schur(jax.lax.stop_gradient(jnp.where(jnp.isfinite(T), T, 0)))
    stable = jnp.max(jnp.abs(jnp.diag(form.triangle))) < 1 - T.shape[0] * jnp.finfo(T.dtype).eps
    X = jax.lax.custom_linear_solve(
        lambda X: X - T @ X @ T.T,
        N,
        solve=lambda _, right: solve(DISCRETE, form, right),
        transpose_solve=lambda _, right: solve(DISCRETE, form.transposed(), right),
    )
    return X, Verdict(is_semisimple(projector), stable, quiet)


@jax.jit
def _symmetric(A: Square, N: Square, step: Float[Array, ""]) -> tuple[Square, Verdict]:
    rates, V = jnp.linalg.eigh(jax.lax.stop_gradient(A))
    largest = jnp.max(jnp.abs(rates))
    cut = 4 * A.shape[0] * jnp.finfo(A.dtype).eps * largest
    zero = jnp.abs(rates) <= cut
    a, b = rates[:, None], rates[None, :]
    pair = a + b - jax.lax.stop_gradient(step) * a * b
    null = zero[:, None] & zero[None, :]

    def in_eigenbasis(_, right: Square) -> Square:
        modes = V.T @ right @ V
        return V @ jnp.where(null, 0, modes / jnp.where(null, 1, pair)) @ V.T

    X = jax.lax.custom_linear_solve(lambda X: A @ X + X @ A - step * A @ X @ A, N, solve=in_eigenbasis, symmetric=True)
    loudest = jnp.max(jnp.where(null, jnp.abs(V.T @ N @ V), 0))
    quiet = loudest <= LARGEST_NULL_NOISE * jnp.linalg.norm(N)
    # noise in null × null only: a covariance has none in null × rest then; other N are solvable there
    return X, Verdict(jnp.min(rates) >= -cut, step * largest < 2, quiet)
