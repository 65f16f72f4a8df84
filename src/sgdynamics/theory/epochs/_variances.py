"""Weight and velocity variance of one mode under shuffled epochs [Kühn and Rosenow, (5)-(17), (19), (20)].

    θ_k = θ_{k−1} + u_k,      u_k = β u_{k−1} − η (h θ_{k−1} + δg_k),      δg with the autocovariance (2)

has, averaged over the position in the epoch and with the means A, B of `_response`,

    σ_θ² = η² C [(1 + β) A − β B] / D,   σ_u² = η² C [2ηh A + (2(1 − β) − ηh) B] / D,   D = (1 − β)(2(1 + β) − ηh),

which is (14)-(17) without their loss of digits, and holds for h = 0 too. (10) as printed lacks a vector e₁;
(11)-(17) are right. White noise has σ_θ² = η² C (1 + β)/(ηh D) and σ_u² = 2 η² C/D; the slides' (19) leaves out the
factor 1/(1 − ηh/(2(1 + β))). Their (20) is σ_θ² = η² C M/(6 (1 − β)²), σ_u² = η² C/(1 − β²): the limit h → 0 for
M (1 − β) ≫ 1 only. At fixed M it is the above at h = 0, where p_n = (1 − β^{n+1})/(1 − β).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics.theory import _arguments
from sgdynamics.theory.epochs import _autocovariance, _moments, _positions
from sgdynamics.theory.epochs._moments import Pair
from sgdynamics.theory.epochs._response import means, power

FORMS = ("exact", "published")
Variances = tuple[Float[Array, "..."], Float[Array, "..."]]
Values = Real[ArrayLike, "..."]


def stationary_variances(
    curvature: Values,
    noise_variance: Values,
    *,
    learning_rate: Values,
    momentum: Values,
    batches_per_epoch: Values,
    left_out: Values = 0.0,
    form: str = "exact",
) -> Variances:
    """(σ_θ², σ_u²) of modes, averaged over the position in the epoch; u_k = θ_k − θ_{k−1}. All arguments broadcast.

    - `curvature`: h ≥ 0, weight decay included; `noise_variance`: C_ii of the minibatch gradient.
    - `batches_per_epoch`: M = ⌊P/S⌋; `left_out`: κ, see `left_out`. In flat modes κ must be 0.
    - `form`: "exact", or "published": (14)-(17) as printed, which are the same but for rounding: relative errors of
      about 1e-16/(ηh)². They need h > 0 and M ≥ 2.

    **Raises** `ValueError` for negative curvatures or variances, a momentum outside [0, 1), ηh ≥ 2(1 + β), fewer than
    one batch, and with κ > 0 for noise where the curvature is 0.
    """
    _arguments.form(form, FORMS)
    h, C, η, β, M, κ = _settings(curvature, noise_variance, learning_rate, momentum, batches_per_epoch, left_out)
    if form == "published":
        h = _checks.positive("curvature", h, remedy="Use form='exact' for flat modes.")
        _checks.require("batches_per_epoch", M, M >= 2, allowed="≥ 2 in the published form")
    complete = _published if form == "published" else _exact
    weights, velocities = complete(η * h, β, M)
    white_weights, white_velocities = _white(η * h, β)
    mixed = lambda epochs, white: η**2 * C * ((1 - κ) * epochs + κ * white)
    return mixed(weights, white_weights), mixed(velocities, white_velocities)


def position_variances(
    curvature: Values,
    noise_variance: Values,
    *,
    learning_rate: Values,
    momentum: Values,
    batches_per_epoch: int,
    left_out: Values = 0.0,
) -> tuple[Float[Array, "... positions"], Float[Array, "... positions"]]:
    """(σ_θ², σ_u²) after l = 0 … M−1 batches of the epoch; their mean over l is `stationary_variances`.

    Of a flat mode the weights are a bridge: without momentum η² C l (M − l)/(M − 1), 0 at the epoch's ends.

    **Raises** as `stationary_variances` does.
    """
    positions = _checks.count("batches_per_epoch", batches_per_epoch)
    h, C, η, β, _, κ = _settings(curvature, noise_variance, learning_rate, momentum, positions, left_out)
    pair = Pair(η * h, η * h, β)
    complete, white = _positions.complete_epochs(pair, positions), _moments.white(pair)
    mixed = lambda epochs, white: η[None] ** 2 * C[None] * ((1 - κ[None]) * epochs + κ[None] * white[None])
    moments = mixed(complete.weights, white.weights), mixed(complete.velocities, white.velocities)
    return jnp.moveaxis(moments[0], 0, -1), jnp.moveaxis(moments[1], 0, -1)


def white_variances(
    curvature: Values, noise_variance: Values, *, learning_rate: Values, momentum: Values, form: str = "exact"
) -> Variances:
    """(σ_θ², σ_u²) of independent batches; "published": (19), leading order in ηh. All arguments broadcast.

    **Raises** as `stationary_variances` does, and where the curvature is 0.
    """
    _arguments.form(form, FORMS)
    h, C, η, β, *_ = _settings(curvature, noise_variance, learning_rate, momentum, 1, 0.0)
    h = _checks.positive("curvature", h, remedy="A flat mode diffuses without limit.")
    if form == "published":
        velocities = η**2 * C / (1 - β**2)
        return velocities * (1 + β) / (2 * η * h), velocities
    weights, velocities = _white(η * h, β)
    return η**2 * C * weights, η**2 * C * velocities


def flat_variances(
    noise_variance: Values,
    *,
    learning_rate: Values,
    momentum: Values,
    batches_per_epoch: Values,
    form: str = "exact",
) -> Variances:
    """(σ_θ², σ_u²) for vanishing curvature; "published": (20), for M (1 − β) ≫ 1. All arguments broadcast.

    **Raises** as `stationary_variances` does.
    """
    _arguments.form(form, FORMS)
    h, C, η, β, M, _ = _settings(0.0, noise_variance, learning_rate, momentum, batches_per_epoch, 0.0)
    if form == "published":
        velocities = η**2 * C / (1 - β**2)
        return velocities * M / 6 * (1 + β) / (1 - β), velocities
    weights, velocities = _exact(h, β, M)
    return η**2 * C * weights, η**2 * C * velocities


def _settings(curvature, noise_variance, learning_rate, momentum, batches_per_epoch, left_out) -> list[Array]:
    """h, C, η, β, M, κ of one shape."""
    h, C = _arguments.curvature(curvature), _arguments.variance(noise_variance)
    η, β, _ = _arguments.hyperparameters(learning_rate, momentum)
    M, κ = _autocovariance.batches(batches_per_epoch), _autocovariance.share(left_out)
    h, C, η, β, M, κ = _arguments.broadcast(h, C, η, β, M, κ)
    κ = _checks.provided(κ, "left_out", κ, (κ == 0) | (h > 0) | (C == 0), allowed="0 where a mode has no curvature",
                         remedy="What does not cancel over an epoch makes it diffuse: choose a batch size that "
                         "divides the samples, or add weight decay.")  # fmt: skip
    return [h, C, _arguments.stable(η, β, h), β, M, κ]


@jax.jit
def _exact(α: Array, β: Array, M: Array) -> Variances:
    response = means(α, β, M)
    found = _moments.complete_epochs(Pair(α, α, β), response, response)
    return found.weights, found.velocities


def _white(α: Array, β: Array) -> Variances:
    found = _moments.white(Pair(α, α, β))
    return found.weights, found.velocities


@jax.jit
def _published(α: Array, β: Array, M: Array) -> Variances:
    """F [e₁ − (E + Eᵀ) e₁] of (14)-(17), in units of η² σ²."""
    one, zero = jnp.ones_like(α), jnp.zeros_like(α)
    square = lambda a, b, c, d: jnp.stack([jnp.stack([a, b], -1), jnp.stack([c, d], -1)], -2)
    D, unit = square(1 + β - α, -β, one, zero), square(one, zero, zero, one)
    F = square((1 + β) / α, 2 * β * (α - 1 - β) / α, 2 * one, 2 * (α - 2))
    m = M[..., None, None]
    inverse = jnp.linalg.inv(unit - D)
    E = D @ (power(D, M) + (unit - D) * m - unit) @ inverse @ inverse / (m * (m - 1))
    column = jnp.stack([1 - 2 * E[..., 0, 0], -E[..., 1, 0]], -1)
    found = jnp.einsum("...ij,...j->...i", F, column) / ((1 - β) * (2 * (1 + β) - α))[..., None]
    return found[..., 0], found[..., 1]
