"""What `beyond/commuting` claims."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics.experiments._between import between
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments.beyond._commuting_laws import Case, turning
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import Estimate

CONTROLS = ("normal", "shuffled")
THIRD, FIFTH = source("Assumption 3"), source("Assumption 5")
COMMUTATOR, ANGLE, SHARE, SLOPE, SCATTER = range(5)
RESOLUTIONS = {COMMUTATOR: 0.01, ANGLE: 0.2, SCATTER: 0.2}
"""What must be seen: |HC − CH| of a tenth of the most it can be, an angle of 27°, C_ii/h_i by a factor of 1.6."""
OF_CONTROLS = 0.1  # of these, for data that have what is claimed
FROZEN, COMMUTING = 0.15, 0.1  # to which laws that leave something out may be said to hold


def of_structures(structures: Mapping[str, Any]) -> list[Claim]:
    """Real data do not have it, controls do."""
    first = next(iter(structures.values()))
    found = []
    for name, structure in structures.items():
        found += _control(name, structure, first) if name in CONTROLS else _real(name, structure)
    return found


def _entry(structure: Any, index: int) -> dict[str, Any]:
    return evidence(structure.measured.map(lambda m: m[index]))


def _real(name: str, s: Any) -> list[Claim]:
    found = [
        Claim.equality(
            f"{name}/commute/published", THIRD, f"{s.words}: HΣ = ΣH, c² = 0 without its bias",
            **_entry(s, COMMUTATOR), expected=0.0, resolution=RESOLUTIONS[COMMUTATOR],
        ),
        Claim.equality(
            f"{name}/proportional/published", FIFTH, f"{s.words}: Σ = σ²H, sin² = 0 without its bias",
            **_entry(s, ANGLE), expected=0.0, resolution=RESOLUTIONS[ANGLE],
        ),
    ]  # fmt: skip
    return found + (_network(name, s) if s.readout else _regression(name, s))


def _regression(name: str, s: Any) -> list[Claim]:
    statement = f"{s.words}: Σ_ii ∝ h_i over the leading modes, as in Assumption 5, though not the matrices (slope)"
    return [
        Claim.equality(f"{name}/slope", FIFTH, statement, **_entry(s, SLOPE), expected=1.0, resolution=0.15),
    ]


def _network(name: str, s: Any) -> list[Claim]:
    statement = f"{s.words}: modes of curvature and no noise, one for each unit that the outputs see and their bias"
    return [
        Claim.equality(
            f"{name}/scatter/published", FIFTH, f"{s.words}: Σ_ii ∝ h_i over the leading modes with noise (scatter)",
            **_entry(s, SCATTER), expected=0.0, resolution=RESOLUTIONS[SCATTER],
        ),
        Claim.equality(f"{name}/noiseless", FIFTH, statement, s.noiseless, 0.0, s.readout, resolution=0.5),
        Claim.equality(
            f"{name}/noiseless/published", FIFTH, f"{s.words}: Σ = σ²H, no curvature without noise",
            s.noiseless, 0.0, 0.0, resolution=0.5,
        ),
    ]  # fmt: skip


def _control(name: str, s: Any, digits: Any) -> list[Claim]:
    control = Claim.rejection(
        f"{name}/commute/control", THIRD, f"{s.words}: not as far from commuting as the digits (c² less theirs)",
        **_above(s, digits, COMMUTATOR, 1.0), rejected=0.0, resolution=RESOLUTIONS[COMMUTATOR],
    )  # fmt: skip
    return [*(_normal(s) if name == "normal" else _shuffled(s, digits)), control]


def _above(s: Any, digits: Any, index: int, share: float) -> dict[str, Any]:
    """What is measured less a share of the digits', whose error counts too; degrees of freedom by Welch."""
    pairs = [(float(m.value[index]), float(m.standard_error[index]), float(m.degrees_of_freedom))
             for m in (s.measured, digits.measured)]  # fmt: skip
    (a, δa, n), (b, δb, m) = pairs
    squares = np.array([δa**2, (share * δb) ** 2])
    freedom = np.sum(squares) ** 2 / np.sum(squares**2 / [n, m])
    return {
        "measured": a - share * b,
        "standard_error": np.sqrt(np.sum(squares)),
        "degrees_of_freedom": freedom,
    }


def _normal(s: Any) -> list[Claim]:
    places = (
        ("commute", COMMUTATOR, THIRD, "HΣ = ΣH on average, c² = 0 without its bias"),
        ("proportional", ANGLE, FIFTH, "Σ = σ²H on average, sin² = 0 without its bias"),
    )
    return [
        Claim.equality(
            f"normal/{name}", place, f"{s.words}: {words}", **_entry(s, index), expected=0.0,
            resolution=OF_CONTROLS * RESOLUTIONS[index],
        )
        for name, index, place, words in places
    ]  # fmt: skip


def _shuffled(s: Any, digits: Any) -> list[Claim]:
    """Bounds: a few images are so long that what the jackknife leaves, O(1/N²), shows."""
    return [
        Claim.bound(
            f"shuffled/{name}", place, f"{s.words}: at most half of the digits' {symbol}, the other half is due to "
            "residuals that depend on inputs (difference)", **_above(s, digits, index, 0.5), expected=0.0,
            side="at most",
        )
        for name, place, symbol, index in (
            ("commute", THIRD, "c²", COMMUTATOR), ("proportional", FIFTH, "sin²", ANGLE),
        )
    ]  # fmt: skip


def of_printed(case: Case) -> list[Claim]:
    """(9) with what Σ is: an exact evaluation."""
    M = case.law("printed")
    exact = case.spectrum("exact")[0]
    skew = np.linalg.norm(M - M.T) / np.linalg.norm(M + M.T)
    lowest = case.spectrum("printed")[-1] / exact
    commuting, general = np.diagonal(case.law("commuting")), np.diagonal(case.law("general"))
    steps = np.max(np.abs(general / commuting * (1 - case.η * case.h / (2 * (1 + case.β))) - 1))
    place = source("Eq. 9")
    return [
        Claim.equality(
            "printed/symmetric/published", place, "Cov θ = η/(2S(1 − β)) K⁻¹Σ is symmetric (skew part over symmetric)",
            skew, 0.0, 0.0, resolution=1e-12,
        ),
        Claim.bound(
            "printed/positive/published", place, "its symmetric part has no negative eigenvalue (in units of the exact "
            "law's largest)", lowest, 0.0, 0.0, side="at least",
        ),
        Claim.bound(
            "printed/variances of modes", place, "its diagonal is the general law's but for discrete time, "
            "1/(1 − ηh/(2(1 + β))), whether H and Σ commute or not (relative difference)", steps, 0.0, 1e-10,
            side="at most",
        ),
    ]  # fmt: skip


def of_run(label: str, case: Case, measured: Estimate) -> list[Claim]:
    """One ensemble against the laws."""
    d = len(case.h)
    position = measured.map(lambda P: P[:d, :d])
    return [
        *_coupling(label, case, measured, position),
        *_variances(label, case, position),
        *_sizes(label, case, position),
        *_turning(label, case, measured),
    ]


def _coupling(label: str, case: Case, measured: Estimate, position: Estimate) -> list[Claim]:
    exact = case.law("exact")
    diagonal = np.diag(np.diagonal(exact))
    on = lambda wrong: evidence(between(position, wrong=wrong, right=exact))
    found = [
        Claim.bound(
            f"{label}/phase space", THIRD, "covariance of (δ, v) is that of the exact law (p-value)",
            sgd.compare(measured, case.phase, level=LEVEL).p_value, 0.0, LEVEL, side="at least",
        ),
        Claim.equality(
            f"{label}/modes coupled", THIRD, "correlations between modes of H: none (0), those of the exact law (1)",
            **on(diagonal), expected=1.0, resolution=0.2,
        ),
        Claim.equality(
            f"{label}/modes coupled/published", THIRD, "modes of H fluctuate independently (0)", **on(diagonal),
            expected=0.0, resolution=0.2,
        ),
        Claim.rejection(
            f"{label}/printed/control", source("Eq. 9"), "not K⁻¹Σ with what Σ is: on the line from its symmetric part "
            "(0) to the exact law (1)", **on(case.law("printed")), expected=1.0, rejected=0.0,
        ),
    ]  # fmt: skip
    if case.β > 0:
        found.append(
            Claim.rejection(
                f"{label}/no inertia/control", THIRD, "not coupled as without inertia (0), less, as by s_ij (1)",
                **on(exact + case.law("no inertia") - case.law("general")), expected=1.0, rejected=0.0,
            )
        )  # fmt: skip
    return found


def _variances(label: str, case: Case, position: Estimate) -> list[Claim]:
    """Where (8), (9) are right although H and Σ do not commute: along modes of H, and so of the trace. They leave out
    discrete time, ηh/(2(1 + β)), and noise that depends on θ, together a few per cent."""
    law = np.diagonal(case.law("commuting"))
    third = len(law) // 3
    parts = {
        "trace": lambda M: jnp.trace(M) / np.sum(law),
        "stiffest third": lambda M: jnp.mean((jnp.diagonal(M) / law)[:third]),
        "softest third": lambda M: jnp.mean((jnp.diagonal(M) / law)[-third:]),
    }
    return [
        Claim.bound(
            f"{label}/commuting law, {name}", source("Eq. 9"), f"variances along modes of H over ηC_ii/(2(1 − β)h_i), "
            f"{name}: 1 to {COMMUTING:.0%} (deviation)", **_deviation(position.map(part)), expected=COMMUTING,
            side="at most",
        )
        for name, part in parts.items()
    ]  # fmt: skip


def _deviation(ratio: Estimate) -> dict[str, Any]:
    """|ratio − 1|, the modulus last: the jackknife would see its kink."""
    found = evidence(ratio)
    return found | {"measured": abs(float(found["measured"]) - 1)}


def _sizes(label: str, case: Case, position: Estimate) -> list[Claim]:
    """tr Cov θ and the variance along the exact law's first component, in units of what they are."""
    u = np.linalg.eigh(case.law("exact"))[1][:, -1]
    parts = {
        "trace": (position.map(jnp.trace), lambda law: np.trace(case.law(law))),
        "first component": (position.map(lambda M: u @ M @ u), lambda law: case.spectrum(law)[0]),
    }
    found = []
    for name, (measured, of) in parts.items():
        exact = of("exact")
        relative = evidence(measured.map(lambda m, exact=exact: m / exact))
        found.append(
            Claim.equality(
                f"{label}/{name}/exact", THIRD, f"{name} of Cov θ in units of the exact law's", **relative,
                expected=1.0, resolution=0.1,
            )
        )  # fmt: skip
        found.append(
            Claim.bound(
                f"{label}/{name}/general", THIRD, f"{name}: relative error of the general law with the noise of the "
                "minimum", abs(of("general") / exact - 1), 0.0, FROZEN, side="at most",
            )
        )  # fmt: skip
        for law, place in (("commuting", THIRD), ("proportional", FIFTH)):
            wrong = of(law) / exact
            if abs(wrong - 1) > 0.2:
                found.append(
                    Claim.equality(
                        f"{label}/{name}/{law}/published", place, f"{name}: that of the law for "
                        + ("HΣ = ΣH" if law == "commuting" else "Σ = σ²H of the same tr Σ"), **relative,
                        expected=wrong, resolution=abs(wrong - 1) / 2,
                    )
                )  # fmt: skip
    return found


def _turning(label: str, case: Case, measured: Estimate) -> list[Claim]:
    """E[δ_i v_j − δ_j v_i], all pairs on the line from none to the exact law's, in units of the modes' scatter."""
    exact, d = case.circulation, len(case.h)
    variances = np.diagonal(case.phase)
    product = np.outer(variances[:d], variances[d:])
    weight = exact / (product + product.T)
    share = evidence(measured.map(lambda P: jnp.sum(weight * turning(P)) / np.sum(weight * exact)))
    place, words = source("Eqs. 8, 9"), "E[δ_i v_j − δ_j v_i]: none (0), the exact law's (1)"
    return [
        Claim.equality(f"{label}/turning", place, words, **share, expected=1.0, resolution=0.2),
        Claim.equality(
            f"{label}/turning/published", place, "Cov(θ, v) = 0, no plane of two positions turns", **share,
            expected=0.0, resolution=0.2,
        ),
    ]  # fmt: skip
