"""Fig. 3(a): eigenvalues of the covariance of the gradient noise, measured during SGD and by (2.17).

    ξ = g_B(w) − ∇L(w) = −v − H (w' − ηv − w*)        w' = w + ηv after the step, v = −g_B(w)       (2.12)

    exact     E ξξᵀ = C(w*) + (1/S) [(1/P) Σ_μ (x_μᵀ M x_μ) x_μ x_μᵀ − H M H],   M the covariance of w
    frozen    C(w*) = (1/S) Xᵀ K X, its first term: additive noise                                   (2.17)
    Hessian   σ² H/S                                                                                 (2.20)

The second term of the exact form is about (η/2S) tr H of the first. Each ensemble starts from the exact law of w;
the noise is measured along the expected eigenvectors. All are drawn in units of σ² σ_x²/S, σ_x² = 1/N. Near the
threshold one data set is not like the average over data: tr C is about |r|² ~ χ²_{P−N}, of relative scatter √(2/(P−N)).
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

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
from sgdynamics.theory import regression

GOOD = 0.03  # relative error of the total noise up to which we would call frozen noise good


@dataclass(frozen=True)
class Fig3aConfig:
    """The gradient noise's spectrum at several numbers of samples."""

    inputs: int = 100
    """N."""
    ratios: tuple[float, ...] = (1.05, 1.1, 1.2, 1.5, 2.0, 4.0, 10.0)
    """P/N, each above 1."""
    learning_rate: float = 0.1
    """Learning rate η; time t = η × step."""
    batch_size: int = 10
    """Minibatch size S, drawn with replacement."""
    label_noise_std: float = 0.1
    """Standard deviation σ of the label noise (the paper's variance is 1e-2)."""
    replicas: int = 1024
    """SGD replicas at each ratio."""
    steps: int = 2000
    """SGD steps."""
    every: int = 20
    """Steps between two records."""
    realisations: int = 20
    """Data sets over which (2.17) is averaged."""
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

    @property
    def unit(self) -> float:
        """σ² σ_x²/S, in which spectra are drawn."""
        return self.label_noise_std**2 / (self.inputs * self.batch_size)


class GradientNoise(eqx.Module):
    """The observable ξ of the last step, from the position after it and the velocity."""

    hessian: Float[Array, "inputs inputs"]
    minimum: Float[Array, " inputs"]
    learning_rate: Float[Array, ""]
    name: str = eqx.field(static=True, default="gradient noise")

    def __call__(self, state: Any) -> Float[Array, " inputs"]:
        before = state.position - self.learning_rate * state.velocity
        return -state.velocity - self.hessian @ (before - self.minimum)


def run(config: Fig3aConfig, progress: Progress) -> Result:
    """One ensemble at each ratio, its noise against that of its own data."""
    parts = [_at(ratio, config, progress) for ratio in config.ratios]
    variables = {name: value for part in parts for name, value in part[0].items()}
    coordinates = {"rank": variable("rank", np.arange(1, config.inputs + 1), "rank of the eigenvalue")}
    claims = [claim for part in parts for claim in part[1]]
    ensembles = {f"P/N = {ratio:g}": part[2] for ratio, part in zip(config.ratios, parts, strict=True)}
    data = dataset(variables, coordinates).assign_attrs(ratios=list(config.ratios))
    return Result(data, claims, ensembles)


def stationary_noise(case: Regression) -> np.ndarray:
    """E ξξᵀ in SGD's exact stationary law. <w> = w*, so that no term is linear in w − w*."""
    x, M = np.asarray(case.data.x), np.asarray(case.prediction.covariance)
    H, stretch = x.T @ x / len(x), np.sum((x @ M) * x, axis=1)
    multiplicative = (x.T * stretch) @ x / len(x) - H @ M @ H
    return np.asarray(case.noise_covariance()) + multiplicative / case.batch_size


def _at(ratio: float, config: Fig3aConfig, progress: Progress) -> tuple[dict[str, Variable], list[Claim], dict]:
    label = f"P/N = {ratio:g}"
    key = _ensembles.named(jax.random.key(config.seed), label)
    case = _case(config, ratio, key)
    noise = GradientNoise(regression.hessian(case.data.x), case.minimum, jnp.asarray(config.learning_rate))
    ensemble = _ensembles.simulate(
        case.descent(), Covariance(of=noise, about=jnp.zeros(config.inputs)), progress, label, key=key,
        replicas=config.replicas, steps=config.steps, every=config.every, initial=case.prediction,
    )  # fmt: skip
    exact = stationary_noise(case)
    variables = _spectra(case, ensemble.estimates, exact, config, ratio, key)
    return variables, _claims(case, ensemble.estimates, exact, config, ratio), ensemble.provenance


def _case(config: Fig3aConfig, ratio: float, key: jax.Array) -> Regression:
    return _regression.teacher_student(
        key, samples=round(ratio * config.inputs), inputs=config.inputs, label_noise_std=config.label_noise_std,
        learning_rate=config.learning_rate, batch_size=config.batch_size,
    )  # fmt: skip


def _spectra(
    case: Regression, measured: Estimate, exact: np.ndarray, config: Fig3aConfig, ratio: float, key: jax.Array
) -> dict[str, Variable]:
    """Eigenvalues in units of σ²σ_x²/S, descending."""
    eigenvalues, U = np.linalg.eigh(exact)
    scaled = measured.map(lambda C: along(U, C)[::-1] / config.unit)
    frozen = each(
        lambda key: jnp.linalg.eigvalsh(_case(config, ratio, key).noise_covariance()),
        jax.random.split(_ensembles.named(key, "realisations"), config.realisations),
    )
    name, words, units = f"at_{ratio:g}", f"eigenvalue of the gradient noise, P/N = {ratio:g}", "σ²σ_x²/S"
    laws = {
        "exact": (eigenvalues, "expected of these data"),
        "frozen": (np.mean(frozen, axis=0), "(2.17), average over data"),
        "hessian": (np.asarray(case.curvature) * config.label_noise_std**2 / config.batch_size, "(2.20), Hessian"),
    }
    return measurement(f"{name}_sgd", "rank", scaled, words, units) | {
        f"{name}_{law}": variable("rank", values[::-1] / config.unit, f"{words}, {which}", units)
        for law, (values, which) in laws.items()
    }


def _claims(case: Regression, measured: Estimate, exact: np.ndarray, config: Fig3aConfig, ratio: float) -> list[Claim]:
    """The expected noise, as a whole and at both ends; frozen noise is good; the Hessian's form is not the noise."""
    prefix = f"P/N = {ratio:g}"
    eigenvalues, U = np.linalg.eigh(exact)
    comparison = sgd.compare(measured, exact, level=LEVEL)
    claims = [
        Claim.bound(
            f"{prefix}/whole covariance", source("Eq. 2.14; exact mean over the stationary law"),
            "variances along all expected directions, and the whole matrix, agree (p-value)",
            comparison.p_value, 0.0, LEVEL, side="at least",
        )
    ]  # fmt: skip
    for name, rank in (("largest", -1), ("smallest", 0)):
        variance, direction = float(eigenvalues[rank]), U[:, rank]
        claims.append(
            Claim.equality(
                f"{prefix}/{name} eigenvalue", source("Fig. 3(a)"), f"noise along the {name} mode of the expected one",
                **evidence(measured.map(lambda C, v=direction: v @ C @ v)), expected=variance, resolution=variance / 4,
            )
        )  # fmt: skip
    frozen = float(jnp.trace(case.noise_covariance()))
    claims.append(
        Claim.bound(
            f"{prefix}/additive noise", source("text after Eq. 2.18"),
            f"total noise exceeds (2.17) by at most {GOOD:g}, relative",
            **evidence(measured.map(lambda C: jnp.trace(C) / frozen - 1)), expected=GOOD, side="at most",
        )
    )  # fmt: skip
    hessian = np.asarray(regression.hessian(case.data.x)) * config.label_noise_std**2 / config.batch_size
    position = between(measured, wrong=hessian, right=exact)
    claims.append(
        Claim.rejection(
            f"{prefix}/Hessian/control", source("Eq. 2.20"),
            "not σ²H/S: on the line from that law (0) to the expected one (1)",
            **evidence(position), expected=1.0, rejected=0.0,
        )
    )  # fmt: skip
    return claims


FIG3A = register(
    Experiment(
        name="gross2024/fig3a",
        summary="eigenvalues of the covariance of the gradient noise, measured during SGD",
        source=source("Fig. 3(a)"),
        config=Fig3aConfig,
        presets={
            "quick": Fig3aConfig(ratios=(1.05, 1.5, 4.0), replicas=512, steps=600, every=10),
            "paper": Fig3aConfig(replicas=4096, steps=20_000, realisations=100),
        },
        run=run,
        figure="gross2024/fig3a",
    )
)
