"""What is claimed of the loss that epochs spare, before Fig. 24."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._realisations import difference, over_realisations
from sgdynamics.experiments.kuehn2025._fig24_spectra import (
    MODES,
    PUBLISHED,
    exact_reduction,
    power_law,
    reduction,
    required_stiffness,
)
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.statistics import Estimate

SLIDE = source("slides before Fig. 24")
NEW = source("slides before Fig. 24; spectra: new")
BATCHES, MOMENTUM = 1000, 0.9  # of the map's exact evaluation
FAR = 0.1  # a frozen reduction that far from 62 % must be seen to be another
RESOLUTION = 0.06
PARTS = ("value", "standard_error")


@dataclass(frozen=True)
class Excess:
    """E L − L(θ*) of an ensemble, and a law's."""

    measured: Estimate
    expected: float

    @property
    def relative(self) -> Estimate:
        """Measured over expected."""
        return self.measured.map(lambda value: value / self.expected)


Pair = Mapping[str, Excess]


def spared(pair: Pair) -> Estimate:
    """1 − excess(epochs)/excess(replacement): the ensembles are independent, so any pairing of their groups will do."""
    groups = np.stack([np.asarray(pair[name].measured.groups) for name in ("epochs", "replacement")], axis=1)
    return over_realisations(groups).map(lambda mean: 1 - mean[0] / mean[1], "reduction")


def expected_reduction(pair: Pair) -> float:
    return 1 - pair["epochs"].expected / pair["replacement"].expected


def map_claims() -> list[Claim]:
    """62 % lies at another h_1/h_cross for each spectrum; at one of them the reduction may be anything."""
    claims = []
    for p in (0.75, 1.0, 1.25):
        h = power_law(MODES, p)
        stiffness = required_stiffness(h)
        claims.append(
            Claim.equality(
                f"map/p = {p:g}/62 % at {stiffness:.3g}", NEW,
                f"{MODES} modes, p = {p:g}, h_1/h_cross = {stiffness:.3g}: reduction by the exact law at "
                f"M = {BATCHES}, β = {MOMENTUM:g}; the universal function is it to 1/(M (1 − β))",
                exact_reduction(h, stiffness, momentum=MOMENTUM, batches=BATCHES), 0.0, PUBLISHED,
                resolution=0.01, tolerance=1 / (BATCHES * (1 - MOMENTUM)),
            )
        )  # fmt: skip
    ends = [float(reduction(power_law(MODES, p), 10.0)) for p in (0.75, 2.0)]
    return [
        *claims,
        Claim.bound(
            "map/range at h_1/h_cross = 10", NEW, "reduction for p = 0.75 minus that for p = 2",
            ends[0] - ends[1], 0.0, 0.5, side="at least",
        ),
    ]  # fmt: skip


def regression_claims(pair: Pair, brace: float, limit: float) -> list[Claim]:
    """Measured as predicted; not by the brace; not without epochs."""
    law, measured = expected_reduction(pair), evidence(spared(pair))
    laws = {"epochs": "second order in the multiplicative noise", "replacement": "the exact law"}
    control = pair["epochs"].measured.map(lambda value: value / pair["replacement"].expected)
    return [
        *(
            Claim.equality(
                f"regression/excess, {name}", SLIDE, f"excess loss in units of {laws[name]}",
                **evidence(pair[name].relative), expected=1.0, resolution=RESOLUTION,
            )
            for name in laws
        ),
        Claim.equality(
            "regression/reduction", SLIDE, "reduction of the excess loss, against predicted laws", **measured,
            expected=law, resolution=RESOLUTION,
        ),
        _brace("regression", f"C ∝ H, M (1 − β) = {limit:g}", measured, brace, law),
        Claim.rejection(
            "regression/independent batches/control", SLIDE, "excess loss with epochs is not that with replacement",
            **evidence(control), expected=1 - law, rejected=1.0,
        ),
    ]  # fmt: skip


class Setting(NamedTuple):
    """Of the network's runs, by h_1/h_cross: η; the next order of the noise; reductions by the brace and by r(x),
    where M (1 − β) ≫ 1. M (1 − β) itself."""

    rates: Mapping[float, float]
    next_orders: Mapping[float, float]
    braces: Mapping[float, float]
    universal: Mapping[float, float]
    limit: float


def network_claims(network: Mapping[float, Pair], of: Setting) -> list[Claim]:
    """Frozen laws are the limits η → 0; the reduction follows η; 62 % is one value of many."""
    stiffest, softest = max(network), min(network)
    middle = sorted(network)[len(network) // 2]
    claims = [_limit(name, {x: pair[name] for x, pair in network.items()}, of) for name in ("epochs", "replacement")]
    for x, pair in network.items():
        law = expected_reduction(pair)
        measured = evidence(spared(pair))
        if abs(law - PUBLISHED) > FAR:
            claims.append(
                Claim.rejection(
                    f"network/h_1/h_cross = {x:g}/not 62 %", SLIDE, "reduction of the excess loss: a property of "
                    "spectrum and learning rate, not 62 %", **measured, expected=law, rejected=PUBLISHED,
                )
            )  # fmt: skip
    fall = difference(spared(network[softest]), spared(network[stiffest]))
    claims.append(
        Claim.bound(
            "network/falls with the learning rate", NEW, "reduction at the smallest learning rate minus that at the "
            "largest, in units of the frozen laws'", **_scaled(fall, network[softest], network[stiffest]),
            expected=0.8, side="at least",
        )
    )  # fmt: skip
    words = f"h_1/h_cross = {middle:g}, M (1 − β) = {of.limit:g}"
    middling = network[middle]
    claims.append(
        _brace(
            "network", words, evidence(spared(middling)), of.braces[middle], expected_reduction(middling),
            f"reduction by frozen noise for M (1 − β) ≫ 1: {of.universal[middle]:.3f}",
        )
    )  # fmt: skip
    pair = network[softest]
    control = pair["epochs"].measured.map(lambda value: value / pair["replacement"].expected)
    claims.append(
        Claim.rejection(
            "network/independent batches/control", SLIDE, "excess loss with epochs, smallest learning rate: not that "
            "with replacement", **evidence(control), expected=1 - expected_reduction(pair), rejected=1.0,
        )
    )  # fmt: skip
    return claims


def _scaled(fall: dict, one: Pair, other: Pair) -> dict:
    unit = expected_reduction(one) - expected_reduction(other)
    return fall | {name: float(fall[name]) / unit for name in ("measured", "standard_error")}


def _brace(prefix: str, words: str, measured: dict, brace: float, law: float, note: str = "") -> Claim:
    """min(1, h/h_cross) in place of the law between its asymptotes."""
    return Claim.rejection(
        f"{prefix}/the brace taken literally", SLIDE, f"{words}: reduction, not that of the slides' sketch read as an "
        "equation, σ² = σ_max² for λ > λ_cross and σ_max² λ/λ_cross below",
        **measured, expected=law, rejected=brace, note=note,
    )  # fmt: skip


def _limit(name: str, excesses: Mapping[float, Excess], of: Setting) -> Claim:
    """A straight line in η through measured/frozen, weighted by the errors. What it leaves out, of the size ε² of the
    next order's square, goes through the same fit."""
    y, e = (np.array([float(getattr(x.relative, part)) for x in excesses.values()]) for part in PARTS)
    η, ε = (np.array([values[x] for x in excesses]) for values in (of.rates, of.next_orders))
    A = np.stack([np.ones(len(η)), η], axis=1) / e[:, None]
    covariance = np.linalg.inv(A.T @ A)
    weights = covariance[0] @ A.T / e
    tolerance = float(abs(weights @ ε**2))
    return Claim.equality(
        f"network/excess, {name}, η → 0", SLIDE, "excess loss over that of frozen noise, extrapolated linearly to "
        f"η = 0; tolerance {tolerance:.2g}: what ε² does to the line, ε = E L/L(θ*) − 1 by the frozen law",
        weights @ y, np.sqrt(covariance[0, 0]), 1.0, resolution=RESOLUTION, tolerance=tolerance,
        degrees_of_freedom=float(next(iter(excesses.values())).measured.degrees_of_freedom),
        note="measured over frozen: " + ", ".join(f"{v:.3f} ± {s:.3f}" for v, s in zip(y, e, strict=True))
        + "; ε: " + ", ".join(f"{v:.3f}" for v in ε),
    )  # fmt: skip
