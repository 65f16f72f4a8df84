"""Fig. 21: the crossover across learning rates, batch sizes and momenta.

    λ_cross = 3 (1 − β)/(ηM),      τ_SGD = (M/3) (1 + β)/(1 − β),      M = P/S          for M (1 − β) ≫ 1

The scan of the slides lacks this picture. What is left of it are three axes, η, S and β, with ticks from 0 to 1. We
take it for measured over predicted values of λ_cross and τ_SGD, one at all settings if theory is right.

Both come from the measured τ(λ) alone. 1/τ is a straight line in λ at both ends,

    1/τ = 1/τ_SGD + …λ + O(λ²)  (small λ),      1/τ = … + ηλ/(1 + β) + O(1/λ)  (large λ):

τ_SGD is from the intercept of the first line, and λ_cross where the asymptotes meet, that intercept over the slope of
the second. Exactly, λ_cross is (1 + β)/(ητ) with the τ of vanishing curvature, in which (derived here)

    τ/τ_SGD = 1 + (1 − 4β + β²)/((1 + β) M (1 − β)) + O(M^{−2}).

The slides' approximations are so within 1/(M (1 − β)) of the exact values: 1 % for their M = 1000 and β = 0.9, which is
one of the settings here; at M (1 − β) ≈ 10, others of them, the data tell the difference.

The loss is ½ Σ λ_i θ_i² with example gradients λ_i θ_i + g_μ,i, five decades of λ at once: the noise is static, so that
theory is exact. In networks it is not, in the flattest modes (Figs. 18 and 20).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.kuehn2025 import _fig21_claims
from sgdynamics.experiments.kuehn2025._fig21_claims import Measured
from sgdynamics.experiments.kuehn2025._setting import Setting
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.statistics import PhaseSpace, Variance

AXES = ("learning_rate", "batch_size", "momentum")
WORDS = {"learning_rate": "learning rate η", "batch_size": "batch size S", "momentum": "momentum β"}
BASE = "base"


@dataclass(frozen=True)
class Fig21Config:
    """One quadratic loss, one hyperparameter after the other changed from a base."""

    samples: int = 1000
    """Examples P, a multiple of every batch size."""
    learning_rate: float = 0.02
    """Base learning rate η; time t = η × step."""
    batch_size: int = 8
    """Base batch size S."""
    momentum: float = 0.9
    """Base momentum β."""
    learning_rates: tuple[float, ...] = (0.01, 0.04)
    """Others, at the base's S and β."""
    batch_sizes: tuple[int, ...] = (1, 10)
    """Others, at the base's η and β; 1 is the slides' M = 1000 and β = 0.9."""
    momenta: tuple[float, ...] = (0.0, 0.5, 0.75)
    """Others, at the base's η and S."""
    softest: float = 0.001
    """Smallest curvature, of the base's λ_cross."""
    stiffest: float = 300.0
    """Largest curvature, of the base's λ_cross."""
    per_decade: int = 6
    """Curvatures per decade; λ_cross of the base is one of them."""
    replicas: int = 256
    """SGD replicas at each setting."""
    epochs: int = 48
    """Epochs of record, of every step."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("samples", "batch_size", "epochs"):
            _checks.count(name, getattr(self, name))
        _checks.count("per_decade", self.per_decade, least=3)
        _checks.count("replicas", self.replicas, least=8)
        for name in ("learning_rate", "softest", "stiffest"):
            _checks.positive(name, getattr(self, name))
        _checks.require("momentum", self.momentum, 0 <= self.momentum < 1, allowed="in [0, 1)")
        for name in AXES:
            values = getattr(self, _plural(name))
            new = len({*values, getattr(self, name)}) == len(values) + 1
            _checks.require(_plural(name), values, new, allowed="values that differ, from the base too")
        for setting in self.settings.values():
            self._check(setting)

    def _check(self, setting: Setting) -> None:
        η, S, β = setting.learning_rate, setting.batch_size, setting.momentum
        _checks.positive("learning_rates", η)
        _checks.require("batch_sizes", S, S >= 1 and self.samples % S == 0, allowed=f"divisors of {self.samples}")
        _checks.require("momenta", β, 0 <= β < 1, allowed="in [0, 1)")
        λ, least = self.curvatures, _fig21_claims.LEAST
        _checks.require("stiffest", self.stiffest, η * λ[-1] < 1 + β, allowed="such that ηλ < 1 + β at all settings")
        enough = len(_fig21_claims.stiff(λ, setting)) >= least
        _checks.require(
            "stiffest", self.stiffest, enough, allowed=f"such that {least} modes are far above every λ_cross"
        )
        enough = len(_fig21_claims.flat(λ, setting)) >= least
        _checks.require("softest", self.softest, enough, allowed=f"such that {least} modes are far below every λ_cross")

    @property
    def settings(self) -> dict[str, Setting]:
        """The base, and the others by name."""
        base = Setting(self.learning_rate, self.momentum, self.batch_size, self.samples)
        changed = [(name, value) for name in AXES for value in getattr(self, _plural(name))]
        return {BASE: base} | {
            f"{WORDS[name][-1]} = {value:g}": replace(base, **{name: value}) for name, value in changed
        }

    @property
    def curvatures(self) -> np.ndarray:
        """λ_i, ascending."""
        base = Setting(self.learning_rate, self.momentum, self.batch_size, self.samples)
        low, high = np.log10([self.softest, self.stiffest]) * self.per_decade
        return base.crossover * 10 ** (np.arange(np.ceil(low), np.floor(high) + 1) / self.per_decade)


def _plural(name: str) -> str:
    return "momenta" if name == "momentum" else f"{name}s"


class Quadratic(eqx.Module):
    """½ Σ λ θ² + g·θ: the output is the loss."""

    weights: Array
    curvature: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, g: Array) -> Array:
        λ = jnp.asarray(self.curvature, self.weights.dtype)
        return jnp.sum(λ * self.weights**2)[None] / 2 + jnp.sum(g * self.weights)[None]


def output(prediction: Array, target: Array) -> Array:
    """The loss of one example is what `Quadratic` returns; a constant keeps it positive."""
    return 1 + prediction[0]


def problem(config: Fig21Config) -> sgd.Problem:
    """Gradients g of variance λ: C ∝ H, as far as P draws go."""
    λ = config.curvatures
    g = np.sqrt(λ) * np.random.default_rng(config.seed).normal(size=(config.samples, len(λ)))
    data = sgd.data.Dataset(g - g.mean(0), np.zeros(config.samples))
    return sgd.Problem(Quadratic(jnp.zeros(len(λ)), tuple(λ.tolist())), data, loss=output)


def run(config: Fig21Config, progress: Progress) -> Result:
    """An ensemble at each setting, and what its τ(λ) says."""
    bowl = problem(config)
    found, ensembles = {}, {}
    for name, setting in config.settings.items():
        found[name], ensembles[name] = _measured(bowl, setting, name, config, progress)
    claims = [claim for name, measured in found.items() for claim in _fig21_claims.of_setting(name, measured)]
    claims += _fig21_claims.breadth(BASE, found[BASE])
    claims += _fig21_claims.universal(found)
    for name in AXES:
        claims += _fig21_claims.scaling(WORDS[name], _along(name, found, config))
    return Result(_data(found, config), claims, ensembles)


def _measured(
    bowl: sgd.Problem, setting: Setting, name: str, config: Fig21Config, progress: Progress
) -> tuple[Measured, dict]:
    """From the exact law on, over whole epochs."""
    # arrays, so that another learning rate or momentum is the same program
    η, β = jnp.asarray(setting.learning_rate), jnp.asarray(setting.momentum)
    descent = sgd.SGD(bowl, learning_rate=η, sampler=sgd.samplers.Epochs(setting.batch_size), momentum=β)
    modes = len(config.curvatures)
    ensemble = _ensembles.simulate(
        descent, Variance(PhaseSpace(jnp.eye(modes))), progress, name, key=jax.random.key(config.seed),
        replicas=config.replicas, steps=config.epochs * setting.batches,
        initial=sgd.predict(descent, at=np.zeros(modes)), dtype=jnp.float32,
    )  # fmt: skip
    # u = ηv
    τ = ensemble.estimates.map(lambda σ2: 2 * σ2[:modes] / (setting.learning_rate**2 * σ2[modes:]))
    return Measured(setting, config.curvatures, τ), ensemble.provenance


def _along(name: str, found: Mapping[str, Measured], config: Fig21Config) -> dict[str, Measured]:
    """The base and the settings that differ from it in this alone, by value."""
    others = [f"{WORDS[name][-1]} = {value:g}" for value in getattr(config, _plural(name))]
    chosen = sorted([BASE, *others], key=lambda label: getattr(found[label].setting, name))
    return {f"{getattr(found[label].setting, name):g}": found[label] for label in chosen}


def _data(found: Mapping[str, Measured], config: Fig21Config) -> Any:
    variables: dict[str, Variable] = {"curvature": variable("mode", config.curvatures, "curvature λ", "1/t")}
    for name in AXES:
        along = list(_along(name, found, config).values())
        values = [getattr(measured.setting, name) for measured in along]
        variables[name] = variable(name, values, WORDS[name], "1")
        variables |= _ratios(name, along) | _times(name, along)
    return dataset(variables).assign_attrs(axes=list(AXES))


def _ratios(name: str, along: list[Measured]) -> dict[str, Variable]:
    """Measured over the slides' prediction; what the exact law says; in the order of the axis."""
    found: dict[str, Variable] = {}
    for quantity, words in (("crossover", "λ_cross"), ("flat_time", "τ_SGD")):
        estimates = [getattr(measured, f"{quantity}_ratio") for measured in along]
        exact = [getattr(measured.setting, f"{quantity}_exact") for measured in along]
        label = f"{words} over the slides' formula"
        at = f"{quantity}_{name}"
        found[at] = variable(name, [float(e.value) for e in estimates], f"{label}, measured")
        errors = [float(e.standard_error) for e in estimates]
        found[f"{at}_error"] = variable(name, errors, f"{label}, standard error")
        found[f"{at}_exact"] = variable(name, exact, f"{label}, exact theory")
    return found


def _times(name: str, along: list[Measured]) -> dict[str, Variable]:
    """τ(λ) at each value, and the exact one."""
    found: dict[str, Variable] = {}
    for i, measured in enumerate(along):
        label = f"correlation time, {WORDS[name]} = {getattr(measured.setting, name):g}"
        found |= measurement(f"times_{name}_{i}", "mode", measured.times, label, "step")
        found[f"times_{name}_{i}_exact"] = variable("mode", measured.expected, f"{label}, exact theory", "step")
    return found


FIG21 = register(
    Experiment(
        name="kuehn2025/fig21",
        summary="crossover and correlation time over their predictions, across hyperparameters",
        source=source("Fig. 21"),
        config=Fig21Config,
        presets={
            "quick": Fig21Config(),
            "paper": Fig21Config(
                samples=30_000, batch_size=100, learning_rates=(0.01, 0.03, 0.04), batch_sizes=(30, 50, 75, 125),
                momenta=(0.0, 0.25, 0.5, 0.75), replicas=256, epochs=48,
            ),
        },
        run=run,
        figure="kuehn2025/fig21",
    )
)  # fmt: skip
