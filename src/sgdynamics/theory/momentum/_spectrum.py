"""Power spectra of one mode's position and velocity in the stationary state, and where they peak.

Two-sided densities, S(ω) = Σ_k e^{−iωk} R_k per step, with ∫_{−π}^{π} S dω/2π the variance, ω in rad per step. The
autoregression of the mode, K = h + λ, gives with y = 1 − cos ω

    S_θ = η² C / {(ηK − (1 + β) y)² + (1 − β)² y (2 − y)},          S_v = 2y S_θ/η²:

S_θ peaks at y = [(1 + β) ηK − (1 − β)²]/(4β), S_v at ηK/(2√β). The SDE has, with ω in rad per unit of t and the
integral over all ω, N/{(ω₀² − ω²)² + 4γ²ω²} and ω² times that, with peaks at √(ω₀² − 2γ²) and ω₀ (App. F.2).
Its peaks and the oscillation frequency √(ω₀² − γ²) of the mean are three different numbers.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics.theory import _arguments

Reals = Real[ArrayLike, "..."]
Floats = Float[Array, "..."]
FORMS, WHICH = ("exact", "sde"), ("position", "velocity")


def power_spectrum(
    frequency: Reals,
    curvature: Reals,
    noise_variance: Reals,
    *,
    learning_rate: Reals,
    momentum: Reals,
    weight_decay: Reals = 0.0,
    of: str = "position",
    form: str = "exact",
) -> Floats:
    """S(frequency) of each mode, two-sided; all arguments broadcast.

    - `frequency`: rad per step, and the integral of S/2π over (−π, π) is the variance; with `form="sde"` rad per unit
      of t = learning_rate × step, over (−∞, ∞). Divide the SDE's by the learning rate to compare it with the exact one.
    - `curvature` h, without weight decay; `noise_variance` C along the eigenvector; `of`: "position" or "velocity".

    **Raises** `ValueError` where there is no stationary law, h + λ = 0 or ηK ≥ 2(1 + β) (in discrete time), and for
    negative arguments or momentum outside [0, 1).
    """
    velocity = _velocity(of)
    η, β, K = _setting(curvature, learning_rate, momentum, weight_decay, form)
    ω = _checks.float64("frequency", frequency)
    ω, C, η, β, K = _arguments.broadcast(ω, _arguments.variance(noise_variance), η, β, K)
    return (_exact if form == "exact" else _continuous)(ω, C, η, β, K, velocity)


def peak_frequency(
    curvature: Reals,
    *,
    learning_rate: Reals,
    momentum: Reals,
    weight_decay: Reals = 0.0,
    of: str = "position",
    form: str = "exact",
) -> Floats:
    """Where the spectrum is largest, in the units of `power_spectrum`; all arguments broadcast.

    nan where the spectrum of the position falls from frequency 0 on; that of the velocity always has a peak. π, in
    discrete time, where it rises up to the fastest alternation there is. Errors as for `power_spectrum`.
    """
    velocity = _velocity(of)
    η, β, K = _setting(curvature, learning_rate, momentum, weight_decay, form)
    if form == "sde":
        square = 2 * K / (η * (1 + β)) - (0 if velocity else 2 * ((1 - β) / (η * (1 + β))) ** 2)
        return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), jnp.nan)
    # y as a ratio, whose denominator is 0 without momentum
    above = η * K if velocity else (1 + β) * η * K - (1 - β) ** 2
    below = 2 * jnp.where(β > 0, jnp.sqrt(jnp.where(β > 0, β, 1)), 0) if velocity else 4 * β
    inside = (above > 0) & (above < 2 * below)
    y = jnp.where(inside, above, 1) / jnp.where(inside, below, 1)
    return jnp.where(inside, 2 * jnp.arcsin(jnp.sqrt(y / 2)), jnp.where(above > 0, jnp.pi, jnp.nan))


def _exact(ω: Floats, C: Floats, η: Floats, β: Floats, K: Floats, velocity: bool) -> Floats:
    y = 2 * jnp.sin(ω / 2) ** 2
    below = (η * K - (1 + β) * y) ** 2 + ((1 - β) * jnp.sin(ω)) ** 2
    return C * (2 * y if velocity else η**2) / below


def _continuous(ω: Floats, C: Floats, η: Floats, β: Floats, K: Floats, velocity: bool) -> Floats:
    c = 2 / (η * (1 + β))
    below = (c * K - ω**2) ** 2 + (c * (1 - β) * ω) ** 2
    return η * c**2 * C * (ω**2 if velocity else 1) / below


def _setting(curvature, learning_rate, momentum, weight_decay, form: str) -> tuple[Floats, Floats, Floats]:
    """η, β and K = h + λ of one shape, where there is a stationary law."""
    _arguments.form(form, FORMS)
    setting = _arguments.hyperparameters(learning_rate, momentum, weight_decay)
    h, η, β, λ = _arguments.broadcast(_arguments.curvature(curvature), *setting)
    free = "Without a restoring force there is no stationary law: leave those modes out."
    K = _checks.require("curvature", h + λ, h + λ > 0, allowed="> 0, or weight_decay > 0", remedy=free)
    return (_arguments.stable(η, β, K) if form == "exact" else η), β, K


def _velocity(of: str) -> bool:
    if of not in WHICH:
        raise ValueError(f"of = {of!r}, but it must be 'position' or 'velocity'.")
    return of == "velocity"
