"""Fig. 16: trajectories in a toy loss of two directions, one far above the crossover and one far below.

    L(θ) = ½ (h₁ θ₁² + h₂ θ₂²),      C ∝ H,      h_cross = 3(1 − β)/(ηM)

With replacement Σ ∝ 1 (slides, "Hessian noise approximation"); in epochs the flat direction fluctuates less. There
each epoch is a bridge: its noise sums to zero, so that the weights return at its end and stray in its middle. The
variance averaged over the position in the epoch is (14); at each position it is `theory.epochs.position_variances`.

The loss is a regression on P examples, each of which shows one direction alone, x = (√(2h₁), 0) or (0, √(2h₂)), with
target ±σ, as often + as −. Then H = diag(h₁, h₂), C₁ = σ² H at the minimum θ = 0, and the mean is 0 at any learning
rate, by symmetry. Away from the minimum a batch has another curvature, Cov(δH_ii) = h_i² c; of the noise's variance
that is the part h_i σ_θ,i²/σ², about ηh_i/(2S(1 − β)), 0.8 % in the steep direction at the values below. It does not
leak into the other direction, as it would if an example showed both: the noise h₁ θ₁ there does not sum to zero over
an epoch (catalogue: static noise fails in flat directions).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.data import Dataset
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import dataset, measurement, variable
from sgdynamics.experiments.kuehn2025._fig16_claims import (
    DIRECTIONS,
    Run,
    Toy,
    bridge_claims,
    claims_between,
    claims_of,
)
from sgdynamics.experiments.kuehn2025._setting import Setting
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.samplers import Epochs, WithReplacement
from sgdynamics.statistics import PhaseSpace, Snapshots

NAMES = {"epochs": Epochs, "with replacement": WithReplacement}
DRAWN_EPOCHS = 2
ENSEMBLE = 256  # replicas at one instant that are drawn


@dataclass(frozen=True)
class Fig16Config:
    """An ensemble of SGD in the toy loss, for both ways to choose examples."""

    samples: int = 2000
    """Examples P, a multiple of 4 and of the batch size."""
    batch_size: int = 10
    """Minibatch size S."""
    momentum: float = 0.9
    """Momentum β, in [0, 1)."""
    learning_rate: float = 0.1
    """Learning rate η; time t = η × step. It sets the units: curvatures are relative to the crossover."""
    steep: float = 10.0
    """h₁ over the crossover curvature."""
    flat: float = 0.1
    """h₂ over the crossover curvature."""
    label_noise_std: float = 1.0
    """σ, the size of the targets."""
    replicas: int = 1024
    """SGD replicas of each sampling."""
    relaxations: float = 4.0
    """Steps before the first record, in relaxation times (1 − β)/(ηh₂) of the flat direction; rounded to epochs."""
    epochs: int = 5
    """Epochs of which every step is recorded."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("samples", "batch_size"):
            _checks.count(name, getattr(self, name))
        _checks.count("replicas", self.replicas, least=ENSEMBLE)
        _checks.count("epochs", self.epochs, least=DRAWN_EPOCHS)
        for name in ("learning_rate", "steep", "flat", "label_noise_std", "relaxations"):
            _checks.positive(name, getattr(self, name))
        _checks.require("momentum", self.momentum, 0 <= self.momentum < 1, allowed="in [0, 1)")
        _checks.require("steep", self.steep, self.steep > 1, allowed="above 1, the crossover")
        _checks.require("flat", self.flat, self.flat < 1, allowed="below 1, the crossover")
        whole = self.samples % 4 == 0 and self.samples % self.batch_size == 0 and self.batches >= 4
        _checks.require("samples", self.samples, whole, allowed="a multiple of 4 and of batch_size, at least 4 times")
        stable = self.learning_rate * self.curvatures[0] < 1 + self.momentum
        _checks.require("steep", self.steep, stable, allowed="such that ηh₁ < 1 + β")

    @property
    def batches(self) -> int:
        """M."""
        return self.samples // self.batch_size

    @property
    def curvatures(self) -> np.ndarray:
        """h₁ and h₂."""
        setting = Setting(self.learning_rate, self.momentum, self.batch_size, self.samples)
        return np.array([self.steep, self.flat]) * setting.crossover

    @property
    def burn_in(self) -> int:
        """Whole epochs."""
        relaxation = (1 - self.momentum) / (self.learning_rate * self.curvatures[1])
        return self.batches * int(np.ceil(self.relaxations * max(relaxation, self.batches) / self.batches))


def problem(config: Fig16Config) -> sgd.Problem:
    """The regression whose loss is the toy's, but for a constant."""
    direction, sign = np.divmod(np.arange(config.samples) % 4, 2)
    x = np.sqrt(2 * config.curvatures) * np.eye(2)[direction]
    y = config.label_noise_std * (1.0 - 2.0 * sign)
    return sgd.Problem(sgd.networks.Linear(2, 1), Dataset(x, y))


def run(config: Fig16Config, progress: Progress) -> Result:
    """Two ensembles from the minimum, at every step of a few epochs, against the exact variances."""
    runs, ensembles = {}, {}
    for name in NAMES:
        runs[name], ensembles[name] = _simulated(name, config, progress)
    claims = [claim for run in runs.values() for claim in claims_of(run)]
    claims += claims_between(runs["epochs"], runs["with replacement"])
    claims += bridge_claims(runs["epochs"])
    return Result(_data(runs, config), claims, ensembles)


def _simulated(name: str, config: Fig16Config, progress: Progress) -> tuple[Run, dict]:
    toy, sampler = problem(config), NAMES[name](config.batch_size)
    dynamics = sgd.SGD(toy, learning_rate=config.learning_rate, sampler=sampler, momentum=config.momentum)
    steps = config.epochs * config.batches
    ensemble = _ensembles.simulate(
        dynamics, Snapshots(tuple(range(1, steps + 1)), of=PhaseSpace(jnp.eye(2))), progress, name,
        key=jax.random.key(config.seed), replicas=config.replicas, burn_in=config.burn_in, steps=steps,
        initial=jnp.zeros(2),
    )  # fmt: skip
    path = np.asarray(ensemble.estimates.values, float).reshape(steps, config.replicas, 2, 2)
    path[:, :, 1] *= config.learning_rate  # u = ηv
    return Run(name, path, _toy(config, float(sampler.covariance_factor(toy.data)))), ensemble.provenance


def _toy(config: Fig16Config, factor: float) -> Toy:
    """What theory needs: C = c σ² H."""
    h = config.curvatures
    C = factor * config.label_noise_std**2 * h
    return Toy(h, C, config.learning_rate, config.momentum, config.batches, config.label_noise_std)


def _data(runs: dict[str, Run], config: Fig16Config):
    """Variances at each position, two epochs of one replica, and the ensemble at the middle of an epoch."""
    M = config.batches
    variables = {}
    for name, run in runs.items():
        short = name.replace(" ", "_")
        by_position = over_realisations(run.squares_by_position[:, 0])
        words = f"variance of the weights, {name}"
        variables |= measurement(f"{short}_variance", ("direction", "position"), by_position, words, "[w]²")
        expected = run.expected_by_position[0]
        variables[f"{short}_variance_theory"] = variable(("direction", "position"), expected, f"{words}, exact", "[w]²")
        average = np.asarray(run.expected[0])
        variables[f"{short}_average"] = variable("direction", average, f"{words}, average over positions", "[w]²")
        path = run.path[: DRAWN_EPOCHS * M, 0, 0]
        variables[f"{short}_path"] = variable(("step", "direction"), path, f"weights of one replica, {name}", "[w]")
        cloud = run.path[M // 2 - 1, :ENSEMBLE, 0]
        words = f"weights of the ensemble in the middle of an epoch, {name}"
        variables[f"{short}_cloud"] = variable(("replica", "direction"), cloud, words, "[w]")
    coordinates = {
        "direction": variable("direction", list(DIRECTIONS), "direction of the loss"),
        "position": variable("position", np.arange(1, M + 1), "batches done in the epoch"),
        "step": variable("step", np.arange(1, DRAWN_EPOCHS * M + 1), "step"),
        "curvature": variable("direction", config.curvatures, "curvature", "1/[t]"),
    }
    return dataset(variables, coordinates)


FIG16 = register(
    Experiment(
        name="kuehn2025/fig16",
        summary="trajectories and their covariance in a loss of a steep and a flat direction",
        source=source("Fig. 16"),
        config=Fig16Config,
        presets={"quick": Fig16Config(), "paper": Fig16Config(replicas=4096, relaxations=8.0, epochs=10)},
        run=run,
        figure="kuehn2025/fig16",
    )
)
"""Fig. 16: trajectories in the toy loss."""
