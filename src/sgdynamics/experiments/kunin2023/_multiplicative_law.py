"""What noise that depends on θ adds, in closed form: infinitely many Gaussian samples, and Assumption 5 of few.

Of x ~ N(0, H) and labels' noise σ², E (xᵀ M x) x xᵀ = tr(H M) H + 2 H M H, so that the noise averaged over δ of second
moment M is diagonal with H, and so is M:

    E C(θ) = {[σ² + tr(H M)] H + H M H}/S,          M_ii = a_i E C_ii/h_i,      a_i = η/{(1 − β)[2 − η h_i/(1 + β)]},
    M_ii = a_i (σ² + T)/(S − a_i h_i),              T = tr(H M) = σ² A/(1 − A),  A = Σ_i a_i h_i/(S − a_i h_i).

A is the criticality: second moments are bounded iff A < 1. The noise of the minimum gives M_ii = a_i σ²/S, and with it

    tr M/tr M_frozen − 1 = ε (1 + 1/d) + O(ε²),     ε = η tr H/(2S(1 − β));

for x = √g z of E g = 1 and E g² = κ the fourth moment is κ times as large: ε [κ (1 + 2/d) − 1/d] + O(ε²).

Of N samples, tr(H⁻¹ C) S/(σ² d) = Σ_μ ℓ_μ r_μ²/(σ² d) with leverages ℓ_μ has the average (N − d)/(N + 2), by
E ℓ(1 − ℓ) (`theory.regression`): less than the residuals' 1 − d/N, since long examples have smaller residuals.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgdynamics.theory.harmonic import HarmonicDescent
from sgdynamics.theory.recursion import MinibatchMoments


def gaussian_variances(
    h: np.ndarray, *, label_noise_std: float, learning_rate: float, momentum: float, batch_size: int
):
    """(M_ii, those with the noise of the minimum, A), [modes], [modes] and []; NaN for M where A ≥ 1."""
    η, β, S, σ2 = learning_rate, momentum, batch_size, label_noise_std**2
    a = η / ((1 - β) * (2 - η * h / (1 + β)))
    A = np.sum(a * h / (S - a * h)) if np.all(a * h < S) else np.inf
    T = σ2 * A / (1 - A) if A < 1 else np.nan
    return a * (σ2 + T) / (S - a * h), a * σ2 / S, A


def leading(ε: float | np.ndarray, inputs: int, kurtosis: float = 1.0) -> float | np.ndarray:
    """ε [κ (1 + 2/d) − 1/d]: the relative increase of tr M to first order."""
    return ε * (kurtosis * (1 + 2 / inputs) - 1 / inputs)


def traces(x: Array, y: Array, η: Array, β: Array, batch_size: int) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """tr Cov θ of one data set: exact, and with the noise of the minimum, both in discrete time."""
    moments = MinibatchMoments(x, y, learning_rate=η, sampling_factor=1 / batch_size, momentum=β)
    h, V = jnp.linalg.eigh(x.T @ x / len(x))
    frozen = HarmonicDescent(h, V.T @ moments.noise @ V, learning_rate=η, momentum=β)
    return jnp.trace(moments.weight_covariance()), jnp.trace(frozen.stationary_covariance())


def noise_factor(x: Array, y: Array, label_noise_std: float) -> Float[Array, ""]:
    """tr(H⁻¹ Σ)/(σ² d) of one data set: 1 where Σ = σ² H."""
    Q, _ = jnp.linalg.qr(x)
    r = y - Q @ (Q.T @ y)
    leverage = jnp.sum(Q**2, axis=1)
    return jnp.sum(leverage * r**2) / (label_noise_std**2 * x.shape[1])
