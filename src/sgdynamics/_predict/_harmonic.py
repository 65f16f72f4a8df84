"""The law of any network at its minimum: harmonic loss, frozen noise (Gross et al., App. A).

At a minimum θ* of L + ½λ|θ|², with δ = θ − θ*, K = ∇²L(θ*) + λ and C the covariance of the minibatch gradient at θ*,

    SGD         v ← β v − K δ − ξ,   δ ← δ + η v,   cov ξ = C       (`theory.harmonic.HarmonicDescent`)
    Langevin    dδ = −(K + [order 2] ½η K²) δ dt + √(η C) dW        (`theory.harmonic.HarmonicLangevin`)
    of Epochs   the same with ξ of an epoch that sum to nothing     (`theory.epochs.HarmonicEpochs`), averaged over the
                position in the epoch; a draw is the law between two epochs, where a run begins
    with momentum  dδ = v dt, dv = −c₀ (K δ + (1 − β) v) dt + c₀ √(η C) dW      (`theory.harmonic.HarmonicUnderdamped`)

solved mode by mode in the eigenbasis of K. What is left out, the change of C and of ∇²L along the fluctuations, is of
relative order η. Paper's App. A replaces ∇²L by the Gauss-Newton matrix ΦᵀΦ/P; the two differ by Σ_μ r_μ ∇²f_μ / P,
which does not vanish at a minimum of a non-linear network; here it is kept.

Directions with |h| ≤ cut · h_max count as flat: nothing moves along them, and noise along them is an error, because θ
would diffuse without end. The cut is 1e-9, or, up to 1e-6, 100 times the relative gradient that is left at the point:
a gradient lifts the zeros of the Hessian by as much, up or down. The block of a leading subspace is exact, since modes
i, j of M need h_i, h_j and C_ij only.
"""

from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics import _checks
from sgdynamics._linalg import leading_eigenpairs
from sgdynamics._predict._prediction import Modes, Prediction
from sgdynamics._predict._settings import Training, constant, no_fresh_labels, point
from sgdynamics._problem import Problem
from sgdynamics._types import Scalar, Vector
from sgdynamics.dynamics import SGD, UnderdampedLangevin
from sgdynamics.ensemble import fingerprint
from sgdynamics.noise import AbstractNoise, minibatch
from sgdynamics.samplers import Epochs
from sgdynamics.theory import epochs
from sgdynamics.theory.epochs import HarmonicEpochs
from sgdynamics.theory.harmonic import HarmonicDescent, HarmonicLangevin, HarmonicUnderdamped

Pairs: TypeAlias = Float[Array, "modes modes"]
HarmonicLaw: TypeAlias = HarmonicDescent | HarmonicEpochs | HarmonicLangevin | HarmonicUnderdamped

CUT, MOST_CUT = 1e-9, 1e-6  # curvatures below this share of the largest are flat directions
DENSE_LIMIT = 4_000  # parameters, above which no matrix [parameters, parameters] is built
LEADING = 100  # modes of a network above DENSE_LIMIT, unless told
GRADIENT = 1e-4  # of √(2 h_max L) + h_max |θ|
SHIFT = 0.1  # standard deviations that the minimum may be off
DISTANCE = 1e-6  # or this share of |θ|
RESIDUAL = 1e-6  # of h_max
STRAY = 1e-8  # the share of the noise that flat directions may have, from rounding

MINIMUM = "Use problem.minimum(weight_decay, start=at), dynamics.gradient_flow, or an optimiser of your own."


def harmonic(dynamics: Training, at: Any, modes: int | None) -> Prediction:
    """The law at the minimum `at` (None: the one that `problem.minimum` finds), in the leading `modes`."""
    name = fingerprint(dynamics)
    dynamics = _in_64_bits(dynamics)
    problem, λ = dynamics.problem, constant(dynamics, "weight_decay")
    # what cannot be predicted is refused before the work is done
    noise = _noise(dynamics)
    count = _count(problem.parameters.shape[0], modes)
    θ = problem.minimum(λ) if at is None else point(problem, at)
    found, gradient = _modes(problem, θ, λ, count)
    C = _noise_in(found, noise, θ)
    law, η, time = _law(dynamics, found.curvatures, C)
    M = _at_minimum(law.stationary_covariance(), found, gradient, θ)
    phase = _in_phase_space(law, η) if _has_velocity(dynamics) else None
    kept, total = found.curvatures.shape[0], θ.shape[0]
    where = "" if kept == total else f", leading {kept} of {total} modes"
    form = f"frozen: {time}, noise of the minimum{where}"
    return Prediction(θ, law, law.slowest_rate(), η, found, M, phase, form, name)


def _law(dynamics: Training, h: Float[Array, " modes"], C: Pairs) -> tuple[HarmonicLaw, Scalar, str]:
    η = constant(dynamics, "learning_rate")
    if isinstance(dynamics, UnderdampedLangevin):
        β = constant(dynamics, "momentum")
        return HarmonicUnderdamped(h, C, learning_rate=η, momentum=β), η, "underdamped, continuous time"
    if isinstance(dynamics, SGD):
        setting = {"learning_rate": η, "momentum": constant(dynamics, "momentum")}
        if not isinstance(dynamics.sampler, Epochs):
            return HarmonicDescent(h, C, **setting), η, "discrete time"
        samples, batch_size = dynamics.problem.data.samples, dynamics.sampler.batch_size
        setting |= {"batches_per_epoch": samples // batch_size, "left_out": epochs.left_out(samples, batch_size)}
        return epochs.HarmonicEpochs(h, C, **setting), η, "discrete time, average over the epoch"
    rates = h if dynamics.order == 1 else h + η / 2 * h**2
    return HarmonicLangevin(rates, η * C), η, "continuous time"


def _in_phase_space(law: HarmonicLaw, η: Scalar) -> Float[Array, "phase phase"] | None:
    """The covariance of (θ, v), where there is a velocity."""
    if isinstance(law, HarmonicLangevin):
        return None
    if not isinstance(law, HarmonicEpochs):
        return law.phase_covariance()
    scale = jnp.repeat(jnp.stack([jnp.ones(()), 1 / η]), len(law.curvature))  # u = η v
    return scale[:, None] * law.phase_covariance() * scale[None, :]


def _count(parameters: int, modes: int | None) -> int:
    if modes is not None:
        modes = _checks.count("modes", modes)
        return _checks.require("modes", modes, modes <= parameters, allowed=f"at most {parameters}, the parameters")
    return parameters if parameters <= DENSE_LIMIT else LEADING


# --- the minimum and its modes ------------------------------------------------------------------------------


def _modes(problem: Problem, θ: Vector, λ: Scalar, count: int) -> tuple[Modes, Vector]:
    """The `count` leading modes of ∇²L + λ, and the gradient of L + ½λ|θ|² in them and outside."""
    dense = θ.shape[0] <= DENSE_LIMIT
    h, V, residuals, lowest, g, loss = (_dense_modes if dense else _leading_modes)(problem, θ, λ, count)
    scale = jnp.sqrt(2 * h[0] * jnp.abs(loss)) + h[0] * jnp.linalg.norm(θ)
    norm = jnp.linalg.norm(g)
    h = _checks.provided(
        h, "|gradient| at the minimum", norm, norm <= GRADIENT * scale,
        allowed=f"below {GRADIENT} × (√(2 h L) + h |θ|): the point is no minimum", remedy=MINIMUM,
    )  # fmt: skip
    h = _checks.provided(
        h, "the residual of the leading modes", residuals.max(), residuals.max() <= RESIDUAL * h[0],
        allowed=f"below {RESIDUAL} × the largest curvature",
        remedy="Their curvatures lie too close to the next ones: ask for other `modes`.",
    )  # fmt: skip
    cut = jnp.clip(100 * norm / jnp.where(scale > 0, scale, 1), CUT, MOST_CUT)
    h = _checks.provided(
        h, "the lowest curvature at the minimum", lowest, lowest >= -cut * h[0],
        allowed="not negative: the point is a saddle", remedy=MINIMUM,
    )  # fmt: skip
    h = jnp.where(h > cut * h[0], h, 0)
    return Modes(h, V, residuals, norm, cut), g


@eqx.filter_jit
def _dense_modes(problem: Problem, θ: Vector, λ: Scalar, count: int):
    h, V = jnp.linalg.eigh(problem.hessian(θ) + λ * jnp.eye(θ.shape[0]))
    h, V, lowest = h[::-1][:count], V[:, ::-1][:, :count], h[0]
    return h, V, jnp.zeros_like(h), lowest, *_gradient(problem, θ, λ)


@eqx.filter_jit
def _leading_modes(problem: Problem, θ: Vector, λ: Scalar, count: int):
    product = lambda v: problem.hessian_product(θ, v) + λ * v
    found = leading_eigenpairs(product, θ.shape[0], count)
    # the leading ones see little of the other end, where a saddle shows
    other = leading_eigenpairs(lambda v: -product(v), θ.shape[0], 1, restarts=3)
    lowest = jnp.minimum(found.lowest, -other.values[0])
    return found.values, found.vectors, found.residuals, lowest, *_gradient(problem, θ, λ)


def _gradient(problem: Problem, θ: Vector, λ: Scalar) -> tuple[Vector, Scalar]:
    return problem.gradient(θ) + λ * θ, problem.loss(θ) + λ * jnp.sum(θ**2) / 2


def _at_minimum(M: Pairs, modes: Modes, gradient: Vector, θ: Vector) -> Pairs:
    """M, where in every mode the minimum is where θ is, by the standard deviation of the law."""
    h = modes.curvatures
    shift = jnp.abs(modes.vectors.T @ gradient) / jnp.where(h > 0, h, jnp.inf)
    allowed = SHIFT * jnp.sqrt(jnp.diagonal(M)) + DISTANCE * jnp.linalg.norm(θ)
    excess = jnp.max(shift / jnp.where(allowed > 0, allowed, jnp.inf))
    return _checks.provided(
        M, "the distance to the minimum, in units of what is allowed,", excess, excess <= 1,
        allowed=f"at most 1: {SHIFT} standard deviations in every mode", remedy=MINIMUM,
    )  # fmt: skip


# --- its noise ----------------------------------------------------------------------------------------------


def _noise(dynamics: Training) -> AbstractNoise:
    """The gradient noise; an error where none is known, or where it is that of another number of parameters."""
    if isinstance(dynamics, SGD):
        no_fresh_labels(dynamics)
        return minibatch(dynamics.problem, dynamics.sampler)
    noise, parameters = dynamics.noise, dynamics.problem.parameters.shape
    z = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, jnp.float64), noise.sources())
    try:
        shape = eqx.filter_eval_shape(noise.apply, jax.ShapeDtypeStruct(parameters, jnp.float64), z).shape
    except TypeError:
        shape = None
    if shape != parameters:
        raise ValueError(
            f"noise is a {type(noise).__name__} of other parameters than the {parameters[0]} of the network. "
            "Make it for as many."
        )
    return noise


def _noise_in(modes: Modes, noise: AbstractNoise, θ: Vector) -> Pairs:
    """C in the modes; exactly 0 along flat directions, where there may be none."""
    C = _covariance_along(noise, θ, modes.vectors)
    C = (C + C.T) / 2
    moving = modes.curvatures > 0
    stray = jnp.sum(jnp.where(moving, 0, jnp.diagonal(C))) / jnp.maximum(jnp.trace(C), jnp.finfo(float).tiny)
    C = jnp.where(moving[:, None] & moving[None, :], C, 0)
    return _checks.provided(
        C, "the share of the gradient noise in flat directions", stray, stray <= STRAY,
        allowed=f"below {STRAY}: otherwise θ diffuses along them and there is no stationary law",
        remedy="Give the dynamics a weight_decay, or a noise that respects the flat directions.",
    )  # fmt: skip


@eqx.filter_jit
def _covariance_along(noise: AbstractNoise, θ: Vector, V: Float[Array, "parameters modes"]):
    return noise.covariance_along(θ, V)


# --- the dynamics -------------------------------------------------------------------------------------------


def _in_64_bits(dynamics: Training) -> Training:
    return jax.tree.map(lambda x: x.astype(jnp.float64) if eqx.is_inexact_array(x) else x, dynamics)


def _has_velocity(dynamics: Training) -> bool:
    if not isinstance(dynamics, SGD):
        return isinstance(dynamics, UnderdampedLangevin)
    β = dynamics.momentum
    return callable(β) or not _checks.is_concrete(β) or bool(β != 0)
