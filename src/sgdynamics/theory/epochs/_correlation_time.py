"""How long the velocity stays correlated, and where epochs begin to matter [Kühn and Rosenow, (18)-(20)].

    τ = 2σ_θ²/σ_u² = Σ_{h≥1} h cov(u_k, u_{k+h}) / Σ_{h≥1} cov(u_k, u_{k+h})                                        (18)

in steps: both are exact, averaged over the position in the epoch, for whatever stationary noise. For white noise
τ = (1 + β)/(ηh), exactly; for epochs it tends to τ_SGD = (M/3)(1 + β)/(1 − β) as h → 0, where M (1 − β) ≫ 1. The two
lines cross at

    h_cross = 3 (1 − β)/(η M).

No regime begins there: it is where asymptotes meet, and τ is about half of either (0.54 for M (1 − β) ≫ 1). For small
ηh and M (1 − β) ≫ 1 the reduction of the weights' variance by epochs is one function of x = ηhM/(1 − β) = 3 h/h_cross,

    σ_θ²(epochs)/σ_θ²(white) = r(x) = 1 − 2 (e^{−x} − 1 + x)/x²:      x/3 for small x,   1 − 2/x for large:

at 10 h_cross still 6 % are missing. σ_u² is hardly changed.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics.theory import _arguments
from sgdynamics.theory.epochs import _autocovariance
from sgdynamics.theory.epochs._variances import FORMS, flat_variances, stationary_variances

Values = Real[ArrayLike, "..."]


def correlation_time(
    curvature: Values,
    *,
    learning_rate: Values,
    momentum: Values,
    batches_per_epoch: Values,
    left_out: Values = 0.0,
) -> Float[Array, "..."]:
    """τ = 2σ_θ²/σ_u², in steps (18). All arguments broadcast.

    **Raises** as `stationary_variances` does, and for one batch per epoch, of which nothing moves.
    """
    _two_batches(batches_per_epoch)
    weights, velocities = stationary_variances(
        curvature, 1.0, learning_rate=learning_rate, momentum=momentum, batches_per_epoch=batches_per_epoch,
        left_out=left_out,
    )  # fmt: skip
    return 2 * weights / velocities


def flat_correlation_time(*, momentum: Values, batches_per_epoch: Values, form: str = "exact") -> Float[Array, "..."]:
    """τ for vanishing curvature, in steps; "published": τ_SGD = (M/3)(1 + β)/(1 − β), for M (1 − β) ≫ 1.

    Without momentum it is (M + 1)/3. **Raises** as `stationary_variances` does.
    """
    _arguments.form(form, FORMS)
    _two_batches(batches_per_epoch)
    weights, velocities = flat_variances(
        1.0, learning_rate=1.0, momentum=momentum, batches_per_epoch=batches_per_epoch, form=form
    )
    return 2 * weights / velocities


def crossover_curvature(*, learning_rate: Values, momentum: Values, batches_per_epoch: Values) -> Float[Array, "..."]:
    """h_cross = 3 (1 − β)/(η M), where the asymptotes of τ meet. All arguments broadcast.

    **Raises** `ValueError` for a learning rate that is not positive, a momentum outside [0, 1), and fewer than one
    batch.
    """
    η, β, _ = _arguments.hyperparameters(learning_rate, momentum)
    η, β, M = _arguments.broadcast(η, β, _autocovariance.batches(batches_per_epoch))
    return 3 * (1 - β) / (η * M)


def crossover_function(ratio: Values) -> Float[Array, "..."]:
    """r(x), x = 3 × `ratio`: σ_θ² with epochs over σ_θ² of white noise at h = `ratio` × h_cross. Source: new.

    **Raises** `ValueError` for negative ratios.
    """
    x = 3 * _checks.not_negative("ratio", _checks.float64("ratio", ratio))
    small = x < 0.5
    near = jnp.where(small, x, 0.0)
    far = jnp.where(small, 1.0, x)
    return jnp.where(small, _series(near), 1 - 2 * (jnp.expm1(-far) + far) / far**2)


def _two_batches(value: Values) -> None:
    M = _autocovariance.batches(value)
    _checks.require("batches_per_epoch", M, M >= 2, allowed="≥ 2: the only batch of an epoch has no noise")


def _series(x: Array) -> Array:
    """r = −2 Σ_{n≥1} (−x)ⁿ/(n + 2)!, by Horner."""
    total = jnp.zeros_like(x)
    for n in range(14, 0, -1):
        total = (1 + total) * -x / (n + 2)
    return -total  # −2/2! Σ (−x)ⁿ/(3 ⋯ (n + 2))
