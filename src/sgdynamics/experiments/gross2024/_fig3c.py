"""Fig. 3(c): the gradient noise's covariance in the eigenbasis of the Hessian, C̃ = ⟨|VᵀCV|⟩ over data sets.

With the singular value decomposition X = U diag(√(P h)) Vᵀ of the examples (samples × inputs), H = V diag(h) Vᵀ and

    (VᵀCV)_ij = (√(h_i h_j)/S) Σ_μ a_μ r_μ²,      a_μ = U_μi U_μj,      r = Q ε,   Q = 1 − U Uᵀ,

is, over the label noise given the inputs, exactly of

    mean         (√(h_i h_j)/S) σ² Σ_μ a_μ Q_μμ
    variance     (h_i h_j/S²) 2σ⁴ aᵀ (Q∘Q) a            (Q∘Q entry by entry)

The sign of an eigenvector drops out of squares and of |·|. Were C a function of H, e.g. (2.20), all would be on the
diagonal. For many samples a diagonal entry is about (h_i/S) σ² (1 − N/P), an off-diagonal one √(2/P) √(h_j/h_i) times
that: it decreases with P relative to the diagonal, but is itself greatest at P = 3N. Modes are numbered
from the stiffest on.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import dataset, measurement, variable
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Estimate

PEAK = 3.0  # P/N of the greatest off-diagonal entries
COMMUTING = 0.05  # the share of off-diagonal squares below which we would say that C is nearly diagonal


@dataclass(frozen=True)
class Fig3cConfig:
    """The gradient noise in the Hessian's modes, at several numbers of samples."""

    inputs: int = 100
    """N."""
    ratios: tuple[float, ...] = (1.5, 5.0, 15.0)
    """P/N, ascending, each above 1 (the paper's N/P ≈ 0.67 first)."""
    realisations: int = 50
    """Data sets at each ratio."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        _checks.count("inputs", self.inputs, least=2)
        _checks.count("realisations", self.realisations, least=2)
        ascending = len(self.ratios) >= 2 and list(self.ratios) == sorted(set(self.ratios))
        _checks.require("ratios", self.ratios, ascending, allowed="at least two, ascending")
        least = 1 + 4 / self.inputs
        for ratio in self.ratios:
            _checks.require("ratios", ratio, ratio >= least, allowed=f"at least {least:g}, underparameterised")

    def samples(self, ratio: float) -> int:
        """P."""
        return round(ratio * self.inputs)


def run(config: Fig3cConfig, progress: Progress) -> Result:
    """Matrices of many data sets, for every ratio; in units of σ²σ_x²/S."""
    claims, variables, sizes = [], {}, []
    for ratio in config.ratios:
        magnitudes, shares = _realisations(config, ratio, progress)
        mean = over_realisations(magnitudes)
        sizes.append((shares["typical"], shares["diagonal"]))
        claims += _claims(ratio, {name: over_realisations(values) for name, values in shares.items()})
        words = f"magnitude of the gradient noise's covariance between modes, P/N = {ratio:g}"
        variables |= measurement(f"at_{ratio:g}", ("mode", "other"), mean, words, "σ²σ_x²/S")
    typical, diagonal = (over_realisations(np.stack(values, axis=1)) for values in zip(*sizes, strict=True))
    claims += _decrease(config, typical, diagonal)
    variables |= measurement("typical", "ratio", typical, "rms off-diagonal entry, over √(h_i h_j) σ²/S")
    s = np.geomspace(config.ratios[0], config.ratios[-1], 100)
    leading = (1 - 1 / s) * np.sqrt(2 / (s * config.inputs))
    variables["typical_leading"] = variable("fine", leading, "(1 − N/P) √(2/P)")
    modes = np.arange(1, config.inputs + 1)
    coordinates = {
        "mode": variable("mode", modes, "mode of the Hessian, stiffest first"),
        "other": variable("other", modes, "mode of the Hessian, stiffest first"),
        "ratio": variable("ratio", config.ratios, "samples per input P/N"),
        "fine": variable("fine", s, "samples per input P/N"),
    }
    return Result(dataset(variables, coordinates).assign_attrs(ratios=list(config.ratios)), claims)


def decomposed(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(U, h): left singular vectors [samples, modes] and the Hessian's eigenvalues, stiffest first."""
    h, V = np.linalg.eigh(x.T @ x / len(x))
    return (x @ V / np.sqrt(len(x) * h))[:, ::-1], h[::-1]


def mixing(U: np.ndarray, ε: np.ndarray) -> np.ndarray:
    """Σ_μ U_μi U_μj r_μ² [modes, modes]: VᵀCV over √(h_i h_j)/S."""
    r = ε - U @ (U.T @ ε)
    return (U.T * r**2) @ U


def expected_squares(U: np.ndarray) -> np.ndarray:
    """E of `mixing` squared, entry by entry, over label noise of variance 1 given the inputs."""
    Q = np.eye(len(U)) - U @ U.T
    mean = (U.T * np.diag(Q)) @ U
    squared, modes = Q**2, U.shape[1]
    variance = np.empty((modes, modes))
    for i in range(modes):
        a = U[:, i:] * U[:, [i]]
        variance[i, i:] = variance[i:, i] = 2 * np.sum(a * (squared @ a), axis=0)
    return mean**2 + variance


def _realisations(config: Fig3cConfig, ratio: float, progress: Progress) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """|VᵀCV| [realisations, modes, modes], and of each data set

    - off, on: mean square of `mixing` off and on the diagonal, over its expectation given the inputs
    - typical, diagonal: root mean square of `mixing` off the diagonal, mean on it
    - share: of the off-diagonal entries in the squares of VᵀCV
    """
    progress.stage(f"P/N = {ratio:g}", config.realisations)
    key = _ensembles.named(jax.random.key(config.seed), f"P/N = {ratio:g}")
    off, magnitudes, rows = ~np.eye(config.inputs, dtype=bool), [], []
    for r in range(config.realisations):
        drawn = jax.random.normal(jax.random.fold_in(key, r), (config.samples(ratio), config.inputs + 1))
        U, h = decomposed(np.asarray(drawn)[:, 1:])
        mixed = mixing(U, np.asarray(drawn)[:, 0])
        expected, matrix = expected_squares(U), np.sqrt(np.outer(h, h)) * mixed
        ratios = (np.mean(mixed[at] ** 2) / np.mean(expected[at]) for at in (off, ~off))
        sizes = (np.sqrt(np.mean(mixed[off] ** 2)), np.mean(mixed[~off]))
        rows.append((*ratios, *sizes, np.sum(matrix[off] ** 2) / np.sum(matrix**2)))
        magnitudes.append(np.abs(matrix))
        progress.advance(1)
    names = ("off", "on", "typical", "diagonal", "share")
    return np.array(magnitudes), dict(zip(names, np.array(rows).T, strict=True))


def _claims(ratio: float, measured: dict[str, Estimate]) -> list[Claim]:
    prefix = f"P/N = {ratio:g}"
    claims = [
        Claim.equality(
            f"{prefix}/{kind} the diagonal", source("Fig. 3(c), text after Eq. 2.18; exact mean over the label noise"),
            f"mean square of the entries {kind} the diagonal, over its expectation", **evidence(measured[kind]),
            expected=1.0, resolution=0.5,
        )
        for kind in ("off", "on")
    ]  # fmt: skip
    claims.append(
        Claim.rejection(
            f"{prefix}/commutes with H/control", source("Eq. 2.20"),
            f"C is not diagonal in H's modes: off-diagonal share of the squares, above {COMMUTING:g}",
            **evidence(measured["share"]), rejected=0.0, resolution=COMMUTING, tolerance=COMMUTING,
        )
    )  # fmt: skip
    return claims


def _decrease(config: Fig3cConfig, typical: Estimate, diagonal: Estimate) -> list[Claim]:
    """Relative to the diagonal, off-diagonal entries decrease, as P^−1/2 in the end; by themselves they first grow."""
    P = np.array([config.samples(ratio) for ratio in config.ratios])
    relative = _quotient(typical, diagonal)
    s, last = config.ratios, np.log(P[-1] / P[-2])
    # the factor 1 − N/P is common to both kinds of entries; what is left to correct is of relative order 1/P
    next_order = 4 * (1 / P[-2] - 1 / P[-1]) / last
    claims = [
        Claim.bound(
            "decrease", source("Fig. 3 caption"),
            f"off-diagonal entries relative to diagonal ones decrease: P/N = {s[-1]:g} over {s[0]:g}",
            **evidence(relative.map(lambda v: v[-1] / v[0])), expected=1.0, side="at most",
        ),
        Claim.equality(
            "exponent", "ours: √(2/P), limit of many samples",
            f"exponent of P of off-diagonal entries relative to diagonal ones, P/N = {s[-2]:g} to {s[-1]:g}",
            **evidence(relative.map(lambda v: jnp.log(v[-1] / v[-2]) / last)), expected=-0.5, resolution=0.1,
            tolerance=next_order, note="Tolerance: what a relative correction of 4/P changes.",
        ),
    ]  # fmt: skip
    peak = [i for i, ratio in enumerate(s) if PEAK <= ratio <= 2 * PEAK]
    if s[0] <= PEAK / 2 and peak:
        claims.append(
            Claim.bound(
                "absolute growth", "ours: (1 − N/P) √(2/P) is greatest at P = 3N",
                "off-diagonal entries over √(h_i h_j) σ²/S, not relative to diagonal ones, grow at first: "
                f"P/N = {s[peak[0]]:g} over {s[0]:g}", **evidence(typical.map(lambda v: v[peak[0]] / v[0])),
                expected=1.0, side="at least",
                note="The caption's decrease holds as drawn, normalised by the greatest entry.",
            )
        )  # fmt: skip
    return claims


def _quotient(a: Estimate, b: Estimate) -> Estimate:
    """a/b of two estimates over the same data sets."""
    both = over_realisations(jnp.stack([a.groups, b.groups], axis=1))
    return both.map(lambda v: v[0] / v[1])


FIG3C = register(
    Experiment(
        name="gross2024/fig3c",
        summary="the gradient noise's covariance in the eigenbasis of the Hessian",
        source=source("Fig. 3(c)"),
        config=Fig3cConfig,
        presets={
            "quick": Fig3cConfig(inputs=50, realisations=40),
            "paper": Fig3cConfig(realisations=100),
        },
        run=run,
        figure="gross2024/fig3c",
    )
)
