"""Claims that the numbers decide.

A claim puts a measured value, with its standard error, against an expected one. With t the two-sided Student
quantile of the groups' degrees of freedom at a false-alarm rate `level`, and h = t · standard_error the
half-width of the confidence interval:

- equality: not reproduced where |measured − expected| > h + tolerance; otherwise reproduced where
  h ≤ resolution, the difference that the measurement was meant to see, and undecided where it is too coarse;
- rejection (a negative control): reproduced where |measured − rejected| > h + tolerance; otherwise undecided
  where h > resolution, and not reproduced where the difference would have been seen;
- bound: reproduced or not where the one-sided interval lies on one side of the bound, undecided across it.

No verdict is ever written by hand. A printed statement that is wrong is an equality or a bound whose id ends in
"/published", and comes out as not reproduced; a negative control is a rejection.
"""

import math
import reprlib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, SupportsFloat

from scipy.stats import norm
from scipy.stats import t as student

from sgdynamics.experiments._config import typed
from sgdynamics.statistics import Estimate, format_with_error

LEVEL = 1e-4
"""The false-alarm rate of one claim, unless it says otherwise."""

PUBLISHED = "/published"

NUMBERS = ("measured", "standard_error")  # null in JSON where they are not finite

Verdict = Literal["reproduced", "not reproduced", "undecided"]
Kind = Literal["equality", "rejection", "at most", "at least"]


@dataclass(frozen=True)
class Claim:
    """One statement of a paper (or of ours), what was measured, and what the numbers say about it.

    - `id`: short and unique within the experiment, e.g. "gaussian/sgd/softest-mode".
    - `source`: paper and equation, e.g. "Gross et al. (2024), Eq. 2.30".
    - `expected`: what the statement says; for a bound the bound; for a rejection what holds instead
      (None where that is not known).
    - `z`: (measured − the value tested) in standard errors, None for an exact evaluation (standard error 0).
    - `level`: the false-alarm rate of the verdict; `degrees_of_freedom` None means a normal law.
    - `rejected`: the wrong value that the measurement must exclude; `published`: the printed formula's value
      where it errs.
    - `tolerance`: the stated bias that is no disagreement; `resolution`: the difference that the measurement had to be
      able to see. None for bounds.
    """

    id: str
    source: str
    statement: str
    measured: float
    standard_error: float
    expected: float | None
    verdict: Verdict
    kind: Kind = "equality"
    z: float | None = None
    level: float | None = None
    degrees_of_freedom: float | None = None
    rejected: float | None = None
    published: float | None = None
    note: str = ""
    tolerance: float | None = None
    resolution: float | None = None

    @staticmethod
    def equality(
        id: str,
        source: str,
        statement: str,
        measured: SupportsFloat,
        standard_error: SupportsFloat,
        expected: SupportsFloat,
        *,
        resolution: SupportsFloat,
        level: float = LEVEL,
        degrees_of_freedom: SupportsFloat | None = None,
        tolerance: SupportsFloat = 0.0,
        published: SupportsFloat | None = None,
        note: str = "",
    ) -> "Claim":
        """The statement that a quantity equals `expected`.

        `resolution`: the difference, in units of the quantity, that the measurement must be able to see;
        `tolerance`: a stated bias (finite size, discretisation) that is no disagreement.
        """
        measured, standard_error, expected = map(float, (measured, standard_error, expected))
        resolution, tolerance = float(resolution), float(tolerance)
        half_width = _quantile(level / 2, degrees_of_freedom) * standard_error
        return Claim(
            id, source, statement, measured, standard_error, expected,
            verdict=_equality(measured - expected, half_width, tolerance, resolution),
            kind="equality", z=_z(measured - expected, standard_error), level=level,
            degrees_of_freedom=_optional(degrees_of_freedom), published=_optional(published), note=note,
            tolerance=tolerance, resolution=resolution,
        )  # fmt: skip

    @staticmethod
    def rejection(
        id: str,
        source: str,
        statement: str,
        measured: SupportsFloat,
        standard_error: SupportsFloat,
        expected: SupportsFloat | None = None,
        *,
        rejected: SupportsFloat,
        level: float = LEVEL,
        resolution: SupportsFloat | None = None,
        degrees_of_freedom: SupportsFloat | None = None,
        tolerance: SupportsFloat = 0.0,
        note: str = "",
    ) -> "Claim":
        """The statement that a quantity is *not* `rejected`: the negative control of an equality.

        `resolution` is the distance from `rejected` to `expected` unless told.
        """
        measured, standard_error, rejected = map(float, (measured, standard_error, rejected))
        expected, resolution, tolerance = _optional(expected), _optional(resolution), float(tolerance)
        if resolution is None:
            resolution = _distance(id, expected, rejected)
        half_width = _quantile(level / 2, degrees_of_freedom) * standard_error
        opposite = _equality(measured - rejected, half_width, tolerance, resolution)
        return Claim(
            id, source, statement, measured, standard_error, expected,
            verdict=_negated(opposite), kind="rejection", z=_z(measured - rejected, standard_error),
            level=level, degrees_of_freedom=_optional(degrees_of_freedom), rejected=rejected, note=note,
            tolerance=tolerance, resolution=resolution,
        )  # fmt: skip

    @staticmethod
    def bound(
        id: str,
        source: str,
        statement: str,
        measured: SupportsFloat,
        standard_error: SupportsFloat,
        expected: SupportsFloat,
        *,
        side: Literal["at most", "at least"],
        level: float = LEVEL,
        degrees_of_freedom: SupportsFloat | None = None,
        note: str = "",
    ) -> "Claim":
        """The statement that a quantity is at most, or at least, `expected`; one-sided."""
        measured, standard_error, expected = map(float, (measured, standard_error, expected))
        half_width = _quantile(level, degrees_of_freedom) * standard_error
        excess = measured - expected if side == "at most" else expected - measured
        return Claim(
            id, source, statement, measured, standard_error, expected,
            verdict=_bound(excess, half_width), kind=side, z=_z(measured - expected, standard_error),
            level=level, degrees_of_freedom=_optional(degrees_of_freedom), note=note,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON holds them: a number that is not finite becomes null."""
        return {name: None if _not_finite(value) else value for name, value in asdict(self).items()}

    @staticmethod
    def from_json(entry: Mapping[str, Any]) -> "Claim":
        """The inverse of `to_json`. **Raises** `ValueError` that names the field and its value, where one is missing,
        unknown or of another type."""
        if not isinstance(entry, Mapping):
            raise ValueError(
                f"a claim is {reprlib.repr(entry)}, but it must be a mapping of its fields to their values."
            )
        hints = typing.get_type_hints(Claim)
        required = ("id", "source", "statement", "measured", "standard_error", "expected", "verdict")
        missing = [name for name in required if name not in entry]
        unknown = sorted(set(entry) - set(hints))
        if missing or unknown:
            raise ValueError(f"a claim lacks the fields {missing} and has the unknown fields {unknown}.")
        known = {name: typed(name, _or_none(name, hints[name]), value) for name, value in entry.items()}
        return Claim(**{name: math.nan if name in NUMBERS and known[name] is None else known[name] for name in known})

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is what the experiment was made to show: "not reproduced" of a printed statement that
        is wrong (an id that ends in "/published"), "reproduced" of everything else."""
        return self.verdict == ("not reproduced" if self.id.endswith(PUBLISHED) else "reproduced")

    @property
    def tested(self) -> str:
        """What the measured value was held against, as a table shows it: "0.52", "≠ 0.5", "≤ 1"."""
        sign = {"equality": "", "rejection": "≠ ", "at most": "≤ ", "at least": "≥ "}[self.kind]
        value = self.rejected if self.kind == "rejection" else self.expected
        return "–" if value is None else f"{sign}{value:.5g}"


def evidence(estimate: Estimate) -> dict[str, SupportsFloat]:
    """What an estimate of shape () brings to a claim: `Claim.equality(..., **evidence(estimate), ...)`."""
    return {
        "measured": estimate.value,
        "standard_error": estimate.standard_error,
        "degrees_of_freedom": estimate.degrees_of_freedom,
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Columns of text for a terminal; `align` has a letter for each, "l" for flush left or "r" for right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["─" * width for width in widths], *rows]
    return "\n".join("  ".join(map(_aligned, line, widths, align)).rstrip() for line in lines)


def claims_table(claims: Sequence[Claim]) -> str:
    """Every claim in one line: id, measured with its error, what it was held against, z, verdict."""
    header = ("claim", "measured", "expected", "z", "verdict")
    return table(header, [_row(claim) for claim in claims], align="lrrrl")


def summary(claims: Sequence[Claim]) -> str:
    """How many claims there are, which verdicts are not the expected ones, and which are undecided for errors alone."""
    wrong = sum(claim.as_expected for claim in claims if claim.id.endswith(PUBLISHED))
    lines = [f"{len(claims)} claims" + (f", {wrong} of them printed statements that are wrong" if wrong else "")]
    odd = [claim for claim in claims if not claim.as_expected]
    lines += [f"not as expected: {claim.id}: {claim.verdict}" for claim in odd if not _is_coarse(claim)]
    coarse = [claim.id for claim in odd if _is_coarse(claim)]
    lines += [f"undecided: {id}: the errors are too large to tell (more replicas)" for id in coarse]
    return "\n".join(lines)


def _is_coarse(claim: Claim) -> bool:
    """Whether smaller errors would decide: not where there is no number at all."""
    return claim.verdict == "undecided" and math.isfinite(claim.measured) and math.isfinite(claim.standard_error)


def _row(claim: Claim) -> tuple[str, ...]:
    if claim.z is None:
        return (claim.id, f"{claim.measured:.6g}", claim.tested, "–", claim.verdict)
    measured = format_with_error(claim.measured, claim.standard_error)
    return (claim.id, measured, claim.tested, f"{claim.z:+.1f}", claim.verdict)


def _aligned(cell: str, width: int, side: str) -> str:
    return cell.ljust(width) if side == "l" else cell.rjust(width)


def _equality(difference: float, half_width: float, tolerance: float, resolution: float) -> Verdict:
    if not (math.isfinite(difference) and math.isfinite(half_width)):
        return "undecided"
    if abs(difference) > half_width + tolerance:
        return "not reproduced"
    return "reproduced" if half_width <= resolution else "undecided"


def _negated(verdict: Verdict) -> Verdict:
    opposites: dict[Verdict, Verdict] = {"reproduced": "not reproduced", "not reproduced": "reproduced"}
    return opposites.get(verdict, "undecided")


def _distance(id: str, expected: float | None, rejected: float) -> float:
    if expected is None:
        raise ValueError(
            f"claim {id}: expected = None and resolution = None, but one must be given: "
            "it says how small a difference the measurement must see."
        )
    return abs(expected - rejected)


def _bound(excess: float, half_width: float) -> Verdict:
    if excess + half_width <= 0:
        return "reproduced"
    return "not reproduced" if excess - half_width > 0 else "undecided"


def _quantile(tail: float, degrees_of_freedom: SupportsFloat | None) -> float:
    if not 0 < tail < 0.5:
        raise ValueError(f"level leaves a tail of {tail}, but it must be in (0, 0.5): give a rate like 1e-3.")
    if degrees_of_freedom is None:
        return float(norm.isf(tail))
    return float(student.isf(tail, float(degrees_of_freedom)))


def _z(difference: float, standard_error: float) -> float | None:
    if standard_error < 0:
        raise ValueError(f"standard_error = {standard_error}, but it must be ≥ 0.")
    return difference / standard_error if standard_error > 0 else None


def _optional(value: SupportsFloat | None) -> float | None:
    return None if value is None else float(value)


def _or_none(name: str, hint: Any) -> Any:
    return hint | None if name in NUMBERS else hint


def _not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
