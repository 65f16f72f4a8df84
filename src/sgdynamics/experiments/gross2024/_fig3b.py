"""Fig. 3(b): eigenvalues of the gradient noise's covariance against those of the Hessian approximation.

    C = (1/S) Xᵀ K X    (2.17)            σ² H/S    (2.20)            in units of σ²σ_x²/S, σ_x² = 1/N

For Gaussian data the average of C is a multiple of 1, (P−N)/(P+2) times the average of (2.20): less than 1 − N/P, as
examples of large |x| have large leverage (`theory.regression`). The distance of the two matrices of one data set is

    ‖C − σ²H/S‖ / ‖σ²H/S‖ = √(2(N+2)/P) / √(1 + (N+1)/P) · (1 + O(N/P)),

in Frobenius' norm: each example brings r² − σ² of variance 2σ⁴, and |x|⁴ averages σ_x⁴ N(N+2). "Approaches for
P/N → ∞" is therefore slow, with the exponent −1/2: 20 % are left at P/N = 50. Over the label noise alone, given the
inputs, with the projector 𝒫 and Q = 1 − 𝒫, exactly

    E tr C = (σ²/SP) Σ_μ (1 − 𝒫_μμ) |x_μ|²,
    E ‖C − σ²H/S‖² = (σ⁴/S²P²) Σ_μν (𝒫_μμ 𝒫_νν + 2 Q_μν²) (x_μ·x_ν)².
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

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

BLOCK = 512
FIELDS = {
    "total": "tr C, over the trace of the mean of (2.20)",
    "expected_total": "the same, averaged over the label noise given the inputs",
    "square": "square of the relative distance of (2.17) from (2.20)",
    "expected_square": "the same, averaged over the label noise given the inputs",
    "distance": "relative distance of (2.17) from (2.20)",
    "largest": "largest eigenvalue of (2.17)",
    "smallest": "smallest eigenvalue of (2.17)",
    "largest_hessian": "largest eigenvalue of (2.20)",
    "smallest_hessian": "smallest eigenvalue of (2.20)",
}


@dataclass(frozen=True)
class Fig3bConfig:
    """Spectra of (2.17) and (2.20) at several numbers of samples."""

    inputs: int = 100
    """N."""
    ratios: tuple[float, ...] = (1.1, 1.5, 2.0, 5.0, 10.0, 20.0, 50.0)
    """P/N, ascending, each above 1."""
    shown: tuple[float, ...] = (1.1, 2.0, 50.0)
    """Those of which the whole spectrum is stored."""
    large: float = 10.0
    """P/N from which on the exponent of the distance is fitted."""
    realisations: int = 50
    """Data sets at each ratio."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        _checks.count("inputs", self.inputs, least=2)
        _checks.count("realisations", self.realisations, least=2)
        _checks.require("ratios", self.ratios, len(self.ratios) > 0, allowed="at least one")
        ascending = self.ratios == tuple(sorted(set(self.ratios)))
        _checks.require("ratios", self.ratios, ascending, allowed="ascending")
        least = 1 + 4 / self.inputs
        for ratio in self.ratios:
            _checks.require("ratios", ratio, ratio >= least, allowed=f"at least {least:g}, underparameterised")
        _checks.require("shown", self.shown, set(self.shown) <= set(self.ratios), allowed=f"among {self.ratios}")
        many = sum(ratio >= self.large for ratio in self.ratios) >= 2
        _checks.require("large", self.large, many and self.large >= 5, allowed="≥ 5, and two ratios not below it")

    def samples(self, ratio: float) -> int:
        """P."""
        return round(ratio * self.inputs)


def run(config: Fig3bConfig, progress: Progress) -> Result:
    """Spectra, totals and distances of many data sets, at every ratio."""
    parts = {ratio: _realisations(config, ratio, progress) for ratio in config.ratios}
    spectra = {ratio: spectra for ratio, (_, spectra) in parts.items()}
    scalars = {name: np.stack([part[name] for part, _ in parts.values()], axis=1) for name in FIELDS}
    measured = {name: over_realisations(values) for name, values in scalars.items()}
    claims = [claim for i, ratio in enumerate(config.ratios) for claim in _claims(config, ratio, scalars, i)]
    claims += _approach(config, measured["distance"])
    variables: dict[str, Variable] = {}
    for name, words in FIELDS.items():
        variables |= measurement(name, "ratio", measured[name], words, "σ²σ_x²/S" if "eigenvalue" in words else "1")
    variables["distance_leading"] = variable("ratio", leading_distance(config), "leading order of the distance")
    for ratio in config.shown:
        for name, words, values in zip(("noise", "hessian"), ("(2.17)", "(2.20)"), spectra[ratio], strict=True):
            long = f"eigenvalue of {words}, P/N = {ratio:g}"
            variables |= measurement(f"{name}_{ratio:g}", "rank", over_realisations(values), long, "σ²σ_x²/S")
    coordinates = {
        "rank": variable("rank", np.arange(1, config.inputs + 1), "rank of the eigenvalue"),
        "ratio": variable("ratio", config.ratios, "samples per input P/N"),
    }
    return Result(dataset(variables, coordinates).assign_attrs(shown=list(config.shown)), claims)


def noise_and_hessian(x: np.ndarray, ε: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(2.17) and (2.20) in units of σ²/S, for label noise ε of variance 1: it alone decides the residuals."""
    gram = x.T @ x
    r = ε - x @ np.linalg.solve(gram, x.T @ ε)
    return (x.T * r**2) @ x / len(x), gram / len(x)


def expected(x: Float[ArrayLike, "samples inputs"]) -> tuple[float, float]:
    """E tr C and E ‖C − H‖²_F of `noise_and_hessian`, over the label noise; without a samples × samples matrix.

    Σ_μν 𝒫_μμ 𝒫_νν (x_μ·x_ν)² = ‖Σ_μ 𝒫_μμ x_μ x_μᵀ‖², and Q = 1 − 𝒫 leaves Σ_μ (1 − 2𝒫_μμ)|x_μ|⁴ and
    Σ_μν 𝒫_μν² (x_μ·x_ν)², which are done by blocks.
    """
    x = np.asarray(x)
    half = x @ np.linalg.inv(np.linalg.cholesky(x.T @ x)).T
    leverage, squares = np.sum(half**2, axis=1), np.sum(x**2, axis=1)
    both = 0.0
    for i in range(0, len(x), BLOCK):
        products = ((half[i : i + BLOCK] @ half[i:].T) * (x[i : i + BLOCK] @ x[i:].T)) ** 2
        both += np.sum(products[:, :BLOCK]) + 2 * np.sum(products[:, BLOCK:])
    weighted = (x.T * leverage) @ x
    square = np.sum(weighted**2) + 2 * (np.sum((1 - 2 * leverage) * squares**2) + both)
    return float(np.mean((1 - leverage) * squares)), float(square) / len(x) ** 2


def leading_distance(config: Fig3bConfig) -> np.ndarray:
    """√(2(N+2)/P) / √(1 + (N+1)/P)."""
    N, P = config.inputs, np.array([config.samples(ratio) for ratio in config.ratios])
    return np.sqrt(2 * (N + 2) / P / (1 + (N + 1) / P))


def _realisations(
    config: Fig3bConfig, ratio: float, progress: Progress
) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The FIELDS, [realisations] each, and the spectra of (2.17) and (2.20) [realisations, modes], descending."""
    progress.stage(f"P/N = {ratio:g}", config.realisations)
    key = _ensembles.named(jax.random.key(config.seed), f"P/N = {ratio:g}")
    rows, noises, hessians = [], [], []
    for r in range(config.realisations):
        drawn = jax.random.normal(jax.random.fold_in(key, r), (config.samples(ratio), config.inputs + 1))
        x, ε = np.asarray(drawn)[:, 1:], np.asarray(drawn)[:, 0]
        C, H = noise_and_hessian(x, ε)
        noise, hessian = np.linalg.eigvalsh(C)[::-1], np.linalg.eigvalsh(H)[::-1]
        square, norm = np.sum((C - H) ** 2), np.sum(H**2)
        total, mean_square = expected(x)
        traces = (np.trace(C) / config.inputs, total / config.inputs)
        distances = (square / norm, mean_square / norm, np.sqrt(square / norm))
        rows.append((*traces, *distances, noise[0], noise[-1], hessian[0], hessian[-1]))
        noises.append(noise)
        hessians.append(hessian)
        progress.advance(1)
    return dict(zip(FIELDS, np.array(rows).T, strict=True)), (np.array(noises), np.array(hessians))


def _claims(config: Fig3bConfig, ratio: float, scalars: dict[str, np.ndarray], i: int) -> list[Claim]:
    """The average prefactor of (2.20), and the distance given the inputs."""
    prefix, P, N = f"P/N = {ratio:g}", config.samples(ratio), config.inputs
    total, given = (over_realisations(scalars[name][:, i]) for name in ("total", "expected_total"))
    unit = {"label_noise_std": 1.0, "batch_size": 1, "input_variance": 1.0}
    factor = float(regression.mean_noise_variance(P, N, **unit))
    ratios = {name: scalars[name][:, i] / scalars[f"expected_{name}"][:, i] for name in ("total", "square")}
    claims = [
        Claim.equality(
            f"{prefix}/average", "ours: Gaussian data, `theory.regression`",
            "E tr C is (P−N)/(P+2) times that of (2.20); label noise averaged given the inputs",
            **evidence(given), expected=factor, resolution=factor / 25,
        ),
        Claim.rejection(
            f"{prefix}/Hessian on average/control", source("Eq. 2.20"), "E tr C is not that of (2.20)",
            **evidence(total), expected=factor, rejected=1.0,
        ),
        *(
            Claim.equality(
                f"{prefix}/{name} given the inputs", "ours: Gaussian label noise",
                f"{words} over its mean over the label noise", **evidence(over_realisations(ratios[name])),
                expected=1.0, resolution=0.6 if name == "total" else 0.25,
            )
            for name, words in (("total", "tr C"), ("square", "‖C − σ²H/S‖²"))
        ),
    ]  # fmt: skip
    if ratio >= config.large:
        leading = float(leading_distance(config)[i])
        claims.append(
            Claim.equality(
                f"{prefix}/distance", "ours: √(2(N+2)/P) / √(1 + (N+1)/P)", "relative distance of (2.17) from (2.20)",
                **evidence(over_realisations(scalars["distance"][:, i])), expected=leading, resolution=leading / 8,
                tolerance=leading * N / P, note="Tolerance: the next order, N/P.",
            )
        )  # fmt: skip
    return claims


def _approach(config: Fig3bConfig, distance: Estimate) -> list[Claim]:
    """The exponent with which (2.17) approaches (2.20), and how far it is at the end."""
    at = np.array([i for i, ratio in enumerate(config.ratios) if ratio >= config.large])
    P = np.array([config.samples(config.ratios[i]) for i in at])
    u = np.log(P) - np.log(P).mean()
    fitted = evidence(distance.map(lambda d: jnp.sum(u * jnp.log(d[at])) / np.sum(u**2)))
    words = f"exponent of P of the relative distance, P/N = {config.ratios[at[0]]:g} to {config.ratios[-1]:g}"
    next_order = -np.sum(u * config.inputs / P) / np.sum(u**2)  # of a relative correction −N/P
    leading = np.log(leading_distance(config)[at])
    return [
        Claim.equality(
            "exponent", source("text before Eq. 2.19"), f"{words}: approaches with −1/2", **fitted,
            expected=np.sum(u * leading) / np.sum(u**2), resolution=0.05, tolerance=next_order,
            note="Expected: the leading order's exponent on the same points, −1/2 for P/N → ∞. Tolerance: what a next"
            " order of N/P changes.",
        ),
        Claim.rejection(
            "exponent/inverse/control", "1 − N/P, were the prefactor all", f"{words}: not −1", **fitted,
            expected=-0.5, rejected=-1.0, tolerance=next_order,
        ),
    ]  # fmt: skip


FIG3B = register(
    Experiment(
        name="gross2024/fig3b",
        summary="eigenvalues of the gradient noise against its Hessian approximation",
        source=source("Fig. 3(b)"),
        config=Fig3bConfig,
        presets={
            "quick": Fig3bConfig(ratios=(1.1, 2.0, 10.0, 20.0, 50.0), realisations=20),
            "paper": Fig3bConfig(ratios=(1.1, 1.5, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0), realisations=100),
        },
        run=run,
        figure="gross2024/fig3b",
    )
)
