"""Fig. 2(b): entries, ordered by magnitude, of the diagonal matrix K of the gradient noise, C = (1/S) Xᵀ K X.

    P K_μμ = r_μ² = (x_μ·w* − y_μ)²                                                         (2.18)

A residual is the label noise less its projection on the inputs, r = (1 − 𝒫) ε. For Gaussian data each entry has the
law σ² (1 − ℓ) χ²₁ with leverage 1 − ℓ ~ Beta((P−N)/2, N/2), independent of the χ² (`theory.regression`), so that

    E P K = σ² (1 − N/P),     E (P K)² = 3σ⁴ (P−N)(P−N+2) / (P(P+2)),

and squared Gaussian numbers, r² ≈ ε², for P ≫ N only. Printed: K ≈ ε², which lacks the factor 1/P.
The order does not depend on the teacher: it drops out of r.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import ArrayLike, Float
from scipy.optimize import brentq
from scipy.stats import beta, chi2

from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Estimate
from sgdynamics.theory import regression

MANY = 10  # P/N from which on there are many samples
PROBABILITIES = (0.1, 0.5, 0.9, 0.99)
NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


@dataclass(frozen=True)
class Fig2bConfig:
    """The entries of K for several numbers of samples."""

    inputs: int = 50
    """N."""
    samples: tuple[int, ...] = (70, 100, 200, 1000, 10_000)
    """P, each above N + 1."""
    label_noise_std: float = 1.0
    """Standard deviation σ of the label noise."""
    realisations: int = 100
    """Data sets at each P."""
    points: int = 40
    """Ranks that are stored of the ordered entries, of each P."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        _checks.count("inputs", self.inputs)
        _checks.count("realisations", self.realisations, least=2)
        _checks.count("points", self.points, least=2)
        _checks.positive("label_noise_std", self.label_noise_std)
        for P in self.samples:
            _checks.count("samples", P, least=self.inputs + 2, remedy="With P ≤ N all of K is 0.")
        _checks.require("samples", self.samples, len(set(self.samples)) == len(self.samples) > 0, allowed="distinct")


def run(config: Fig2bConfig, progress: Progress) -> Result:
    """Squared residuals of many data sets, for every P."""
    claims, variables = [], {}
    fractions = (np.arange(config.points) + 0.5) / config.points
    for P in config.samples:
        squares = _squares(config, P, progress)
        claims += _claims(config, P, squares)
        variables |= _stored(config, P, squares, fractions)
    white = config.label_noise_std**2 * chi2.ppf(fractions, 1)
    variables["white"] = variable("fraction", white, "squared label noise, quantile", "output²")
    coordinates = {"fraction": variable("fraction", fractions, "fraction of the entries that are smaller")}
    return Result(dataset(variables, coordinates).assign_attrs(samples=list(config.samples)), claims)


def residuals(x: Float[ArrayLike, "samples inputs"], noise: Float[ArrayLike, " samples"]) -> np.ndarray:
    """(1 − 𝒫) ε, in absolute value those of the least-squares fit to any teacher's labels."""
    x, noise = np.asarray(x), np.asarray(noise)
    return noise - x @ np.linalg.solve(x.T @ x, x.T @ noise)


def cumulative(value: float, left: np.ndarray) -> float:
    """Probability that (1 − ℓ) χ²₁ is below `value`; `left` are 1 − ℓ at the `nodes`."""
    return float(WEIGHTS @ chi2.cdf(value / left, 1) / 2)


def nodes(samples: int, inputs: int) -> np.ndarray:
    """Quantiles of 1 − ℓ at the nodes of the Gauss-Legendre quadrature."""
    return beta.ppf((NODES + 1) / 2, (samples - inputs) / 2, inputs / 2)


def quantiles(fractions: Sequence[float] | np.ndarray, samples: int, inputs: int) -> np.ndarray:
    """Of P K in units of σ²; no more than those of χ²₁."""
    left, most = nodes(samples, inputs), chi2.ppf(fractions, 1)
    return np.array([
        brentq(lambda v, q=q: cumulative(v, left) - q, 0, v, xtol=1e-14)
        for q, v in zip(fractions, most + 1e-12, strict=True)
    ])  # fmt: skip


def _squares(config: Fig2bConfig, P: int, progress: Progress) -> np.ndarray:
    """P K_μμ [realisations, samples], ascending."""
    progress.stage(f"P = {P}", config.realisations)
    key = _ensembles.named(jax.random.key(config.seed), f"P = {P}")
    rows = []
    for r in range(config.realisations):
        drawn = np.asarray(jax.random.normal(jax.random.fold_in(key, r), (P, config.inputs + 1)))
        rows.append(np.sort(config.label_noise_std**2 * residuals(drawn[:, 1:], drawn[:, 0]) ** 2))
        progress.advance(1)
    return np.stack(rows)


def _claims(config: Fig2bConfig, P: int, squares: np.ndarray) -> list[Claim]:
    prefix, σ2, N = f"P = {P}", config.label_noise_std**2, config.inputs
    σ = {"label_noise_std": config.label_noise_std}
    moments = over_realisations(np.stack([squares.mean(axis=1), (squares**2).mean(axis=1)], axis=1), "moments")
    mean, square = moments.map(lambda m: m[0]), moments.map(lambda m: m[1])
    expected_mean = P * float(regression.mean_residual_weight(P, N, **σ))
    expected_square = P**2 * float(regression.mean_square_residual_weight(P, N, **σ))
    ours = "ours: Gaussian data, `theory.regression`"
    claims = [
        Claim.equality(
            f"{prefix}/mean", ours, "E P K = σ² (1 − N/P) [output²]", **evidence(mean),
            expected=expected_mean, resolution=expected_mean / 6,
        ),
        Claim.equality(
            f"{prefix}/second moment", ours, "E (P K)² = 3σ⁴ (P−N)(P−N+2)/(P(P+2)) [output⁴]", **evidence(square),
            expected=expected_square, resolution=expected_square / 3,
        ),
        Claim.equality(
            f"{prefix}/factor of 1 over P/published", source("text after Eq. 2.18, Fig. 2(b)"),
            "K ≈ ε²: E K = σ² [output²]", **evidence(mean.map(lambda m: m / P)), expected=σ2, resolution=σ2 / 6,
        ),
    ]  # fmt: skip
    claims += [_below(config, P, squares, q) for q in PROBABILITIES]
    return [*claims, _against_white(config, P, mean, squares)]


def _below(config: Fig2bConfig, P: int, squares: np.ndarray, q: float) -> Claim:
    """The fraction of entries below the exact law's quantile: unbiased, as ordered entries are not."""
    threshold = config.label_noise_std**2 * quantiles([q], P, config.inputs)[0]
    return Claim.equality(
        f"P = {P}/quantile {q:g}", "ours: Gaussian data, σ² (1 − ℓ) χ²₁",
        f"fraction of entries below the law's {q:g} quantile",
        **evidence(over_realisations((squares < threshold).mean(axis=1))), expected=q, resolution=0.05,
    )  # fmt: skip


def _against_white(config: Fig2bConfig, P: int, mean: Estimate, squares: np.ndarray) -> Claim:
    """Squared Gaussian numbers of variance σ²: excluded for few samples, their shape reached for many."""
    σ2, N = config.label_noise_std**2, config.inputs
    if P < MANY * N:
        return Claim.rejection(
            f"P = {P}/squared label noise/control", "P K = ε², the limit of many samples",
            "the mean of P K is not σ² [output²]", **evidence(mean), expected=σ2 * (1 - N / P), rejected=σ2,
        )  # fmt: skip
    exact = 3 * P * (P - N + 2) / ((P - N) * (P + 2))
    shape = over_realisations((squares**2).mean(axis=1) / squares.mean(axis=1) ** 2)
    return Claim.equality(
        f"P = {P}/Gaussian for many samples", source("Fig. 2 caption"),
        "E (PK)² / (E PK)² = 3, of squared Gaussian numbers, for P ≫ N", **evidence(shape), expected=3.0,
        resolution=0.3, tolerance=abs(exact - 3) + 12 / P,
        note="Tolerance: the exact ratio's distance from 3, and the bias of a ratio of averages, O(1/P).",
    )  # fmt: skip


def _stored(config: Fig2bConfig, P: int, squares: np.ndarray, fractions: np.ndarray) -> dict[str, Variable]:
    """The ordered entries at ranks near the fractions, and the law's quantiles where those ranks are."""
    rank = np.clip(np.round(fractions * P - 0.5).astype(int), 0, P - 1)
    words = f"P × entry of K, ordered by magnitude, P = {P}"
    law = config.label_noise_std**2 * quantiles((rank + 0.5) / P, P, config.inputs)
    return measurement(f"at_{P}", "fraction", over_realisations(squares[:, rank]), words, "output²") | {
        f"at_{P}_rank": variable("fraction", (rank + 0.5) / P, f"fraction of the entries that are smaller, P = {P}"),
        f"at_{P}_law": variable("fraction", law, f"{words}, quantile of the exact law", "output²"),
    }


FIG2B = register(
    Experiment(
        name="gross2024/fig2b",
        summary="ordered entries of the matrix K of the gradient noise, against the exact law of residuals",
        source=source("Fig. 2(b)"),
        config=Fig2bConfig,
        presets={"quick": Fig2bConfig(), "paper": Fig2bConfig(samples=(70, 100, 150, 200, 500, 1000, 3000, 10_000))},
        run=run,
        figure="gross2024/fig2b",
    )
)
