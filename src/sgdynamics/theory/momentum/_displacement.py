"""How far momentum carries the weights in k steps of the stationary state, E|θ_k − θ_0|² [(13), G.2], and its exponent.

Each mode of K = h + λ is an autoregression of its own, so that only C_ii, the noise's variance along each eigenvector
of the Hessian, matters to the sum over modes, whether or not H and C commute. With Fᵏ = (1 − ηK W_k) + p_k (F − 1),

    E|θ_k − θ_0|² = 2 Σ_i M_i (1 − correlation) = Σ_i 2η² C_ii/{(1 − β)(2 − ηK_i/(1 + β))} [W_k + p_k/(1 + β)]

exactly: η² E|v|² after one step, growing as k² while v persists, as k after that, and in the end 2 tr Cov θ. Nothing is
subtracted, and K may be 0. The SDE has 2 Σ_i C_ii/(1 − β²) ∫₀ᵗ g instead, t = ηk, g the oscillator's response.
Published is the sum over pairs of steps of the SDE's velocity correlation C_l, as if v were sampled at instants:

    E|Δ_k|² = η²/(1 − β²) Σ_l C_ll [k + 2 Σ_{j=1}^{k} (k − j) C_l(j)],

with C_l(j) at the time j (13), where ηj is meant: "published_repaired". Even so 1 + 2 Σ_j C_l(ηj) ≈ (1 − β)/(3(1 + β))
is left of an integral that is 0, and it grows for ever. The double sum is built by doubling the number of steps.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar
from sgdynamics.theory import _arguments
from sgdynamics.theory.momentum import _composition, _pairs, _response

FORMS = ("exact", "sde", "published", "published_repaired")
Floats = Float[Array, "..."]


class Modes(NamedTuple):
    """η, β of one shape with K and C, [modes]."""

    learning_rate: Floats
    momentum: Floats
    restoring: Floats
    variance: Floats


def displacement(
    steps: Real[ArrayLike, "*steps"],
    curvature: Real[ArrayLike, "*modes"],
    noise_variance: Real[ArrayLike, "..."],
    *,
    learning_rate: RealScalar,
    momentum: RealScalar,
    weight_decay: RealScalar = 0.0,
    form: str = "exact",
) -> Float[Array, "*steps"]:
    """E|θ_{k+steps} − θ_k|² in the stationary state, summed over modes, of the shape of `steps`.

    - `steps`: whole numbers ≥ 0; for "sde" any real ones ≥ 0.
    - `curvature`: h ≥ 0 of each mode, without weight decay; a mode of h + λ = 0 diffuses for ever.
    - `noise_variance`: C_ii of the minibatch gradient, batch size included; a number is the same for all modes.
    - `form`: "exact" in discrete time, "sde", "published" (13) literally, "published_repaired" with its time ηk.

    **Raises** `ValueError` for negative arguments, steps that are not whole numbers, momentum outside [0, 1), and in
    the exact form learning rates of 2 (1 + β)/(h + λ) or more.
    """
    _arguments.form(form, FORMS)
    modes = _modes(curvature, noise_variance, learning_rate, momentum, weight_decay)
    if form == "sde":
        k = _checks.not_negative("steps", _checks.float64("steps", steps))
        return _continuous(k, modes)
    k = _arguments.whole(steps)
    if form == "exact":
        return _exact(k, _stable(modes))
    time = 1.0 if form == "published" else modes.learning_rate
    return _sampled(k, modes, time)


def local_exponent(
    steps: Real[ArrayLike, "*steps"],
    curvature: Real[ArrayLike, "*modes"],
    noise_variance: Real[ArrayLike, "..."],
    *,
    learning_rate: RealScalar,
    momentum: RealScalar,
    weight_decay: RealScalar = 0.0,
    form: str = "exact",
) -> Float[Array, "*steps"]:
    """d ln E|Δ_k|²/d ln k, of the shape of `steps`: 2 where steps persist, 1 in free diffusion, 0 once saturated.

    Exact: k (D_{k+1} − D_{k−1})/(2 D_k), D the exact displacement, which is 2 and 1 for D = k² and k at every k ≥ 1.
    "sde": the derivative, at any real steps > 0. Arguments and errors as for `displacement`; some noise is needed.
    """
    _arguments.form(form, ("exact", "sde"))
    modes = _modes(curvature, noise_variance, learning_rate, momentum, weight_decay)
    C = _checks.require("noise_variance", modes.variance, jnp.any(modes.variance > 0), allowed="> 0 in some mode")
    modes = modes._replace(variance=C)
    if form == "exact":
        return _exact_exponent(_arguments.whole(steps, 1), _stable(modes))
    return _continuous_exponent(_checks.positive("steps", _checks.float64("steps", steps)), modes)


@jax.jit
def _exact(k: Int[Array, "*steps"], modes: Modes) -> Float[Array, "*steps"]:
    done, modes = _powers(k, modes)
    return jnp.sum(_scale(modes) * (done.moved + done.crossing / (1 + modes.momentum)), axis=-1)


@jax.jit
def _exact_exponent(k: Int[Array, "*steps"], modes: Modes) -> Float[Array, "*steps"]:
    """From three successive p: W_{j+1} − W_j = p_j, so that no displacement is subtracted from another."""
    before, modes = _powers(k - 1, modes)
    β, K = modes.momentum, modes.learning_rate * modes.restoring
    now = _composition.product(before, _composition.one(K), 1 - β + K, K)
    after = _composition.product(now, _composition.one(K), 1 - β + K, K)
    growth = before.crossing + now.crossing + (after.crossing - before.crossing) / (1 + β)
    reached = now.moved + now.crossing / (1 + β)
    scale = _scale(modes)
    return k.astype(scale.dtype) * jnp.sum(scale * growth, axis=-1) / (2 * jnp.sum(scale * reached, axis=-1))


@jax.jit
def _sampled(k: Int[Array, "*steps"], modes: Modes, time: Floats | float) -> Float[Array, "*steps"]:
    """Velocities as they are at instants `time` apart, counted as steps."""
    η, β, K, C = modes
    sampled = _pairs.sampling(time * jnp.ones_like(K), _response.oscillator(η, β, K))
    n, weight, *rest = _beside(k, η**2 * C / (1 - β**2), *sampled)
    return jnp.sum(weight * _pairs.correlation_sum(n, _pairs.Sampling(*rest)), axis=-1)


def _scale(modes: Modes) -> Floats:
    """2 M ηK, finite also where K = 0."""
    η, β, K, C = modes
    return 2 * η**2 * C / ((1 - β) * (2 - η * K / (1 + β)))


def _powers(k: Int[Array, "*steps"], modes: Modes) -> tuple[_composition.Power, Modes]:
    """Powers of each mode's step, [*steps, modes], and the modes under them."""
    k, modes = _together(k, modes)
    α = modes.learning_rate * modes.restoring
    return _composition.power(k, 1 - modes.momentum + α, α), modes


@jax.jit
def _continuous(k: Float[Array, "*steps"], modes: Modes) -> Float[Array, "*steps"]:
    t, modes = _together(k, modes)
    η, β, K, C = modes
    integral = _response.accumulated(η * t, _response.oscillator(η, β, K)).crossing
    return 2 * jnp.sum(C / (1 - β**2) * integral, axis=-1)


@jax.jit
def _continuous_exponent(k: Float[Array, "*steps"], modes: Modes) -> Float[Array, "*steps"]:
    t, modes = _together(k, modes)
    η, β, K, C = modes
    mode = _response.oscillator(η, β, K)
    reached = jnp.sum(C * _response.accumulated(η * t, mode).crossing, axis=-1)
    return k * jnp.sum(C * η * _response.response(η * t, mode).crossing, axis=-1) / reached


def _modes(curvature, noise_variance, learning_rate, momentum, weight_decay) -> Modes:
    η, β, λ = _arguments.single(_arguments.hyperparameters(learning_rate, momentum, weight_decay))
    h, C = _arguments.modes(curvature, noise_variance)
    h, C, η, β = _arguments.broadcast(h, C, η, β)
    return Modes(η, β, h + λ, C)


def _stable(modes: Modes) -> Modes:
    return modes._replace(learning_rate=_arguments.stable(modes.learning_rate, modes.momentum, modes.restoring))


def _together(k: Array, modes: Modes) -> tuple[Array, Modes]:
    k, *rest = _beside(k, *modes)
    return k, Modes(*rest)


def _beside(k: Array, *modes: Floats) -> list[Array]:
    """Steps and modes of shape [*steps, modes]."""
    return _arguments.broadcast(k[..., None], *modes)
