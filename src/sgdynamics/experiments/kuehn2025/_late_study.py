"""What Figs. 17, 18, 22 and 23 share: one network at its minimum, an ensemble of each sampling, and the laws."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from sgdynamics import _checks
from sgdynamics._types import PRNGKey
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._pretrained import RECIPES
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._variables import Variable, measurement, variable
from sgdynamics.experiments.kuehn2025 import _late_phase as late
from sgdynamics.experiments.kuehn2025._late_noise import expected_surroundings, white_share
from sgdynamics.experiments.kuehn2025._late_phase import Laws, Measured, Minimum, Modes, Setting
from sgdynamics.statistics import Estimate
from sgdynamics.theory import epochs as theory

GRID = 60
WORDS = {"epochs": "epochs", "replacement": "with replacement"}
QUANTITIES = {
    "weights": ("weight variance along the mode", "w²"),
    "velocities": ("velocity variance along the mode", "w²/step²"),
    "times": ("correlation time", "step"),
}


@dataclass(frozen=True)
class LateConfig:
    """Ensembles at a network's minimum, along the eigenvectors of its Hessian."""

    network: str = "convolutional"
    """A network of `make networks`."""
    size: str = "quick"
    """Its size, "quick" or "full"."""
    crossover: float = 1.0
    """λ_cross = 3 (1 − β)/(ηM), which sets the learning rate η; curvatures are in units of 1/t."""
    momentum: float = 0.9
    """Momentum β."""
    batch_size: int = 4
    """Minibatch size S."""
    modes: int = 96
    """Modes that are looked at, at most: evenly in ln λ, as far as there are any."""
    replicas: int = 48
    """SGD replicas of each sampling."""
    burn_in: int = 25
    """Epochs before anything is recorded; modes that need longer are left out."""
    epochs: int = 25
    """Epochs of record."""
    draws: int = 64
    """Draws of the weights in an epoch, for the noise that does not cancel."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name, known in (("network", tuple(RECIPES["quick"])), ("size", tuple(RECIPES))):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"{name} = {value!r}, but it must be one of {', '.join(map(repr, known))}.")
        _checks.positive("crossover", self.crossover)
        _checks.require("momentum", self.momentum, 0 <= self.momentum < 1, allowed="in [0, 1)")
        for name, least in (("batch_size", 1), ("modes", 8), ("replicas", 4), ("draws", 2)):
            _checks.count(name, getattr(self, name), least=least)
        for name in ("burn_in", "epochs"):
            _checks.count(name, getattr(self, name))


class Sampled(NamedTuple):
    """What one sampling's ensemble gives, and the laws of its modes (`_late_phase`).

    - drawn: W_i over its draws, of which `full` has the mean times what drives it more than with frozen noise.
    - tolerance: what the full law leaves out, relatively, from the law's own change of noise and curvature and not from
      the ensemble's: its second order; and of W's part the change of what drives it, and the next order in δ,
      relatively that by which C_ii(θ) changes, for W is of leading order.
    """

    measured: Measured
    frozen: Laws
    full: Laws
    cancelling: Laws
    drawn: Estimate
    tolerance: Modes


class Study(NamedTuple):
    """The modes watched, stiffest first, with C_ii of θ* (epochs) and W_i."""

    minimum: Minimum
    setting: Setting
    modes: np.ndarray
    curvatures: Modes
    noise: Modes
    white: Estimate
    of: dict[str, Sampled]


def study(config: LateConfig, progress: Progress, snapshots: Callable[[int], Sequence[int]] = lambda M: ()) -> Study:
    """Both ensembles, in epochs of M batches or of as many steps, with snapshots of θ at the steps `snapshots(M)`."""
    minimum = late.minimum(config.network, config.size)
    setting = late.setting_at(
        config.crossover, momentum=config.momentum, batch_size=config.batch_size, samples=minimum.samples
    )
    key = jax.random.key(config.seed)
    modes = late.watched(minimum, setting, config.modes, config.burn_in)
    white = white_share(minimum, setting, modes, _ensembles.named(key, "white"), config.draws)
    found = {
        sampling: late.measure(
            minimum, setting, sampling, modes, progress, WORDS[sampling], key=key, replicas=config.replicas,
            burn_in=config.burn_in, epochs=config.epochs, snapshots=snapshots(setting.batches),
        )
        for sampling in late.SAMPLINGS
    }  # fmt: skip
    of = {sampling: sampled(minimum, setting, sampling, modes, white, m, key) for sampling, m in found.items()}
    noise = late.frozen_noise(minimum, setting, "epochs")[modes]
    return Study(minimum, setting, modes, minimum.curvatures[modes], noise, white, of)


def sampled(
    minimum: Minimum, setting: Setting, sampling: str, modes: np.ndarray, white: Estimate, measured: Measured,
    key: PRNGKey,
) -> Sampled:  # fmt: skip
    """The laws beside what was measured; `key` for the frozen law's weights, which tell how far it can be trusted."""
    h, C = minimum.curvatures[modes], late.frozen_noise(minimum, setting, sampling)[modes]
    W, frozen = np.asarray(white.value), late.law(h, C, setting, sampling)
    draws = len(measured.noise.groups)  # as many as of the ensemble: one program
    key = _ensembles.named(key, f"surroundings, {sampling}")
    noise, stiffness = expected_surroundings(minimum, setting, sampling, modes, key, draws)
    # δ drives W: as the stiff modes, which dominate δH δ, fluctuate more than with frozen noise, so does W
    changed = late.law(stiffness, noise, setting, sampling, W)
    more = np.sum(stiffness * changed[0]) / np.sum(h * frozen[0])
    share = 1 - late.law(stiffness, noise, setting, sampling)[0] / changed[0] if sampling == "epochs" else 0.0
    second = np.maximum((noise / C - 1) ** 2, (stiffness / h - 1) ** 2)
    now = (np.asarray(measured.curvatures.value), np.asarray(measured.noise.value), setting, sampling)
    full, cancelling = late.law(*now, W * more), late.law(*now)
    return Sampled(measured, frozen, full, cancelling, white, second + (abs(more - 1) + abs(noise / C - 1)) * share)


def times(laws: Laws) -> Modes:
    """τ = 2σ_θ²/σ_u² (18)."""
    return 2 * laws[0] / laws[1]


def of_law(laws: Laws, quantity: str) -> Modes:
    """One of `QUANTITIES`."""
    return times(laws) if quantity == "times" else laws[0 if quantity == "weights" else 1]


# --- what is stored -----------------------------------------------------------------------------------------


def variables(study: Study, quantities: tuple[str, ...]) -> dict[str, Variable]:
    """Measurements and laws of the modes, and the smooth curves of a noise ∝ λ."""
    found = {
        "curvature": variable("mode", study.curvatures, "eigenvalue of the Hessian λ", "1/t"),
        "noise": variable("mode", study.noise, "variance of the minibatch gradient at the minimum", "w²/t²"),
        "white": variable(
            "mode", np.asarray(study.white.value), "the part of its variance that does not cancel in an epoch", "w²/t²"
        ),
        "curve": variable("curve", grid(study), "eigenvalue of the Hessian λ", "1/t"),
    }
    for quantity in quantities:
        words, unit = QUANTITIES[quantity]
        for sampling, sampled in study.of.items():
            name, label = f"{quantity}_{sampling}", f"{words}, {WORDS[sampling]}"
            found |= measurement(name, "mode", getattr(sampled.measured, quantity), label, unit)
            for law in ("frozen", "full"):
                values = of_law(getattr(sampled, law), quantity)
                found[f"{name}_{law}"] = variable("mode", values, f"{label}, {law} law", unit)
        for name, laws in curves(study).items():
            found[f"{quantity}_curve_{name}"] = variable("curve", of_law(laws, quantity), f"{words}, {name}", unit)
    return found


def attributes(study: Study) -> dict[str, float]:
    """λ_cross, M and P."""
    return {"crossover": study.setting.crossover, "batches": study.setting.batches, "samples": study.setting.samples}


def grid(study: Study) -> Modes:
    return np.geomspace(study.curvatures[-1] / 2, study.curvatures[0] * 1.2, GRID)


def curves(study: Study) -> dict[str, Laws]:
    """Of C = cλ with the modes' typical c: exact laws of both samplings, and the asymptotes (19) and (20)."""
    h, setting = grid(study), study.setting
    C = np.exp(np.mean(np.log(study.noise / study.curvatures))) * h
    flat = theory.flat_variances(C, **setting.step, batches_per_epoch=setting.batches, form="published")
    stiff = theory.white_variances(h, C, **setting.step, form="published")
    return {
        "epochs": late.law(h, C, setting, "epochs"),
        "replacement": late.law(h, C, setting, "replacement"),
        "stiff": (np.asarray(stiff[0]), np.asarray(stiff[1])),
        "flat": (np.asarray(flat[0]), np.asarray(flat[1])),
    }
