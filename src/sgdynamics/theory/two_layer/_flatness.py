"""Flatness of the loss against variance of the fluctuations: Gross et al. (2024), Sec. III C 3, (3.35)-(3.37).

At a minimum a change δθ = (δW₁, δW₂) costs, E[e xᵀ] being 0 there, exactly

    δL = ½ tr(δw S_xx δwᵀ),      δw = W₂ δW₁ + δW₂ W₁ + δW₂ δW₁,

and along an eigenvector aₖ of cov δW₂ (columns of A, white inputs, |aₖ| = 1, any output u)

    δL(θ u aₖᵀ) = (σ_x²/2) θ² D₁ₖ      (3.37, first form, exact).

With the variance M₂₂ = κ D₁/(D₁ + D₂), κ = η σ_e²/2S, of that direction (3.34), m = M₂₂/κ,

    δL = (σ_x²/2) θ² D₂ m/(1 − m),      d ln δL / d ln M₂₂ = 1/(1 − m) = 1 + D₁/D₂.

(3.36) and the second form of (3.37) put m in place of m/(1 − m), an exponent of 1 everywhere: they need D₁ ≪ D₂. The
paper's ψ, of M₂₂ ∝ F^{−ψ} with F = δL^{−½}, is 2 over the exponent, so 2 at most, where D₁ ≪ D₂.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar
from sgdynamics.theory.two_layer._arguments import broadcast, data, layers
from sgdynamics.theory.two_layer._arguments import form as known_form

FLATNESS_FORMS = ("exact", "published")


def loss_along(
    first: Real[ArrayLike, "hidden inputs"],
    second: Real[ArrayLike, "outputs hidden"],
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, "samples *outputs"],
    direction: Real[ArrayLike, " parameters"],
    amplitude: Real[ArrayLike, "*amplitudes"],
) -> Float[Array, "*amplitudes"]:
    """L(θ + amplitude · direction) − L(θ) at any weights, shape of `amplitude`; exact, without cancellation.

    `direction`: over θ = (first, second), flattened layer by layer, row by row; not normalised here.
    **Raises** `ValueError` for layers that do not chain, data or a direction that do not fit them.
    """
    W1, W2 = layers(first, second)
    x, e, _ = data(W1, W2, x, y)
    d = _checks.shaped("direction", _checks.float64("direction", direction), (W1.size + W2.size,))
    d1, d2 = d[: W1.size].reshape(W1.shape), d[W1.size :].reshape(W2.shape)
    return _polynomial(x, e, W1, W2, d1, d2, _checks.float64("amplitude", amplitude))


@jax.jit
def _polynomial(x: Array, e: Array, W1: Array, W2: Array, d1: Array, d2: Array, a: Array) -> Array:
    linear, square = (x @ (W2 @ d1 + d2 @ W1).T, x @ (d2 @ d1).T)
    # δL = E[|δ|²/2 − e·δ], δ = a · linear + a² · square: a polynomial of degree 4 in a
    one = -jnp.sum(e * linear)
    two = jnp.sum(linear**2) / 2 - jnp.sum(e * square)
    three, four = jnp.sum(linear * square), jnp.sum(square**2) / 2
    return a * (one + a * (two + a * (three + a * four))) / len(x)


def loss_along_second(
    first: Real[ArrayLike, "hidden inputs"],
    direction: Real[ArrayLike, "outputs hidden"],
    amplitude: Real[ArrayLike, "*amplitudes"],
    *,
    input_covariance: Real[ArrayLike, "inputs inputs"],
) -> Float[Array, "*amplitudes"]:
    """δL = ½ amplitude² tr(D W₁ S_xx W₁ᵀ Dᵀ) of a change amplitude · D of the second layer at a minimum.

    D = `direction` is not normalised; shape of `amplitude`. White inputs: input_covariance = σ_x² 1.
    """
    D = _checks.float64("direction", direction)
    W1, D = layers(first, D if D.ndim == 2 else D[None])
    S = _checks.float64("input_covariance", input_covariance)
    S = _checks.covariance("input_covariance", S, like=jnp.zeros((W1.shape[1],) * 2))
    change = D @ W1
    return _checks.float64("amplitude", amplitude) ** 2 * jnp.sum(change * (change @ S)) / 2


def loss_along_mode(
    amplitude: Real[ArrayLike, "*modes"], first_strength: Real[ArrayLike, "*modes"], *, input_variance: RealScalar
) -> Float[Array, "*modes"]:
    """(σ_x²/2) θ² D₁ of (3.37), first form, θ = `amplitude`, D₁ = `first_strength`; broadcast."""
    θ = _checks.float64("amplitude", amplitude)
    D1 = _checks.not_negative("first_strength", _checks.float64("first_strength", first_strength))
    σx2 = _checks.positive("input_variance", _checks.float64("input_variance", input_variance))
    θ, D1, σx2 = broadcast(θ, D1, σx2)
    return σx2 * θ**2 * D1 / 2


def loss_from_variance(
    amplitude: Real[ArrayLike, "*modes"],
    variance: Real[ArrayLike, "*modes"],
    second_strength: Real[ArrayLike, "*modes"],
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    input_variance: RealScalar,
    residual_variance: RealScalar,
    form: str = "exact",
) -> Float[Array, "*modes"]:
    """δL along an eigenvector of cov δW₂ from its `variance` M₂₂ and D₂ = `second_strength`; broadcast.

    `form`: "exact", (σ_x²/2) θ² D₂ m/(1 − m), m = 2S M₂₂/(η σ_e²), which must be in [0, 1); "published", the second
    form of (3.37), (σ_x²/2) θ² D₂ m, for D₁ ≪ D₂.
    """
    known_form(form, FLATNESS_FORMS)
    θ, M, D2, η, S, σx2, σe2 = broadcast(
        _checks.float64("amplitude", amplitude),
        _checks.not_negative("variance", _checks.float64("variance", variance)),
        _checks.positive("second_strength", _checks.float64("second_strength", second_strength)),
        _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate)),
        _checks.positive("batch_size", _checks.float64("batch_size", batch_size)),
        _checks.positive("input_variance", _checks.float64("input_variance", input_variance)),
        _checks.positive("residual_variance", _checks.float64("residual_variance", residual_variance)),
    )
    m = 2 * S * M / (η * σe2)
    if form == "exact":
        most = "below learning_rate · residual_variance / (2 batch_size), the variance of a free direction"
        m = _checks.provided(m, "variance", variance, m < 1, allowed=most)
        m = m / (1 - m)
    return σx2 * θ**2 * D2 * m / 2


def local_exponent(
    first_strength: Real[ArrayLike, "*modes"], second_strength: Real[ArrayLike, "*modes"]
) -> Float[Array, "*modes"]:
    """d ln δL / d ln M₂₂ = 1 + D₁/D₂ along the spectrum at fixed D₂ > 0; the paper says 1 (ψ = 2); broadcast."""
    D1 = _checks.not_negative("first_strength", _checks.float64("first_strength", first_strength))
    D2 = _checks.positive("second_strength", _checks.float64("second_strength", second_strength))
    D1, D2 = broadcast(D1, D2)
    return 1 + D1 / D2
