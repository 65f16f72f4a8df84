"""What is claimed of the displacement, and of the velocity of an overdamped mode."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import sgdynamics as sgd
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments.kunin2023._displacement_velocity import Lags
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.experiments.kunin2023._spectrum_case import Case, left_over
from sgdynamics.statistics import Estimate

VISIBLE = 0.05  # relative difference that a measurement must see
EQUATION, SECTION = source("Eq. 13"), source("Sec. 8")
PRINTED = {
    "published": ("Eq. 13 as printed", "E|Δ_k|² by (13), with the correlations C_l(j) of the velocity at the time j"),
    "published_repaired": ("Eq. 13 with C_l(ηj)", "E|Δ_k|² by (13), with the correlations at the time ηj of step j"),
}


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
    """The SDE is right in the end up to O(ηK), and not at the first steps."""
    k = int(measured.late[0][-1])
    first, last = (float(case.displacement(np.array([n]), "sde")[0]) for n in (1, k))
    exact = float(case.displacement(np.array([1]))[0])
    error = case.η * case.curvatures[0] / (2 * (1 + case.β))
    claims = [
        Claim.equality(
            f"{label}/SDE/k = {k}", EQUATION, "the SDE's displacement is right in the end up to ηK/(2(1 + β))",
            **evidence(measured.at(k)), expected=last, resolution=VISIBLE * last, tolerance=error * last,
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
    slope, j, k = measured.slope()
    steps, claims = np.array([j, k]), []
    for form, (name, statement) in PRINTED.items():
        value = float(case.displacement(steps, form)[1])
        claims.append(
            Claim.equality(
                f"{label}/{name}, k = {k}/published", EQUATION, statement, **evidence(measured.at(k)),
                expected=value, resolution=abs(value - case.saturation) / 2,
            )
        )  # fmt: skip
    growth = {form: float(np.diff(case.displacement(steps, form))[0] / (k - j)) for form in ("exact", *PRINTED)}
    right, wrong = growth["exact"], growth["published_repaired"]
    claims += [
        Claim.equality(
            f"{label}/growth from {j} to {k}", source("Eq. 13; exact discrete law"), "E|Δ_k|² hardly grows any more",
            **evidence(slope), expected=right, resolution=abs(wrong - right) / 2, published=wrong,
        ),
        Claim.equality(
            f"{label}/growth from {j} to {k}/published", EQUATION,
            "(13) with C_l(ηj) grows by Σ_l η² C_ll/(1 − β²) (1 + 2 Σ_j C_l(ηj)) per step for ever",
            **evidence(slope), expected=wrong, resolution=abs(wrong - right) / 2,
        ),
    ]  # fmt: skip
    return [*claims, _left_over(label, case)]


def _left_over(label: str, case: Case) -> Claim:
    """Exact evaluation: nothing is measured."""
    β, η = case.β, case.η
    x, values = (1 - β) / (1 + β), left_over(case)
    expected, worst = x / 3, values[np.argmax(np.abs(values - x / 3))]
    # the next term of Euler and Maclaurin, and half as much again for those that follow
    tolerance = 1.5 * expected * max(x**2, η * float(case.curvatures[0]) / (1 + β)) / 15
    return Claim.equality(
        f"{label}/left over", source("App. G.2"),
        "1 + 2 Σ_j C_l(ηj) is (1 − β)/(3(1 + β)) instead of 0 for every mode, soft or stiff, up to "
        "(ηK/(1 + β) − (1 − β)²/(1 + β)²)/15 of it (the mode farthest off)",
        worst, 0.0, expected, resolution=tolerance, tolerance=tolerance,
    )  # fmt: skip


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
            **evidence(found), expected=right, resolution=abs(right) / 2, published=wrong,
        ),
        Claim.equality(
            f"{name}/correlation at lag 1/published", source("App. G.2"),
            "C_l(η) without momentum, about e⁻² = 0.135", **evidence(found), expected=wrong,
            resolution=abs(wrong - right) / 2,
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
