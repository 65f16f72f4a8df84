"""How the velocity of one overdamped mode forgets: which mode, at which lags, and what is measured there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float

from sgdynamics.experiments.kunin2023._spectrum_case import Case, padded, zero_crossing
from sgdynamics.statistics import Estimate
from sgdynamics.theory import momentum as theory

OVERDAMPED = 2.0  # the damping ratio ζ that is looked for
POINTS = 10
FORGOTTEN = 4.0  # relaxation times until the sum over lags is taken


@dataclass(frozen=True)
class Lags:
    """The mode nearest to ζ = 2, its lags in steps, and what theory has there."""

    case: Case
    mode: int
    damping_ratio: float
    crossing: float
    """Steps until the SDE's correlation is 0."""
    correlation: tuple[int, ...]
    """From 0 to three times that, and those of the other cases."""
    last: int
    """Where the sum over lags ends."""

    @property
    def curvature(self) -> float:
        """K of the mode."""
        return float(self.case.curvatures[self.mode])

    @property
    def around(self) -> tuple[int, int]:
        """Before and after the crossing."""
        return max(1, int(0.8 * self.crossing)), int(np.ceil(1.2 * self.crossing))

    @property
    def lowest(self) -> int:
        """Where the SDE's correlation is most negative."""
        return round(2 * self.crossing)

    def exact(self, lag: ArrayLike) -> Float[np.ndarray, "..."]:
        """SGD's own correlation."""
        return padded(lambda j: theory.velocity_correlation_after(j, self.curvature, **self.case.setting), lag)

    def continuous(self, lag: ArrayLike) -> Float[np.ndarray, "..."]:
        """C_l(η lag), the SDE's."""
        η = self.case.η
        return padded(lambda j: theory.velocity_correlation(η * j, self.curvature, **self.case.setting), lag)

    def correlations(self, early: Any) -> Estimate:
        """R_j/R_0 at `correlation`."""
        return early["correlation"].map(lambda A: A[:, 1, 1] / A[0, 1, 1], "correlation of the velocity")

    def at(self, early: Any, lag: int) -> Estimate:
        """R_lag/R_0."""
        return self.correlations(early).map(lambda r: r[self.correlation.index(lag)])

    def measured_crossing(self, early: Any) -> Estimate:
        """Where the chord between the lags `around` is 0."""
        i, j = (self.correlation.index(lag) for lag in self.around)
        return self.correlations(early).map(lambda r: self.chord(r[i], r[j]))

    def chord(self, before: Any, after: Any) -> Any:
        """The zero of the line through two correlations at `around`."""
        a, b = self.around
        return a + (b - a) * before / (before - after)

    def measured_sum(self, early: Any) -> Estimate:
        """Σ_{|j| ≤ J} R_j/R_0, J = `last`, which telescopes: (E[δ_J v_0] − E[v_{J+1} δ_0])/(η R_0)."""
        return early["sum"].map(lambda A: (A[1, 0, 1] - A[2, 1, 0]) / (self.case.η * A[0, 1, 1]), "sum over lags")

    @property
    def exact_sum(self) -> float:
        """The same of SGD's own law."""
        return float(1 + 2 * np.sum(self.exact(np.arange(1, self.last + 1))))


def lags_of(cases: Sequence[Case]) -> list[Lags]:
    """Of the mode of each case with ζ > 1 nearest to 2; all have the same lags, so that one program serves them."""
    own = [_own(case) for case in cases]
    every = {j for lags in own for j in (*lags.correlation, *lags.around, lags.lowest)}
    last = max(lags.last for lags in own)
    return [replace(lags, correlation=tuple(sorted(every)), last=last) for lags in own]


def _own(case: Case) -> Lags:
    ζ = np.asarray(theory.damping_ratio(case.curvatures, **case.setting))
    mode = int(np.argmin(np.where(ζ > 1, np.abs(np.log(ζ / OVERDAMPED)), np.inf)))
    γ, K = float(theory.damping(case.η, case.β)), float(case.curvatures[mode])
    crossing = float(zero_crossing(ζ[mode])) / (γ * case.η)
    last = int(np.ceil(FORGOTTEN / (float(theory.decay_rate(K, **case.setting)) * case.η)))
    grid = np.unique(np.round(np.linspace(0, max(8, 3 * crossing), POINTS)).astype(int)).tolist()
    return Lags(case, mode, float(ζ[mode]), crossing, tuple(grid), last)
