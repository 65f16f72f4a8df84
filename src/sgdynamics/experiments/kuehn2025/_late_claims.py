"""What the ensembles of the late phase decide, in bands of λ/λ_cross.

Measured over expected, averaged over the modes of a band. Its error has four parts, taken to be independent, with
Welch's degrees of freedom: the ensemble's, and as far as the law depends on them those of C_ii(θ), of the curvature and
of W over its draws. The tolerance is what the law leaves out (`Sampled`), averaged over the band.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments.kuehn2025._late_study import WORDS, Sampled, Study, of_law
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.statistics import Estimate

BANDS = {"above": (1.0, np.inf), "at": (0.3, 1.0), "below": (0.1, 0.3), "far below": (0.0, 0.1)}
LEAST = 3  # modes in a band
PLACE = {"weights": "Eqs. 14-17, Fig. 17", "velocities": "Eqs. 14-17, Fig. 17", "times": "Eq. 18, Fig. 18"}
WITHIN = {"weights": 0.15, "velocities": 0.05, "times": 0.15}  # resolution of ratios


def bands(study: Study) -> dict[str, np.ndarray]:
    """Modes of each band that has enough."""
    x = study.curvatures / study.setting.crossover
    found = {name: np.flatnonzero((x >= low) & (x < high)) for name, (low, high) in BANDS.items()}
    return {name: modes for name, modes in found.items() if len(modes) >= LEAST}


def agreement(study: Study, quantities: tuple[str, ...]) -> list[Claim]:
    """The law with E C(θ), E λ and W, of every quantity, band and sampling."""
    return [
        _agrees(study, sampling, quantity, name, band)
        for quantity in quantities for sampling in study.of for name, band in bands(study).items()
    ]  # fmt: skip


def _agrees(study: Study, sampling: str, quantity: str, name: str, band: np.ndarray) -> Claim:
    sampled = study.of[sampling]
    tolerance = float(np.mean(sampled.tolerance[band]))
    return Claim.equality(
        f"{WORDS[sampling]}/{name}/{quantity}", source(PLACE[quantity]),
        "measured over expected, with the noise and curvature of the ensemble"
        + " and the noise that does not cancel" * (sampling == "epochs")
        + f"; {WITHIN[quantity]:.2g} can be seen, {tolerance:.2g} is what the law leaves out at most",
        **compared(study, sampling, sampled, quantity, band), expected=1.0, resolution=WITHIN[quantity],
        tolerance=tolerance,
    )  # fmt: skip


def velocities(study: Study) -> list[Claim]:
    """σ_u² of each sampling over all modes: the noise where the ensemble is, whatever the sampling."""
    everywhere, sampled = np.arange(len(study.modes)), study.of["epochs"]
    noise = "σ_u² ≈ η²C_ii/(1 − β²) measures the noise at the ensemble's weights; it does not tell samplings apart"
    claims = [_agrees(study, sampling, "velocities", "all modes", everywhere) for sampling in study.of]
    return [
        *(replace(claim, note=noise) for claim in claims),
        Claim.rejection(
            "epochs/velocities of the minimum's noise/control", source(PLACE["velocities"]),
            "not the noise of θ*, which the ensemble's weights exceed: measured over the frozen law, all modes",
            **evidence(ratio(sampled.measured.velocities, sampled.frozen[1], everywhere)),
            expected=np.mean(sampled.full[1] / sampled.frozen[1]), rejected=1.0,
        ),
    ]  # fmt: skip


def compared(study: Study, sampling: str, sampled: Sampled, quantity: str, band: np.ndarray) -> dict[str, Any]:
    """Average of measured over the full law, with all errors."""
    measured = sampled.measured
    parts = [ratio(getattr(measured, quantity), of_law(sampled.full, quantity), band)]
    # of τ the noise drops out; of σ_u² the curvature does, and nearly all of W
    if quantity != "times":
        parts.append(ratio(measured.noise, np.asarray(measured.noise.value), band))
    if quantity != "velocities":
        parts.append(ratio(measured.curvatures, np.asarray(measured.curvatures.value), band))
    if sampling == "epochs":
        parts.append(_drawn(sampled, quantity, band))
    return {"measured": parts[0].value} | combined(parts)


def _drawn(sampled: Sampled, quantity: str, band: np.ndarray) -> Estimate:
    """What the draws of W do to the law, in which W is linear: its share of it times their relative error."""
    full, cancelling = (of_law(laws, quantity) for laws in (sampled.full, sampled.cancelling))
    W = np.asarray(sampled.drawn.value)
    return ratio(sampled.drawn, W / (1 - cancelling / full), band)


def combined(parts: list[Estimate]) -> dict[str, float]:
    """√Σ s_i² of independent errors, and Welch's ν = (Σ s_i²)²/Σ (s_i⁴/ν_i)."""
    variances = np.array([float(part.standard_error) ** 2 for part in parts])
    given = np.array([float(part.degrees_of_freedom) for part in parts])
    total = variances.sum()
    return {
        "standard_error": float(np.sqrt(total)),
        "degrees_of_freedom": float(total**2 / np.sum(variances**2 / given)),
    }


def ratio(measured: Estimate, expected: np.ndarray, band: np.ndarray) -> Estimate:
    """Average over the band of measured over expected."""
    weights = np.zeros(len(expected))
    weights[band] = 1 / (len(band) * expected[band])
    return _weighted(measured, weights)


# one program for all bands
_weighted = once(lambda estimate, weights: estimate.map(lambda values: values @ weights))


def controls(study: Study, quantity: str) -> list[Claim]:
    """Below the crossover: not the law with replacement; and not a noise that cancels over an epoch."""
    claims, sampled, found = [], study.of["epochs"], bands(study)
    measured, white = getattr(sampled.measured, quantity), of_law(study.of["replacement"].full, quantity)
    for name in ("at", "below", "far below"):
        if name in found:
            expected = np.mean((of_law(sampled.full, quantity) / white)[found[name]])
            claims.append(
                Claim.rejection(
                    f"epochs/{name}/{quantity} as with replacement/control", source(PLACE[quantity]),
                    "not the law without anti-correlations: measured over it",
                    **evidence(ratio(measured, white, found[name])), expected=expected, rejected=1.0,
                )
            )  # fmt: skip
    softest = list(found)[-1]
    full, cancelling = (of_law(laws, quantity) for laws in (sampled.full, sampled.cancelling))
    claims.append(
        Claim.rejection(
            f"epochs/{softest}/{quantity} of a noise that cancels/control", source("Assumption 2"),
            "not all noise cancels over an epoch: measured over the law in which all of it does",
            **evidence(ratio(measured, cancelling, found[softest])),
            expected=np.mean((full / cancelling)[found[softest]]), rejected=1.0,
        )
    )  # fmt: skip
    return claims
