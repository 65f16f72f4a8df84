"""The data set, prior and ensembles of App. B's experiment: SGD as an optax chain, with its exact covariance."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles, _regression
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.statistics import Covariance, Estimate
from sgdynamics.theory import bayesian

BLOCK = 64  # steps between records are multiples of it, or divisors
RELAXATIONS = 5  # of the slowest mode before the first record: its variance is then off by e⁻¹⁰

exact = once(bayesian.regression_covariance)
_averaged_noise = once(bayesian.averaged_noise)


@dataclass(frozen=True)
class BayesianConfig:
    """How near the law of SGD with injected noise, or of preconditioned SGD, is to the posterior."""

    inputs: int = 8
    """N."""
    samples: int = 12
    """P, more than N; P/N about 1.5 breaks detailed balance."""
    label_noise_std: float = 0.5
    """Standard deviation σ of the label noise."""
    batch_size: int = 4
    """Minibatch size S, drawn with replacement."""
    weight_decay: float = 0.02
    """λ, the prior's: its variance is σ²/(λP)."""
    learning_rate: float = 0.4
    """Learning rate η where the injected variance is swept; time t = η × step."""
    variances: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0)
    """Injected variances v, in units of the minibatch noise tr C/N."""
    learning_rates: tuple[float, ...] = (0.8, 0.4, 0.2, 0.1)
    """Learning rates η at the posterior's temperature T = σ²/P, descending; the last is half the one before."""
    temperature: float = 0.005
    """Temperature of preconditioned SGD, in units of the posterior's, σ²/P."""
    replicas: int = 2048
    """Replicas of each ensemble."""
    relaxations: float = 24.0
    """Length of the records, in relaxation times of the slowest mode."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("inputs", "batch_size", "replicas"):
            _checks.count(name, getattr(self, name))
        _checks.count("samples", self.samples, least=self.inputs + 1)
        for name in ("label_noise_std", "weight_decay", "learning_rate", "temperature", "relaxations"):
            _checks.positive(name, getattr(self, name))
        for name in ("variances", "learning_rates"):
            _checks.positive(name, np.array(getattr(self, name)))
        η = self.learning_rates
        halved = len(η) > 1 and np.isclose(η[-1], η[-2] / 2)
        _checks.require("learning_rates", η, halved, allowed="at least two, the last half the one before")


class Case(NamedTuple):
    """One data set with its prior: x [samples, inputs], y [samples], K, C at the minimum, T of the posterior."""

    regression: _regression.Regression
    x: np.ndarray
    y: np.ndarray
    minimum: np.ndarray
    hessian: np.ndarray
    noise: np.ndarray
    temperature: float
    weight_decay: float

    @property
    def scale(self) -> float:
        """tr C/N."""
        return float(np.trace(self.noise)) / len(self.noise)

    def noise_over(self, covariance: np.ndarray) -> np.ndarray:
        """C(M)."""
        return _noise(self.x, self.y, covariance, self.regression.batch_size, self.weight_decay)

    def gibbs(self, temperature: float) -> np.ndarray:
        """T K⁻¹."""
        return temperature * np.linalg.inv(self.hessian)


class Run(NamedTuple):
    """A measured covariance beside the exact one."""

    measured: Estimate
    exact: np.ndarray
    provenance: dict[str, Any]


def drawn(config: BayesianConfig, key: jax.Array) -> Case:
    regression = _regression.teacher_student(
        _ensembles.named(key, "data"), samples=config.samples, inputs=config.inputs,
        label_noise_std=config.label_noise_std, learning_rate=config.learning_rate, batch_size=config.batch_size,
    )  # fmt: skip
    x, y, λ = np.asarray(regression.data.x), np.asarray(regression.data.y).reshape(-1), config.weight_decay
    K = x.T @ x / len(x) + λ * np.eye(config.inputs)
    minimum = np.linalg.solve(K, x.T @ y / len(x))
    C = _noise(x, y, np.zeros_like(K), config.batch_size, λ)
    return Case(regression, x, y, minimum, K, C, config.label_noise_std**2 / len(x), λ)


def _noise(x: np.ndarray, y: np.ndarray, covariance: np.ndarray, batch_size: int, weight_decay: float) -> np.ndarray:
    return np.asarray(_averaged_noise(x, y, covariance, sampling_factor=1 / batch_size, weight_decay=weight_decay))


def preconditioners(config: BayesianConfig, case: Case) -> dict[str, Any]:
    """Of plain SGD, and of the two that should sample at the lower temperature."""
    T, K = config.temperature * case.temperature, case.hessian
    G = case.noise_over(case.gibbs(T)) + T * K
    scale = 2 * T / config.learning_rate
    return {
        "plain": np.eye(config.inputs),
        "preconditioned": scale * np.linalg.inv(G),
        "frozen": scale * np.linalg.inv(case.noise),
    }


def simulated(
    config: BayesianConfig, case: Case, η: float, v: float, progress: Progress, label: str, key: jax.Array,
    A: np.ndarray | None = None,
) -> Run:  # fmt: skip
    """An ensemble, as an optax chain, from the minimum until long after its slowest mode has relaxed."""
    A = np.eye(config.inputs) if A is None else A
    transformation = _transformation(η, v, A, case.weight_decay, _ensembles.named(key, "injected"))
    descent = sgd.Descent(case.regression.problem, transformation, config.batch_size)
    burn_in, steps, every = _lengths(config, case, η, A)
    ensemble = _ensembles.simulate(
        descent, Covariance(), progress, label, key=key, replicas=config.replicas, burn_in=burn_in, steps=steps,
        every=every, initial=jnp.asarray(case.minimum),
    )  # fmt: skip
    law = exact(
        case.x, case.y, learning_rate=jnp.asarray(η), sampling_factor=1 / config.batch_size, preconditioner=A,
        injected_variance=jnp.asarray(v), weight_decay=case.weight_decay,
    )  # fmt: skip
    return Run(ensemble.estimates, np.asarray(law), ensemble.provenance)


def _transformation(
    η: float, v: float, A: np.ndarray, λ: float, key: jax.Array
) -> optax.GradientTransformationExtraArgs:
    """The chain, with its numbers as data and not as constants: all ensembles share one compiled program."""
    numbers = (*(jnp.asarray(number) for number in (η, v, A, λ)), key)
    return optax.GradientTransformationExtraArgs(Partial(_init, numbers), Partial(_update, numbers))


def _chain(numbers: tuple[Any, ...]) -> Any:
    η, v, A, λ, key = numbers
    return optax.chain(
        optax.add_decayed_weights(λ), sgd.dynamics.inject_noise(v, key), sgd.dynamics.precondition(A), optax.sgd(η)
    )


def _init(numbers: tuple[Any, ...], parameters: Any) -> Any:
    return _chain(numbers).init(parameters)


def _update(numbers: tuple[Any, ...], gradient: Any, state: Any, parameters: Any, **more: Any) -> Any:
    return _chain(numbers).update(gradient, state, parameters, **more)


def _lengths(config: BayesianConfig, case: Case, η: float, A: np.ndarray) -> tuple[int, int, int]:
    """Burn-in, steps and steps between records: multiples of one block, so that fewer programs are compiled."""
    time = 1 / (η * np.min(np.linalg.eigvals(A @ case.hessian).real))
    every = 2 ** max(0, round(np.log2(time / 4)))
    blocks = lambda times, size: size * int(np.ceil(times * time / size))
    return blocks(RELAXATIONS, BLOCK), blocks(config.relaxations, every), every
