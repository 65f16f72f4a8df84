"""What Figs. 3 and 4 claim about variances along the leading eigenvectors: between q_1 and q_k, and over all of them.

The paper's statements are qualitative: the trajectory "appears to cover both directions equally" where the loss does
not, and "closely resembles" H⁻¹. What is claimed of them is where the ensemble stands, on a logarithmic scale, between
the control (0) and the printed formula (1), x for the ratio along q_1 and q_k or the exponent over all modes:

    p = (ln x − ln control)/(ln printed − ln control)    of a ratio,    without the ln of an exponent

nearer to the printed formula on either side: 1 − |1 − p| ≥ ½. How far off it is beyond that is told by the law, of SGD
in regression and of the harmonic approximation for a network, which is claimed as an equality. Where Assumption 5 is
made to hold the printed formula is claimed so as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._variables import Variable, measurement, variable
from sgdynamics.experiments.kunin2023._plane import Case, ratio, slope
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import Estimate

NEAR = 0.5  # the least nearness: 1 at the printed formula, 0 at the control and as far on the other side


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
    """Law, printed formula and control: the ratio along q_1 and q_k, and the exponent over all modes."""
    h = case.curvature
    words = f"d ln(variance of {scaling.word})/d ln h over {len(h)} modes"
    extent = Quantity("ratio", scaling.quantity, scaling.between, relative=True, resolution=0.2)
    exponent = Quantity("exponent", words, lambda v: slope(h, v), relative=False, resolution=0.1)
    return [claim for quantity in (extent, exponent) for claim in _claims(case, scaling, quantity)]


@dataclass(frozen=True)
class Quantity:
    """A number made of the variances over the modes.

    - relative: whether its errors count relatively, and distances by its logarithm; resolution: in these units.
    """

    id: str
    words: str
    of: Callable[[Any], Any]
    relative: bool
    resolution: float

    def position(self, value: Any, control: float, printed: float) -> Any:
        """0 at the control, 1 at the printed formula."""
        if self.relative:
            return jnp.log(value / control) / np.log(printed / control)
        return (value - control) / (printed - control)


def _claims(case: Case, scaling: Scaling, quantity: Quantity) -> list[Claim]:
    found = case.measured.map(lambda M: quantity.of(scaling.of(case, M)), quantity.id)
    law, printed, control = (
        float(quantity.of(v)) for v in (scaling.of(case, case.law), scaling.printed(case), scaling.control(case))
    )
    unit = law if quantity.relative else 1.0
    prefix, words, place = f"{case.name}/{quantity.id}", f"{case.words}: {quantity.words}", source(scaling.place)
    off = f"to {case.tolerance:.2g}"
    kind = "exact law" if case.exact else f"law of the harmonic approximation, {off}"
    rows = [
        Claim.equality(
            f"{prefix}/law", place, f"{words}, {kind}", **evidence(found), expected=law, published=printed,
            resolution=quantity.resolution * unit, tolerance=case.tolerance * unit,
        ),
        _near(case, scaling, quantity, found, law, printed, control),
        Claim.rejection(
            f"{prefix}/{scaling.control_id}/control", place, f"{words}, not {scaling.control_words}",
            **evidence(found), expected=law, rejected=control, level=LEVEL, tolerance=case.tolerance * unit,
        ),
    ]  # fmt: skip
    if case.proportional:
        statement = f"{words}, {scaling.formula} to O(η): εκ + ηh_1/(2(1 + β)) = {case.discrete:.2g}"
        rows[1:1] = [
            Claim.equality(
                f"{prefix}/{scaling.formula}", place, statement, **evidence(found), expected=printed,
                resolution=quantity.resolution * unit, tolerance=case.discrete * unit,
            )
        ]  # fmt: skip
    return rows


def _near(
    case: Case, scaling: Scaling, quantity: Quantity, found: Estimate, law: float, printed: float, control: float
) -> Claim:
    """Nearer to the printed formula than to the control; in the note, how far from it."""
    nearness = found.map(lambda x: 1 - abs(1 - quantity.position(x, control, printed)), "nearness")
    away = f"{float(found.value):.3g} of SGD and {law:.3g} of the law against {printed:.3g} as printed"
    return Claim.bound(
        f"{case.name}/{quantity.id}/near {scaling.formula}", source(scaling.place),
        f"{case.words}: {quantity.words}, between {scaling.control_words} (0) and {scaling.formula} (1): 1 − |1 − p|",
        **evidence(nearness), expected=NEAR, side="at least", note=away,
    )  # fmt: skip


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
