"""Broken detailed balance as rotation: the stationary current of a linear process, plane by plane.

dx = −A x dt + √N dW of stationary covariance M has the current −Q M⁻¹ x p(x), Q = (A M − M Aᵀ)/2 = A M − N/2
[Gross et al. (2.29)-(2.32)]. In y = M^{−½} x the density is round and the current is G y p with the antisymmetric
G = −M^{−½} Q M^{−½}: a rigid rotation at the rate ω in each plane (a, b), G a = ω b, G b = −ω a, with

    ω = E[y_a u_b − y_b u_a] / E[y_a² + y_b²],        γ = −E[y_a u_a + y_b u_b] / E[y_a² + y_b²],

u the drift of y: γ is the mean of M^{−½} D M^{−½} along a and b, D = N/2 = (A M + M Aᵀ)/2. If x is normal, ω is also
the mean rate at which the angle in the plane grows: the angle is harmonic and the density round, so that Itô's
formula adds only terms with the sine and cosine of twice the angle, which average to 0.
SGD on a linear model has E x(k+1) = (1 − ηA) x(k) and so the antisymmetric part −ηQ of its autocovariance after one
step, exactly, with its own M: its planes and rates are those of (A, M) too.

Entropy is produced at the rate E[uᵀ D⁻¹ u] with the velocity u = −Q M⁻¹ x of the current. For D = (η/2) C(w*) it
depends on neither learning rate nor batch size: in the eigenbasis of H, in units of C,

    ½ tr(C⁻¹ Q M⁻¹ Qᵀ),      M_ij = C_ij / (h_i + h_j),      Q_ij = C_ij (h_i − h_j) / (h_i + h_j)       (2.30), (2.31).

For many samples P of Gaussian inputs, and labels with Gaussian noise, C = (σ²/S)(H + δ) where in the eigenbasis of H
δ_ij is of variance 2κ h_i h_j/P, κ = E[x_i² x_j²] / (E x_i² E x_j²), 1 for normal inputs. To leading order then

    entropy production = (κ/P) Σ_ij (h_i − h_j)²/(h_i + h_j)        per unit of t,

(N/P)² tr H for N white normal inputs, whose h scatter by √(N/P); only of the order N/P where the h_i differ anyway.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar, Scalar
from sgdynamics.theory.regression._least_squares import data


class Rotation(NamedTuple):
    """The planes of the current, fastest first, [planes] = half the parameters, rounded down.

    - `rates`: ω ≥ 0, radians per unit of t; `damping`: γ, per unit of t.
    - `first`, `second`: [parameters, planes]; (firstᵀ x, secondᵀ x) are the coordinates y_a, y_b of each plane,
      uncorrelated and of variance 1, turning from the first to the second.
    """

    rates: Float[Array, " planes"]
    damping: Float[Array, " planes"]
    first: Float[Array, "parameters planes"]
    second: Float[Array, "parameters planes"]


def rotation(
    drift: Real[ArrayLike, "parameters parameters"], covariance: Real[ArrayLike, "parameters parameters"]
) -> Rotation:
    """The rotation of the process with drift A and stationary covariance M, which must be invertible."""
    A = _checks.square("drift", _checks.float64("drift", drift))
    M = _checks.covariance("covariance", _checks.float64("covariance", covariance), like=A)
    values, vectors = jnp.linalg.eigh(M)
    lowest = len(values) * jnp.finfo(values.dtype).eps * values[-1]
    values = _checks.require("covariance", values, values > lowest, allowed="invertible")
    whitening = (vectors / jnp.sqrt(values)[None, :]) @ vectors.T
    G = -whitening @ (A @ M - M @ A.T) @ whitening / 2
    # −iG is Hermitian: (a − ib)/√2 belongs to +ω, its conjugate to −ω
    rates, turning = jnp.linalg.eigh(jax.lax.complex(jnp.zeros_like(G), -G))
    planes = len(values) // 2
    fastest = jnp.sqrt(2.0) * turning[:, ::-1][:, :planes]
    first, second = whitening @ fastest.real, -whitening @ fastest.imag
    D = (A @ M + M @ A.T) / 2
    damping = jnp.sum(first * (D @ first) + second * (D @ second), axis=0) / 2
    return Rotation(rates[::-1][:planes], damping, first, second)


def entropy_production(x: Real[ArrayLike, "samples inputs"], y: Real[ArrayLike, " samples"]) -> Scalar:
    """Of the SDE with noise frozen at the minimum, per unit of t, []; more samples than inputs.

    What `ornstein_uhlenbeck(...).entropy_production()` is for any learning rate and batch size.
    """
    x, y = data(x, y)
    _checks.require("samples", x.shape[0], x.shape[0] > x.shape[1], allowed=f"more than the {x.shape[1]} inputs")
    U, singular, _ = jnp.linalg.svd(x, full_matrices=False)
    weighted = (y - U @ (U.T @ y))[:, None] * U
    # coordinates divided by √h: C becomes Uᵀ diag(r²) U, whose condition is better, and the trace stays the same
    C, h = weighted.T @ weighted, singular**2 / x.shape[0]
    total, difference = h[:, None] + h[None, :], h[:, None] - h[None, :]
    M, Q = C / total, C * difference / total
    return jnp.trace(jnp.linalg.solve(C, Q) @ jnp.linalg.solve(M, Q.T)) / 2


def large_sample_entropy_production(
    curvature: Real[ArrayLike, " modes"], samples: RealScalar, *, kurtosis: RealScalar = 1.0
) -> Scalar:
    """(κ/P) Σ_ij (h_i − h_j)²/(h_i + h_j) per unit of t, for P = `samples` ≫ N; κ = `kurtosis`, 1 if normal."""
    h = _checks.positive("curvature", _checks.float64("curvature", curvature))
    P = _checks.positive("samples", _checks.float64("samples", samples))
    κ = _checks.positive("kurtosis", _checks.float64("kurtosis", kurtosis))
    difference, total = h[:, None] - h[None, :], h[:, None] + h[None, :]
    return κ / P * jnp.sum(difference**2 / total)
