"""Claims of Fig. 5: how fast phase planes turn, where spectra peak, and their power.

In a network a mode feels the mean curvature E K over its ensemble, not K* of the minimum (leading order in the spread,
with a Gaussian law: E δV' = σ² E V''), so that its frequencies are off by a share ½(E K/K* − 1): their tolerance.
"""

from typing import Any

import numpy as np

import sgdynamics as sgd
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments.kunin2023._fig5_case import KINDS, Case
from sgdynamics.experiments.kunin2023._fig5_peaks import Readings, exponent, resolved
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.theory import momentum


def claims(case: Case, found: Readings, drawn: list[int], softening: np.ndarray) -> list[Claim]:
    """All of one case; `softening` [modes]: E K/K* − 1."""
    tolerance = np.abs(softening) / 2
    return [
        *_rotation_claims(case, found, drawn, tolerance), *_peak_claims(case, found, tolerance),
        *_still_claims(case, found, drawn), *_spectrum_claims(case, found, drawn),
    ]  # fmt: skip


def _softer(case: Case, tolerance: float) -> str:
    return "" if case.exact else f"; to {tolerance:.2g} of it, by the mean curvature over the ensemble"


def _rotation_claims(case: Case, readings: Readings, drawn: list[int], tolerance: np.ndarray) -> list[Claim]:
    """Clockwise, at the rates of theory, which grow as the square root of the curvature."""
    expected = case.rotations()
    measured = readings.rotation
    claims = [] if not case.exact else [
        Claim.bound(
            f"{case.name}/rotation of all modes", source("Eq. 11, Sec. 7"),
            "each phase plane turns clockwise as the exact discrete mode does, about −ηω₀ per step (p-value)",
            sgd.compare(measured, expected, level=LEVEL).p_value, 0.0, LEVEL, side="at least",
        )
    ]  # fmt: skip
    for i in drawn:
        found = evidence(readings.rotations[i])
        label = f"{case.name}/mode {case.modes[i]}"
        ζ = float(momentum.damping_ratio(case.curvatures[i], **case.setting))
        claims.append(
            Claim.equality(
                f"{label}/rotation", source("Fig. 5"), f"rad per step, clockwise; damping ratio {ζ:.2g}"
                + _softer(case, tolerance[i]), **found,
                expected=expected[i], resolution=0.25 * abs(expected[i]), tolerance=tolerance[i] * abs(expected[i]),
            )
        )  # fmt: skip
        claims.append(
            Claim.rejection(
                f"{label}/detailed balance/control", source("Sec. 6"), "there is a current", **found,
                expected=expected[i], rejected=0.0,
            )
        )  # fmt: skip
    theory = float(exponent(expected, case.curvatures))
    options: dict[str, Any] = {"resolution": 0.1, **evidence(readings.slope)}
    statement = "d ln(rotation)/d ln(curvature) over all modes"
    return [
        *claims,
        Claim.equality(
            f"{case.name}/rates grow as the square root", source("App. F.2"), statement, expected=0.5, published=1.0,
            tolerance=abs(theory - 0.5), note="The tolerance is what discrete time adds, by theory.", **options,
        ),
        Claim.equality(
            f"{case.name}/rates proportional to eigenvalues/published", source("Sec. 7"), statement, expected=1.0,
            **options,
        ),
    ]  # fmt: skip


def _peak_claims(case: Case, readings: Readings, tolerance: np.ndarray) -> list[Claim]:
    """Where the spectra peak, of all modes whose peak the segments can see."""
    claims = []
    for kind, i in ((kind, i) for i in range(len(case.modes)) for kind in KINDS):
        K, label = case.curvatures[i], f"{case.name}/mode {case.modes[i]}"
        peak = float(momentum.peak_frequency(K, of=kind, **case.setting))
        if not resolved(peak, case.segment):
            continue
        found, theory = readings.peaks[kind, i]
        where = "ω₀" if kind == "velocity" else "√(ω₀² − 2γ²)"
        claims.append(
            Claim.equality(
                f"{label}/peak of {kind}", source("Sec. 7, App. F.2"),
                f"rad per step, near η{where}; the tolerance is what leakage shifts the expected spectrum by"
                + _softer(case, tolerance[i]), **evidence(found), expected=peak, resolution=0.1 * peak,
                tolerance=abs(theory - peak) + tolerance[i] * peak,
            )
        )  # fmt: skip
        ω = float(momentum.oscillation_frequency_per_step(K, **case.setting))
        if kind == "velocity" and 0 < ω < 0.9 * peak:  # where the two can be told apart
            claims.append(
                Claim.rejection(
                    f"{label}/peak of velocity at the damped frequency/control", source("App. F.2"),
                    "the velocity's peak is not at the frequency √(ω₀² − γ²) of the mean", **evidence(found),
                    expected=peak, rejected=ω,
                )
            )  # fmt: skip
    return claims


def _still_claims(case: Case, readings: Readings, drawn: list[int]) -> list[Claim]:
    """Modes that turn, and whose position has no peak: power of the position at ω₀, over that at the lowest lines."""
    return [
        Claim.bound(
            f"{case.name}/mode {case.modes[i]}/no peak of position", source("Sec. 7, Fig. 5"),
            "the position's power at ω₀ is below that at frequency 0 (ratio), though the plane turns",
            **evidence(readings.still[i]), expected=1.0, side="at most",
        )
        for i in drawn if i in readings.still
    ]  # fmt: skip


def _spectrum_claims(case: Case, readings: Readings, drawn: list[int]) -> list[Claim]:
    """Measured over expected power."""
    claims = []
    for i, (j, kind) in ((i, named) for i in drawn for named in enumerate(KINDS)):
        label = f"{case.name}/mode {case.modes[i]}"
        lines, ratio, mean = readings.powers[i + j * len(case.modes)]
        if case.exact:
            claims.append(
                Claim.bound(
                    f"{label}/spectrum of {kind}", source("App. F.2; exact discrete law"),
                    f"power is the expected one at each of {len(lines)} lines (p-value)",
                    sgd.compare(ratio, np.ones(len(lines)), level=LEVEL).p_value, 0.0, LEVEL, side="at least",
                )
            )  # fmt: skip
        claims.append(
            Claim.equality(
                f"{label}/power of {kind}", source("App. F.2"),
                "measured over expected power, average over the band"
                + ("" if case.exact else "; with the noise of the minimum"),
                **evidence(mean), expected=1.0, resolution=0.2,
            )
        )  # fmt: skip
    return claims
