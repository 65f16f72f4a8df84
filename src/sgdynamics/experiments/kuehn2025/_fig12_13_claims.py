"""What figs. 12 and 13 claim of the noise under one sampling: all lags at once, each pair of positions, C's size.

Errors are those between replicas, or between groups of them where the replicas' own values would not fit into memory.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.statistics import Estimate
from sgdynamics.theory import epochs as theory

START_EPOCHS = 2  # over whose positions k is averaged
GROUPS = 64  # of replicas


@dataclass(frozen=True)
class Sampled:
    """The noise under one sampling, in units of C^½ [replicas, steps, modes], M batches to an epoch, and the
    autocorrelation that is expected at `lags`."""

    noise: np.ndarray
    batches: int
    lags: np.ndarray
    expected: np.ndarray

    @property
    def autocorrelation(self) -> np.ndarray:
        """tr(C⁻¹ δg_k δg_{k+h}ᵀ) over modes, averaged over k, [replicas, lags]."""
        starts, modes = START_EPOCHS * self.batches, self.noise.shape[2]
        then = self.noise[:, :starts]
        at = lambda h: np.einsum("rki,rki->r", then, self.noise[:, h : h + starts]) / (starts * modes)
        return np.stack([at(h) for h in self.lags], axis=1)


def positions_of(case: Sampled) -> Estimate:
    """tr(C⁻¹ δg_k δg_lᵀ) over modes, at each k and l of two epochs, [2M, 2M]: mean and error over replicas."""
    w = case.noise[:, : 2 * case.batches]
    groups = [np.einsum("rki,rli->kl", g, g, optimize=True) / (len(g) * w.shape[2]) for (g,) in _in_groups(w)]
    return over_realisations(np.stack(groups))


def epochs_claims(case: Sampled, samples: int, batch_size: int, largest: float) -> list[Claim]:
    M, P, S = case.batches, samples, batch_size
    ρ = case.autocorrelation
    white, flat = (case.lags == 0).astype(float), inside_one_epoch(case.lags, M)
    factor = (P - 1) / (P - S)
    total = float(np.abs(case.noise[:, :M].sum(axis=1)).max())
    rounding = P * np.finfo(float).eps * largest / S / np.sqrt((P - S) / (S * (P - 1)))
    return [
        _joint("epochs/all lags", "Eq. 2; Fig. 12", "autocorrelation of the noise, lags 0 to M + 5", ρ, case.expected),
        Claim.equality(
            "epochs/amplitude", source("Eq. 2"), "anti-correlation at lags from 1, in units of (2)",
            **evidence(_between(ρ, white, case.expected)), expected=1.0, resolution=0.1,
        ),
        Claim.rejection(
            "epochs/white noise/control", source("Fig. 13"), "not white: from white noise (0) to (2) (1)",
            **evidence(_between(ρ, white, case.expected)), expected=1.0, rejected=0.0,
        ),
        Claim.rejection(
            "epochs/no average over positions/control", source("Eq. 2"),
            "not −1/(M − 1) at every lag below M: from that (0) to (2) (1)",
            **evidence(_between(ρ, flat, case.expected)), expected=1.0, rejected=0.0,
        ),
        Claim.equality(
            "epochs/variance", source("Eq. 2"), "C in units of (P − S)/(S(P − 1)) C₁",
            **evidence(over_realisations(ρ[:, 0])), expected=1.0, resolution=(factor - 1) / 2,
        ),
        Claim.rejection(
            "epochs/variance with replacement/control", source("Eq. 2"), "C is not C₁/S, in the same units",
            **evidence(over_realisations(ρ[:, 0])), expected=1.0, rejected=factor,
        ),
        _modes("epochs/every pair of modes", case),
        Claim.bound(
            "epochs/sum over an epoch", source("text before Eq. 2"),
            "the noise of an epoch sums to zero: largest sum, in units of C^½, at most what rounding leaves",
            total, 0.0, rounding, side="at most",
        ),
    ]  # fmt: skip


def inside_one_epoch(lags: np.ndarray, M: int) -> np.ndarray:
    """1 at lag 0 and −1/(M − 1) inside an epoch that never ends: (2) without the average over positions."""
    return np.where(lags == 0, 1.0, np.where(lags < M, -1 / (M - 1), 0.0))


def position_claims(M: int, measured: Estimate) -> list[Claim]:
    """Each pair of positions; the average over pairs would be trivial, because each epoch's sum vanishes."""
    k = np.arange(2 * M)
    upper, inside = k[:, None] < k, (k[:, None] // M) == (k // M)
    p = lambda pairs, value: _worst(np.asarray(measured.z(value))[pairs & upper], len(measured.groups) - 1)
    words = "each pair of positions {}: {} (p-value of the worst pair, corrected for their number)"
    claims = [
        Claim.bound(
            f"positions/{name}", source("text before Eq. 2"), words.format(where, value),
            p(pairs, number), 0.0, LEVEL, side="at least",
        )
        for name, where, value, number, pairs in (
            ("same epoch", "in one epoch", "−1/(M − 1)", -1 / (M - 1), inside),
            ("next epoch", "across two epochs", "0", 0.0, ~inside),
        )
    ]  # fmt: skip
    last_to_first = measured.map(lambda K: K[M - 1, M])
    return [
        *claims,
        Claim.rejection(
            "positions/across the boundary/control", source("Eq. 2"),
            "last batch of an epoch and first of the next: not −1/(M − 1)",
            **evidence(last_to_first), expected=0.0, rejected=-1 / (M - 1),
        ),
    ]  # fmt: skip


def white_claims(cases: dict[str, Sampled]) -> list[Claim]:
    """No correlation where batches are independent, and the epoch's sum is as large as a random walk."""
    places = {"with replacement": "Fig. 13", "fresh": "Fig. 12: epochs, not the absence of replacement in a batch"}
    ρ = {name: cases[name].autocorrelation for name in places}
    claims = [
        _joint(f"{name}/all lags", place, "variance, and no correlation at any lag", ρ[name], cases[name].expected)
        for name, place in places.items()
    ]
    controls = [
        Claim.rejection(
            f"{name}/anti-correlation/control", source(place), "not (2): from white noise (0) to (2) (1)",
            **evidence(_between(ρ[name], cases[name].expected, cases["epochs"].expected)), expected=0.0, rejected=1.0,
        )
        for name, place in places.items()
    ]  # fmt: skip
    case = cases["with replacement"]
    squares = np.mean(case.noise[:, : case.batches].sum(axis=1) ** 2, axis=1) / case.batches
    walk = Claim.equality(
        "with replacement/sum over as many batches", source("Fig. 13"), "variance of the sum of M noises, over M C",
        **evidence(over_realisations(squares)), expected=1.0, resolution=0.25,
    )  # fmt: skip
    return [*claims, *controls, walk]


def incomplete_claims(case: Sampled) -> list[Claim]:
    ρ, M = case.autocorrelation, case.batches
    complete = np.asarray(theory.noise_autocovariance(case.lags, batches_per_epoch=M))
    words = "epochs that leave examples out: "
    return [
        _joint("incomplete/all lags", "Eq. 2, P not a multiple of S", f"{words}autocorrelation", ρ, case.expected),
        Claim.rejection(
            "incomplete/complete epochs/control", source("Eq. 2"), f"{words}from (2) as printed (0) to −S/(P − S) (1)",
            **evidence(_between(ρ, complete, case.expected)), expected=1.0, rejected=0.0,
        ),
    ]  # fmt: skip


def _joint(id: str, place: str, statement: str, values: np.ndarray, expected: np.ndarray) -> Claim:
    """Hotelling's T² of all lags at once."""
    n, lags = values.shape
    difference = values.mean(axis=0) - expected
    T2 = n * difference @ np.linalg.solve(np.cov(values.T), difference)
    p = float(stats.f.sf(T2 * (n - lags) / (lags * (n - 1)), lags, n - lags))
    return Claim.bound(id, source(place), f"{statement} (p-value of all)", p, 0.0, LEVEL, side="at least")


def _modes(id: str, case: Sampled) -> Claim:
    """C_h is proportional to C as a matrix: at lag 1, all its entries."""
    starts = START_EPOCHS * case.batches
    a, b = case.noise[:, :starts], case.noise[:, 1 : starts + 1]
    C = np.stack([np.einsum("rki,rkj->ij", x, y) / (len(x) * starts) for x, y in _in_groups(a, b)])
    measured = over_realisations((C + np.swapaxes(C, 1, 2)) / 2)
    z = np.asarray(measured.z(case.expected[1] * np.eye(C.shape[1])))
    p = _worst(z[np.triu_indices(C.shape[1])], GROUPS - 1)
    words = "covariance at lag 1: every entry, in units where C = 1 (p-value of the worst, corrected for their number)"
    return Claim.bound(id, source("Eq. 2"), words, p, 0.0, LEVEL, side="at least")


def _in_groups(*arrays: np.ndarray):
    return zip(*(np.array_split(array, GROUPS) for array in arrays), strict=True)


def _worst(z: np.ndarray, degrees_of_freedom: int) -> float:
    """p-value of the largest of several t, by Bonferroni."""
    return min(1.0, z.size * 2 * float(stats.t.sf(np.abs(z).max(), degrees_of_freedom)))


def _between(values: np.ndarray, wrong: np.ndarray, right: np.ndarray) -> Estimate:
    """Where on the line from one law (0) to the other (1) each replica's autocorrelation lies; its mean."""
    direction = right - wrong
    return over_realisations((values - wrong) @ direction / (direction @ direction))
