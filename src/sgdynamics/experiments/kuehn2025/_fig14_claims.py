"""What fig. 14 claims: anti-correlation at every learning rate, its drift as predicted, (2) as the rate vanishes."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._realisations import difference
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.statistics import Estimate

STATIC = -0.5  # sum of (2) over lags from 1, in units of C
RESOLUTION = 0.05


@dataclass(frozen=True)
class Case:
    """One rate η/(1 − β) and momentum β: ϱ(h), h = 1 … M, of SGD's own noise, of spectators, and of the drift along
    a few paths alone; the ensemble's loss at each step."""

    momentum: float
    rate: float
    batches: int
    own: Estimate
    spectators: Estimate
    path: Estimate
    loss: np.ndarray

    @property
    def label(self) -> str:
        """Of this case."""
        return f"momentum {self.momentum:g}, rate {self.rate:g}"


def claims_at(case: Case) -> list[Claim]:
    """At one rate."""
    own, spectators, path = (curve.map(jnp.sum) for curve in (case.own, case.spectators, case.path))
    words = "sum of the autocorrelation over lags from 1: "
    return [
        Claim.rejection(
            f"{case.label}/white noise/control", source("Fig. 14"), f"{words}not 0",
            **evidence(own), expected=STATIC, rejected=0.0,
        ),
        Claim.bound(
            f"{case.label}/anti-correlated", source("Fig. 14"), f"{words}at least half of (2) is there",
            **evidence(own), expected=STATIC / 2, side="at most",
        ),
        Claim.equality(
            f"{case.label}/spectators", source("Eq. 2 along a path (not in the slides)"),
            f"{words}of spectators, less that of the drift, which is exact for them",
            **difference(spectators, path), expected=0.0, resolution=RESOLUTION,
        ),
    ]  # fmt: skip


def claims_over_rates(cases: list[Case], white: Estimate) -> list[Claim]:
    """At one momentum: (2) as the rate vanishes, its failure at the largest, and independent batches there."""
    slow, next_slow, fast = cases[0], cases[1], cases[-1]
    label, words = f"momentum {slow.momentum:g}", "sum of the autocorrelation over lags from 1: "
    deviation = lambda case, share: case.own.map(lambda ϱ: share * (jnp.sum(ϱ) - STATIC))
    return [
        _vanishing(slow, next_slow),
        Claim.bound(
            f"{label}/deviation shrinks with the rate", source("Fig. 14"),
            f"deviation from (2) at the smallest rate less half of that at {fast.rate / slow.rate:g} times the rate",
            **difference(deviation(slow, 1.0), deviation(fast, 0.5)), expected=0.0, side="at most",
        ),
        Claim.rejection(
            f"{fast.label}/fixed weights/control", source("Eq. 2"), f"{words}not −½, for the weights move",
            **evidence(fast.own.map(jnp.sum)), rejected=STATIC, resolution=RESOLUTION,
        ),
        _feedback(fast),
        Claim.equality(
            f"{fast.label}/with replacement", source("Fig. 13, at moving weights"), f"{words}with replacement",
            **evidence(white), expected=0.0, resolution=2 * RESOLUTION,
        ),
    ]  # fmt: skip


def _vanishing(slow: Case, next_slow: Case) -> Claim:
    """Linear extrapolation to rate 0; what it leaves of the drift is known, and the feedback is allowed as much."""
    a, b = slow.rate, next_slow.rate
    part = lambda case, name, weight: getattr(case, name).map(lambda ϱ: weight * jnp.sum(ϱ))
    parts = lambda name: (part(slow, name, b / (b - a)), part(next_slow, name, a / (b - a)))
    left = abs(float(difference(*parts("path"))["measured"]) - STATIC)
    return Claim.equality(
        f"momentum {slow.momentum:g}/rate to zero", source("Eq. 2"),
        "sum of the autocorrelation over lags from 1, extrapolated to learning rate 0: (2)",
        **difference(*parts("own")), expected=STATIC, resolution=RESOLUTION, tolerance=2 * left,
    )  # fmt: skip


def _feedback(case: Case) -> Claim:
    """Own noise less spectators'. Without momentum the next step feels a batch at once; at longer lags the sign turns.
    With momentum the effect is spread over many steps, and its sum small."""
    if case.momentum == 0:
        statistic, share, side = (lambda ϱ: ϱ[0]), 0.0, "at least"
        words = "correlation of successive noises, own less spectators': that batches move the weights weakens it"
    else:
        statistic, share, side = jnp.sum, 1 / 4, "at most"
        words = (
            "sum of the autocorrelation over lags from 1, own less spectators': that batches move the weights "
            "weakens it by at most a quarter of its deviation from (2)"
        )
    # independent but for the path, which is common
    own = case.own.map(lambda ϱ: (1 - share) * statistic(ϱ) + share * STATIC)
    return Claim.bound(
        f"{case.label}/feedback", source("Fig. 14"), words, **difference(own, case.spectators.map(statistic)),
        expected=0.0, side=side,
    )  # fmt: skip
