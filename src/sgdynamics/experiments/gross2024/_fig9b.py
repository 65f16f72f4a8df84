"""Fig. 9(b): the loss along the principal directions of the first layer's fluctuations, beyond the N_i that linear
theory has.

    δL(θ v) = ½ θ² tr(W₂ v S_xx vᵀ W₂ᵀ) = ½ θ² κ(v),      v: [hidden, inputs], |v| = 1, W₂ = S₂ uᵀ for one output

Linear theory lets δW₁ = u bᵀ fluctuate alone, in N_i directions: κ = D₂ bᵀ S_xx b, σ_x² D₂ for white inputs whatever
the variance, which runs from (η σ_e²/2S) D₂/(D₁ + D₂) to η σ_e²/2S. There is no inverse variance-flatness relation.

All directions with uᵀ v = 0 are null: W₂ v = 0, so that δL is 0 for any amplitude. SGD and the SDE (3.15) move along
them all the same, as the force and the noise on W₁, (W₂ + δW₂)ᵀ e xᵀ, leave the direction of u: their variance is of
second order in the noise and grows with time. Principal directions beyond N_i are therefore null up to sampling, and
the loss drops there; linear theory has no such directions.

SGD and SDE start from linear response's law, without spread in null directions; even the slowest mode forgets half of
its variance at the start until the mean record. The SDE's time step is
η/substeps; it is run with two numbers of substeps, between which nothing may change.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments import _ensembles, _two_layer
from sgdynamics.experiments._flatness import mapped
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._two_layer import TwoLayer
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.gross2024._fig9b_claims import WORDS, claims
from sgdynamics.experiments.gross2024._fig9b_layer import Measured, curvatures, first_modes, measure, range_directions
from sgdynamics.experiments.gross2024._principal import GROUPS
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Projection, Snapshots

RECORDS = 4  # snapshots, equally spaced


@dataclass(frozen=True)
class Fig9bConfig:
    """SGD and its SDE about a minimum of a two-layer linear network on pure noise."""

    inputs: int = 30
    """N_i; σ_x² = 1/N_i."""
    hidden: int = 20
    """N_h."""
    samples: int = 300
    """P."""
    label_noise_std: float = 1.0
    """Standard deviation of the targets."""
    learning_rate: float = 0.1
    """Learning rate η; time t = η × step."""
    batch_size: int = 100
    """Minibatch size S, drawn with replacement."""
    replicas: int = 1024
    """Replicas of each ensemble; half of them give directions, half variances."""
    steps: int = 400
    """Steps of η, a multiple of 4: four snapshots are taken."""
    substeps: tuple[int, int] = (1, 2)
    """Steps of the SDE in one η: coarse and fine."""
    amplitude: float = 1.0
    """θ, the length of the perturbation [w]."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("batch_size", "steps"):
            _checks.count(name, getattr(self, name))
        for name in ("label_noise_std", "learning_rate", "amplitude"):
            _checks.positive(name, getattr(self, name))
        _checks.count("inputs", self.inputs, least=3)
        _checks.count("hidden", self.hidden, least=2)
        _checks.count("samples", self.samples, least=self.inputs + 1)
        _checks.require("substeps", self.substeps, len(self.substeps) == 2, allowed="two: coarse and fine")
        coarse, fine = (_checks.count("substeps", n) for n in self.substeps)
        _checks.require("substeps", self.substeps, coarse < fine, allowed="ascending: coarse, fine")
        _checks.require("steps", self.steps, self.steps % RECORDS == 0, allowed=f"a multiple of {RECORDS}")
        whole = self.replicas > 0 and self.replicas % (2 * GROUPS) == 0
        _checks.require("replicas", self.replicas, whole, allowed=f"a multiple of {2 * GROUPS}")


def run(config: Fig9bConfig, progress: Progress) -> Result:
    """SGD, the SDE twice, and linear response, on one data set."""
    key = jax.random.key(config.seed)
    case = _two_layer.pure_noise(
        key, samples=config.samples, inputs=config.inputs, hidden=config.hidden, learning_rate=config.learning_rate,
        label_noise_std=config.label_noise_std, batch_size=config.batch_size,
    )  # fmt: skip
    coarse, fine = config.substeps
    dynamics = {"sgd": case.descent(), "coarse": case.langevin(coarse), "sde": case.langevin(fine)}
    ensembles = {name: _ensemble(name, one, case, config, key, progress) for name, one in dynamics.items()}
    measured = {name: measure(ensemble.estimates, case) for name, ensemble in ensembles.items()}
    data = dataset(_variables(measured, case, config), _coordinates(config))
    provenance = {WORDS[name]: ensemble.provenance for name, ensemble in ensembles.items()}
    return Result(data, claims(measured, case, _drifted(case, config)), provenance)


def _ensemble(name: str, dynamics: Any, case: TwoLayer, config: Fig9bConfig, key, progress: Progress):
    """Positions at the snapshots, of replicas that start in the law of linear response about θ⁰."""
    every = config.steps // RECORDS
    first = np.eye(case.origin.size, case.layers[0].size)
    return _ensembles.simulate(
        dynamics, Snapshots(range(every, config.steps + 1, every), of=Projection(first, origin=case.origin)),
        progress, WORDS[name], key=key, replicas=config.replicas, steps=config.steps, every=every,
        initial=case.starts(_ensembles.named(key, f"starts {name}"), config.replicas, case.covariance()),
    )  # fmt: skip


# --- the data -------------------------------------------------------------------------------------------------


def _coordinates(config: Fig9bConfig) -> dict[str, Variable]:
    indices = {"index": 2 * config.inputs, "mode": config.inputs}
    words = {"index": "index of the principal direction", "mode": "index of the mode in the range"}
    return {name: variable(name, np.arange(1, size + 1), words[name]) for name, size in indices.items()}


def _variables(measured: dict[str, Measured], case: TwoLayer, config: Fig9bConfig) -> dict[str, Variable]:
    """Losses at θ over their value for white inputs, (σ_x²/2) θ² D₂; variances in units of ησ_e²/2S."""
    unit, white = case.unit, case.input_variance * case.second_strengths[0]
    values, vectors = first_modes(case)
    flat = curvatures(case, range_directions(case) @ vectors) / white
    variables = {
        "variance_response": variable("mode", values / unit, "variance of δW₁, linear response", "ησ_e²/2S"),
        "loss_response": variable("mode", flat, "loss along δW₁, linear response", "(σ_x²/2)θ²D₂"),
        "loss_white": variable("", config.amplitude**2 / 2 * white, "loss along δW₁, white inputs"),
    }
    for name, one in measured.items():
        scaled = lambda e: mapped(e, lambda v: v / unit)
        words = f"δW₁, {WORDS[name]}"
        loss = curvatures(case, one.principal.directions) / white
        variables[f"loss_{name}"] = variable("index", loss, f"loss along {words}", "(σ_x²/2)θ²D₂")
        principal_variance, of_modes = scaled(one.principal.variances), scaled(one.range)
        variables |= measurement(f"variance_{name}", "index", principal_variance, f"variance of {words}", "ησ_e²/2S")
        variables |= measurement(f"range_{name}", "mode", of_modes, f"variance in the range, {words}", "ησ_e²/2S")
    return variables


def _drifted(case: TwoLayer, config: Fig9bConfig) -> float:
    """Mean time of a record over the balance time: by what part D₂ has fallen."""
    return config.learning_rate * config.steps * (1 + 1 / RECORDS) / 2 / case.balance_time


FIG9B = register(
    Experiment(
        name="gross2024/fig9b",
        summary="loss along the first layer's principal directions, of SGD, its SDE and linear theory",
        source=source("Fig. 9(b)"),
        config=Fig9bConfig,
        presets={
            "quick": Fig9bConfig(replicas=640, steps=200),
            "paper": Fig9bConfig(replicas=2048),
        },
        run=run,
        figure="gross2024/fig9b",
    )
)
