"""Fig. 5(c): the extreme eigenvalues of the weight covariance against the number of samples, and what Q adds.

    M = (η/2) H⁻¹ (C + Q)              (2.30); with G = Uᵀ diag(r_μ²) U, H's modes X = √P U diag(√h) Vᵀ,
    Vᵀ M V = (η/S) G ∘ √(h_i h_j)/(h_i + h_j)
    M = (η/2) H⁻¹ C                    (2.33), Q = 0: similar to (η/2) H^{−½} C H^{−½}, so its eigenvalues are real

For Gaussian inputs U is uniform, independent of h. With q = N/P → 0 the variance of r_μ², 2σ⁴, and that of h, q,
give to leading order

    |M_(2.33) − M|/|M| = √(2q) · √q/√2 = q                 in the Frobenius norm,
    λ_max − λ_min = 4√(2q) (1 + ⟨TW₁⟩/(2N^{2/3})) λ̄       the semicircle of G, with its edges' mean at finite N.

The gap of the eigenvalues closes so slowly that at P = 100 N the largest is 1.7 times the smallest.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments import _ensembles, _regression
from sgdynamics.experiments._between import between
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import each, over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._regression import Regression
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Covariance, Estimate

APPLICABLE = 0.2  # relative error up to which we would call an approximation applicable, or a spread isotropic
MEAN_OF_TRACY_WIDOM = -1.2065335745820  # of real matrices
EXTREMES = ("smallest", "largest")
WHERE = 2.0  # P/N from which on the paper applies (2.33)


@dataclass(frozen=True)
class Fig5cConfig:
    """The extreme eigenvalues at several numbers of samples."""

    inputs: int = 100
    """N, even: an antisymmetric matrix of odd size has an eigenvalue 0."""
    ratios: tuple[float, ...] = (1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
    """P/N, ascending, each above 1; 2 and 10 among them, 100 the last or beyond."""
    measured: tuple[float, ...] = (1.2, 2.0, 10.0)
    """P/N of the SGD ensembles."""
    learning_rate: float = 0.1
    """Learning rate η; time t = η × step."""
    batch_size: int = 10
    """Minibatch size S, drawn with replacement."""
    label_noise_std: float = 0.5
    """Standard deviation σ of the label noise."""
    realisations: int = 20
    """Data sets over which the laws are averaged."""
    replicas: int = 1024
    """SGD replicas at each measured ratio."""
    steps: int = 2000
    """SGD steps."""
    every: int = 20
    """Steps between two records."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("inputs", "batch_size", "replicas", "steps", "every"):
            _checks.count(name, getattr(self, name))
        _checks.require("inputs", self.inputs, self.inputs % 2 == 0, allowed="even")
        _checks.count("realisations", self.realisations, least=2)
        for name in ("learning_rate", "label_noise_std"):
            _checks.positive(name, getattr(self, name))
        least = 1 + 2 / self.inputs
        for name in ("ratios", "measured"):
            for ratio in getattr(self, name):
                _checks.require(name, ratio, ratio >= least, allowed=f"at least {least:g}, underparameterised")
        complete = {WHERE, 10.0} <= set(self.ratios) and max(self.ratios) >= 100
        ascending = list(self.ratios) == sorted(set(self.ratios)) and self.ratios[:1] < (WHERE,)
        _checks.require("ratios", self.ratios, complete and ascending, allowed="ascending, from below 2 over 2 and 10 "
                        "to at least 100: claims are made there")  # fmt: skip

    @property
    def unit(self) -> float:
        """ησ²/(2S)."""
        return self.learning_rate * self.label_noise_std**2 / (2 * self.batch_size)


@dataclass(frozen=True)
class Spectra:
    """Of each data set at one P/N: extremes in units of ησ²/(2S), [realisations, 2] each, and two pure numbers."""

    frozen: np.ndarray
    balanced: np.ndarray
    circulation: np.ndarray
    distance: np.ndarray  # |M_(2.33) − M|/|M|
    mean: np.ndarray  # tr M/N in units of ησ²/(2S)


def run(config: Fig5cConfig, progress: Progress) -> Result:
    """Averages over data at every ratio, ensembles at some."""
    key = jax.random.key(config.seed)
    spectra = {ratio: _spectra(config, ratio, key) for ratio in config.ratios}
    parts = [_measured(ratio, config, progress, key) for ratio in config.measured]
    claims = [claim for part in parts for claim in part[1]] + _over_data(config, spectra)
    coordinates = {
        "excess": variable("excess", np.array(config.ratios) - 1, "P/N − 1"),
        "measured_excess": variable("measured_excess", np.array(config.measured) - 1, "P/N − 1 of the ensembles"),
        "extreme": variable("extreme", np.array(EXTREMES), "which eigenvalue"),
    }
    ensembles = {f"P/N = {ratio:g}": part[2] for ratio, part in zip(config.measured, parts, strict=True)}
    return Result(dataset(_lines(spectra) | _points([part[0] for part in parts]), coordinates), claims, ensembles)


def _case(config: Fig5cConfig, ratio: float, key: jax.Array) -> Regression:
    return _regression.teacher_student(
        key, samples=round(ratio * config.inputs), inputs=config.inputs, label_noise_std=config.label_noise_std,
        learning_rate=config.learning_rate, batch_size=config.batch_size,
    )  # fmt: skip


def _spectra(config: Fig5cConfig, ratio: float, key: jax.Array) -> Spectra:
    keys = jax.random.split(_ensembles.named(key, f"realisations, P/N = {ratio:g}"), config.realisations)
    h, C = map(np.asarray, each(lambda key: noise_along_modes(_case(config, ratio, key)), keys))
    return extremes(h, C * (config.learning_rate / config.unit), C / config.unit)


def noise_along_modes(case: Regression) -> tuple[jax.Array, jax.Array]:
    """h and Vᵀ C(w*) V."""
    return case.curvature, case.modes.T @ case.noise_covariance() @ case.modes


def extremes(h: np.ndarray, noise: np.ndarray, C: np.ndarray) -> Spectra:
    """From the curvatures h [realisations, modes] and Vᵀ C V [realisations, modes, modes], η C = `noise`."""
    rows, columns = h[:, :, None], h[:, None, :]
    sums = rows + columns
    M, balanced, symmetric = noise / sums, noise / (2 * rows), noise / (2 * np.sqrt(rows * columns))
    Q = (rows - columns) / sums * C
    ends = lambda eigenvalues: eigenvalues[:, [0, -1]]
    norm = lambda matrices: np.linalg.norm(matrices, axis=(1, 2))
    return Spectra(
        frozen=ends(np.linalg.eigvalsh(M)),
        balanced=ends(np.linalg.eigvalsh(symmetric)),
        circulation=ends(np.sort(np.abs(np.linalg.eigvalsh(1j * Q)))),
        distance=norm(balanced - M) / norm(M),
        mean=np.trace(M, axis1=1, axis2=2) / h.shape[1],
    )


def _measured(ratio: float, config: Fig5cConfig, progress: Progress, key: jax.Array) -> tuple[Any, list[Claim], dict]:
    """Variances of an ensemble along the extreme eigenvectors of the exact law, which it starts from."""
    label = f"P/N = {ratio:g}"
    case = _case(config, ratio, _ensembles.named(key, label))
    ensemble = _ensembles.simulate(
        case.descent(), Covariance(), progress, label, key=key, replicas=config.replicas,
        steps=config.steps, every=config.every, initial=case.prediction,
    )  # fmt: skip
    exact = np.asarray(case.prediction.covariance)
    eigenvalues, U = np.linalg.eigh(exact)
    ends, expected = U[:, [0, -1]], eigenvalues[[0, -1]] / config.unit
    variances = ensemble.estimates.map(lambda M: _regression.along(ends, M) / config.unit)
    claims = [
        Claim.equality(
            f"{label}/{name} eigenvalue", source("Fig. 5(c); exact discrete law"),
            f"variance along the {name} mode of the exact law, in units of ησ²/(2S)",
            **evidence(variances.map(lambda v, i=i: v[i])), expected=expected[i], resolution=expected[i] / 2,
        )
        for i, name in enumerate(EXTREMES)
    ]  # fmt: skip
    position = between(ensemble.estimates, wrong=case.law("detailed_balance"), right=exact)
    claims.append(
        Claim.rejection(
            f"{label}/Q = 0/control", source("Eq. 2.33"),
            "not detailed balance: on the line from that law (0) to the exact one (1)",
            **evidence(position), expected=1.0, rejected=0.0,
        )
    )  # fmt: skip
    return (variances, expected), claims, ensemble.provenance


def _over_data(config: Fig5cConfig, spectra: dict[float, Spectra]) -> list[Claim]:
    first, last = min(spectra), max(spectra)
    claims = _applicable(spectra[WHERE], f"P/N = {WHERE:g}") + _applicable(spectra[10.0], "P/N = 10")
    for name, ratio in (("towards the threshold", first), ("for many samples", last)):
        difference = spectra[ratio].circulation[:, 1] - spectra[WHERE].circulation[:, 1]
        claims.append(
            Claim.bound(
                f"Q decays {name}", source("text on Fig. 5(c)"),
                f"largest |eigenvalue of Q| at P/N = {ratio:g} less than at 2, in units of ησ²/(2S)",
                **evidence(over_realisations(difference)), expected=0.0, side="at most",
            )
        )  # fmt: skip
    return claims + _isotropic(config, last, spectra[last])


def _applicable(at: Spectra, prefix: str) -> list[Claim]:
    """How wrong (2.33) is: its extreme eigenvalues and the matrix as a whole."""
    errors = np.abs(at.balanced / at.frozen - 1)
    aspects = {f"{name} eigenvalue": errors[:, i] for i, name in enumerate(EXTREMES)} | {"whole matrix": at.distance}
    return [_within(f"{prefix}/detailed balance, {name}", name, values) for name, values in aspects.items()]


def _within(id: str, what: str, values: Any) -> Claim:
    return Claim.bound(
        id + "/published" * (float(np.mean(values)) > APPLICABLE), source("text on Fig. 5(c)"),
        f"detailed balance is applicable for P ≥ 2N: relative error, {what}, at most {APPLICABLE:g}, mean over data",
        **evidence(over_realisations(values)), expected=APPLICABLE, side="at most",
    )  # fmt: skip


def _isotropic(config: Fig5cConfig, ratio: float, at: Spectra) -> list[Claim]:
    """The two leading laws of the module's docstring, and the printed conclusion, where the gap is still wide."""
    q, N = 1 / ratio, config.inputs
    gap = over_realisations((at.frozen[:, 1] - at.frozen[:, 0]) / at.mean)
    law = 4 * np.sqrt(2 * q) * (1 + MEAN_OF_TRACY_WIDOM / (2 * N ** (2 / 3)))
    relative = 2 * q + 1 / N  # the next orders, with coefficients of order 1
    closed = 32 / APPLICABLE**2
    published = "/published" * bool(law > APPLICABLE)
    return [
        Claim.bound(
            f"P/N = {ratio:g}/isotropic{published}", source("text on Fig. 5(c)"),
            f"fluctuations are essentially isotropic for P ≥ 100 N: gap of the eigenvalues over their mean at most "
            f"{APPLICABLE:g}",
            **evidence(gap), expected=APPLICABLE, side="at most", note=f"It falls below that from P ≈ {closed:.0f} N.",
        ),
        Claim.equality(
            f"P/N = {ratio:g}/gap", "semicircle of G, derived", "(λ_max − λ_min)/λ̄ = 4√(2N/P), finite-N edges",
            **evidence(gap), expected=law, resolution=law / 5, tolerance=relative * law,
        ),
        Claim.rejection(
            f"P/N = {ratio:g}/gap of Marchenko and Pastur/control", "spread of H's spectrum",
            "not the gap 4√(N/P) of the Hessian's own eigenvalues", **evidence(gap), expected=law,
            rejected=law / np.sqrt(2), tolerance=relative * law,
        ),
        Claim.equality(
            f"P/N = {ratio:g}/distance", "derived", "|M of (2.33) − M of (2.30)| / |M| = N/P, times P/N",
            **evidence(over_realisations(np.asarray(at.distance) * ratio)), expected=1.0, resolution=0.2,
            tolerance=relative,
        ),
    ]  # fmt: skip


def _lines(spectra: dict[float, Spectra]) -> dict[str, Variable]:
    words = {
        "frozen": "extreme eigenvalues of M, (2.30), mean over data",
        "balanced": "extreme eigenvalues of M, detailed balance (2.33), mean over data",
        "circulation": "extreme |eigenvalues| of Q, (2.31), mean over data",
    }
    stack = lambda name: over_realisations(np.stack([getattr(at, name) for at in spectra.values()], axis=1))
    variables: dict[str, Variable] = {}
    for name, text in words.items():
        variables |= measurement(name, ("excess", "extreme"), stack(name), text, "ησ²/(2S)")
    return variables | measurement("distance", "excess", stack("distance"), "relative error of (2.33) as a matrix")


def _points(parts: list[tuple[Estimate, np.ndarray]]) -> dict[str, Variable]:
    dims, words = ("measured_excess", "extreme"), "variance of SGD along the extreme modes"
    columns = {
        "sgd": (np.stack([v.value for v, _ in parts]), f"{words}, measured"),
        "sgd_error": (np.stack([v.standard_error for v, _ in parts]), f"{words}, standard error"),
        "exact": (np.stack([expected for _, expected in parts]), f"{words}, exact law of the same data"),
    }
    return {name: variable(dims, values, text, "ησ²/(2S)") for name, (values, text) in columns.items()}


FIG5C = register(
    Experiment(
        name="gross2024/fig5c",
        summary="extreme eigenvalues of the weight covariance and of Q against the number of samples",
        source=source("Fig. 5(c)"),
        config=Fig5cConfig,
        presets={
            "quick": Fig5cConfig(inputs=40, ratios=(1.1, 1.5, 2.0, 4.0, 10.0, 100.0), measured=(1.5, 4.0), steps=1000),
            "paper": Fig5cConfig(replicas=4096, steps=10_000, realisations=100),
        },
        run=run,
        figure="gross2024/fig5c",
    )
)
