"""Eq. (13), App. G.2: how far SGD with momentum goes in k steps of its stationary state, over decades of k.

    exact      2 Σ_i Var δ_i (1 − correlation) in discrete time, noise that depends on θ included: 2 tr Cov θ in the end
    the SDE    the same in continuous time: low at the first steps, where v decays within a step or so
    (13)       η²/(1 − β²) Σ_l C_ll [k + 2 Σ_j (k − j) C_l(j)], C_l at the time j, as printed
    repaired   with C_l(ηj): right in between, but 1 + 2 Σ_j C_l(ηj) ≈ (1 − β)/(3(1 + β)) of every mode is left of an
               integral that is 0, as v is a mean over a step and C_l the correlation at instants. It grows for ever.

All have the variances C_ll of the exact law (`_spectrum_case`). Sec. 8 has the velocity of overdamped modes correlate
positively for ever. But as θ stays bounded, with D the displacement of the mode,

    R_j = (D_{j+1} − 2 D_j + D_{j−1})/(2η²),      Σ_{|j| ≤ J} R_j = (D_{J+1} − D_J)/η² → 0,

so that R_j must turn negative: in continuous time at γ t = artanh(s)/s, s = √(1 − 1/ζ²), and most so at twice that.
Without momentum R_1/R_0 = −ηK/2 where the SDE has nearly e⁻². Learning rates are η ∝ 1 − β: relaxation takes as many
steps at each momentum.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.kunin2023._displacement_claims import Measured, displacement_claims, velocity_claims
from sgdynamics.experiments.kunin2023._displacement_velocity import Lags, lags_of
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.experiments.kunin2023._spectrum_case import Case, case, with_curvatures
from sgdynamics.statistics import Autocovariance, Displacement, PhaseSpace, logarithmic_steps
from sgdynamics.theory import momentum as theory

FORMS = ("exact", "sde", "published", "published_repaired")
PER_DECADE = 5


@dataclass(frozen=True)
class DisplacementConfig:
    """Displacement in the stationary state over decades of steps, at several momenta."""

    curvatures: tuple[float, ...] = (1.0, 0.3, 0.1, 0.016, 0.004, 0.001)
    """Eigenvalues of the Hessian, descending, in units of curvature, 1/t."""
    momenta: tuple[float, ...] = (0.0, 0.5, 0.9)
    """Momenta β, in [0, 1)."""
    rate: float = 0.4
    """η/(1 − β) with the learning rate η; time t = η × step."""
    batch_size: int = 4
    """Minibatch size S, drawn with replacement."""
    samples: int = 100
    """Number of samples."""
    label_noise_std: float = 0.5
    """Standard deviation of the label noise."""
    replicas: int = 768
    """SGD replicas of each ensemble."""
    every: int = 100
    """Steps between two records of the ensemble for 10 × `every` steps and more; below, every step is recorded."""
    last: int = 10_000
    """Longest distance in steps, a multiple of 20 × `every`."""
    spans: int = 4
    """Length of each ensemble in its longest distances."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("batch_size", "replicas", "every", "spans"):
            _checks.count(name, getattr(self, name))
        _checks.count("samples", self.samples, least=len(self.curvatures) + 2)
        for name in ("rate", "label_noise_std"):
            _checks.positive(name, getattr(self, name))
        whole = self.last >= 20 * self.every and self.last % (20 * self.every) == 0
        _checks.require("last", self.last, whole, allowed="a multiple of 20 × every, above 0")
        h = list(self.curvatures)
        descending = len(h) > 0 and h == sorted(set(h), reverse=True) and h[-1] > 0
        _checks.require("curvatures", self.curvatures, descending, allowed="descending, above 0, and at least one")
        several = len(self.momenta) > 0 and len(set(self.momenta)) == len(self.momenta)
        _checks.require("momenta", self.momenta, several, allowed="different, and at least one")
        for value in self.momenta:
            _checks.require("momenta", value, 0 <= value < 1, allowed="in [0, 1)")


def run(config: DisplacementConfig, progress: Progress) -> Result:
    """Two ensembles at each momentum: one for the first steps and the velocities, one for the later steps."""
    key = jax.random.key(config.seed)
    data = with_curvatures(key, config.curvatures, config.samples, config.label_noise_std)
    cases = [
        case(data, learning_rate=config.rate * (1 - β), momentum=β, batch_size=config.batch_size)
        for β in config.momenta
    ]
    lags = lags_of(cases)
    parts = {f"{at.β:g}": _at(config, key, at, own, progress) for at, own in zip(cases, lags, strict=True)}
    variables = {name: value for part in parts.values() for name, value in part[0].items()}
    lag = np.array(lags[0].correlation)
    coordinates = {
        "lag": variable("lag", lag, "lag", "step"),
        "any_lag": variable("any_lag", np.arange(lag[-1] + 1), "lag", "step"),
        "step": variable("step", distances(config), "distance k", "step"),
        "mode": variable("mode", np.arange(1, len(config.curvatures) + 1), "mode of the Hessian, stiffest first"),
    }
    result = dataset(variables, coordinates).assign_attrs(momenta=list(config.momenta))
    ensembles = {label: provenance for part in parts.values() for label, provenance in part[2].items()}
    return Result(result, [claim for part in parts.values() for claim in part[1]], ensembles)


def distances(config: DisplacementConfig) -> np.ndarray:
    """k of both ensembles, decades and half of the last among them."""
    return np.array(_early(config) + _late(config))


def _early(config: DisplacementConfig) -> tuple[int, ...]:
    end = 10 * config.every
    return _with(end, 1, [k for k in _decades(config) if k < end], below=end)


def _late(config: DisplacementConfig) -> tuple[int, ...]:
    first = 10 * config.every
    more = [k for k in _decades(config) if k >= first and k % config.every == 0]
    return tuple(k for k in _with(config.last, config.every, [first, config.last // 2, *more]) if k >= first)


def _with(last: int, every: int, more: list[int], below: int | None = None) -> tuple[int, ...]:
    count = round(PER_DECADE * np.log10(last / every)) + 1
    return tuple(k for k in sorted({*logarithmic_steps(last, count, every=every), *more}) if below is None or k < below)


def _decades(config: DisplacementConfig) -> list[int]:
    return [10**i for i in range(int(np.log10(config.last) + 1e-9) + 1)]


def _at(config: DisplacementConfig, key: Any, at: Case, lags: Lags, progress: Progress) -> tuple:
    label = f"momentum = {at.β:g}"
    observed = PhaseSpace(at.modes[:, lags.mode], at.prediction.mean)
    statistics = {
        "early": {
            "displacement": Displacement(_early(config)),
            "correlation": Autocovariance(lags.correlation, of=observed),
            "sum": Autocovariance((0, lags.last, lags.last + 1), of=observed),
        },
        "late": Displacement(_late(config)),
    }
    spans = {"early": (max(10 * config.every, lags.last), 1), "late": (config.last, config.every)}
    runs = {
        when: _ensembles.simulate(
            at.descent, statistics[when], progress, f"{label}, {when}", key=key, replicas=config.replicas,
            steps=config.spans * longest, every=every, initial=at.prediction,
        )
        for when, (longest, every) in spans.items()
    }  # fmt: skip
    early, late = runs["early"].estimates, runs["late"].estimates
    measured = Measured((np.array(_early(config)), early["displacement"]), (np.array(_late(config)), late))
    claims = displacement_claims(label, at, measured, _decades(config)) + velocity_claims(label, at, lags, early)
    variables = _displacements(label, at, config, measured) | _correlations(label, at, lags, early)
    return variables, claims, {f"{label}, {when}": ensemble.provenance for when, ensemble in runs.items()}


# --- what is stored -----------------------------------------------------------------------------------------


def _displacements(label: str, at: Case, config: DisplacementConfig, measured: Measured) -> dict[str, Variable]:
    name, k, words = f"at_{at.β:g}", distances(config), f"E|θ_k − θ_0|², {label}"
    values, errors = measured.joined()
    variables = {
        f"{name}_measured": variable("step", values, f"{words}, measured", "w²"),
        f"{name}_measured_error": variable("step", errors, f"{words}, standard error", "w²"),
        f"{name}_saturation": variable("", at.saturation, f"2 tr Cov θ, {label}", "w²"),
        f"{name}_damping": variable("mode", theory.damping_ratio(at.curvatures, **at.setting), f"ζ, {label}"),
    }
    for form in FORMS:
        variables[f"{name}_{form}"] = variable("step", at.displacement(k, form), f"{words}, {form}", "w²")
    return variables


def _correlations(label: str, at: Case, lags: Lags, early: Any) -> dict[str, Variable]:
    name, fine = f"at_{at.β:g}_velocity", np.arange(lags.correlation[-1] + 1)
    words = f"correlation of the velocity, ζ = {lags.damping_ratio:.2f}, {label}"
    return measurement(name, "lag", lags.correlations(early), words) | {
        f"{name}_exact": variable("any_lag", lags.exact(fine), f"{words}, exact"),
        f"{name}_sde": variable("any_lag", lags.continuous(fine), f"{words}, of the SDE"),
        f"{name}_ratio": variable("", lags.damping_ratio, f"damping ratio ζ of that mode, {label}"),
        f"{name}_crossing": variable("", lags.crossing, f"lag at which the SDE's is 0, {label}", "step"),
    }


DISPLACEMENT = register(
    Experiment(
        name="kunin2023/displacement",
        summary="how far SGD goes in k steps, over decades of steps, and how its velocity forgets",
        source=source("Eq. 13, App. G.2"),
        config=DisplacementConfig,
        presets={
            "quick": DisplacementConfig(),
            "paper": DisplacementConfig(
                curvatures=(1.0, 0.3, 0.1, 0.016, 0.004, 0.001, 0.0003, 0.0001), last=100_000, replicas=2048
            ),
        },
        run=run,
        figure="kunin2023/displacement",
    )
)
