"""From a dynamics to its stationary law, without simulation.

With the squared error and a model linear in θ (one layer of a linear network, any number of outputs):

    SGD            the exact law: discrete time, multiplicative noise, momentum, weight decay
                   (`theory.recursion.MinibatchMoments`)
    Langevin       the law of its own noise model in continuous time: state-dependent finite-sample noise
                   (`theory.recursion.LangevinMoments`), or any state-independent noise (`theory.ou`)
    LinearProcess  the recursion of its transitions

Several outputs share minibatches but not weights: block (o, o') of the covariance answers to the noise
c [(1/P) Σ_μ r_μo r_μo' x_μ x_μᵀ − J_o J_o'ᵀ] by the same map as one output does to its own.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jaxtyping import ArrayLike as ArrayLike

from sgdynamics import _checks
from sgdynamics._linalg import symmetric_root
from sgdynamics._problem import Problem
from sgdynamics._types import Matrix, PRNGKey, Scalar, Vector
from sgdynamics.data import AbstractFiniteData, Data, FreshLabels
from sgdynamics.dynamics import SGD, AbstractDynamics, Langevin, LinearProcess, State
from sgdynamics.ensemble import fingerprint
from sgdynamics.noise import AbstractNoise, Constant, FiniteSample, Frozen, Isotropic, LabelNoise, Sum
from sgdynamics.samplers import AbstractIndexSampler, Epochs
from sgdynamics.theory.ou import OrnsteinUhlenbeck
from sgdynamics.theory.recursion import LangevinMoments, LinearRecursion, MinibatchMoments

Law = OrnsteinUhlenbeck | LinearRecursion


class Prediction(eqx.Module):
    """The stationary law of a dynamics, to second order.

    - mean [parameters], covariance [parameters, parameters]: of θ.
    - phase_covariance [2 parameters, 2 parameters]: of (θ, v), where there is a velocity; else None.
    - law: the linear process, about the mean, that has this covariance and these correlations in time:
      an `OrnsteinUhlenbeck`, or a `LinearRecursion` (over (θ, v) with momentum).
    - slowest_rate: the smallest rate of relaxation, per unit of t (0 where a direction never relaxes).
    - time_step: t per step. form: what was solved, in words; of: of which dynamics.
    """

    mean: Vector
    covariance: Matrix
    phase_covariance: Float[Array, "phase phase"] | None
    law: Law
    slowest_rate: Scalar
    time_step: Scalar
    form: str = eqx.field(static=True)
    of: str = eqx.field(static=True)

    @property
    def velocity_covariance(self) -> Matrix | None:
        """Covariance of the velocity, None where there is none."""
        d = self.mean.shape[0]
        return None if self.phase_covariance is None else self.phase_covariance[d:, d:]

    def autocovariance(self, lag: Int[ArrayLike, "*lags"]) -> Float[Array, "*lags parameters parameters"]:
        """E[δθ(k + lag) δθ(k)ᵀ] for a lag in steps."""
        d = self.mean.shape[0]
        if isinstance(self.law, LinearRecursion):
            return self.law.autocovariance(lag)[..., :d, :d]
        return self.law.autocovariance(jnp.asarray(lag) * self.time_step)

    def loss(self, problem: Problem, data: Data | None = None) -> Scalar:
        """E L(θ) = L(mean) + ½ tr(∇²L · covariance): exact where L is quadratic (Gross et al., 2.26)"""
        return problem.loss(self.mean, data) + jnp.sum(problem.hessian(self.mean, data) * self.covariance) / 2

    def draw(self, key: PRNGKey) -> State:
        """A state with this mean and covariance, normally distributed."""
        covariance = self.covariance if self.phase_covariance is None else self.phase_covariance
        δ = symmetric_root(covariance) @ jax.random.normal(key, covariance.shape[:1], covariance.dtype)
        d = self.mean.shape[0]
        return State(self.mean + δ[:d], None if self.phase_covariance is None else δ[d:])


def predict(dynamics: AbstractDynamics, at: Any = None) -> Prediction:
    """The stationary law of a dynamics.

    Arguments
    - dynamics: an `SGD` or `Langevin` on linear regression (`networks.Linear`, `squared_error`, a finite data
      set), or a `LinearProcess`.
    - at: a minimum that you have already, [parameters]; it is checked. None: it is found.

    Raises `ValueError` where there is no stationary law (with the largest stable learning rate), where none
    is known for this dynamics, where `at` is no minimum, and where x64 is off.
    """
    _checks.x64()
    if isinstance(dynamics, LinearProcess):
        return _linear_process(dynamics)
    if not isinstance(dynamics, SGD | Langevin):
        raise ValueError(
            f"dynamics is a {type(dynamics).__name__}, but a law is known for SGD, Langevin and LinearProcess "
            "only. Simulate it."
        )
    _regression_data(dynamics.problem)
    if at is not None:
        _check_minimum(dynamics, jnp.asarray(at, jnp.float64))
    return _sgd(dynamics) if isinstance(dynamics, SGD) else _langevin(dynamics)


# --- the three kinds ----------------------------------------------------------------------------------------


def _sgd(sgd: SGD) -> Prediction:
    if isinstance(sgd.sampler, Epochs):
        raise ValueError(
            "sampler = Epochs has anti-correlated noise, for which predict() has no law. "
            "Use WithReplacement or WithoutReplacement, or simulate."
        )
    η, β, λ = (_constant(sgd, name) for name in ("learning_rate", "momentum", "weight_decay"))
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
    rate = _slowest(columns[0].transition()) / η
    return Prediction(
        mean, phase[:d, :d], phase, law, rate, η, "exact: discrete time, multiplicative noise", fingerprint(sgd)
    )


def _langevin(langevin: Langevin) -> Prediction:
    η, λ = _constant(langevin, "learning_rate"), _constant(langevin, "weight_decay")
    x, targets = _examples(langevin.problem)
    H = x.T @ x / x.shape[0]
    K = H + λ * jnp.eye(H.shape[0])
    drift = K if langevin.order == 1 else K + η / 2 * K @ K
    A = jnp.kron(jnp.eye(targets.shape[1]), drift)
    columns = [LangevinMoments(x, y, learning_rate=η, sampling_factor=0.0, weight_decay=λ) for y in targets.T]
    mean = jnp.concatenate([column.mean for column in columns])
    if _is_constant(langevin.noise):
        noise = η * _symmetric(langevin.noise.covariance(mean))
        law = OrnsteinUhlenbeck(A, noise, mean)
        M, form = law.stationary_covariance(), "continuous time, additive noise"
    else:
        M = _multiplicative(langevin, η, λ, x, targets)
        law = OrnsteinUhlenbeck(A, _symmetric(A @ M + M @ A), mean)
        form = "multiplicative: continuous time, state-dependent noise"
    rates = jnp.linalg.eigvalsh(drift)
    rate = jnp.where(rates[0] > 1e-13 * rates[-1], rates[0], 0)
    return Prediction(mean, M, None, law, rate, η, form, fingerprint(langevin))


def _multiplicative(langevin: Langevin, η: Scalar, λ: Scalar, x: Array, targets: Array) -> Matrix:
    finite_sample, label_noise = _parts(langevin.noise)
    if finite_sample is None or langevin.order != 1:
        raise ValueError(
            f"noise = {type(langevin.noise).__name__} in order {langevin.order}, but predict() knows the law of "
            "finite-sample noise in order 1 and of state-independent noise (noise.frozen, hessian_proportional, "
            "isotropic) only. Use one of them, or simulate."
        )
    for part in (finite_sample, label_noise):
        if part is not None and not _same_data(part.problem, langevin.problem):
            raise ValueError("noise is that of other data than the problem's, for which predict() has no law.")
    c = finite_sample.factor
    columns = [LangevinMoments(x, y, learning_rate=η, sampling_factor=c, weight_decay=λ) for y in targets.T]
    batch_size = jnp.inf if label_noise is None else label_noise.batch_size
    blocks = _blocks(columns, c, x, targets, λ, _label_noise(langevin.problem, batch_size, x))
    return _assembled(blocks, parts=1)


def _linear_process(process: LinearProcess) -> Prediction:
    law = LinearRecursion(process.decay, _symmetric(process.kick @ process.kick.T))
    rate = _slowest(process.decay) / process.duration
    covariance = law.stationary_covariance()
    return Prediction(
        process.mean, covariance, None, law, rate, process.duration, "exact transitions", fingerprint(process)
    )


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
    return _symmetric(M.reshape(parts * outputs * inputs, parts * outputs * inputs))


def _recursion(F: Array, phase: Matrix, outputs: int, momentum: Any) -> LinearRecursion:
    """x ← F x + e with the noise that the stationary covariance implies; over θ alone without momentum."""
    d = F.shape[0] // 2
    parts = [[jnp.kron(jnp.eye(outputs), F[i : i + d, j : j + d]) for j in (0, d)] for i in (0, d)]
    T, M = jnp.block(parts), phase
    if _checks.is_concrete(momentum) and float(momentum) == 0:
        T, M = parts[0][0], phase[: d * outputs, : d * outputs]
    return LinearRecursion(T, _positive_part(M - T @ M @ T.T))


# --- what a dynamics is made of -----------------------------------------------------------------------------


def _regression_data(problem: Problem) -> AbstractFiniteData:
    if isinstance(problem.data, AbstractFiniteData) and problem.is_linear_regression:
        return problem.data
    raise ValueError(
        f"dynamics trains a {type(problem.network).__name__} with {problem.example_loss.__name__} on a "
        f"{type(problem.data).__name__}, but predict() knows the law of networks.Linear with squared_error on "
        "a finite data set only. Simulate it."
    )


def _check_minimum(dynamics: SGD | Langevin, θ: Vector) -> None:
    problem, λ = dynamics.problem, _constant(dynamics, "weight_decay")
    gradient = jnp.linalg.norm(problem.gradient(θ) + λ * θ)
    scale = jnp.linalg.norm(problem.gradient(jnp.zeros_like(θ)))
    _checks.require(
        "|gradient| at `at`", gradient, gradient <= 1e-6 * (1 + scale),
        allowed="zero to 6 digits: `at` is no minimum", remedy="Use problem.minimum(weight_decay), or at=None.",
    )  # fmt: skip


def _constant(dynamics: SGD | Langevin, name: str) -> Scalar:
    value = getattr(dynamics, name)
    if callable(value):
        raise ValueError(f"{name} is a schedule, but a stationary law needs a constant {name}.")
    return value.astype(jnp.float64)


def _examples(problem: Problem) -> tuple[Float[Array, "samples inputs"], Float[Array, "samples outputs"]]:
    data = _regression_data(problem)
    x, y = data.x.astype(jnp.float64), data.y.astype(jnp.float64)
    return x, y.reshape(x.shape[0], -1)


def _batch_size(sgd: SGD) -> int:
    sampler = sgd.sampler
    return sampler.batch_size if isinstance(sampler, AbstractIndexSampler) else _regression_data(sgd.problem).samples


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


def _slowest(transition: Matrix) -> Scalar:
    """−ln of the largest modulus of the eigenvalues: the slowest decay, per step."""
    modulus = jnp.max(jnp.abs(jnp.linalg.eigvals(transition)))
    # 1 to rounding: a direction that never relaxes
    return jnp.where(modulus < 1 - 1e-13, -jnp.log(modulus), 0)


def _symmetric(M: Matrix) -> Matrix:
    return (M + M.T) / 2


def _positive_part(M: Matrix) -> Matrix:
    """M without the negative eigenvalues that rounding leaves."""
    values, vectors = jnp.linalg.eigh(_symmetric(M))
    return (vectors * jnp.maximum(values, 0)[None, :]) @ vectors.T
