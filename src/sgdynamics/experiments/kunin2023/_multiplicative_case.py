"""The settings of `kunin2023/multiplicative_noise`, its data sets, and one of them at one learning rate."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics._types import RealScalar
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments.kunin2023 import _multiplicative_law as law
from sgdynamics.theory.recursion import largest_stable_learning_rate

_traces = once(law.traces)
_largest = once(largest_stable_learning_rate)
SLOPE = 1e-3  # ε at which the leading order is read off


@dataclass(frozen=True)
class MultiplicativeNoiseConfig:
    """The covariance of SGD against the law with frozen noise, over momentum and learning rate."""

    inputs: int = 8
    """Number of inputs d."""
    samples: int = 300
    """Number of samples N of the large data set, Gaussian and elliptical."""
    few_samples: int = 24
    """N of the small data set."""
    momenta: tuple[float, ...] = (0.0, 0.5, 0.9, 0.99)
    """Momenta β, in [0, 1)."""
    strengths: tuple[float, ...] = (0.1, 0.3)
    """ε, which with β sets the learning rate; time t = η × step."""
    contrast: float = 0.8
    """a of examples √g z, g = 1 − a or 1 + a with equal probability: κ = 1 + a²."""
    few_momentum: float = 0.9
    """β of the elliptical and of the small data set."""
    batch_size: int = 4
    """Minibatch size S, drawn with replacement."""
    label_noise_std: float = 0.5
    """Standard deviation σ of the label noise."""
    replicas: int = 1024
    """SGD replicas of each ensemble."""
    steps: int = 2000
    """SGD steps."""
    every: int = 20
    """Steps between two records."""
    growth_momentum: float = 0.99
    """β of the run beyond the limit of second moments."""
    growth: float = 1.5
    """Its learning rate, in units of the largest one."""
    growth_steps: int = 400
    """Its steps."""
    slope_samples: int = 2000
    """N of the data sets over which the leading order is averaged."""
    realisations: int = 32
    """Their number."""
    few_realisations: int = 20_000
    """Data sets over which Assumption 5 is averaged."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("inputs", "batch_size", "replicas", "steps", "every", "growth_steps"):
            _checks.count(name, getattr(self, name))
        for name in ("samples", "few_samples", "slope_samples"):
            _checks.count(name, getattr(self, name), least=self.inputs + 2)
        for name in ("realisations", "few_realisations"):
            _checks.count(name, getattr(self, name), least=2)
        _checks.positive("label_noise_std", self.label_noise_std)
        _checks.require("growth", self.growth, self.growth > 1, allowed="above 1")
        _checks.require("contrast", self.contrast, 0 < self.contrast < 1, allowed="in (0, 1)")
        for name in ("few_momentum", "growth_momentum"):
            _checks.momentum(name, getattr(self, name))
        for name, least in (("momenta", 0), ("strengths", SLOPE)):
            values = list(getattr(self, name))
            allowed = f"ascending, at least two, and in [{least}, 1)"
            good = len(values) > 1 and values == sorted(set(values)) and values[0] >= least and values[-1] < 1
            _checks.require(name, values, good, allowed=allowed)

    @property
    def kurtosis(self) -> float:
        """κ of the elliptical data."""
        return 1 + self.contrast**2


@dataclass(frozen=True)
class Case:
    """One data set at one setting; the learning rate from ε."""

    data: sgd.data.Dataset
    config: MultiplicativeNoiseConfig
    β: float
    ε: float

    @property
    def η(self) -> float:
        return 2 * self.config.batch_size * (1 - self.β) * self.ε / float(jnp.sum(self.data.x**2) / len(self.data.x))

    @property
    def descent(self) -> sgd.SGD:
        return sgd.SGD(
            sgd.Problem(sgd.networks.Linear(self.data.x.shape[1], 1), self.data), learning_rate=jnp.asarray(self.η),
            sampler=self.config.batch_size, momentum=jnp.asarray(self.β),
        )  # fmt: skip

    @cached_property
    def traces(self) -> tuple[float, float]:
        """tr Cov θ, exact and with the noise of the minimum."""
        η, β = jnp.asarray(self.η), jnp.asarray(self.β)
        exact, frozen = _traces(self.data.x, self.data.y, η, β, self.config.batch_size)
        return float(exact), float(frozen)

    @property
    def excess(self) -> float:
        """What multiplicative noise adds, relative to frozen noise."""
        exact, frozen = self.traces
        return exact / frozen - 1

    @property
    def gaussian_excess(self) -> float:
        """The same of infinitely many Gaussian samples with the Hessian of these data."""
        x, c = np.asarray(self.data.x), self.config
        M, frozen, _ = law.gaussian_variances(
            np.linalg.eigvalsh(x.T @ x / len(x)), label_noise_std=c.label_noise_std, learning_rate=self.η,
            momentum=self.β, batch_size=c.batch_size,
        )  # fmt: skip
        return float(np.sum(M) / np.sum(frozen) - 1)

    @property
    def assumed(self) -> float:
        """tr Cov θ by Assumption 5 and the SDE."""
        c = self.config
        return self.η * c.label_noise_std**2 * c.inputs / (2 * c.batch_size * (1 - self.β))

    @property
    def against_assumption(self) -> float:
        """tr Cov θ, exact, in units of that by Assumption 5."""
        return self.traces[0] / self.assumed


def gaussian(config: MultiplicativeNoiseConfig, key: jax.Array, samples: int) -> sgd.data.Dataset:
    """x ~ N(0, 1/d), y = u·x + ε."""
    return sgd.data.teacher_student(
        key, samples=samples, inputs=config.inputs, label_noise_std=config.label_noise_std
    )  # fmt: skip


def elliptical(
    config: MultiplicativeNoiseConfig, key: jax.Array, samples: int, contrast: RealScalar
) -> sgd.data.Dataset:
    """The same with each example longer or shorter by √g (contrast 0: Gaussian), and teacher 0: it changes nothing."""
    x_key, sign_key, noise_key = jax.random.split(key, 3)
    g = 1 + contrast * jax.random.rademacher(sign_key, (samples,), float)
    x = jnp.sqrt(g / config.inputs)[:, None] * jax.random.normal(x_key, (samples, config.inputs))
    return sgd.data.Dataset(x, config.label_noise_std * jax.random.normal(noise_key, (samples,)))


def cancellation(data: sgd.data.Dataset, config: MultiplicativeNoiseConfig) -> float:
    """The ε at which tr Cov θ is by accident what Assumption 5 says, by bisection."""
    ratio = lambda ε: Case(data, config, config.few_momentum, ε).against_assumption
    largest = float(limit(data, config, config.few_momentum))
    low, high = SLOPE, 0.95 * largest / Case(data, config, config.few_momentum, 1.0).η
    if not ratio(low) < 1 < ratio(high):
        raise ValueError(
            f"seed = {config.seed}, few_samples = {config.few_samples}, but on these data Assumption 5 agrees at no "
            "learning rate: its errors have the same sign. Take fewer samples, or another seed."
        )
    for _ in range(20):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if ratio(middle) < 1 else (low, middle)
    return float(low)


def limit(data: sgd.data.Dataset, config: MultiplicativeNoiseConfig, β: float) -> Any:
    return _largest(data.x, sampling_factor=1 / config.batch_size, momentum=jnp.asarray(β))
