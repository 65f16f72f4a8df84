"""What ensembles of different batch size decide: each has its law, and the curves shift with M = P/S."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sgdynamics.experiments._claims import Claim
from sgdynamics.experiments.kuehn2025 import _late_claims
from sgdynamics.experiments.kuehn2025._late_claims import LEAST
from sgdynamics.experiments.kuehn2025._late_study import Study, of_law
from sgdynamics.experiments.kuehn2025._source import source

ABOVE, BELOW = 1.0, 0.5  # of the largest, of the smallest λ_cross
ALL = ("weights", "velocities", "times")
SYMBOLS = {"weights": "σ_θ²", "velocities": "σ_u²", "times": "τ"}
# the powers of S that follow from the asymptotes (19) and (20) with C ∝ 1/S; the slides print none
ASYMPTOTIC = {
    "weights": {"above": -1, "below": -2}, "velocities": {"above": -1, "below": -1}, "times": {"above": 0, "below": -1},
}  # fmt: skip
NOT_YET = (("weights", "above"), ("times", "above"))  # at a few λ_cross
WITHIN = 0.15  # resolution of a power of S


def of_batch_size(study: Study) -> list[Claim]:
    """Measured over the full law, in each band of λ/λ_cross."""
    prefix = f"S = {study.setting.batch_size}"
    return [replace(claim, id=claim.id.replace("epochs", prefix, 1)) for claim in _late_claims.agreement(study, ALL)]


def bands(found: Mapping[int, Study]) -> dict[str, np.ndarray]:
    """Modes above and below the λ_cross of all batch sizes."""
    λ = next(iter(found.values())).curvatures
    crossings = [study.setting.crossover for study in found.values()]
    at = {"above": np.flatnonzero(λ > ABOVE * max(crossings)), "below": np.flatnonzero(λ < BELOW * min(crossings))}
    return {name: band for name, band in at.items() if len(band) >= LEAST}


def shifts(found: Mapping[int, Study]) -> list[Claim]:
    """d ln/d ln S between the smallest and the largest batch size."""
    claims = []
    for name, band in bands(found).items():
        for quantity in ALL:
            claims += _shift(found, quantity, name, band)
    return claims


def _shift(found: Mapping[int, Study], quantity: str, name: str, band: np.ndarray) -> list[Claim]:
    (low, first), *_, (high, last) = found.items()
    per = np.log(high / low)
    expected = (_law(last, quantity, band) - _law(first, quantity, band)) / per
    value = (_measured(last, quantity, band) - _measured(first, quantity, band)) / per
    parts = [_late_claims.compared(study, "epochs", study.of["epochs"], quantity, band) for study in (first, last)]
    error = np.linalg.norm([float(part["standard_error"]) / float(part["measured"]) for part in parts]) / per
    left_out = sum(float(np.mean(study.of["epochs"].tolerance[band])) for study in (first, last)) / per
    options: dict[str, Any] = {
        "measured": value, "standard_error": error,
        "degrees_of_freedom": min(float(part["degrees_of_freedom"]) for part in parts),
    }  # fmt: skip
    id, place = f"{name}/{quantity}", source("Fig. 20")
    statement = f"d ln {SYMBOLS[quantity]}/d ln S from {low} to {high}, {name} every λ_cross"
    claims = [
        Claim.equality(
            f"{id} against S", place, f"{statement}: the laws'", expected=expected, resolution=WITHIN,
            tolerance=left_out, **options,
        ),
        _asymptote(f"{id} against S", statement, expected, (first, last), (quantity, name), band, options),
    ]  # fmt: skip
    # what would be so if S did nothing but scale the noise
    white = {"weights": -1, "velocities": -1, "times": 0}[quantity]
    if name == "below" and quantity != "velocities":
        claims.append(
            Claim.rejection(
                f"{id} as with replacement/control", place, f"{statement}: not {white}, as without anti-correlations",
                expected=expected, rejected=white, **options,
            )
        )  # fmt: skip
    return claims


def _asymptote(
    id: str, statement: str, expected: float, ends: tuple[Study, Study], which: tuple[str, str], band: np.ndarray,
    options: dict[str, Any],
) -> Claim:  # fmt: skip
    """The power of S that (19) or (20) has: the modes above are too near the crossover for it."""
    quantity, name = which
    power, place = ASYMPTOTIC[quantity][name], source("Eqs. 19 and 20 with C ∝ 1/S; the power of S is ours")
    words = f"{statement}, {_where(ends, band)}"
    if which in NOT_YET:
        return Claim.rejection(
            f"{id}/asymptote not yet reached", place, f"{words}: not yet the asymptote's {power}", expected=expected,
            rejected=power, note="The crossover is broad.", **options,
        )  # fmt: skip
    return Claim.equality(
        f"{id}/asymptote", place, f"{words}: the asymptote's {power} within {WITHIN:g}", expected=power,
        resolution=WITHIN, tolerance=WITHIN, note=f"The laws say {expected:.3g}.", **options,
    )  # fmt: skip


def _where(ends: tuple[Study, Study], band: np.ndarray) -> str:
    """λ/λ_cross and M (1 − β) at the smallest and at the largest batch size."""
    x = [study.curvatures[band] / study.setting.crossover for study in ends]
    n = [study.setting.batches * (1 - study.setting.momentum) for study in ends]
    spans = " and ".join(f"{min(values):.2g} to {max(values):.2g}" for values in x)
    return f"λ/λ_cross {spans}, M(1 − β) = {n[0]:.3g} and {n[1]:.3g}"


def _law(study: Study, quantity: str, band: np.ndarray) -> float:
    return float(np.mean(np.log(of_law(study.of["epochs"].full, quantity)[band])))


def _measured(study: Study, quantity: str, band: np.ndarray) -> float:
    return float(np.mean(np.log(np.asarray(getattr(study.of["epochs"].measured, quantity).value)[band])))
