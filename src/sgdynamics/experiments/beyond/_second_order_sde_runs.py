"""Ensembles at points of the map (ηK, β): minibatch SGD, the SDE (3) by exact transitions, and Euler-Maruyama of (3).

One input x = ±1 and labels of noise: K = 1 whatever the example, so that the noise of the minibatch gradient does not
depend on θ, and of all approximations in (3) only that of discrete time by continuous time is left.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments.beyond._second_order_sde_map import MEASURED, euler_transition, from_lags, persistence_steps
from sgdynamics.statistics import Autocovariance, Displacement, Estimate, PhaseSpace
from sgdynamics.theory.harmonic import HarmonicUnderdamped

_predict = once(sgd.predict)
SETTLED = 20  # relaxation times of Euler-Maruyama before it is recorded


@dataclass(frozen=True)
class SecondOrderConfig:
    """The map, and where on it ensembles are run."""

    grid: int = 121
    """Points of the map along each axis."""
    smallest: float = 0.003
    """Its smallest ηK; the largest is 4."""
    largest_momentum: float = 0.995
    """Its largest β; the smallest is 0."""
    momenta: tuple[float, ...] = (0.0, 0.0, 0.5, 0.5, 0.9, 0.9, 0.9, 0.99, 0.99)
    """β of the ensembles."""
    stiffnesses: tuple[float, ...] = (0.02, 1.5, 0.02, 1.0, 0.01, 0.5, 1.5, 0.1, 1.5)
    """Their ηK, one for each β, below 2(1 + β)."""
    samples: int = 64
    """P, even."""
    batch_size: int = 4
    """Minibatch size S, drawn with replacement."""
    label_noise_std: float = 0.5
    """Standard deviation σ of the labels."""
    replicas: int = 4096
    """Replicas of each ensemble."""
    steps: int = 400
    """Steps of each, from its stationary law."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        _checks.count("grid", self.grid, least=2)
        _checks.count("samples", self.samples, least=4)
        _checks.require("samples", self.samples, self.samples % 2 == 0, allowed="even")
        for name in ("batch_size", "replicas"):
            _checks.count(name, getattr(self, name))
        for name in ("smallest", "label_noise_std"):
            _checks.positive(name, getattr(self, name))
        _checks.require("smallest", self.smallest, self.smallest < 4, allowed="below 4")
        for name in ("momenta", "largest_momentum"):
            _checks.momentum(name, np.asarray(getattr(self, name)))
        paired = len(self.momenta) == len(self.stiffnesses) > 0
        _checks.require("stiffnesses", self.stiffnesses, paired, allowed="one for each of momenta")
        α, β = np.asarray(self.stiffnesses), np.asarray(self.momenta)
        _checks.require("stiffnesses", α, (α > 0) & (α < 2 * (1 + β)), allowed="above 0 and below 2(1 + β)")
        _checks.count("steps", self.steps, least=int(2 * persistence_steps(β).max()))


@dataclass(frozen=True)
class Point:
    """A point of the map. η = α, because K = 1."""

    stiffness: float
    momentum: float

    @property
    def label(self) -> str:
        return f"β = {self.momentum:g}, ηK = {self.stiffness:g}"

    @property
    def euler_is_stable(self) -> bool:
        return self.stiffness < 1 - self.momentum


class Number(NamedTuple):
    """A measured number, as a claim takes it."""

    measured: float
    standard_error: float
    degrees_of_freedom: float

    def over(self, unit: float) -> "Number":
        return Number(self.measured / unit, self.standard_error / abs(unit), self.degrees_of_freedom)


Row = dict[str, Number]


def number(estimate: Estimate, index: int, unit: float) -> Number:
    """One component, in a unit."""
    freedom = float(estimate.degrees_of_freedom)
    return Number(float(estimate.value[index]), float(estimate.standard_error[index]), freedom).over(unit)


def ratio(a: Number, b: Number) -> Number:
    """Of independent numbers; the fewer degrees of freedom are on the safe side."""
    error = np.hypot(a.standard_error / b.measured, a.measured * b.standard_error / b.measured**2)
    return Number(a.measured / b.measured, float(error), min(a.degrees_of_freedom, b.degrees_of_freedom))


def difference(a: Number, b: Number) -> Number:
    error = float(np.hypot(a.standard_error, b.standard_error))
    return Number(a.measured - b.measured, error, min(a.degrees_of_freedom, b.degrees_of_freedom))


@dataclass(frozen=True)
class Case:
    """The regression, and what is measured of it."""

    config: SecondOrderConfig
    problem: sgd.Problem
    noise_variance: float

    def measured(self, point: Point, which: str, dynamics: Any, progress: Progress, **start: Any) -> tuple[Row, dict]:
        """All of `MEASURED` and the displacements, in units of C and η; and the provenance."""
        label = f"{point.label}, {which}"
        statistics = {"lags": Autocovariance((0, 1), of=PhaseSpace(jnp.eye(1))), "moved": Displacement(self.distances)}
        ensemble = _ensembles.simulate(
            dynamics, statistics, progress, label, key=jax.random.key(self.config.seed),
            replicas=self.config.replicas, steps=self.config.steps, **start,
        )  # fmt: skip
        lags, moved = ensemble.estimates["lags"].map(from_lags), ensemble.estimates["moved"]
        C, η = self.noise_variance, point.stiffness
        units = {"variance": η**2 * C, "speed": C}
        row = {name: number(lags, i, units.get(name, 1.0)) for i, name in enumerate(MEASURED)}
        after = {"step": 1, "persistence": int(persistence_steps(point.momentum))}
        row |= {name: number(moved, self.distances.index(n), η**2 * C) for name, n in after.items()}
        return row, ensemble.provenance

    @property
    def distances(self) -> tuple[int, ...]:
        """In steps."""
        return tuple(sorted({1, *persistence_steps(self.config.momenta).tolist()}))

    def descent(self, point: Point) -> sgd.SGD:
        return sgd.SGD(
            self.problem, learning_rate=point.stiffness, sampler=self.config.batch_size, momentum=point.momentum
        )

    def equation(self, point: Point) -> sgd.dynamics.LinearModes:
        """The SDE (3) about θ = 0, stepped exactly: there are no substeps to converge in."""
        η, β = point.stiffness, point.momentum
        c0 = 2 / (η * (1 + β))
        kicks = jnp.zeros((1, 2, 2)).at[0, 1, 1].set(c0**2 * η * self.noise_variance)
        law = HarmonicUnderdamped(jnp.ones(1), jnp.full((1, 1), self.noise_variance), learning_rate=η, momentum=β)
        return sgd.dynamics.LinearModes(law.mode_drift(), kicks, time_step=η)

    def euler(self, point: Point) -> sgd.UnderdampedLangevin:
        """Euler-Maruyama of (3), its time step the learning rate. In one dimension isotropic noise is what it is, and
        one normal number a step does."""
        noise = sgd.noise.isotropic(self.problem, self.config.batch_size, variance=self.noise_variance)
        return sgd.UnderdampedLangevin(
            self.problem, learning_rate=point.stiffness, sampler=self.config.batch_size, momentum=point.momentum,
            noise=noise, substeps=1, scheme="euler",
        )  # fmt: skip


def case(config: SecondOrderConfig) -> Case:
    """x = ±1, y ~ N(0, σ²); C = mean squared residual/S at the minimum."""
    ε = jax.random.normal(_ensembles.named(jax.random.key(config.seed), "data"), (config.samples,))
    x, y = np.resize([1.0, -1.0], config.samples), config.label_noise_std * np.asarray(ε, float)
    residual = y - x * np.mean(x * y)
    problem = sgd.Problem(sgd.networks.Linear(1, 1), sgd.data.Dataset(x[:, None], y))
    return Case(config, problem, float(np.mean(residual**2)) / config.batch_size)


def points(config: SecondOrderConfig) -> list[Point]:
    return [Point(α, β) for α, β in zip(config.stiffnesses, config.momenta, strict=True)]


def stationary(case: Case, point: Point, which: str, progress: Progress) -> tuple[Row, dict]:
    """The ensemble "SGD" or "SDE", from its law."""
    dynamics = case.descent(point) if which == "SGD" else case.equation(point)
    return case.measured(point, which, dynamics, progress, initial=_predict(dynamics))


def settled(case: Case, point: Point, progress: Progress) -> tuple[Row, dict]:
    """Euler-Maruyama from rest, once the start is forgotten."""
    slowest = np.max(np.abs(np.linalg.eigvals(euler_transition(point.stiffness, point.momentum))))
    burn_in = int(np.ceil(-SETTLED / np.log(slowest)))
    return case.measured(point, "Euler", case.euler(point), progress, initial=jnp.zeros(1), burn_in=burn_in)
