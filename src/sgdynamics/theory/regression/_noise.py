"""The covariance of the minibatch gradient: Gross et al. (2.14)-(2.20) and App. C.

    C(w) = c [(1/P) Σ_μ g_μ g_μᵀ − g gᵀ],    g_μ = (x_μ·w − y_μ) x_μ,    g = (1/P) Σ_μ g_μ,
    c = 1/S with replacement,   (P − S) / (S (P − 1)) without   (App. C).

(2.15) as scanned lacks J in its last term, which is (H w̃ − J)(H w̃ − J)ᵀ = g gᵀ with w̃ = w − u; here it is
taken from the definition (2.14). At the minimum g = 0 and C = c Xᵀ diag(P K) X / P with

    K_μμ = (1/P) (x_μ·w* − y_μ)²   (2.18),     C = c Xᵀ K X   (2.17);

the text below (2.18) drops the 1/P. Large samples, Gaussian inputs, residual (label) noise of variance σ²:

    C = (1/S) [H w̃ w̃ᵀ H + (w̃ᵀ H w̃) H + σ² H]   (2.19; exact for P → ∞),      C = (σ²/S) H at w̃ = 0   (2.20).
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar
from sgdynamics.theory.regression._least_squares import data, minimum


def sampling_factor(
    samples: int, batch_size: Real[ArrayLike, "*batches"], replacement: bool = True
) -> Float[Array, "*batches"]:
    """c of App. C, shape of `batch_size`: covariance of the batch gradient per covariance of one example's.

    **Raises** `ValueError` for batches below one example, or larger than the data without replacement.
    """
    S, P = _checks.float64("batch_size", batch_size), _checks.count("samples", samples)
    S = _checks.require("batch_size", S, S >= 1, allowed="≥ 1")
    if replacement:
        return 1 / S
    S = _checks.require(
        "batch_size", S, S <= P, allowed=f"at most the {P} samples without replacement",
        remedy="Use smaller batches or replacement=True.",
    )  # fmt: skip
    return (P - S) / (S * max(P - 1, 1))


def noise_covariance(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    w: Real[ArrayLike, " inputs"],
    *,
    batch_size: Real[ArrayLike, "*batches"],
    replacement: bool = True,
) -> Float[Array, "*batches inputs inputs"]:
    """C(w) of (2.14) at any w, [inputs, inputs]; leading axes for an array of batch sizes. Exact.

    **Raises** `ValueError` for shapes that do not match, entries that are not finite, impossible batches.
    """
    x, y = data(x, y)
    w = _checks.shaped("w", _checks.float64("w", w), x.shape[1:])
    c = sampling_factor(len(x), batch_size, replacement)
    gradients = (x @ w - y)[:, None] * x
    deviations = gradients - jnp.mean(gradients, axis=0, keepdims=True)
    one_example = deviations.T @ deviations / len(x)
    return c[..., None, None] * jnp.expand_dims(one_example, tuple(range(c.ndim)))


def residual_weights(x: Real[ArrayLike, "samples inputs"], y: Real[ArrayLike, " samples"]) -> Float[Array, " samples"]:
    """The diagonal of K in (2.18), [samples], factor 1/P included: C(w*) = c Xᵀ K X. 0 for N ≥ P."""
    x, y = data(x, y)
    return (x @ minimum(x, y) - y) ** 2 / len(x)


def large_sample_noise_covariance(
    hessian: Real[ArrayLike, "inputs inputs"],
    deviation: Real[ArrayLike, " inputs"] | None = None,
    *,
    batch_size: RealScalar,
    label_noise_std: RealScalar,
) -> Float[Array, "inputs inputs"]:
    """C of (2.19) at w − u = `deviation`, or of (2.20) without one, [inputs, inputs]; with replacement.

    (2.19) is exact for P → ∞ and Gaussian inputs; σ = `label_noise_std`. At finite P the minimum fits part of
    the noise and the mean prefactor of (2.20) is smaller by about 1 − N/P.
    """
    H = _checks.square("hessian", _checks.float64("hessian", hessian))
    c = sampling_factor(1, batch_size)
    σ = _checks.not_negative("label_noise_std", _checks.float64("label_noise_std", label_noise_std))
    if deviation is None:
        return c * σ**2 * H
    w = _checks.shaped("deviation", _checks.float64("deviation", deviation), H.shape[:1])
    Hw = H @ w
    return c * (jnp.outer(Hw, Hw) + (w @ Hw + σ**2) * H)
