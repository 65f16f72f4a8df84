"""What is claimed of the sweeps of Fig. 6."""

from dataclasses import dataclass

import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments.kunin2023._resumed import Resumed
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import Estimate

SECTION = source("Sec. 8, Fig. 6")
MATCH = 0.02  # relative difference up to which we would call a match exact


@dataclass(frozen=True)
class Point:
    """One setting: |δ|², c with theory's, the scatter of c over single runs, and |Δ|² at the end with theory's."""

    resumed: Resumed
    speed: Estimate
    exponent: Estimate
    expected_exponent: float
    scatter: float
    last: Estimate
    expected_last: float

    @property
    def printed(self) -> float:
        """η²/(S (1 − β²)) of (12)."""
        r = self.resumed
        return r.learning_rate**2 / (r.batch_size * (1 - r.momentum**2))

    def scaled(self, default: "Point") -> float:
        """(12) from the speed measured at the default."""
        return float(default.speed.value) * self.printed / default.printed


def claims_of(name: str, sweeps: dict[str, list[Point]], default: Point) -> list[Claim]:
    """Of one network."""
    claims = _point(f"{name}/default", default)
    for sweep, points in sweeps.items():
        for point in points:
            if point is not default:
                value = getattr(point.resumed, "batch_size" if sweep == "resumed" else sweep)
                id = f"{name}/{sweep.replace('_', ' ')} = {value:g}"
                claims += (
                    [_exponent(id, point)] if sweep == "resumed" else _point(id, point) + _scaling(id, point, default)
                )
    claims += _learning_rate(f"{name}/learning rate", sweeps["learning_rate"])
    claims += _momentum(f"{name}/momentum", sweeps["momentum"])
    claims.append(_without_momentum(f"{name}/momentum", sweeps["momentum"]))
    claims += _batch_size(f"{name}/batch size", sweeps["batch_size"], default)
    return claims + (_resumed(f"{name}/resumed", sweeps["resumed"], default) if "resumed" in sweeps else [])


def _without_momentum(id: str, points: list[Point]) -> Claim:
    """The negative control."""
    first, last = points[0], points[-1]
    return Claim.rejection(
        f"{id}/speed without momentum/control", source("Eq. 12"),
        "|δ|² at the largest momentum is not that at the smallest",
        **_quotient(last.speed, first.speed), expected=last.resumed.speed / first.resumed.speed, rejected=1.0,
    )  # fmt: skip


def _point(id: str, point: Point) -> list[Claim]:
    """Speed and exponent are theory's."""
    return [
        Claim.equality(
            f"{id}/speed", source("Eq. 12; exact discrete law"),
            "E|δ|², in units of η² Σ E C_ii/(1 − β²)/(1 − ηK_i/(2(1 + β)))",
            **evidence(point.speed.map(lambda v: v / point.resumed.speed)), expected=1.0, resolution=0.1,
        ),
        _exponent(id, point),
    ]  # fmt: skip


def _exponent(id: str, point: Point) -> Claim:
    return Claim.equality(
        f"{id}/exponent", source("Eq. 13; exact discrete law"), "c is that of theory's curve over the same steps",
        **evidence(point.exponent), expected=point.expected_exponent, resolution=0.15,
    )  # fmt: skip


def _scaling(id: str, point: Point, default: Point) -> list[Claim]:
    """(12) from one estimate: it holds up to what the exact speed has beside it."""
    found = _quotient(point.speed, default.speed, default.printed / point.printed)
    beside = point.resumed.speed / default.resumed.speed * default.printed / point.printed - 1
    text = "E|δ|² by η²/(S(1 − β²)) from the one estimate at the default: measured, of that"
    claims = [
        Claim.equality(
            f"{id}/Eq. 12", SECTION, f"{text}, up to {beside:+.2%} from ηK/(2(1 + β)) and from E C(θ)", **found,
            expected=1.0, resolution=0.1, tolerance=abs(beside),
        )
    ]  # fmt: skip
    if abs(beside) > MATCH:
        claims.append(
            Claim.equality(
                f"{id}/Eq. 12 matches exactly/published",
                SECTION,
                f"{text}, an exact match",
                **found,
                expected=1.0,
                resolution=MATCH,
            )
        )
    return claims


def _quotient(a: Estimate, b: Estimate, factor: float = 1.0) -> dict[str, float]:
    """a/b times a factor, of independent ensembles."""
    value = float(a.value) / float(b.value) * factor
    relative = [float(e.standard_error) / float(e.value) for e in (a, b)]
    error = value * float(np.hypot(relative[0], relative[1]))
    return {"measured": value, "standard_error": error, "degrees_of_freedom": int(a.degrees_of_freedom)}


def _change(points: list[Point]) -> dict[str, float]:
    """c at the last of the sweep minus that at the first, independent ensembles."""
    first, last = points[0].exponent, points[-1].exponent
    return {
        "measured": float(last.value - first.value),
        "standard_error": float(np.hypot(first.standard_error, last.standard_error)),
        "degrees_of_freedom": int(last.degrees_of_freedom),
    }


def _expected_change(points: list[Point]) -> float:
    return points[-1].expected_exponent - points[0].expected_exponent


def _learning_rate(id: str, points: list[Point]) -> list[Claim]:
    """c falls; the way itself is longer."""
    first, last = points[0].last, points[-1].last
    found = _quotient(last, first)
    expected = points[-1].expected_last / points[0].expected_last
    return [
        Claim.bound(
            f"{id}/exponent falls", SECTION, "a larger learning rate reduces the exponent: change of c over the sweep",
            **_change(points), expected=0.0, side="at most",
        ),
        Claim.equality(
            f"{id}/distance", source("Eq. 13; exact discrete law"),
            "|Δ|² after all steps at the largest learning rate, of that at the smallest", **found, expected=expected,
            resolution=0.5 * expected, published=1.0,
        ),
        Claim.bound(
            f"{id}/slower transport/published", SECTION,
            "a larger learning rate leads to slower global transport: |Δ|² after as many steps at the largest, of that "
            "at the smallest", **found, expected=1.0, side="at most",
            note="the exponent falls, and the distance grows",
        ),
    ]  # fmt: skip


def _momentum(id: str, points: list[Point]) -> list[Claim]:
    """ζ = (1 − β)/√(2η(1 + β)K) falls with β: does c?"""
    expected = _expected_change(points)
    wrong = "/published" * (expected > 0)
    return [
        Claim.equality(
            f"{id}/change of the exponent", source("Eq. 13; exact discrete law"), "change of c over the sweep",
            **_change(points), expected=expected, resolution=0.2,
        ),
        Claim.bound(
            f"{id}/exponent falls as the damping ratio{wrong}", SECTION,
            "momentum influences c as it does the damping ratio, which it reduces: change of c over the sweep",
            **_change(points), expected=0.0, side="at most",
        ),
    ]  # fmt: skip


def _batch_size(id: str, points: list[Point], default: Point) -> list[Claim]:
    """From its own stationary law c does not depend on S, but for E C(θ); single runs scatter by more."""
    change, scatter = _expected_change(points), min(p.scatter for p in points)
    spread = np.ptp([p.expected_exponent for p in points])
    degrees = int(default.exponent.degrees_of_freedom)
    c, error = (np.array([float(getattr(p.exponent, k)) for p in (points[0], default, points[-1])])
                for k in ("value", "standard_error"))  # fmt: skip
    bend, weights = c[1] - (c[0] + c[2]) / 2, np.array([0.5, 1.0, 0.5])
    return [
        Claim.equality(
            f"{id}/no influence on the exponent", source("Eq. 13; exact discrete law"),
            f"each from its own stationary law: change of c over the sweep, up to {change:+.3f} from E C(θ)",
            **_change(points), expected=0.0, resolution=0.1, tolerance=abs(change),
        ),
        Claim.equality(
            f"{id}/no bend either", source("Eq. 13; exact discrete law"),
            "c at the default S is the mean of those at the ends: the paper's non-monotonic influence is not seen",
            bend, float(np.linalg.norm(weights * error)), 0.0, resolution=0.1, tolerance=float(spread),
            degrees_of_freedom=degrees, note="nothing is printed on its size, so that it cannot be called wrong",
        ),
        Claim.bound(
            f"{id}/scatter of single runs", SECTION,
            f"c of a single run, as the paper's points are, scatters by more than the sweep changes it ({spread:.3f})",
            scatter, scatter / np.sqrt(2 * degrees), float(spread), side="at least", degrees_of_freedom=degrees,
        ),
    ]  # fmt: skip


def _resumed(id: str, points: list[Point], default: Point) -> list[Claim]:
    """As in the paper, from where training at the default has ended: |Δ|² is not ∝ 1/S."""
    last = points[-1]
    S, before = last.resumed.batch_size, default.resumed.batch_size
    found = _quotient(last.last, default.last)
    expected, scaled = last.expected_last / default.expected_last, before / S
    return [
        Claim.equality(
            f"{id}/distance", source("Eq. 13; exact discrete law"),
            f"|Δ|² after all steps, S changed from {before} to {S}: A/{before} + B/{S}, of that without a change",
            **found, expected=expected, resolution=expected / 3,
        ),
        Claim.rejection(
            f"{id}/distance ∝ 1∕S/control", source("Eq. 13"), "not ∝ 1/S, as from the stationary law of the new S",
            **found, expected=expected, rejected=scaled,
        ),
    ]  # fmt: skip
