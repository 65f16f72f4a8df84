"""What is claimed of the displacement, and of the velocity of an overdamped mode."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import zeta

import sgdynamics as sgd
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments.kunin2023._displacement_velocity import Lags
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.experiments.kunin2023._spectrum_case import Case, left_over
from sgdynamics.statistics import Estimate

VISIBLE = 0.05  # relative difference that a measurement must see
EQUATION, SECTION = source("Eq. 13"), source("Sec. 8")


@dataclass(frozen=True)
class Measured:
    """The displacement of two ensembles, each with its distances."""

    early: tuple[np.ndarray, Estimate]
    late: tuple[np.ndarray, Estimate]

    def at(self, k: int) -> Estimate:
        """E|Δ_k|²."""
        steps, estimate = self.early if k in self.early[0] else self.late
        index = int(np.flatnonzero(steps == k)[0])
        return estimate.map(lambda D: D[index])

    def slope(self) -> tuple[Estimate, int, int]:
        """(D_k − D_j)/(k − j) of the longest distance k and of j = k/2."""
        steps, estimate = self.late
        k = int(steps[-1])
        j, index = k // 2, int(np.flatnonzero(steps == k // 2)[0])
        return estimate.map(lambda D: (D[-1] - D[index]) / (k - j)), j, k

    def joined(self) -> tuple[np.ndarray, np.ndarray]:
        """Values and errors over all distances."""
        both = self.early[1], self.late[1]
        return np.concatenate([e.value for e in both]), np.concatenate([e.standard_error for e in both])


def displacement_claims(label: str, case: Case, measured: Measured, decades: list[int]) -> list[Claim]:
    """Of the exact law at every decade, of its end, and of the other three."""
    return [
        *_exact(label, case, measured, decades),
        *_saturated(label, case, measured),
        *_sde(label, case, measured),
        *_printed(label, case, measured),
    ]


def _exact(label: str, case: Case, measured: Measured, decades: list[int]) -> list[Claim]:
    claims = []
    for name, (steps, estimate) in (("first steps", measured.early), ("later steps", measured.late)):
        p = sgd.compare(estimate, case.displacement(steps), level=LEVEL).p_value
        statement = f"E|Δ_k|² is SGD's exact law at {len(steps)} distances from {steps[0]} to {steps[-1]} (p-value)"
        claims.append(Claim.bound(f"{label}/{name}", EQUATION, statement, p, 0.0, LEVEL, side="at least"))
    for k in decades:
        exact = float(case.displacement(np.array([k]))[0])
        claims.append(
            Claim.equality(
                f"{label}/k = {k}", source("Eq. 13; exact discrete law"),
                f"E|Δ_k|² after {k} steps is 2 Σ_i Var δ_i (1 − correlation) in discrete time",
                **evidence(measured.at(k)), expected=exact, resolution=VISIBLE * exact,
            )
        )  # fmt: skip
    return claims


def _saturated(label: str, case: Case, measured: Measured) -> list[Claim]:
    k, end = int(measured.late[0][-1]), case.saturation
    missing = end - float(case.displacement(np.array([k]))[0])
    return [
        Claim.equality(
            f"{label}/saturation", EQUATION, f"E|Δ_k|² ends at 2 tr Cov θ; {missing / end:.1g} of it lacks at k = {k}",
            **evidence(measured.at(k)), expected=end, resolution=VISIBLE * end, tolerance=abs(missing),
        )
    ]  # fmt: skip


def _sde(label: str, case: Case, measured: Measured) -> list[Claim]:
    """The SDE is off by a part of the stiff modes in the end, and by more at the first steps."""
    k = int(measured.late[0][-1])
    first, last = (float(case.displacement(np.array([n]), "sde")[0]) for n in (1, k))
    exact, end = (float(case.displacement(np.array([n]))[0]) for n in (1, k))
    claims = [
        Claim.equality(
            f"{label}/SDE/k = {k}", EQUATION,
            f"E|Δ_k|² less the SDE's is the exact law's less the SDE's, {(end - last) / end:.2g} of it: of a mode's "
            "share the SDE lacks ηK/(2(1 + β))",
            **evidence(measured.at(k).map(lambda D: D - last)), expected=end - last, resolution=VISIBLE * end,
        )
    ]  # fmt: skip
    if abs(first / exact - 1) >= VISIBLE:
        claims.append(
            Claim.rejection(
                f"{label}/SDE/k = 1/control", EQUATION,
                "after one step not the SDE's displacement, whose velocity decays within the step",
                **evidence(measured.at(1)), expected=exact, rejected=first,
            )
        )  # fmt: skip
    return claims


def _printed(label: str, case: Case, measured: Measured) -> list[Claim]:
    """(13) as printed, and with its index repaired, which is no statement of the paper."""
    slope, j, k = measured.slope()
    steps = np.array([j, k])
    values = {form: case.displacement(steps, form) for form in ("exact", "published", "published_repaired")}
    printed, repaired = (float(values[form][1]) for form in ("published", "published_repaired"))
    right, wrong = (float(np.diff(values[form])[0] / (k - j)) for form in ("exact", "published_repaired"))
    return [
        Claim.equality(
            f"{label}/Eq. 13 as printed, k = {k}/published", EQUATION,
            "E|Δ_k|² by (13), with the correlations C_l(j) of the velocity at the time j",
            **evidence(measured.at(k)), expected=printed, resolution=abs(printed - case.saturation) / 2,
        ),
        Claim.rejection(
            f"{label}/Eq. 13 repaired, k = {k}/control", EQUATION,
            "not (13) with the correlations at the time ηj of step j either",
            **evidence(measured.at(k)), expected=float(values["exact"][1]), rejected=repaired,
        ),
        Claim.equality(
            f"{label}/growth from {j} to {k}", source("Eq. 13; exact discrete law"), "E|Δ_k|² hardly grows any more",
            **evidence(slope), expected=right, resolution=abs(wrong - right) / 2,
        ),
        Claim.rejection(
            f"{label}/growth from {j} to {k}/control", EQUATION,
            "not by Σ_l η² C_ll/(1 − β²) (1 + 2 Σ_j C_l(ηj)) per step for ever, as (13) repaired grows",
            **evidence(slope), expected=right, rejected=wrong,
        ),
        _left_over(label, case),
    ]  # fmt: skip


def _left_over(label: str, case: Case) -> Claim:
    """Exact evaluation: nothing is measured."""
    values, (expected, tolerance) = left_over(case), second_order(case)
    worst = int(np.argmax(np.abs(values - expected)))
    return Claim.equality(
        f"{label}/left over", source("App. G.2"),
        "1 + 2 Σ_j C_l(ηj) is not 0 but (x/3)[1 + (ηK/(1 + β) − x²)/15], x = (1 − β)/(1 + β), for every mode, soft or "
        "stiff (the one farthest off)",
        values[worst], 0.0, expected[worst], resolution=tolerance, tolerance=tolerance,
        note="tolerance: bound of all higher terms",
    )  # fmt: skip


def second_order(case: Case) -> tuple[np.ndarray, float]:
    """`left_over` of each mode to second order, and a bound of the rest.

    z coth z = Σ_n c_n z^{2n} with |c_n| ≤ 2 ζ(6)/π^{2n} from n = 3 on, at z± = ηλ±/2 with z₊ + z₋ = x and |z±| ≤ ρ:
    |(z₊^{2n} − z₋^{2n})/(z₊ − z₋)| ≤ n x ρ^{2n − 2}, and the sum over n is a geometric one.
    """
    x, product = (1 - case.β) / (1 + case.β), case.η * case.curvatures / (2 * (1 + case.β))
    r = max(x**2, float(product.max())) / np.pi**2
    rest = x * 2 * float(zeta(6)) / np.pi**2 * (1 / (1 - r) ** 2 - 1 - 2 * r)
    return x / 3 * (1 + (2 * product - x**2) / 15), rest


def velocity_claims(label: str, case: Case, lags: Lags, early: Any) -> list[Claim]:
    """Of the mode with ζ near 2."""
    name = f"{label}/ζ = {lags.damping_ratio:.2g}"
    return (_memoryless if case.β == 0 else _turning)(name, case, lags, early) + _sum(name, case, lags, early)


def _turning(name: str, case: Case, lags: Lags, early: Any) -> list[Claim]:
    lowest, found = float(lags.exact(lags.lowest)), lags.at(early, lags.lowest)
    crossing = float(lags.chord(*lags.exact(np.array(lags.around))))
    return [
        Claim.equality(
            f"{name}/correlation at lag {lags.lowest}", source("App. G.2; exact discrete law"),
            "the velocity's correlation of an overdamped mode is negative there",
            **evidence(found), expected=lowest, resolution=abs(lowest) / 2,
        ),
        Claim.bound(
            f"{name}/stays positive/published", SECTION,
            "overdamped: the velocity correlations remain positive even over long lags",
            **evidence(found), expected=0.0, side="at least",
        ),
        Claim.equality(
            f"{name}/zero crossing", source("App. G.2; exact discrete law"),
            f"lag at which it turns negative (chord from {lags.around[0]} to {lags.around[1]}; "
            f"continuous time: {lags.crossing:.3g})",
            **evidence(lags.measured_crossing(early)), expected=crossing, resolution=0.1 * crossing,
        ),
    ]  # fmt: skip


def _memoryless(name: str, case: Case, lags: Lags, early: Any) -> list[Claim]:
    right, wrong = -case.η * lags.curvature / 2, float(lags.continuous(1))
    found = lags.at(early, 1)
    return [
        Claim.equality(
            f"{name}/correlation at lag 1", source("App. G.2; exact discrete law"),
            "without momentum two steps in a row correlate by −ηK/2",
            **evidence(found), expected=right, resolution=abs(right) / 2,
        ),
        Claim.rejection(
            f"{name}/the SDE's correlation at lag 1/control", source("App. G.2"),
            "not C_l(η), the SDE's correlation, that of (13) repaired: without momentum about e⁻² = 0.135",
            **evidence(found), expected=right, rejected=wrong,
        ),
    ]  # fmt: skip


def _sum(name: str, case: Case, lags: Lags, early: Any) -> list[Claim]:
    """The sum over lags vanishes: no diffusion is left."""
    free, found = (1 + case.β) / (1 - case.β), evidence(lags.measured_sum(early))
    return [
        Claim.equality(
            f"{name}/sum over lags", source("App. G.2; exact discrete law"),
            f"Σ R_j/R_0 over |j| ≤ {lags.last} is (D_(J+1) − D_J)/(η² R_0), which tends to 0",
            **found, expected=lags.exact_sum, resolution=free / 3,
        ),
        Claim.rejection(
            f"{name}/sum over lags/control", source("App. G.2"),
            "not (1 + β)/(1 − β), that of a velocity which no force drives back",
            **found, expected=lags.exact_sum, rejected=free,
        ),
    ]  # fmt: skip
