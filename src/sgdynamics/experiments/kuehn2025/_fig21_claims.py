"""What τ(λ) of one setting of hyperparameters says about λ_cross and τ_SGD, and what the claims are."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._realisations import difference
from sgdynamics.experiments.kuehn2025._setting import Setting
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.statistics import Estimate
from sgdynamics.theory import epochs as theory

FLAT, STIFF = 0.25, 5.0  # of λ_cross: below and above, 1/τ is a straight line but for 0.2 and 1 %
LEAST = 3  # modes in a line
FEW = 20  # M (1 − β) below which the data must tell the asymptotes from the exact values
RESOLUTION = 0.015


def flat(curvatures: np.ndarray, setting: Setting) -> np.ndarray:
    """Modes far below λ_cross."""
    return np.flatnonzero(curvatures < FLAT * setting.crossover)


def stiff(curvatures: np.ndarray, setting: Setting) -> np.ndarray:
    """Modes far above λ_cross."""
    return np.flatnonzero(curvatures > STIFF * setting.crossover)


class Measured:
    """τ of the modes at one setting, measured and exact."""

    def __init__(self, setting: Setting, curvatures: np.ndarray, times: Estimate):
        self.setting, self.curvatures, self.times = setting, curvatures, times
        self.expected = setting.times(curvatures)

    @cached_property
    def flat_time_ratio(self) -> Estimate:
        """τ_SGD from the data, over the slides' value."""
        return self.times.map(self._flat_time)

    @cached_property
    def crossover_ratio(self) -> Estimate:
        """λ_cross from the data, over the slides' value."""
        return self.times.map(self._crossover)

    @property
    def flat_time_bias(self) -> float:
        """Of the straight line: 1/τ is curved."""
        return abs(float(self._flat_time(jnp.asarray(self.expected))) - self.setting.flat_time_exact)

    @property
    def crossover_bias(self) -> float:
        return abs(float(self._crossover(jnp.asarray(self.expected))) - self.setting.crossover_exact)

    def _flat_time(self, τ: Array) -> Array:
        modes = flat(self.curvatures, self.setting)
        return 1 / line(self.curvatures[modes], τ[modes])[0] / self.setting.flat_time

    def _crossover(self, τ: Array) -> Array:
        """1/τ_SGD over the slope of the stiff modes."""
        modes = stiff(self.curvatures, self.setting)
        slope = line(self.curvatures[modes], τ[modes])[1]
        return 1 / (self._flat_time(τ) * self.setting.flat_time) / slope / self.setting.crossover


def line(λ: np.ndarray, τ: Array) -> tuple[Array, Array]:
    """Intercept and slope of 1/τ = a + bλ, least squares of relative deviations: τa + τλb = 1."""
    x, y = τ, τ * λ
    xx, xy, yy, x1, y1 = (jnp.sum(term) for term in (x * x, x * y, y * y, x, y))
    determinant = xx * yy - xy**2
    return (x1 * yy - y1 * xy) / determinant, (y1 * xx - x1 * xy) / determinant


def of_setting(name: str, measured: Measured) -> list[Claim]:
    """τ(λ) as a whole, τ_SGD and λ_cross."""
    whole = measured.times.map(lambda τ: jnp.mean(τ / measured.expected))
    claims = [
        Claim.equality(
            f"{name}/correlation times", source("Eq. 18"), "measured over exact τ, average over all λ",
            **evidence(whole), expected=1.0, resolution=RESOLUTION,
        )
    ]  # fmt: skip
    setting = measured.setting
    cases = (
        ("flat time", "τ_SGD", measured.flat_time_ratio, setting.flat_time_exact, measured.flat_time_bias),
        ("crossover", "λ_cross", measured.crossover_ratio, setting.crossover_exact, measured.crossover_bias),
    )
    for quantity, symbol, ratio, exact, bias in cases:
        statement = f"{symbol} from the data over the slides' approximation"
        options: dict[str, Any] = {**evidence(ratio), "resolution": 2 * RESOLUTION}
        claims += [
            Claim.equality(
                f"{name}/{quantity}", source("Fig. 21"), f"{statement}: exactly that of vanishing curvature",
                expected=exact, tolerance=bias, **options,
            ),
            *_asymptote(f"{name}/{quantity}", statement, setting, exact, bias, options),
        ]  # fmt: skip
    return claims


def _asymptote(
    id: str, statement: str, setting: Setting, exact: float, bias: float, options: dict[str, Any]
) -> list[Claim]:
    """At every setting the slides' approximation is good to 1/(M(1 − β)); at the smallest M(1 − β) that shows."""
    place, n = source("between Eqs. 18 and 19"), setting.memories
    words = f"{statement}; M(1 − β) = {n:.4g}, modes below {FLAT:g} and above {STIFF:g} λ_cross"
    agrees = Claim.equality(
        f"{id}/asymptote", place, f"{words}: 1 within 1/(M(1 − β))", expected=1.0, tolerance=1 / n + bias, **options
    )
    if n >= FEW:
        return [agrees]
    early = Claim.rejection(
        f"{id}/asymptote not yet reached", place, f"{words}: not 1", expected=exact, rejected=1.0, tolerance=bias,
        note="The slides write ≈, for large M(1 − β).", **options,
    )  # fmt: skip
    return [agrees, early]


def breadth(name: str, measured: Measured) -> list[Claim]:
    """At λ_cross τ is half of either asymptote: the change from one to the other is broad."""
    setting = measured.setting
    at = int(np.argmin(np.abs(measured.curvatures / setting.crossover - 1)))
    asymptote = min(setting.flat_time, (1 + setting.momentum) / (setting.learning_rate * measured.curvatures[at]))
    options: dict[str, Any] = evidence(measured.times.map(lambda τ: τ[at] / asymptote))
    exact, place = measured.expected[at] / asymptote, source("Eq. 18")
    words = f"τ over the asymptotes that meet at λ = λ_cross, M(1 − β) = {setting.memories:.4g}"
    return [
        Claim.equality(
            f"{name}/τ at the crossover", place, words, expected=exact, resolution=0.05,
            note="0.544 where M(1 − β) is large.", **options,
        ),
        Claim.rejection(
            f"{name}/τ at the crossover/asymptotes not yet reached", place, f"{words}: not 1, at any M(1 − β)",
            expected=exact, rejected=1.0, **options,
        ),
    ]  # fmt: skip


def universal(found: Mapping[str, Measured]) -> list[Claim]:
    """At the setting of the largest M(1 − β): one function of λ/λ_cross."""
    name = max(found, key=lambda name: found[name].setting.memories)
    measured, setting = found[name], found[name].setting
    x = measured.curvatures / setting.crossover
    modes = np.flatnonzero((x > 0.1) & (x < 10))
    white = (1 + setting.momentum) / (setting.learning_rate * measured.curvatures[modes])
    r = white * np.asarray(theory.crossover_function(x[modes]))
    options: dict[str, Any] = evidence(measured.times.map(lambda τ: jnp.mean(τ[modes] / r)))
    sharp = np.minimum(white, setting.flat_time)
    return [
        Claim.equality(
            f"{name}/universal crossover", source("Eq. 18; the function is new"),
            "τ over (1 + β)/(ηλ) r(λ/λ_cross), average from 0.1 to 10 λ_cross",
            expected=1.0, resolution=RESOLUTION, tolerance=abs(np.mean(measured.expected[modes] / r) - 1), **options,
        ),
        Claim.rejection(
            f"{name}/sharp crossover/control", source("after Eq. 18"),
            "not the lesser of both asymptotes: τ over it, average from 0.1 to 10 λ_cross",
            **evidence(measured.times.map(lambda τ: jnp.mean(τ[modes] / sharp))),
            expected=np.mean(measured.expected[modes] / sharp), rejected=1.0,
        ),
    ]  # fmt: skip


def scaling(words: str, along: Mapping[str, Measured]) -> list[Claim]:
    """Between the ends of an axis λ_cross changes as it must; the ensembles are independent."""
    (low, first), *_, (high, last) = along.items()
    crossing = lambda m: m.crossover_ratio.map(lambda ratio: jnp.log(ratio * m.setting.crossover))
    exact = lambda m: np.log(m.setting.crossover * m.setting.crossover_exact)
    options: dict[str, Any] = difference(crossing(last), crossing(first))
    expected, place = exact(last) - exact(first), source("Fig. 21")
    bias = first.crossover_bias / first.setting.crossover_exact + last.crossover_bias / last.setting.crossover_exact
    return [
        Claim.equality(
            f"{words}/λ_cross scales", place, f"ln of λ_cross at {high} over λ_cross at {low}",
            expected=expected, resolution=3 * RESOLUTION, tolerance=bias, **options,
        ),
        Claim.rejection(
            f"{words}/λ_cross stays/control", place, f"λ_cross at {high} is not that at {low}: ln of the ratio",
            expected=expected, rejected=0.0, **options,
        ),
    ]  # fmt: skip
