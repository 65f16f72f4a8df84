"""Fig. 5(b): eigenvalues of the weight covariance, from the interpolation threshold to many samples.

    exact                        SGD: discrete time, multiplicative noise      (`theory.recursion`)
    H M + M H = η C              the SDE with frozen noise                     (2.29), (2.30)
    M = (η/2) H⁻¹ C              detailed balance, not symmetric               (2.33)
    M = η σ²/(2S)                isotropic                                     (2.34), in whose units all are drawn

The softest mode relaxes in 1/(η h) steps, 10⁵ near the threshold: each ensemble starts from the exact law.
Its variances are measured along that law's own eigenvectors; ordered eigenvalues of a sample would be biased.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles, _regression
from sgdynamics.experiments._between import between
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import each
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._regression import Regression, along
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Covariance, Estimate

REASONABLE = 0.2  # relative error up to which we would call an approximation of a matrix reasonable


@dataclass(frozen=True)
class Fig5bConfig:
    """The weight covariance's spectrum at several numbers of samples."""

    inputs: int = 100
    """N."""
    ratios: tuple[float, ...] = (1.05, 1.1, 1.2, 1.5, 2.0, 4.0, 10.0)
    """P/N, each above 1."""
    learning_rate: float = 0.1
    """Learning rate η; time t = η × step."""
    batch_size: int = 10
    """Minibatch size S, drawn with replacement."""
    label_noise_std: float = 0.5
    """Standard deviation σ of the label noise."""
    replicas: int = 1024
    """SGD replicas at each ratio."""
    steps: int = 2000
    """SGD steps."""
    every: int = 20
    """Steps between two records."""
    realisations: int = 20
    """Data sets over which (2.30) is averaged."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("inputs", "batch_size", "replicas", "steps", "every"):
            _checks.count(name, getattr(self, name))
        _checks.count("realisations", self.realisations, least=2)
        for name in ("learning_rate", "label_noise_std"):
            _checks.positive(name, getattr(self, name))
        least = 1 + 2 / self.inputs
        for ratio in self.ratios:
            _checks.require("ratios", ratio, ratio >= least, allowed=f"at least {least:g}, underparameterised")


def run(config: Fig5bConfig, progress: Progress) -> Result:
    """One ensemble at each ratio, against the four laws of its own data."""
    parts = [_at(ratio, config, progress) for ratio in config.ratios]
    variables = {name: value for part in parts for name, value in part[0].items()}
    coordinates = {"rank": variable("rank", np.arange(1, config.inputs + 1), "rank of the eigenvalue")}
    claims = [claim for part in parts for claim in part[1]]
    ensembles = {f"P/N = {ratio:g}": part[2] for ratio, part in zip(config.ratios, parts, strict=True)}
    data = dataset(variables, coordinates).assign_attrs(ratios=list(config.ratios))
    return Result(data, claims, ensembles)


def _at(ratio: float, config: Fig5bConfig, progress: Progress) -> tuple[dict[str, Variable], list[Claim], dict]:
    label = f"P/N = {ratio:g}"
    key = _ensembles.named(jax.random.key(config.seed), label)
    case = _case(config, ratio, key)
    ensemble = _ensembles.simulate(
        case.descent(), Covariance(), progress, label, key=key, replicas=config.replicas,
        steps=config.steps, every=config.every, initial=case.prediction,
    )  # fmt: skip
    variables = _spectra(case, ensemble.estimates, config, ratio, key)
    return variables, _claims(case, ensemble.estimates, ratio), ensemble.provenance


def _case(config: Fig5bConfig, ratio: float, key: jax.Array) -> Regression:
    return _regression.teacher_student(
        key, samples=round(ratio * config.inputs), inputs=config.inputs, label_noise_std=config.label_noise_std,
        learning_rate=config.learning_rate, batch_size=config.batch_size,
    )  # fmt: skip


def _spectra(case: Regression, measured: Estimate, config: Fig5bConfig, ratio: float, key) -> dict[str, Variable]:
    """Eigenvalues in units of ησ²/(2S), descending."""
    unit = config.learning_rate * config.label_noise_std**2 / (2 * config.batch_size)
    exact, U = np.linalg.eigh(case.prediction.covariance)
    scaled = measured.map(lambda M: along(U, M)[::-1] / unit)
    frozen = each(
        lambda key: jnp.linalg.eigvalsh(_case(config, ratio, key).law("lyapunov")),
        jax.random.split(_ensembles.named(key, "realisations"), config.realisations),
    )
    # (2.33) is similar to a symmetric matrix, so its eigenvalues are real
    balanced = np.sort(np.linalg.eigvals(case.law("detailed_balance")).real)
    name, words, units = f"at_{ratio:g}", f"eigenvalue of the weight covariance, P/N = {ratio:g}", "ησ²/(2S)"
    laws = {
        "exact": (exact, "SGD's exact law"),
        "frozen": (np.mean(frozen, axis=0), "(2.30), average over data"),
        "balanced": (balanced, "detailed balance (2.33)"),
    }
    return measurement(f"{name}_sgd", "rank", scaled, words, units) | {
        f"{name}_{law}": variable("rank", values[::-1] / unit, f"{words}, {which}", units)
        for law, (values, which) in laws.items()
    }


def _claims(case: Regression, measured: Estimate, ratio: float) -> list[Claim]:
    """The exact law holds, as a whole and at both ends of the spectrum; detailed balance and isotropy do not."""
    prefix, exact = f"P/N = {ratio:g}", np.asarray(case.prediction.covariance)
    eigenvalues, U = np.linalg.eigh(exact)
    comparison = sgd.compare(measured, exact, level=LEVEL)
    claims = [
        Claim.bound(
            f"{prefix}/whole covariance", source("Sec. II C; exact discrete law"),
            "variances along all expected directions, and the whole matrix, agree (p-value)",
            comparison.p_value, 0.0, LEVEL, side="at least",
        )
    ]  # fmt: skip
    for name, rank in (("largest", -1), ("smallest", 0)):
        variance, direction = float(eigenvalues[rank]), U[:, rank]
        claims.append(
            Claim.equality(
                f"{prefix}/{name} eigenvalue", source("Fig. 5(b)"), f"variance along the {name} mode of the exact law",
                **evidence(measured.map(lambda M, v=direction: v @ M @ v)), expected=variance, resolution=variance / 2,
            )
        )  # fmt: skip
    balanced = case.law("detailed_balance")
    claims.append(_not(f"{prefix}/detailed balance/control", "Eq. 2.33", "detailed balance", measured, balanced, exact))
    if ratio >= 2:
        wrong = "/published" * (1 / ratio > REASONABLE)  # its relative error is about N/P
        claims.append(_reasonable(f"{prefix}/detailed balance is reasonable{wrong}", measured, balanced, exact))
    isotropic = case.law("isotropic")
    claims.append(_not(f"{prefix}/isotropic/control", "Eq. 2.34", "isotropy", measured, isotropic, exact))
    return claims


def _not(id: str, equation: str, name: str, measured: Estimate, wrong: Any, exact: Any) -> Claim:
    """The negative control: the measured covariance is not the wrong law's."""
    return Claim.rejection(
        id, source(equation), f"not {name}: on the line from that law (0) to the exact one (1)",
        **evidence(between(measured, wrong=wrong, right=exact)), expected=1.0, rejected=0.0,
    )  # fmt: skip


def _reasonable(id: str, measured: Estimate, balanced: Any, exact: Any) -> Claim:
    """How far (2.33) is from the measured matrix: the exact part of the distance, times where on the line the
    measurement lies, so that its sampling noise does not count as distance."""
    distance = float(jnp.linalg.norm(balanced - exact) / jnp.linalg.norm(exact))
    position = between(measured, wrong=balanced, right=exact)
    return Claim.bound(
        id, source("text after Eq. 2.33"),
        f"detailed balance is reasonable for P/N ≥ 2: relative error of the matrix at most {REASONABLE:g}",
        **evidence(position.map(lambda c: c * distance)), expected=REASONABLE, side="at most",
    )  # fmt: skip


FIG5B = register(
    Experiment(
        name="gross2024/fig5b",
        summary="eigenvalues of the weight covariance against the number of samples",
        source=source("Fig. 5(b)"),
        config=Fig5bConfig,
        presets={
            "quick": Fig5bConfig(ratios=(1.05, 1.2, 2.0, 10.0), replicas=512, steps=1000),
            "paper": Fig5bConfig(replicas=4096, steps=20_000, realisations=100),
        },
        run=run,
        figure="gross2024/fig5b",
    )
)
