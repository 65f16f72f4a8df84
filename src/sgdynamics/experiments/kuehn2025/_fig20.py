"""Fig. 20: the variances and the correlation time of a network's late phase, at several batch sizes.

At one learning rate, only the batch size S changes, and with it M = P/S. For C ∝ H and static noise

    C ∝ 1/S,   λ_cross = 3 (1 − β)/(ηM) ∝ S        above λ_cross: σ_θ² ∝ 1/S,  τ does not change
                                                   below:         σ_θ² ∝ 1/S², τ = τ_SGD ∝ M ∝ 1/S

    σ_u² ∝ 1/S

for M (1 − β) ≫ 1, which is why β is 0.5 here: M is 25 to 100, not 1000. The powers follow from (19) and (20); the
slides do not print them. They are asymptotes: where λ is some λ_cross only, σ_θ² still falls faster than 1/S, and τ
with it, for the crossover is broad. In the flattest modes noise that depends on θ does not cancel over an epoch
(`_late_noise`), so that τ is above τ_SGD. And the noise grows with σ_θ²: C falls a little faster than 1/S.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import jax
import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._pretrained import RECIPES
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.kuehn2025 import _fig20_claims
from sgdynamics.experiments.kuehn2025 import _late_phase as late
from sgdynamics.experiments.kuehn2025._late_noise import white_share
from sgdynamics.experiments.kuehn2025._late_phase import Minimum, Setting
from sgdynamics.experiments.kuehn2025._late_study import QUANTITIES, Study, curves, grid, of_law, sampled
from sgdynamics.experiments.kuehn2025._source import source


@dataclass(frozen=True)
class Fig20Config:
    """Ensembles at a network's minimum, in shuffled epochs of different length."""

    network: str = "convolutional"
    """A network of `make networks`."""
    size: str = "quick"
    """Its size, "quick" or "full"."""
    batch_sizes: tuple[int, ...] = (4, 8, 16)
    """Minibatch sizes S, ascending."""
    crossover: float = 1.0
    """λ_cross at the smallest batch size, which sets the learning rate η; curvatures are in units of 1/t."""
    momentum: float = 0.5
    """Momentum β."""
    modes: int = 64
    """Modes that are looked at, at most: evenly in ln λ, as far as there are any."""
    replicas: int = 32
    """SGD replicas at each batch size."""
    burn_in: int = 2000
    """Steps before anything is recorded, rounded up to epochs; modes that need longer are left out."""
    steps: int = 1600
    """Steps of record, rounded up to epochs."""
    draws: int = 32
    """Draws of the weights in an epoch, for the noise that does not cancel."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name, known in (("network", tuple(RECIPES["quick"])), ("size", tuple(RECIPES))):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"{name} = {value!r}, but it must be one of {', '.join(map(repr, known))}.")
        S = self.batch_sizes
        ascending = len(S) >= 2 and S[0] >= 1 and all(a < b for a, b in pairwise(S))
        _checks.require("batch_sizes", S, ascending, allowed="at least two, ascending from 1 or more")
        _checks.positive("crossover", self.crossover)
        _checks.require("momentum", self.momentum, 0 <= self.momentum < 1, allowed="in [0, 1)")
        for name, least in (("modes", 8), ("replicas", 4), ("draws", 2), ("burn_in", 1), ("steps", 1)):
            _checks.count(name, getattr(self, name), least=least)


def run(config: Fig20Config, progress: Progress) -> Result:
    """One ensemble at each batch size, along the same modes."""
    minimum = late.minimum(config.network, config.size)
    first = late.setting_at(
        config.crossover, momentum=config.momentum, batch_size=config.batch_sizes[0], samples=minimum.samples
    )
    settings = [Setting(first.learning_rate, config.momentum, S, minimum.samples) for S in config.batch_sizes]
    modes = late.watched(minimum, first, config.modes, _epochs(config.burn_in, first))
    found = {s.batch_size: _study(minimum, s, modes, config, progress) for s in settings}
    claims = [claim for study in found.values() for claim in _fig20_claims.of_batch_size(study)]
    claims += _fig20_claims.shifts(found)
    ensembles = {f"S = {S}": study.of["epochs"].measured.ensemble.provenance for S, study in found.items()}
    return Result(_data(found), claims, ensembles)


def _epochs(steps: int, setting: Setting) -> int:
    return -(-steps // setting.batches)


def _study(minimum: Minimum, setting: Setting, modes: np.ndarray, config: Fig20Config, progress: Progress) -> Study:
    """The ensemble with epochs, and its laws with the noise and the curvature that it has."""
    label = f"S = {setting.batch_size}"
    key = _ensembles.named(jax.random.key(config.seed), label)
    white = white_share(minimum, setting, modes, _ensembles.named(key, "white"), config.draws)
    measured = late.measure(
        minimum, setting, "epochs", modes, progress, label, key=key, replicas=config.replicas,
        burn_in=_epochs(config.burn_in, setting), epochs=_epochs(config.steps, setting),
    )  # fmt: skip
    noise = late.frozen_noise(minimum, setting, "epochs")[modes]
    laws = sampled(minimum, setting, "epochs", modes, white, measured, key)
    return Study(minimum, setting, modes, minimum.curvatures[modes], noise, white, {"epochs": laws})


def _data(found: Mapping[int, Study]):
    """Along the modes and, of C = cλ and static noise, along a curve."""
    first = next(iter(found.values()))
    variables: dict[str, Variable] = {
        "curvature": variable("mode", first.curvatures, "eigenvalue of the Hessian λ", "1/t"),
        "curve": variable("curve", grid(first), "eigenvalue of the Hessian λ", "1/t"),
    }
    for S, study in found.items():
        sampled, smooth = study.of["epochs"], curves(study)["epochs"]
        variables[f"crossover_{S}"] = variable("", study.setting.crossover, f"λ_cross, S = {S}", "1/t")
        for quantity, (words, unit) in QUANTITIES.items():
            name, label = f"{quantity}_{S}", f"{words}, S = {S}"
            variables |= measurement(name, "mode", getattr(sampled.measured, quantity), label, unit)
            variables[f"{name}_full"] = variable("mode", of_law(sampled.full, quantity), f"{label}, full law", unit)
            variables[f"{name}_curve"] = variable(
                "curve", of_law(smooth, quantity), f"{label}, static noise C = cλ", unit
            )
    return dataset(variables).assign_attrs(batch_sizes=list(found))


FIG20 = register(
    Experiment(
        name="kuehn2025/fig20",
        summary="a network's variances and correlation time at several batch sizes",
        source=source("Fig. 20"),
        config=Fig20Config,
        presets={
            "quick": Fig20Config(),
            "paper": Fig20Config(
                size="full", replicas=64, batch_sizes=(3, 6, 12), burn_in=8000, steps=12_000, modes=120, draws=64
            ),
        },
        run=run,
        figure="kuehn2025/fig20",
    )
)  # fmt: skip
