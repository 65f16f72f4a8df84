"""Fig. 6(a): the perturbed loss along covariance modes for independent inputs and many samples.

    δL(θ v_i) = ½ θ² v_iᵀ H v_i   (2.35),      printed for many samples:  ½ θ² σ_x²,  σ_x² = 1/N.

Eigenvectors of a nearly isotropic M are nearly random, and of a random unit vector v

    E vᵀHv = σ_x²,      Var vᵀHv = 2 (⟨h²⟩ − ⟨h⟩²)/(N + 2) = 2 σ_x⁴ (N/P)/(N + 2)      (Marchenko-Pastur),

so that the curves scatter about the printed one by √(2/P) of it, whatever N: 3 % for P = 2000. The common variance
of the modes that is quoted with it, ησ²/S, should be ησ²/(2S).
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles, _regression
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import each, over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._regression import Regression, along
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.gross2024 import _perturbation
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Covariance, Estimate

SHOWN = (0.0, 0.1, 0.5, 1.0)  # modes that are drawn, as fractions of their number
CORRELATION = "rank correlation between variance and curvature"
RESOLUTION = 0.1  # of a rank correlation: what we would not call dependence


@dataclass(frozen=True)
class Fig6aConfig:
    """The perturbed loss for independent inputs."""

    inputs: int = 100
    """N."""
    samples: int = 2000
    """P."""
    learning_rate: float = 0.1
    """Learning rate η; time t = η × step."""
    batch_size: int = 10
    """Minibatch size S, drawn with replacement."""
    label_noise_std: float = 0.5
    """Standard deviation σ of the label noise."""
    largest_perturbation: float = 1.0
    """The perturbation θ goes from minus this to this (weight)."""
    replicas: int = 1024
    """SGD replicas."""
    steps: int = 2000
    """SGD steps."""
    every: int = 50
    """Steps between two records."""
    realisations: int = 20
    """Data sets of N and P over which theory is averaged."""
    small_inputs: int = 40
    """N of the averages against the number of samples."""
    ratios: tuple[float, ...] = (1.2, 2.0, 5.0, 20.0)
    """P/N of these averages."""
    small_realisations: int = 400
    """Data sets at each of these ratios."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("inputs", "samples", "batch_size", "replicas", "steps", "every", "small_inputs"):
            _checks.count(name, getattr(self, name))
        for name in ("realisations", "small_realisations"):
            _checks.count(name, getattr(self, name), least=2)
        for name in ("learning_rate", "label_noise_std", "largest_perturbation"):
            _checks.positive(name, getattr(self, name))
        _checks.require("samples", self.samples, self.samples >= self.inputs + 2, allowed=f"≥ {self.inputs + 2}")
        least = 1 + 2 / self.small_inputs
        for ratio in self.ratios:
            _checks.require("ratios", ratio, ratio >= least, allowed=f"at least {least:g}, underparameterised")


def run(config: Fig6aConfig, progress: Progress) -> Result:
    """SGD on one data set, as in the paper; theory on many."""
    key = jax.random.key(config.seed)
    case = _case(config, _ensembles.named(key, "data"), config.samples, config.inputs)
    ensemble = _ensembles.simulate(
        case.descent(), Covariance(), progress, "SGD", key=key, replicas=config.replicas, steps=config.steps,
        every=config.every, initial=case.prediction,
    )  # fmt: skip
    curvatures = _curvatures(config, _ensembles.named(key, "realisations"))
    correlations = [_correlation(config, ratio, _ensembles.named(key, f"P/N = {ratio:g}")) for ratio in config.ratios]
    claims = _law_claims(case, ensemble.estimates, config) + _scatter_claims(config, curvatures)
    claims += _correlation_claims(config, correlations)
    variables = _curves(case, ensemble.estimates, config) | _correlation_variables(correlations)
    return Result(dataset(variables, _coordinates(config)), claims, {"sgd": ensemble.provenance})


def _case(config: Fig6aConfig, key: jax.Array, samples: int, inputs: int) -> Regression:
    return _regression.teacher_student(
        key, samples=samples, inputs=inputs, label_noise_std=config.label_noise_std,
        learning_rate=config.learning_rate, batch_size=config.batch_size,
    )  # fmt: skip


# --- averages over data ---------------------------------------------------------------------------------------


def _curvatures(config: Fig6aConfig, key: jax.Array) -> np.ndarray:
    """vᵀHv along the modes of (2.30), in units of σ_x², [realisations, modes]."""
    at = lambda key: _perturbation.spectrum(_case(config, key, config.samples, config.inputs), "lyapunov")[1]
    return np.asarray(each(at, jax.random.split(key, config.realisations))) * config.inputs


def _correlation(config: Fig6aConfig, ratio: float, key: jax.Array) -> Estimate:
    """Rank correlation of variance and curvature along the modes of the exact law, over data sets."""
    N = config.small_inputs
    at = lambda key: _perturbation.spectrum(_case(config, key, round(ratio * N), N))
    spectra = each(at, jax.random.split(key, config.small_realisations))
    return _perturbation.rank_correlation(*map(np.asarray, spectra))


# --- claims ---------------------------------------------------------------------------------------------------


def _law_claims(case: Regression, measured: Estimate, config: Fig6aConfig) -> list[Claim]:
    """SGD's law, and the variance that its modes have in common."""
    exact, unit = case.prediction.covariance, config.learning_rate * config.label_noise_std**2 / config.batch_size
    mean = measured.map(lambda M: jnp.trace(M) / config.inputs)
    expected = float(jnp.trace(exact)) / config.inputs
    words = "variance of the modes, their mean"
    return [
        Claim.bound(
            "whole covariance", source("Sec. II C; exact discrete law"),
            "variances along all expected directions, and the whole matrix, agree (p-value)",
            sgd.compare(measured, exact, level=LEVEL).p_value, 0.0, LEVEL, side="at least",
        ),
        Claim.equality(
            "mean variance", source("Eq. 2.34; exact discrete law"),
            f"{words}, is tr M/N, near ησ²/(2S) = {unit / 2:.4g}",
            **evidence(mean), expected=expected, resolution=expected / 10,
        ),
        Claim.equality(
            "mean variance/published", source("text after Eq. 2.35"), f"{words}, is ησ²/S", **evidence(mean),
            expected=unit, resolution=unit / 10, published=unit,
        ),
    ]  # fmt: skip


def _scatter_claims(config: Fig6aConfig, curvatures: np.ndarray) -> list[Claim]:
    """How closely the curves lie on the printed one: the mean square of their relative distance, 2/P."""
    square = over_realisations(np.mean((curvatures - 1) ** 2, axis=1))
    expected = 2 / config.samples
    statement = "mean square of the curves' relative distance from ½θ²σ_x²"
    return [
        Claim.equality(
            "superimpose", source("Fig. 6(a)"), f"{statement} is 2/P, that of random directions", **evidence(square),
            expected=expected, resolution=expected / 2, tolerance=_neighbours(config) * expected,
        ),
        Claim.rejection(
            "superimpose exactly/control", source("Fig. 6(a)"), f"{statement} is not 0: the curves scatter",
            **evidence(square), expected=expected, rejected=0.0,
        ),
    ]  # fmt: skip


def _neighbours(config: Fig6aConfig) -> float:
    """Relative tolerance of 2/P. M's eigenvectors mix modes h_i, h_j of H by noise of weight 4 h_i h_j/(h_i + h_j)²,
    1 − O(N/P): they are random up to that, and next order in N/P."""
    return config.inputs / config.samples


def _correlation_claims(config: Fig6aConfig, correlations: list[Estimate]) -> list[Claim]:
    """No relation with many samples; near the threshold a weak one, steep directions fluctuating less."""
    claims = []
    for ratio, correlation in zip(config.ratios, correlations, strict=True):
        prefix, numbers = f"P/N = {ratio:g}", evidence(correlation)
        claims += [
            _independent(prefix, numbers) if ratio >= 2 else _falling(prefix, numbers),
            Claim.rejection(
                f"{prefix}/variance grows with flatness/control", "equilibrium at one temperature, M ∝ H⁻¹",
                f"{CORRELATION} is not −1", **numbers, expected=0.0, rejected=-1.0,
            ),
        ]  # fmt: skip
    return claims


def _independent(prefix: str, numbers: dict[str, Any]) -> Claim:
    return Claim.equality(
        f"{prefix}/no dependence", source("text after Eq. 2.35"), f"{CORRELATION} is 0 within {RESOLUTION:g}",
        **numbers, expected=0.0, resolution=RESOLUTION, tolerance=RESOLUTION,
    )  # fmt: skip


def _falling(prefix: str, numbers: dict[str, Any]) -> Claim:
    return Claim.bound(
        f"{prefix}/weak dependence", "ours: near the threshold, steep directions fluctuate less",
        f"{CORRELATION} is negative", **numbers, expected=0.0, side="at most",
    )  # fmt: skip


# --- data -----------------------------------------------------------------------------------------------------


def _shown(config: Fig6aConfig) -> np.ndarray:
    return np.array([round(fraction * (config.inputs - 1)) for fraction in SHOWN])


def _sizes(config: Fig6aConfig) -> np.ndarray:
    return np.linspace(-config.largest_perturbation, config.largest_perturbation, 21)


def _curves(case: Regression, measured: Estimate, config: Fig6aConfig) -> dict[str, Variable]:
    """The loss along modes of the measured covariance, as the paper has it, and the spectrum of M."""
    V, sizes = _perturbation.directions(measured.value), jnp.asarray(_sizes(config))
    losses = np.stack([_perturbation.perturbed_loss(case, V[:, i], sizes) for i in _shown(config)])
    law = _perturbation.directions(case.prediction.covariance)
    variances = measured.map(lambda M: along(law, M))
    return {
        "loss": variable(("shown", "size"), losses, "perturbed loss along a mode of SGD's covariance", "loss"),
        "published": variable("size", np.asarray(sizes) ** 2 / (2 * config.inputs), "½ θ² σ_x²", "loss"),
        "variance_exact": variable("mode", along(law, case.prediction.covariance), "variance, exact law", "weight²"),
        **measurement("variance_sgd", "mode", variances, "variance along a mode of the exact law, SGD", "weight²"),
    }


def _correlation_variables(correlations: list[Estimate]) -> dict[str, Variable]:
    words = "rank correlation of variance and curvature, exact law, over data"
    return {
        name: variable("ratio", [float(getattr(c, of)) for c in correlations], f"{words}, {of.replace('_', ' ')}")
        for name, of in (("correlation", "value"), ("correlation_error", "standard_error"))
    }


def _coordinates(config: Fig6aConfig) -> dict[str, Variable]:
    return {
        "size": variable("size", _sizes(config), "perturbation θ", "weight"),
        "shown": variable("shown", _shown(config) + 1, "covariance mode, largest variance first"),
        "mode": variable("mode", np.arange(1, config.inputs + 1), "covariance mode, largest variance first"),
        "ratio": variable("ratio", config.ratios, "samples per input P/N"),
    }


FIG6A = register(
    Experiment(
        name="gross2024/fig6a",
        summary="perturbed loss along covariance modes for independent inputs",
        source=source("Fig. 6(a)"),
        config=Fig6aConfig,
        presets={
            "quick": Fig6aConfig(replicas=512, steps=500, ratios=(1.2, 5.0), small_realisations=200),
            "paper": Fig6aConfig(replicas=4096, steps=20_000, realisations=100, small_realisations=2000),
        },
        run=run,
        figure="gross2024/fig6a",
    )
)
