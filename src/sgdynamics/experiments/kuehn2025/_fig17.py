"""Fig. 17: weight and velocity variance of a LeNet in its late phase, against the Hessian's eigenvalue.

    λ > λ_cross     σ_θ² = const ("Σ ∝ 1"),  λ < λ_cross    σ_θ² ∝ λ ("Σ ∝ H"),      σ_v² ∝ λ

are asymptotes of (14)-(17) for C ∝ H. Within a decade of λ_cross the exponents are between them, and on P examples
neither holds for the flattest modes: noise that depends on θ does not cancel over an epoch (`_late_phase`), so that
σ_θ² levels off below λ_f ∝ 1/P. With Kühn and Rosenow's 50,000 examples λ_f is a hundred times lower than here.

Principal components of the weights themselves are steeper the shorter the run (`_late_components`).
"""

from dataclasses import dataclass

import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, variable
from sgdynamics.experiments.kuehn2025 import _late_claims, _late_components
from sgdynamics.experiments.kuehn2025._late_components import Window
from sgdynamics.experiments.kuehn2025._late_study import LateConfig, Study, attributes, study, variables
from sgdynamics.experiments.kuehn2025._source import source

QUANTITIES = ("weights", "velocities")
SAMPLES = 600  # of the longest window


@dataclass(frozen=True)
class Fig17Config(LateConfig):
    """Ensembles at a LeNet's minimum, along its Hessian's eigenvectors and its own principal components."""

    windows: tuple[int, ...] = (5, 12, 25)
    """Epochs whose weights are decomposed into principal components, at most `epochs`."""
    decomposed: int = 8
    """Replicas for which that is done, each alone."""

    def __post_init__(self):
        super().__post_init__()
        fit = bool(self.windows) and all(1 <= window <= self.epochs for window in self.windows)
        _checks.require("windows", self.windows, fit, allowed=f"from 1 to the {self.epochs} epochs of record")
        _checks.count("decomposed", self.decomposed, least=3)
        few = self.decomposed <= self.replicas
        _checks.require("decomposed", self.decomposed, few, allowed=f"at most the {self.replicas} replicas")


def run(config: Fig17Config, progress: Progress) -> Result:
    """Both samplings along the Hessian's modes; principal components of the one with epochs."""
    first = config.epochs - max(config.windows)
    found = study(config, progress, lambda M: range(first * M, config.epochs * M, stride(config, M)))
    windows = decompositions(config, found)
    law = found.of["epochs"].full[0]
    expected = _late_components.slope(found.curvatures, law, found.setting.crossover)
    claims = [
        *_late_claims.agreement(found, QUANTITIES), *_late_claims.controls(found, "weights"),
        *_late_claims.exponents(found), *_late_claims.hessian_noise(found),
        *_late_components.claims(windows, expected),
    ]  # fmt: skip
    data = dataset(variables(found, QUANTITIES) | _variables(windows, expected))
    ensembles = {name: sampled.measured.ensemble.provenance for name, sampled in found.of.items()}
    return Result(data.assign_attrs(attributes(found)), claims, ensembles)


def decompositions(config: Fig17Config, found: Study) -> list[Window]:
    """Of each length of window, the last epochs of the record."""
    snapshots = np.asarray(found.of["epochs"].measured.ensemble.estimates["snapshots"].values, float)
    θ = np.moveaxis(snapshots[:, : config.decomposed], 0, 1) - np.asarray(found.minimum.parameters)
    M = found.setting.batches
    count = lambda epochs: -(-epochs * M // stride(config, M))
    return [
        _late_components.window(found.minimum, found.setting.crossover, θ[:, -count(epochs) :], epochs)
        for epochs in config.windows
    ]


def stride(config: Fig17Config, batches: int) -> int:
    """Steps between two samples: coprime to the batches per epoch, or only some positions would be seen."""
    least = max(1, max(config.windows) * batches // SAMPLES)
    return next(k for k in range(least, least + batches + 1) if np.gcd(k, batches) == 1)


def _variables(windows: list[Window], expected: float) -> dict[str, Variable]:
    found = {
        "window": variable("window", [w.epochs for w in windows], "window", "epoch"),
        "exponent_law": variable("", expected, "d ln σ_θ²/d ln λ below the crossover, law"),
    }
    for name, words in (("components", "principal components"), ("modes", "the Hessian's modes")):
        values = [getattr(w, name) for w in windows]
        words = f"d ln σ_θ²/d ln λ below the crossover, {words}"
        found[f"exponent_{name}"] = variable("window", [float(v.value) for v in values], words)
        found[f"exponent_{name}_error"] = variable("window", [float(v.standard_error) for v in values], words)
    for w in windows:
        at, words = f"components_{w.epochs}", f"principal components of {w.epochs} epochs"
        found[f"{at}_curvature"] = variable(f"component_{w.epochs}", w.curvatures, f"curvature along {words}", "1/t")
        found[f"{at}_variance"] = variable(f"component_{w.epochs}", w.variances, f"variance along {words}", "w²")
    return found


FIG17 = register(
    Experiment(
        name="kuehn2025/fig17",
        summary="a LeNet's weight and velocity variance against the Hessian's eigenvalue",
        source=source("Fig. 17"),
        config=Fig17Config,
        presets={
            "quick": Fig17Config(),
            "paper": Fig17Config(
                size="full", batch_size=3, replicas=64, burn_in=60, epochs=60, modes=160, windows=(5, 20, 60)
            ),
        },
        run=run,
        figure="kuehn2025/fig17",
    )
)
