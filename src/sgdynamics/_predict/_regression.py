"""The law of a model that is linear in θ, with the squared error: exact, noise that depends on θ included.

    SGD            discrete time, multiplicative noise, momentum, weight decay
                   (`theory.recursion.MinibatchMoments`)
    Langevin       the law of its own noise model in continuous time: state-dependent finite-sample noise
                   (`theory.recursion.LangevinMoments`), or any state-independent noise (`theory.ou`)
    UnderdampedLangevin    the same over (θ, v) (`theory.recursion.UnderdampedMoments`)

Several outputs share minibatches but not weights: block (o, o') of the covariance answers to the noise
c [(1/P) Σ_μ r_μo r_μo' x_μ x_μᵀ − J_o J_o'ᵀ] by the same map as one output does to its own.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics import _checks
from sgdynamics._predict._prediction import Prediction
from sgdynamics._predict._settings import Training, constant, point, slowest, symmetric
from sgdynamics._problem import Problem
from sgdynamics._types import Matrix, Scalar, Vector
from sgdynamics.data import AbstractFiniteData, FreshLabels
from sgdynamics.dynamics import SGD, Langevin, UnderdampedLangevin
from sgdynamics.ensemble import fingerprint
from sgdynamics.noise import AbstractNoise, Constant, FiniteSample, Frozen, Isotropic, LabelNoise, Sum
from sgdynamics.samplers import AbstractIndexSampler
from sgdynamics.theory.harmonic import HarmonicUnderdamped
from sgdynamics.theory.ou import OrnsteinUhlenbeck
from sgdynamics.theory.recursion import LangevinMoments, LinearRecursion, MinibatchMoments, UnderdampedMoments


def is_regression(problem: Problem) -> bool:
    """Whether the law of this problem is known exactly."""
    return problem.is_linear_regression and isinstance(problem.data, AbstractFiniteData)


def regression(dynamics: Training, at: Any) -> Prediction:
    """The law of SGD or of its SDE on linear regression; `at` is only checked."""
    prediction = _law(dynamics)
    if at is None:
        return prediction
    checked = _at_minimum(prediction.mean, dynamics, point(dynamics.problem, at))
    return eqx.tree_at(lambda law: law.mean, prediction, checked)


# --- the three kinds ----------------------------------------------------------------------------------------


def _law(dynamics: Training) -> Prediction:
    if isinstance(dynamics, SGD):
        return _sgd(dynamics)
    return _langevin(dynamics) if isinstance(dynamics, Langevin) else _underdamped(dynamics)


def _sgd(sgd: SGD) -> Prediction:
    η, β, λ = (constant(sgd, name) for name in ("learning_rate", "momentum", "weight_decay"))
    x, targets = _examples(sgd.problem)
    c = sgd.sampler.covariance_factor(sgd.problem.data)
    columns = [
        MinibatchMoments(x, y, learning_rate=η, sampling_factor=c, momentum=β, weight_decay=λ) for y in targets.T
    ]
    label_noise = _label_noise(sgd.problem, _batch_size(sgd), x)
    blocks = _blocks(columns, c, x, targets, λ, label_noise)
    phase = _assembled(blocks, parts=2)
    d = phase.shape[0] // 2
    mean = jnp.concatenate([column.mean for column in columns])
    law = _recursion(columns[0].transition(), phase, outputs=len(columns), momentum=sgd.momentum)
    rate = slowest(columns[0].transition()) / η
    form = "exact: discrete time, multiplicative noise"
    return Prediction(mean, law, rate, η, None, phase[:d, :d], phase, form, fingerprint(sgd))


def _langevin(langevin: Langevin) -> Prediction:
    η, λ = constant(langevin, "learning_rate"), constant(langevin, "weight_decay")
    x, targets = _examples(langevin.problem)
    H = x.T @ x / x.shape[0]
    K = H + λ * jnp.eye(H.shape[0])
    drift = K if langevin.order == 1 else K + η / 2 * K @ K
    A = jnp.kron(jnp.eye(targets.shape[1]), drift)
    columns = [LangevinMoments(x, y, learning_rate=η, sampling_factor=0.0, weight_decay=λ) for y in targets.T]
    mean = jnp.concatenate([column.mean for column in columns])
    if _is_constant(langevin.noise):
        noise = η * symmetric(langevin.noise.covariance(mean))
        law = OrnsteinUhlenbeck(A, noise, mean)
        M, form = law.stationary_covariance(), "continuous time, additive noise"
    else:
        M = _multiplicative(langevin, η, λ, x, targets)
        law = OrnsteinUhlenbeck(A, symmetric(A @ M + M @ A), mean)
        form = "multiplicative: continuous time, state-dependent noise"
    rates = jnp.linalg.eigvalsh(drift)
    rate = jnp.where(rates[0] > 1e-13 * rates[-1], rates[0], 0)
    return Prediction(mean, law, rate, η, None, M, None, form, fingerprint(langevin))


def _multiplicative(langevin: Langevin, η: Scalar, λ: Scalar, x: Array, targets: Array) -> Matrix:
    c, fresh = _state_dependent(langevin, x, order=langevin.order)
    columns = [LangevinMoments(x, y, learning_rate=η, sampling_factor=c, weight_decay=λ) for y in targets.T]
    return _assembled(_blocks(columns, c, x, targets, λ, fresh), parts=1)


def _state_dependent(dynamics: Langevin | UnderdampedLangevin, x: Array, order: int = 1) -> tuple[Scalar, Matrix]:
    """The sampling factor of finite-sample noise, and the noise of fresh labels; an error for other noise."""
    finite_sample, label_noise = _parts(dynamics.noise)
    if finite_sample is None or order != 1:
        raise ValueError(
            f"noise = {type(dynamics.noise).__name__} in order {order}, but predict() knows the law of "
            "finite-sample noise in order 1 and of state-independent noise (noise.frozen, hessian_proportional, "
            "isotropic) only. Use one of them, ask for form='frozen', or simulate."
        )
    for part in (finite_sample, label_noise):
        if part is not None and not _same_data(part.problem, dynamics.problem):
            raise ValueError("noise is that of other data than the problem's, for which predict() has no law.")
    batch_size = jnp.inf if label_noise is None else label_noise.batch_size
    return finite_sample.factor, _label_noise(dynamics.problem, batch_size, x)


def _underdamped(langevin: UnderdampedLangevin) -> Prediction:
    η, β, λ = (constant(langevin, name) for name in ("learning_rate", "momentum", "weight_decay"))
    x, targets = _examples(langevin.problem)
    additive = _is_constant(langevin.noise)
    c, fresh = (jnp.zeros(()), jnp.zeros((x.shape[1],) * 2)) if additive else _state_dependent(langevin, x)
    columns = [
        UnderdampedMoments(x, y, learning_rate=η, sampling_factor=c, momentum=β, weight_decay=λ) for y in targets.T
    ]
    mean = jnp.concatenate([column.mean for column in columns])
    d, A = mean.shape[0], _phase_drift(columns[0].drift(), outputs=len(columns))
    if additive:
        noise = (2 / (η * (1 + β))) ** 2 * η * symmetric(langevin.noise.covariance(mean))
        phase, kind = None, "additive noise"
    else:
        phase, kind = _assembled(_blocks(columns, c, x, targets, λ, fresh), parts=2), "state-dependent noise"
        noise = _positive_part((A @ phase + phase @ A.T)[d:, d:])
    law = OrnsteinUhlenbeck(A, jnp.pad(noise, (d, 0)), jnp.concatenate([mean, jnp.zeros_like(mean)]))
    phase = law.stationary_covariance() if phase is None else phase
    rate = _slowest_mode(x, η, β, λ)
    form = f"exact: underdamped, continuous time, {kind}"
    return Prediction(mean, law, rate, η, None, phase[:d, :d], phase, form, fingerprint(langevin))


def _slowest_mode(x: Array, η: Scalar, β: Scalar, λ: Scalar) -> Scalar:
    """Of the equation with momentum; 0 where a direction never relaxes."""
    k = jnp.linalg.eigvalsh(x.T @ x / x.shape[0]) + λ
    k = jnp.where(k > 1e-13 * k[-1], k, 0)
    return jnp.min(HarmonicUnderdamped(k, jnp.zeros((len(k),) * 2), learning_rate=η, momentum=β).decay())


def _phase_drift(A: Array, outputs: int) -> Array:
    """That of one output, for all of them: (θ, v) outermost."""
    d = A.shape[0] // 2
    return jnp.block([[jnp.kron(jnp.eye(outputs), A[i : i + d, j : j + d]) for j in (0, d)] for i in (0, d)])


# --- several outputs ----------------------------------------------------------------------------------------


def _blocks(columns, c, x, targets, λ, label_noise) -> list[list[Array]]:
    """The response of block (o, o') to its own (cross-)covariance of the gradient noise."""
    residuals = jnp.stack([x @ column.mean - y for column, y in zip(columns, targets.T, strict=True)])
    gradients = jnp.stack([-λ * column.mean for column in columns])
    size = len(columns)

    def block(o, p):
        weights = residuals[o] * residuals[p] / x.shape[0]
        source = c * ((x.T * weights[None, :]) @ x - jnp.outer(gradients[o], gradients[p]))
        return columns[o].response(source + label_noise if o == p else source)

    upper = {(o, p): block(o, p) for o in range(size) for p in range(o, size)}
    return [[upper[o, p] if o <= p else upper[p, o].T for p in range(size)] for o in range(size)]


def _assembled(blocks: list[list[Array]], parts: int) -> Matrix:
    """Blocks [o][o'], each over `parts` × inputs, as one matrix with the parts (θ, v) outermost."""
    outputs, inputs = len(blocks), blocks[0][0].shape[0] // parts
    M = jnp.stack([jnp.stack(row) for row in blocks])
    M = M.reshape(outputs, outputs, parts, inputs, parts, inputs).transpose(2, 0, 3, 4, 1, 5)
    return symmetric(M.reshape(parts * outputs * inputs, parts * outputs * inputs))


def _recursion(F: Array, phase: Matrix, outputs: int, momentum: Any) -> LinearRecursion:
    """x ← F x + e with the noise that the stationary covariance implies; over θ alone without momentum."""
    d = F.shape[0] // 2
    T, M = _phase_drift(F, outputs), phase
    if _checks.is_concrete(momentum) and bool(momentum == 0):
        T, M = T[: d * outputs, : d * outputs], phase[: d * outputs, : d * outputs]
    return LinearRecursion(T, _positive_part(M - T @ M @ T.T))


# --- what a dynamics is made of -----------------------------------------------------------------------------


def _at_minimum(mean: Vector, dynamics: Training, θ: Vector) -> Vector:
    """The mean, where θ is a minimum."""
    problem, λ = dynamics.problem, constant(dynamics, "weight_decay")
    gradient = jnp.linalg.norm(problem.gradient(θ) + λ * θ)
    scale = jnp.linalg.norm(problem.gradient(jnp.zeros_like(θ)))
    return _checks.provided(
        mean, "|gradient| at `at`", gradient, gradient <= 1e-6 * (1 + scale),
        allowed="zero to 6 digits: `at` is no minimum", remedy="Use problem.minimum(weight_decay), or at=None.",
    )  # fmt: skip


def _examples(problem: Problem) -> tuple[Float[Array, "samples inputs"], Float[Array, "samples outputs"]]:
    data = problem.data
    x, y = data.x.astype(jnp.float64), data.y.astype(jnp.float64)
    return x, y.reshape(x.shape[0], -1)


def _batch_size(sgd: SGD) -> int:
    sampler = sgd.sampler
    return sampler.batch_size if isinstance(sampler, AbstractIndexSampler) else sgd.problem.data.samples


def _label_noise(problem: Problem, batch_size: Any, x: Array) -> Matrix:
    """What labels drawn afresh add to each output's noise: σ²/S · H."""
    std = problem.data.label_noise_std if isinstance(problem.data, FreshLabels) else jnp.zeros(())
    return std.astype(jnp.float64) ** 2 / batch_size * (x.T @ x) / x.shape[0]


def _same_data(a: Problem, b: Problem) -> bool:
    if a.data is b.data:
        return True
    same = eqx.tree_equal(a.data, b.data)
    return not _checks.is_concrete(same) or bool(same)


def _is_constant(noise: AbstractNoise) -> bool:
    if isinstance(noise, Sum):
        return all(_is_constant(part) for part in noise.noises)
    # of a model that is linear in θ, label noise does not depend on θ
    return isinstance(noise, Constant | Frozen | Isotropic | LabelNoise)


def _parts(noise: AbstractNoise) -> tuple[FiniteSample | None, LabelNoise | None]:
    """The finite-sample and the label noise in a minibatch noise."""
    parts = noise.noises if isinstance(noise, Sum) else (noise,)
    finite_sample = [part for part in parts if isinstance(part, FiniteSample)]
    label_noise = [part for part in parts if isinstance(part, LabelNoise)]
    if len(finite_sample) != 1 or len(label_noise) > 1 or len(parts) != 1 + len(label_noise):
        return None, None
    return finite_sample[0], label_noise[0] if label_noise else None


def _positive_part(M: Matrix) -> Matrix:
    """M without the negative eigenvalues that rounding leaves."""
    values, vectors = jnp.linalg.eigh(symmetric(M))
    return (vectors * jnp.maximum(values, 0)[None, :]) @ vectors.T
