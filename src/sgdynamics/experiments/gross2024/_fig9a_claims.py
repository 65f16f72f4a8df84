"""What Fig. 9(a) claims: the law of M₂₂, the forms of (3.37) along a_k, and ψ on both routes and over data sets."""

import numpy as np

from sgdynamics.experiments._between import between
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._flatness import exponent, mapped
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.gross2024._fig9a_case import Case, Exponents
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Estimate

PSI = 2.0  # of the paper
RESOLUTION = 0.15  # of ψ measured: where linear response is nearer to 2, the measurement cannot test ψ = 2
OF_MEANS = 0.1  # resolution of means over data sets
SOFT, STIFF = 0.25, 0.5  # D₁/D₂ below which the premise of the second form holds, and above which it does not
FEWEST = 6  # modes for a fit over a part of the spectrum
FENG_TU = 4.0  # ψ of Feng and Tu (2021), cross-entropy


def claims(case: Case, others: Exponents) -> list[Claim]:
    """Of one number of samples."""
    P = f"P = {case.problem.samples}"
    return [
        *_covariance(case, P), *_losses(case, P), *_singular(case, P), *_parts(case, P), *_principal(case, others, P),
        *_data_sets(others, P),
    ]  # fmt: skip


def _covariance(case: Case, P: str) -> list[Claim]:
    """Linear response holds; (3.36) and equal variances do not."""
    values, vectors = np.linalg.eigh(case.response)
    ratio = mapped(case.covariance, lambda M: np.mean(np.sum((M @ vectors) * vectors, axis=0) / values))
    claims = [
        Claim.equality(
            f"{P}/variances", source("Eq. 3.34, with the noise of the data set"),
            "M₂₂ along the modes of linear response over its prediction, mean over modes (tolerance: drift of D₂)",
            **evidence(ratio), expected=1.0, resolution=0.04, tolerance=case.drifted,
        )
    ]  # fmt: skip
    unit = case.problem.unit
    for name, wrong in (("(3.36)", case.strengths * unit), ("isotropic", np.full(len(values), unit))):
        position = between(case.covariance, wrong=np.diag(wrong), right=case.response)
        claims.append(
            Claim.rejection(
                f"{P}/{name}/control", source("Eq. 3.36 and text after Eq. 3.34"),
                f"M₂₂ is not the {name} law: on the line from that (0) to linear response (1)",
                **evidence(position), expected=1.0, rejected=0.0,
            )
        )  # fmt: skip
    return claims


def _losses(case: Case, P: str) -> list[Claim]:
    """(3.37) along a_k, where it is derived: the first form and the exact relation hold, the second form does not."""
    route, stiffness, unit = case.singular, case.stiffness, case.problem.unit
    k = route.curvatures
    first = over_realisations(k / (stiffness * case.strengths))
    exact, second = (lambda v: (v / unit * (1 + stiffness / k)).mean()), (lambda v: (v / unit * (stiffness / k)).mean())
    white = 1 / (1 + case.strengths)  # (3.34) in the second form
    finite = {f: abs(float(f(route.response)) - value) for f, value in ((exact, 1.0), (second, white.mean()))}
    return [
        Claim.equality(
            f"{P}/first form", source("Eq. 3.37, first form"),
            "δL along a_k over (σ_x²/2) θ² D₁, mean over modes (error: their scatter, inputs not being white)",
            **evidence(first), expected=1.0, resolution=0.1,
        ),
        Claim.equality(
            f"{P}/exact relation", source("in place of Eq. 3.37, second form"),
            "m (1 + σ_x² D₂ θ²/2δL) along a_k, where it is derived, mean over modes (tolerance: drift of D₂; noise not "
            "Wick's, by linear response)",
            **evidence(mapped(route.variances, exact)), expected=1.0, resolution=0.04,
            tolerance=case.drifted + finite[exact],
        ),
        Claim.equality(
            f"{P}/second form/published", source("Eq. 3.37, second form"),
            "(σ_x²/2) θ² D₂ m over δL along a_k, where it is derived, mean over modes (tolerance as for the exact "
            "relation)",
            **evidence(mapped(route.variances, second)), expected=1.0, resolution=0.1,
            tolerance=case.drifted + finite[second],
        ),
    ]  # fmt: skip


# --- ψ of the measured data set -------------------------------------------------------------------------------


def _singular(case: Case, P: str) -> list[Claim]:
    """Along a_k, over all modes."""
    ψ, expected = case.singular.measured, case.singular.expected
    text = f"ψ along a_k, all modes, D₁/D₂ from {case.strengths.min():.2g} to {case.strengths.max():.2g}"
    return [
        Claim.equality(
            f"{P}/ψ along a_k", source("in place of ψ = 2, Sec. III C 3"),
            f"{text}: linear response (tolerance: drift of D₂)",
            **evidence(ψ), expected=expected, resolution=0.1, tolerance=2 * case.drifted,
        ),
        Claim.rejection(
            f"{P}/ψ = 2 along a_k/control", source("text after Eq. 3.37"), f"{text}: not 2",
            **evidence(ψ), expected=expected, rejected=PSI, tolerance=2 * case.drifted,
        ),
    ]  # fmt: skip


def _parts(case: Case, P: str) -> list[Claim]:
    """Along a_k, where D₁ ≪ D₂ and where not."""
    route, claims = case.singular, []
    soft, stiff = case.strengths < SOFT, case.strengths > STIFF
    fit = lambda part: mapped(route.variances, lambda v: exponent(v[part], route.curvatures[part]))
    if soft.sum() >= FEWEST:
        claims.append(
            Claim.bound(
                f"{P}/ψ where D₁ < {SOFT:g} D₂", source("local exponent 2/(1 + D₁/D₂)"),
                f"ψ = 2 holds along a_k where its premise does, {soft.sum()} modes: at least 2/{1 + SOFT:g}",
                **evidence(fit(soft)), expected=PSI / (1 + SOFT), side="at least",
            )
        )  # fmt: skip
    if stiff.sum() >= FEWEST:
        expected = exponent(route.response[stiff], route.curvatures[stiff])
        claims.append(
            Claim.rejection(
                f"{P}/ψ where D₁ > {STIFF:g} D₂/control", source("local exponent 2/(1 + D₁/D₂)"),
                f"ψ along a_k is not 2 where the premise fails, {stiff.sum()} modes (expected: linear response)",
                **evidence(fit(stiff)), expected=expected, rejected=PSI,
            )
        )  # fmt: skip
    return claims


def _principal(case: Case, others: Exponents, P: str) -> list[Claim]:
    """As the paper measures it, along eigenvectors of a sampled covariance."""
    ψ, expected = case.measured.measured, case.measured.expected
    testable = abs(expected - PSI) > RESOLUTION
    text = "ψ along measured principal directions, all modes"
    near = (
        "Linear response of this data set is closer to the paper's 2 than the resolution: 2 is not tested here. The "
        "noise of this data set brings it there by turning the eigenvectors away from a_k, where ψ is "
        f"{case.singular.expected:.2f}, and not (3.36), which is excluded. Over other data sets linear response has "
        f"{others.principal.mean():.2f} ± {others.principal.std(ddof=1):.2f}, mean and spread."
    )
    claims = [
        Claim.equality(
            f"{P}/ψ along principal directions", source("Fig. 9(a)"),
            f"{text}: linear response of this data set along the same ones (tolerance: drift of D₂)",
            **evidence(ψ), expected=expected, resolution=RESOLUTION, tolerance=2 * case.drifted,
            note="" if testable else near,
        ),
        Claim.rejection(
            f"{P}/ψ of Feng and Tu/control", source("text after Eq. 3.37"), f"{text}: not 4",
            **evidence(ψ), expected=expected, rejected=FENG_TU,
        ),
    ]  # fmt: skip
    published = Claim.equality(
        f"{P}/ψ/published", source("text after Eq. 3.37"),
        f"{text}, the paper's own method: 2 (tolerance: drift of D₂)",
        **evidence(ψ), expected=PSI, resolution=RESOLUTION, tolerance=2 * case.drifted,
    )  # fmt: skip
    return [*claims, published] if testable else claims


# --- ψ over data sets -----------------------------------------------------------------------------------------


def _data_sets(others: Exponents, P: str) -> list[Claim]:
    """Linear response alone: no simulation. Its mean is not 2 on either route, and what raises it is the noise."""
    n = len(others.principal)
    routes = {"a_k": others.singular, "principal directions": others.principal}
    text = f"linear response, mean over {n} data sets"
    closed = over_realisations(others.singular - others.closed)
    turned = over_realisations(others.principal - others.wick)
    return [
        *(_not_2(f"{P}/data sets/ψ along {name} is not 2", f"ψ along {name}, {text}", over_realisations(ψ))
          for name, ψ in routes.items()),
        Claim.equality(
            f"{P}/data sets/closed form along a_k", source("Eqs. 3.34, 3.37 first form"),
            f"ψ along a_k less its fit to m = D₁/(D₁ + D₂), white inputs and Wick's noise; {text}",
            **evidence(closed), expected=0.0, resolution=OF_MEANS,
        ),
        Claim.rejection(
            f"{P}/data sets/noise turns eigenvectors", source("Fig. 9(a)"),
            f"ψ along the eigenvectors of M₂₂, exact noise less Wick's; {text}: not 0",
            **evidence(turned), rejected=0.0, resolution=OF_MEANS,
        ),
    ]  # fmt: skip


def _not_2(id: str, statement: str, ψ: Estimate) -> Claim:
    return Claim.rejection(
        id, source("text after Eq. 3.37"), f"{statement}: not 2",
        **evidence(ψ), rejected=PSI, resolution=OF_MEANS,
    )  # fmt: skip
