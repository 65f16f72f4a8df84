"""Fig. 6(b): the perturbed loss along covariance modes for correlated inputs, and whether variance follows flatness.

x ~ N(0, Σ), Σ = M Mᵀ/N with M_ij ~ N(0, 1). (The caption lacks the 1/N, without which η h exceeds 2 and SGD diverges.)
The paper expects no relation between variance and flatness in a single layer. With the noise frozen and time
continuous there is next to none: C ≈ (σ²/S) H makes M nearly isotropic, and what is left is weak and negative. But in
discrete time, with that C,

    M = (η σ²/2S) [1 − ηH/2]⁻¹,

so that stiff directions fluctuate more where ηh is not small: an inverse variance-flatness relation without a second
layer, which multiplicative noise strengthens, and which is gone for η → 0.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import each, over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._regression import Regression
from sgdynamics.experiments._variables import dataset, measurement, variable
from sgdynamics.experiments.gross2024 import _perturbation
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Covariance, Estimate
from sgdynamics.theory import regression

RESOLUTION = 0.1  # of a rank correlation: what we would not call dependence


@dataclass(frozen=True)
class Fig6bConfig:
    """The perturbed loss for correlated inputs."""

    inputs: int = 40
    """N."""
    samples: int = 200
    """P."""
    learning_rate: float = 0.1
    """Learning rate η of the SGD runs; time t = η × step."""
    learning_rates: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1)
    """Learning rates at which theory is averaged over data."""
    batch_size: int = 10
    """Minibatch size S, drawn with replacement."""
    label_noise_std: float = 0.5
    """Standard deviation σ of the label noise."""
    replicas: int = 1024
    """SGD replicas on each data set."""
    steps: int = 4000
    """SGD steps."""
    every: int = 20
    """Steps between two records."""
    runs: int = 4
    """Data sets that SGD runs on."""
    realisations: int = 100
    """Data sets over which theory is averaged."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("inputs", "samples", "batch_size", "replicas", "steps", "every"):
            _checks.count(name, getattr(self, name))
        for name in ("runs", "realisations"):
            _checks.count(name, getattr(self, name), least=2)
        for name in ("learning_rate", "label_noise_std"):
            _checks.positive(name, getattr(self, name))
        for rate in self.learning_rates:
            _checks.positive("learning_rates", rate)
        _checks.require("samples", self.samples, self.samples >= self.inputs + 2, allowed=f"≥ {self.inputs + 2}")


def run(config: Fig6bConfig, progress: Progress) -> Result:
    """SGD on a few data sets, theory on many."""
    key = jax.random.key(config.seed)
    cases = [_case(config, key) for key in jax.random.split(_ensembles.named(key, "runs"), config.runs)]
    measured = [_simulated(case, i, config, progress, key) for i, case in enumerate(cases)]
    averages = _averages(config, jax.random.split(_ensembles.named(key, "realisations"), config.realisations))
    correlations = {
        form: [_perturbation.rank_correlation(v[:, i], k[:, i]) for i in range(v.shape[1])]
        for form, (v, k) in averages.items()
    }
    sgd_correlation = _measured_correlation(cases, [ensemble.estimates for ensemble in measured])
    claims = [claim for i, case in enumerate(cases) for claim in _claims(case, measured[i].estimates, i)]
    claims += _correlation_claims(config, correlations, sgd_correlation)
    at = _rates(config).index(config.learning_rate)
    spectra = tuple(values[:, at] for values in averages["exact"])
    data = _data(config, spectra, correlations, sgd_correlation, _run_curvatures(cases, measured))
    return Result(data, claims, {f"run {i}": ensemble.provenance for i, ensemble in enumerate(measured)})


def _case(config: Fig6bConfig, key: jax.Array, learning_rate: Any = None) -> Regression:
    matrix_key, data_key = jax.random.split(key)
    root = jax.random.normal(matrix_key, (config.inputs, config.inputs))
    data = sgd.data.teacher_student(
        data_key, samples=config.samples, inputs=config.inputs, label_noise_std=config.label_noise_std,
        input_covariance=root @ root.T / config.inputs,
    )  # fmt: skip
    return Regression(data, config.learning_rate if learning_rate is None else learning_rate, config.batch_size)


def _simulated(case: Regression, number: int, config: Fig6bConfig, progress: Progress, key) -> sgd.Ensemble:
    return _ensembles.simulate(
        case.descent(), Covariance(), progress, f"data set {number}", key=key, replicas=config.replicas,
        steps=config.steps, every=config.every, initial=case.prediction,
    )  # fmt: skip


def _rates(config: Fig6bConfig) -> list[float]:
    """The learning rates of the averages, that of the runs among them."""
    return sorted({*config.learning_rates, config.learning_rate})


def _averages(config: Fig6bConfig, keys: jax.Array) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(variances, curvatures), each [realisations, learning rates, modes], for SGD and for the frozen-noise SDE."""
    rates = jnp.asarray(_rates(config))
    at = lambda form: lambda key: jax.lax.map(lambda η: _perturbation.spectrum(_case(config, key, η), form), rates)
    return {form: tuple(map(np.asarray, each(at(form), keys))) for form in ("exact", "lyapunov")}


def _measured_correlation(cases: list[Regression], measured: list[Estimate]) -> Estimate:
    """ρ between SGD's variances along the exact law's eigenvectors and the curvatures there, over data sets."""
    pairs = [_along_law(case, estimate) for case, estimate in zip(cases, measured, strict=True)]
    variances, curvatures = (np.array(values) for values in zip(*pairs, strict=True))
    return _perturbation.rank_correlation(variances, curvatures)


def _along_law(case: Regression, measured: Estimate) -> tuple[np.ndarray, np.ndarray]:
    V = np.asarray(_perturbation.directions(case.prediction.covariance))
    H = np.asarray(regression.hessian(case.data.x))
    variance = lambda matrix: np.einsum("ik,ij,jk->k", V, matrix, V)
    return variance(np.asarray(measured.value)), variance(H)


def _run_curvatures(cases: list[Regression], measured: list[sgd.Ensemble]) -> Estimate:
    """Curvature along the eigenvectors of the *measured* covariance, as in the paper, over data sets."""
    values = []
    for case, ensemble in zip(cases, measured, strict=True):
        V = np.asarray(_perturbation.directions(ensemble.estimates.value))
        values.append(np.sum((np.asarray(case.data.x) @ V) ** 2, axis=0) / case.samples)
    return over_realisations(np.array(values))


def _claims(case: Regression, measured: Estimate, number: int) -> list[Claim]:
    """SGD's law holds; its variances rise with curvature as the exact law says, not as the frozen-noise SDE does."""
    exact = case.prediction.covariance
    V = _perturbation.directions(exact)
    curvatures = np.sum((np.asarray(case.data.x) @ np.asarray(V)) ** 2, axis=0) / case.samples
    of = lambda M: float(_perturbation.slope(over_realisations(np.stack([M, M])), V, curvatures).value)
    slope, frozen = of(np.asarray(exact)), of(np.asarray(case.law("lyapunov")))
    comparison = sgd.compare(measured, exact, level=LEVEL)
    numbers = evidence(_perturbation.slope(measured, V, curvatures))
    return [
        Claim.bound(
            f"data set {number}/whole covariance", source("Sec. II C; exact discrete law"),
            "variances along all expected directions, and the whole matrix, agree (p-value)",
            comparison.p_value, 0.0, LEVEL, side="at least",
        ),
        Claim.equality(
            f"data set {number}/slope", source("Fig. 6(b); exact discrete law"),
            "slope of variance on curvature along the covariance modes",
            **numbers, expected=slope, resolution=abs(slope - frozen) / 2,
        ),
        Claim.rejection(
            f"data set {number}/slope of frozen noise/control", source("Eq. 2.30"),
            "not the slope that the SDE with frozen noise has", **numbers, expected=slope, rejected=frozen,
        ),
    ]  # fmt: skip


def _correlation_claims(
    config: Fig6bConfig, correlations: dict[str, list[Estimate]], measured: Estimate
) -> list[Claim]:
    """Whether variance and flatness are related, as averages over data sets."""
    rates, η = _rates(config), config.learning_rate
    exact, frozen = correlations["exact"], correlations["lyapunov"][rates.index(η)]
    place, statement = source("text after Eq. 2.35"), "rank correlation between variance and curvature"
    return [
        Claim.equality(
            f"no dependence/η = {η:g}/published", place,
            f"{statement} is 0 (no significant dependence); exact law at the paper's learning rate {η:g}",
            **evidence(exact[rates.index(η)]), expected=0.0, resolution=RESOLUTION, tolerance=RESOLUTION, published=0.0,
        ),
        Claim.equality(
            f"no dependence/η = {rates[0]:g}", place, f"{statement} is 0 within {RESOLUTION:g}, as η → 0; exact law",
            **evidence(exact[0]), expected=0.0, resolution=RESOLUTION, tolerance=RESOLUTION,
        ),
        Claim.equality(
            "no dependence/frozen noise", place, f"{statement} is 0 within {RESOLUTION:g}; frozen noise (2.30)",
            **evidence(frozen), expected=0.0, resolution=RESOLUTION, tolerance=RESOLUTION,
        ),
        Claim.bound(
            f"variance rises with curvature/SGD, η = {η:g}", "ours: inverse variance-flatness without a second layer",
            f"{statement} in SGD, over {config.runs} data sets (one-sided, level 0.01)", **evidence(measured),
            expected=0.0, side="at least", level=0.01,
        ),
    ]  # fmt: skip


def _data(config: Fig6bConfig, spectra, correlations: dict[str, list[Estimate]], measured: Estimate, runs: Estimate):
    variances, curvatures = spectra
    rates = variable("learning_rate", _rates(config), "learning rate", "t/step")
    words = "perturbed loss δL/θ² along a covariance mode"
    halved = over_realisations(curvatures).map(lambda k: k / 2)
    variables = measurement("perturbation_sgd", "mode", runs.map(lambda k: k / 2), f"{words}, SGD", "loss/weight²")
    variables |= {
        "perturbation_exact": variable("mode", halved.value, f"{words}, exact law, mean over data", "loss/weight²"),
        "perturbation_iid": variable("", 0.5, f"{words}, i.i.d. inputs of the same variance", "loss/weight²"),
        "variance_exact": variable("mode", variances.mean(axis=0), "variance of a covariance mode", "weight²"),
    }
    for form, of in (("exact", "SGD's exact law"), ("lyapunov", "frozen noise (2.30)")):
        for name, values in (("", "value"), ("_error", "standard_error")):
            array = [float(getattr(estimate, values)) for estimate in correlations[form]]
            long_name = f"rank correlation of variance and curvature, {of}, {values.replace('_', ' ')}"
            variables[f"correlation_{form}{name}"] = variable("learning_rate", array, long_name)
    variables |= measurement("correlation_sgd", "", measured, "rank correlation of variance and curvature, SGD")
    variables["sgd_learning_rate"] = variable("", config.learning_rate, "learning rate of the SGD runs", "t/step")
    modes = variable("mode", np.arange(1, config.inputs + 1), "covariance mode, largest variance first")
    return dataset(variables, {"learning_rate": rates, "mode": modes})


FIG6B = register(
    Experiment(
        name="gross2024/fig6b",
        summary="perturbed loss along covariance modes for correlated inputs: does variance follow flatness?",
        source=source("Fig. 6(b)"),
        config=Fig6bConfig,
        presets={
            "quick": Fig6bConfig(replicas=512, steps=2000, runs=3),
            "paper": Fig6bConfig(replicas=4096, steps=20_000, runs=8, realisations=400),
        },
        run=run,
        figure="gross2024/fig6b",
    )
)
