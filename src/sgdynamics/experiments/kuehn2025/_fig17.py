"""Fig. 17: weight and velocity variance of a small ConvNet (the slides: a LeNet) in its late phase, against the
Hessian's eigenvalue.

    λ > λ_cross     σ_θ² ≈ const ("Σ ∝ 1"),  λ < λ_cross    σ_θ² ∝ λ ("Σ ∝ H"),      σ_v² ∝ λ

are asymptotes of (14)-(17) for C ∝ H. Within a decade of λ_cross the exponents are between them, and on P examples
neither holds for the flattest modes: noise that depends on θ does not cancel over an epoch (`_late_noise`), so that
σ_θ² levels off below some λ_f, in one network as P λ_f = const. How far off it is in the slides' network, of 50,000
examples, is not known.

Principal components of the weights themselves are far steeper than that, whatever the noise, unless the window is long
(`_late_components`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, variable
from sgdynamics.experiments.kuehn2025 import _fig17_claims, _late_asymptotes, _late_claims, _late_components
from sgdynamics.experiments.kuehn2025._late_components import Window
from sgdynamics.experiments.kuehn2025._late_phase import SAMPLINGS
from sgdynamics.experiments.kuehn2025._late_study import WORDS, LateConfig, Study, attributes, study, variables
from sgdynamics.experiments.kuehn2025._source import source

QUANTITIES = ("weights", "velocities")
SAMPLES = 300  # of a window, about
LONG, MANY = 400, 3000  # epochs, and samples of them, of the law's own paths: more than parameters


@dataclass(frozen=True)
class Fig17Config(LateConfig):
    """Ensembles at a small ConvNet's minimum, along its Hessian's eigenvectors and its own principal components."""

    windows: tuple[int, ...] = (5, 12, 25)
    """Epochs whose weights are decomposed into principal components, ascending, at most `epochs`."""
    decomposed: int = 8
    """Replicas for which that is done, each alone."""

    def __post_init__(self):
        super().__post_init__()
        most = min(self.epochs, LONG - 1)
        fit = len(self.windows) >= 2 and all(a < b for a, b in pairwise((0, *self.windows, most + 1)))
        _checks.require("windows", self.windows, fit, allowed=f"at least two, ascending, from 1 to {most} epochs")
        _checks.count("decomposed", self.decomposed, least=3)
        few = self.decomposed <= self.replicas
        _checks.require("decomposed", self.decomposed, few, allowed=f"at most the {self.replicas} replicas")


def run(config: Fig17Config, progress: Progress) -> Result:
    """Both samplings along the Hessian's modes, and along principal components."""
    found = study(config, progress, lambda M: union(steps(config.windows, config.epochs, M)))
    network = {sampling: decompositions(config, found, sampling) for sampling in SAMPLINGS}
    paths = {sampling: of_paths(config, found, sampling) for sampling in SAMPLINGS}
    laws = {sampling: _late_components.law_slope(found.minimum, found.setting, sampling) for sampling in SAMPLINGS}
    expected = _late_components.slope(found.curvatures, found.of["epochs"].full[0], found.setting.crossover)
    claims = [
        *_late_claims.agreement(found, ("weights",)), *_late_claims.velocities(found),
        *_late_claims.controls(found, "weights"), *_late_asymptotes.exponents(found),
        *_late_asymptotes.hessian_noise(found), *_fig17_claims.claims(network, paths, expected, laws),
    ]  # fmt: skip
    exponents = {
        f"exponent_law_{sampling}": variable("", value, f"d ln σ_θ²/d ln λ below the crossover, law, {WORDS[sampling]}")
        for sampling, value in laws.items()
    }
    windows = _variables(network, "components") | _variables(paths, "paths")
    data = dataset(variables(found, QUANTITIES) | exponents | windows)
    ensembles = {name: sampled.measured.ensemble.provenance for name, sampled in found.of.items()}
    return Result(data.assign_attrs(attributes(found)), claims, ensembles)


def decompositions(config: Fig17Config, found: Study, sampling: str) -> list[Window]:
    """Of each length of window, the last epochs of the record."""
    snapshots = np.asarray(found.of[sampling].measured.ensemble.estimates["snapshots"].values, float)
    θ = np.moveaxis(snapshots[:, : config.decomposed], 0, 1) - np.asarray(found.minimum.parameters)
    return _windows(found, θ @ found.minimum.vectors, steps(config.windows, config.epochs, found.setting.batches))


def of_paths(config: Fig17Config, found: Study, sampling: str) -> list[Window]:
    """The same of the law's own paths, and of a long window."""
    M = found.setting.batches
    at = steps(config.windows, LONG, M) | steps((LONG,), LONG, M, samples=MANY)
    δ = _late_components.paths(
        found.minimum, found.setting, sampling, config.seed, replicas=config.decomposed, burn_in=config.burn_in,
        steps=union(at),
    )  # fmt: skip
    return _windows(found, δ, at)


def _windows(found: Study, along: np.ndarray, at: Mapping[int, range]) -> list[Window]:
    known = union(at)
    return [
        _late_components.window(found.minimum, found.setting.crossover, along[:, np.searchsorted(known, of)], epochs)
        for epochs, of in at.items()
    ]


def steps(windows: Sequence[int], epochs: int, batches: int, samples: int = SAMPLES) -> dict[int, range]:
    """Of each window, the last of so many epochs: about `samples` steps, evenly. Their distance is coprime to the
    batches per epoch, or only some positions would be seen."""
    found = {}
    for window in windows:
        least = max(1, window * batches // samples)
        stride = next(k for k in range(least, least + batches + 1) if np.gcd(k, batches) == 1)
        found[window] = range((epochs - window) * batches, epochs * batches, stride)
    return found


def union(at: Mapping[int, range]) -> list[int]:
    """All of them, ascending."""
    return sorted(set().union(*at.values()))


def _variables(found: Mapping[str, list[Window]], of: str) -> dict[str, Variable]:
    """Exponents of both samplings; of the network's principal components with epochs, F_j and s_j too."""
    words = {"components": "a network", "paths": "the law's own paths"}[of]
    lengths = [window.epochs for window in found["epochs"]]
    stored = {f"window_{of}": variable(f"window_{of}", lengths, f"window, {words}", "epoch")}
    for sampling, windows in found.items():
        for basis, label in (("components", "principal components"), ("modes", "the Hessian's modes")):
            values = [getattr(window, basis) for window in windows]
            label = f"d ln σ_θ²/d ln λ below the crossover, {label} of {words}, {WORDS[sampling]}"
            name = f"exponent_{of}_{basis}_{sampling}"
            stored[name] = variable(f"window_{of}", [float(value.value) for value in values], label)
            stored[f"{name}_error"] = variable(f"window_{of}", [float(value.standard_error) for value in values], label)
    return stored | (_spectra(found["epochs"]) if of == "components" else {})


def _spectra(windows: list[Window]) -> dict[str, Variable]:
    stored = {}
    for w in windows:
        at, words = f"components_{w.epochs}", f"principal components of {w.epochs} epochs"
        stored[f"{at}_curvature"] = variable(f"component_{w.epochs}", w.curvatures, f"curvature along {words}", "1/t")
        stored[f"{at}_variance"] = variable(f"component_{w.epochs}", w.variances, f"variance along {words}", "w²")
    return stored


FIG17 = register(
    Experiment(
        name="kuehn2025/fig17",
        summary="a small ConvNet's weight and velocity variance against the Hessian's eigenvalue",
        source=source("Fig. 17"),
        config=Fig17Config,
        presets={
            "quick": Fig17Config(replicas=24, epochs=100, windows=(10, 25, 100)),
            "paper": Fig17Config(
                size="full", batch_size=3, replicas=64, burn_in=60, epochs=60, modes=160, windows=(5, 20, 60)
            ),
        },
        run=run,
        figure="kuehn2025/fig17",
    )
)
