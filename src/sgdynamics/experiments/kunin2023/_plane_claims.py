"""What Figs. 3 and 4 claim about variances along the leading eigenvectors: between q_1 and q_k, and over all of them.

A printed formula is held to be right where it is within `CLOSE` of the law (of SGD in regression, of the harmonic
approximation for a network), in which case the claim allows for as much; elsewhere it is claimed to be wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._variables import Variable, measurement, variable
from sgdynamics.experiments.kunin2023._plane import Case, ratio, slope
from sgdynamics.experiments.kunin2023._source import source

CLOSE = 0.05  # of a ratio relatively, of an exponent absolutely


@dataclass(frozen=True)
class Scaling:
    """Variances of position or velocity over the modes.

    - word: "position" or "velocity"; power: ½ for a claim on standard deviations along q_1 and q_k, 1 on variances.
    - of(case, M): the variances, of a covariance in phase space; printed(case), control(case): up to a factor.
    """

    word: str
    power: float
    place: str
    formula: str
    control_id: str
    control_words: str
    of: Callable[[Case, Any], Any]
    printed: Callable[[Case], np.ndarray]
    control: Callable[[Case], np.ndarray]

    @property
    def quantity(self) -> str:
        return f"{'standard deviations' if self.power == 0.5 else 'variances'} of {self.word} along q_1 and q_k, ratio"

    def between(self, variances: Any) -> Any:
        return ratio(variances) ** self.power


def claims(case: Case, scaling: Scaling) -> list[Claim]:
    """The law, what is printed, and a control: the ratio along q_1 and q_k, and the exponent over all modes."""
    h = case.curvature
    words = f"d ln(variance of {scaling.word})/d ln h over {len(h)} modes"
    extent = Quantity("ratio", scaling.quantity, scaling.between, relative=True)
    exponent = Quantity("exponent", words, lambda v: slope(h, v), relative=False)
    return [claim for quantity in (extent, exponent) for claim in _claims(case, scaling, quantity)]


@dataclass(frozen=True)
class Quantity:
    """A number made of the variances over the modes; relative: whether its errors count relatively."""

    id: str
    words: str
    of: Callable[[Any], Any]
    relative: bool


def _claims(case: Case, scaling: Scaling, quantity: Quantity) -> list[Claim]:
    measured = evidence(case.measured.map(lambda M: quantity.of(scaling.of(case, M)), quantity.id))
    law, printed, control = (
        float(quantity.of(v)) for v in (scaling.of(case, case.law), scaling.printed(case), scaling.control(case))
    )
    unit = law if quantity.relative else 1.0
    prefix, words = f"{case.name}/{quantity.id}", f"{case.words}: {quantity.words}"
    is_wrong = abs(law - printed) > CLOSE * unit
    kind = "exact law" if case.exact else f"law of the harmonic approximation, to 2ε = {case.tolerance:.2g}"
    allowed = "" if is_wrong else f", to {CLOSE:g}"
    return [
        Claim.equality(
            f"{prefix}/law", source(scaling.place), f"{words}, {kind}", **measured, expected=law,
            resolution=0.2 * unit, tolerance=case.tolerance * unit,
        ),
        Claim.equality(
            f"{prefix}/{scaling.formula}" + "/published" * is_wrong, source(scaling.place),
            f"{words}, {scaling.formula}{allowed}", **measured, expected=printed,
            resolution=abs(law - printed) / 2 if is_wrong else 0.2 * unit,
            tolerance=0.0 if is_wrong else (CLOSE + case.tolerance) * unit,
        ),
        Claim.rejection(
            f"{prefix}/{scaling.control_id}/control", source(scaling.place), f"{words}, not {scaling.control_words}",
            **measured, expected=law, rejected=control, level=LEVEL,
        ),
    ]  # fmt: skip


def scatter(case: Case, scaling: Scaling, units: str) -> dict[str, Variable]:
    """Variances over the modes, measured, of the law, as printed and of the control, in units of their geometric mean
    where they are known up to a factor."""
    key, dim = slug(case), f"mode_of_{slug(case)}"
    measured = case.measured.map(lambda M: scaling.of(case, M), "variance")
    law = np.asarray(scaling.of(case, case.law))
    scaled = lambda v: v * np.exp(np.mean(np.log(law)) - np.mean(np.log(v)))
    words = f"variance of {scaling.word}, {case.words}"
    return measurement(f"{key}_variance", dim, measured, words, units) | {
        f"{key}_curvature": variable(dim, case.curvature, "eigenvalue h of the Hessian with weight decay", "1/t"),
        f"{key}_law": variable(dim, law, f"{words}, law", units),
        f"{key}_printed": variable(dim, scaled(scaling.printed(case)), f"{words}, printed, scaled", units),
        f"{key}_control": variable(dim, scaled(scaling.control(case)), f"{words}, control, scaled", units),
    }


def plane(case: Case, offset: int, units: str) -> dict[str, Variable]:
    """Positions (offset 0) or velocities (2) in the plane (q_1, q_k): one path, and the measured covariance."""
    key, n = slug(case), len(case.curvature)
    rows = np.array([0, n - 1]) + (n if offset else 0)
    covariance = case.measured.map(lambda M: M[rows][:, rows])
    word = "velocity" if offset else "position"
    return {
        f"{key}_path": variable(("point", "axis"), case.path[:, offset : offset + 2], f"{word}, one replica", units),
        f"{key}_ellipse": variable(("axis", "axis_"), covariance.value, f"covariance of {word}, measured", f"{units}²"),
    }


def slug(case: Case) -> str:
    """The case's name in names of variables."""
    return case.name.replace(" ", "_")
