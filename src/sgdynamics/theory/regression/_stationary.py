"""The stationary covariance M of the weights in six forms: Gross et al. (2.29)-(2.34) and the exact law.

    exact             M = (1 − ηH) M (1 − ηH) + η² Ξ(M): SGD itself, discrete, with multiplicative noise,
                      Ξ(M) = C(w*) + c [(1/P) Σ_μ (x_μᵀ M x_μ) x_μ x_μᵀ − H M H]  (and momentum, weight decay)
    additive          M = (1 − ηH) M (1 − ηH) + η² C: discrete, noise frozen at w*
    multiplicative    H M + M H = η Ξ(M): the SDE with its state-dependent noise
    lyapunov          H M + M H = η C: the SDE with noise frozen at w*   (2.29), (2.30)
    detailed_balance  (η/2) H⁻¹ C as printed (2.33): symmetric only if H and C commute
    isotropic         (η/2) c σ² 1 as printed (2.34), σ² = |y − X w*|² / (P − N)

The relative error of "lyapunov" in tr M is about −(η/2)(c tr H) from the multiplicative noise, and −O(ηh/2)
from discreteness. Without replacement all fluctuations shrink by (P−S)/(P−1), against Table I.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks, _linalg
from sgdynamics._types import RealScalar, Scalar
from sgdynamics.theory import recursion
from sgdynamics.theory.ou import OrnsteinUhlenbeck
from sgdynamics.theory.recursion import LangevinMoments, MinibatchMoments
from sgdynamics.theory.regression._least_squares import data, examples, hessian, minimum
from sgdynamics.theory.regression._noise import noise_covariance, sampling_factor

Square = Float[Array, "inputs inputs"]


def stationary_covariance(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: Real[ArrayLike, "*#batches"],
    batch_size: Real[ArrayLike, "*#batches"],
    replacement: bool = True,
    momentum: Real[ArrayLike, "*#batches"] = 0.0,
    weight_decay: Real[ArrayLike, "*#batches"] = 0.0,
    form: str = "exact",
) -> Float[Array, "*batches inputs inputs"]:
    """Stationary covariance of w, [inputs, inputs], in one of the `FORMS` of the module's docstring.

    Hyperparameters broadcast: leading axes for arrays of them. Differentiable in both modes with respect to
    all real arguments, also where the Hessian is degenerate. Gross et al. (2.30), (2.33), (2.34).

    **Raises** `ValueError` for samples ≤ inputs (the minimum then fits every sample: no noise, no stationary
    fluctuations, (2.16)), batches larger than the data without replacement, momentum or weight decay in
    another form than "exact", an unknown form, values out of range; and, where the second moments grow
    without limit, with the largest stable learning rate.
    """
    x, y = data(x, y)
    if form not in FORMS:
        raise ValueError(f"form = {form!r}, but it must be one of {', '.join(map(repr, FORMS))}.")
    if x.shape[0] <= x.shape[1]:
        raise ValueError(
            f"x has {x.shape[0]} samples of {x.shape[1]} inputs, but there must be more samples than inputs: "
            "otherwise the minimum fits every sample and nothing fluctuates. Use more samples."
        )
    c = sampling_factor(len(x), batch_size, replacement)
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    β = _checks.momentum("momentum", _checks.float64("momentum", momentum))
    λ = _checks.not_negative("weight_decay", _checks.float64("weight_decay", weight_decay))
    if form != "exact":
        β, λ = (_refused(name, value, form) for name, value in (("momentum", β), ("weight_decay", λ)))
    return _each(lambda *settings: FORMS[form](x, y, *settings), η, c, β, λ)


def _exact(x: Array, y: Array, η: Scalar, c: Scalar, β: Scalar, λ: Scalar) -> Square:
    moments = MinibatchMoments(x, y, learning_rate=η, sampling_factor=c, momentum=β, weight_decay=λ)
    return moments.weight_covariance()


def _additive(x: Array, y: Array, η: Scalar, c: Scalar, *_: Scalar) -> Square:
    H = hessian(x)
    top = jnp.linalg.eigvalsh(jax.lax.stop_gradient(H))[-1]
    η = _checks.require(
        "learning_rate", η, η * top < 2, allowed=f"below 2 / (largest curvature){_evaluated(2 / top)}",
        remedy="Beyond it the mean of SGD grows without limit.",
    )  # fmt: skip
    return _symmetric(_linalg.symmetric_lyapunov(H, η * c * _one_example_noise(x, y), η))


def _multiplicative(x: Array, y: Array, η: Scalar, c: Scalar, *_: Scalar) -> Square:
    return LangevinMoments(x, y, learning_rate=η, sampling_factor=c).stationary_covariance()


def _lyapunov(x: Array, y: Array, η: Scalar, c: Scalar, *_: Scalar) -> Square:
    return _symmetric(_linalg.symmetric_lyapunov(hessian(x), η * c * _one_example_noise(x, y)))


def _detailed_balance(x: Array, y: Array, η: Scalar, c: Scalar, *_: Scalar) -> Square:
    inverse = jnp.linalg.pinv(x)  # H⁺ = P X⁺ X⁺ᵀ: half the digits lost that H itself would lose
    return (η * c / 2) * len(x) * inverse @ (inverse.T @ _one_example_noise(x, y))


def _isotropic(x: Array, y: Array, η: Scalar, c: Scalar, *_: Scalar) -> Square:
    residuals = y - x @ minimum(x, y)
    variance = residuals @ residuals / (x.shape[0] - x.shape[1])
    return (η * c / 2) * variance * jnp.eye(x.shape[1])


FORMS: dict[str, Callable[..., Square]] = {
    "exact": _exact,
    "additive": _additive,
    "multiplicative": _multiplicative,
    "lyapunov": _lyapunov,
    "detailed_balance": _detailed_balance,
    "isotropic": _isotropic,
}


def ornstein_uhlenbeck(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    replacement: bool = True,
) -> OrnsteinUhlenbeck:
    """dw = −H (w − w*) dt + √(η C(w*)) dW: the SDE (2.13) with its noise frozen at the minimum.

    Its `circulation()` is (η/2) times the Q of (2.31), its current −circulation M⁻¹ (w − w*) p [(2.32),
    corrected]. Overparameterised data give a process without noise.
    """
    w = minimum(x, y)
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    noise = η * noise_covariance(x, y, w, batch_size=batch_size, replacement=replacement)
    return OrnsteinUhlenbeck(hessian(x), noise, w)


def largest_stable_learning_rate(
    x: Real[ArrayLike, "samples inputs"],
    *,
    batch_size: RealScalar,
    replacement: bool = True,
    momentum: RealScalar = 0.0,
    weight_decay: RealScalar = 0.0,
    form: str = "exact",
) -> Scalar:
    """The learning rate from which on there is no stationary covariance, []; forms as above, ∞ where none is.

    Momentum and weight decay are for "exact" only, as there.
    """
    x = examples(x)
    if form not in FORMS:
        raise ValueError(f"form = {form!r}, but it must be one of {', '.join(map(repr, FORMS))}.")
    c = sampling_factor(len(x), batch_size, replacement)
    if form == "exact":
        return recursion.largest_stable_learning_rate(
            x, sampling_factor=c, momentum=momentum, weight_decay=weight_decay
        )
    for name, value in (("momentum", momentum), ("weight_decay", weight_decay)):
        _refused(name, _checks.float64(name, value), form)
    if form == "additive":
        return 2 / jnp.linalg.eigvalsh(hessian(x))[-1]
    if form == "multiplicative":
        return recursion.largest_stable_learning_rate(x, sampling_factor=c, continuous=True)
    return jnp.array(jnp.inf)


def _one_example_noise(x: Array, y: Array) -> Square:
    return noise_covariance(x, y, minimum(x, y), batch_size=1)


def _symmetric(M: Square) -> Square:
    return (M + M.T) / 2


def _refused(name: str, value: Array, form: str) -> Array:
    return _checks.require(
        name, value, value == 0, allowed=f"0 for form={form!r}", remedy='Only form="exact" knows it.'
    )


def _evaluated(value: Scalar) -> str:
    return f" = {float(value):.4g}" if _checks.is_concrete(value) else ""


def _each(solve: Callable[..., Square], *settings: Array) -> Float[Array, "*batches inputs inputs"]:
    """`solve` for each entry of the broadcast settings, one by one where their values can be read, so that
    an error can name the one it is about."""
    settings = jnp.broadcast_arrays(*settings)
    shape = settings[0].shape
    if shape == ():
        return solve(*settings)
    flat = [setting.reshape(-1) for setting in settings]
    if all(_checks.is_concrete(setting) for setting in settings):
        out = jnp.stack([solve(*entry) for entry in zip(*flat, strict=True)])
    else:
        out = jax.lax.map(lambda entry: solve(*entry), tuple(flat))
    return out.reshape(*shape, *out.shape[1:])
