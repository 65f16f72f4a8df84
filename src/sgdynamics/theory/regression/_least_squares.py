"""The loss, its minimum and its expansion: Gross et al. (2.3)-(2.9), (2.26), (2.35).

    L(w) = (1/2P) |X w − y|² = L* + ½ (w − w*)ᵀ H (w − w*),     H = XᵀX/P,
    w* = X⁺ y: the minimum for N ≤ P, among the minima the one of smallest norm for N > P   (2.7),
    L* = (1/2P) |y − X w*|², 0 for N > P (rows independent)   (2.9, 2.26).

(2.9) and (2.26) write L* through the label noise; in terms of y no teacher is needed.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks, _linalg
from sgdynamics._types import RealScalar, Scalar


def data(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """x and y as float64 arrays, checked to be [samples, inputs] and [samples, …]."""
    x, y = examples(x), _checks.float64("y", y)
    return x, _checks.shaped("y", y, (len(x), *y.shape[1:]), remedy="One target for each row of x.")


def examples(x: ArrayLike) -> Array:
    """x as a float64 array, checked to be [samples, inputs]."""
    x = _checks.float64("x", x)
    if x.ndim != 2 or x.size == 0:
        raise ValueError(f"x has shape {x.shape}, but it must be [samples, inputs], neither of them 0.")
    return x


def minimum(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, "samples *outputs"],
    *,
    weight_decay: RealScalar = 0.0,
) -> Float[Array, "inputs *outputs"]:
    """w* of (2.7), [inputs] or [inputs, outputs]; of minimum norm in the overparameterised regime.

    With `weight_decay` λ the minimum of L(w) + λ|w|²/2. **Raises** `ValueError` for shapes that do not match,
    entries that are not finite, a negative weight decay.
    """
    x, y = data(x, y)
    decay = _checks.not_negative("weight_decay", _checks.float64("weight_decay", weight_decay))
    return _linalg.least_squares(x, y, decay)


def hessian(x: Real[ArrayLike, "samples inputs"]) -> Float[Array, "inputs inputs"]:
    """H = XᵀX/P of (2.4), [inputs, inputs]."""
    x = examples(x)
    return x.T @ x / len(x)


def loss(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, "samples *outputs"],
    w: Real[ArrayLike, "inputs *outputs"],
) -> Scalar:
    """L(w) of (2.3), summed over outputs, []."""
    x, y = data(x, y)
    return jnp.sum((x @ _weights(w, x, y) - y) ** 2) / (2 * len(x))


def final_loss(x: Real[ArrayLike, "samples inputs"], y: Real[ArrayLike, "samples *outputs"]) -> Scalar:
    """L* = L(w*) of (2.9) and (2.26), []."""
    return loss(x, y, minimum(x, y))


def excess_loss(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, "samples *outputs"],
    w: Real[ArrayLike, "inputs *outputs"],
) -> Scalar:
    """L(w) − L* = ½ (w − w*)ᵀ H (w − w*) of (2.9), [], without the cancellation of the difference."""
    x, y = data(x, y)
    return jnp.sum((x @ (_weights(w, x, y) - minimum(x, y))) ** 2) / (2 * len(x))


def stationary_loss(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    covariance: Real[ArrayLike, "inputs inputs"],
) -> Scalar:
    """E L(w) = L* + ½ tr(H M) for weights of mean w* and covariance M [the mean of (2.26)], []."""
    x, y = data(x, y)
    M = _checks.shaped("covariance", _checks.float64("covariance", covariance), (x.shape[1],) * 2)
    return final_loss(x, y) + jnp.sum(hessian(x) * M) / 2


def loss_perturbation(
    x: Real[ArrayLike, "samples inputs"],
    covariance: Real[ArrayLike, "inputs inputs"],
    *,
    size: RealScalar = 1.0,
) -> tuple[Float[Array, " modes"], Float[Array, " modes"]]:
    """(variances, δL): eigenvalues of the weight covariance M, descending; δL(θv) = ½ θ² vᵀ H v of (2.35).

    v are M's eigenvectors, θ = `size`. Exact at w*, as J = 0 there. The common variance that the paper quotes
    for P → ∞, λσ²/S, should read λσ²/(2S). **Raises** where M is not symmetric (`form="detailed_balance"`).
    """
    x = examples(x)
    M = _checks.float64("covariance", covariance)
    M = _checks.covariance("covariance", M, like=jax.eval_shape(lambda: x.T @ x))
    variances, V = jnp.linalg.eigh(M)
    return variances[::-1], size**2 * jnp.sum((x @ V[:, ::-1]) ** 2, axis=0) / (2 * len(x))


def _weights(w: ArrayLike, x: Array, y: Array) -> Array:
    w = _checks.float64("w", w)
    return _checks.shaped("w", w, (x.shape[1], *y.shape[1:]), remedy="[inputs], as y is [samples].")
