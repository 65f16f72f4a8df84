"""What the ensembles of the late phase decide, in bands of λ/λ_cross.

Measured over expected, averaged over the modes of a band; its error has those of E C_ii(θ) and of the curvature in it.
The tolerance is what the law leaves out (`Sampled`).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments.kuehn2025._late_study import WORDS, Sampled, Study, of_law
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.statistics import Estimate
from sgdynamics.theory import epochs as theory

BANDS = {"above": (1.0, np.inf), "at": (0.3, 1.0), "below": (0.1, 0.3), "far below": (0.0, 0.1)}
LEAST = 3  # modes in a band
PLACE = {"weights": "Eqs. 14-17, Fig. 17", "velocities": "Eqs. 14-17, Fig. 17", "times": "Eq. 18, Fig. 18"}
WITHIN = {"weights": 0.15, "velocities": 0.05, "times": 0.15}  # resolution of ratios
REPLACED = {"weights": 0.4, "velocities": 0.05, "times": 0.4}  # of the slow ones with replacement, few relaxations


def bands(study: Study) -> dict[str, np.ndarray]:
    """Modes of each band that has enough."""
    x = study.curvatures / study.setting.crossover
    found = {name: np.flatnonzero((x >= low) & (x < high)) for name, (low, high) in BANDS.items()}
    return {name: modes for name, modes in found.items() if len(modes) >= LEAST}


def agreement(study: Study, quantities: tuple[str, ...]) -> list[Claim]:
    """The law with E C(θ), E λ and W, of every quantity, band and sampling."""
    claims = []
    for quantity in quantities:
        for sampling, sampled in study.of.items():
            resolution = (WITHIN if sampling == "epochs" else REPLACED)[quantity]
            for name, band in bands(study).items():
                claims.append(
                    Claim.equality(
                        f"{WORDS[sampling]}/{name}/{quantity}", source(PLACE[quantity]),
                        "measured over expected, with the noise and curvature of the ensemble"
                        + " and the noise that does not cancel" * (sampling == "epochs"),
                        **compared(study, sampling, sampled, quantity, band), expected=1.0, resolution=resolution,
                        tolerance=np.mean(sampled.tolerance[band]),
                    )
                )  # fmt: skip
    return claims


def compared(study: Study, sampling: str, sampled: Sampled, quantity: str, band: np.ndarray) -> dict[str, Any]:
    """Average of measured over the full law, with all errors."""
    found = evidence(ratio(getattr(sampled.measured, quantity), of_law(sampled.full, quantity), band))
    noise = ratio(sampled.measured.noise, np.asarray(sampled.measured.noise.value), band)
    curvature = ratio(sampled.measured.curvatures, np.asarray(sampled.measured.curvatures.value), band)
    # of τ the noise drops out; of σ_u² the curvature does
    parts = [found["standard_error"]]
    parts += [noise.standard_error] * (quantity != "times") + [curvature.standard_error] * (quantity != "velocities")
    return found | {"standard_error": float(np.sqrt(sum(float(part) ** 2 for part in parts)))}


def ratio(measured: Estimate, expected: np.ndarray, band: np.ndarray) -> Estimate:
    """Average over the band of measured over expected."""
    weights = np.zeros(len(expected))
    weights[band] = 1 / (len(band) * expected[band])
    return _weighted(measured, weights)


# each is one program for all bands
_weighted = once(lambda estimate, weights: estimate.map(lambda values: values @ weights))
_weighted_logarithm = once(lambda estimate, weights: estimate.map(lambda values: jnp.log(values) @ weights))


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


def exponents(study: Study) -> list[Claim]:
    """d ln σ²/d ln λ of weights above and below the crossover, and of velocities."""
    sampled, λ = study.of["epochs"], study.curvatures
    found = bands(study)
    below = [band for name, band in found.items() if name != "above"]
    ranges = {"above": (found["above"], 0.0, "Σ(>) ∝ 1")} if "above" in found else {}
    ranges |= {"below": (np.concatenate(below), 1.0, "Σ(<) ∝ H")} if below else {}
    claims = []
    for name, (band, printed, words) in ranges.items():
        slope = _weighted_logarithm(sampled.measured.weights, exponent(λ, band))
        expected = float(np.log(sampled.full[0]) @ exponent(λ, band))
        statement = f"d ln σ_θ²/d ln λ over the modes {name} the crossover"
        options: dict[str, Any] = {**evidence(slope), "resolution": 0.1}
        claims += [
            Claim.equality(
                f"epochs/{name}/exponent of weights", source("Fig. 17"), statement, expected=expected,
                published=printed, tolerance=np.mean(sampled.tolerance[band]), **options,
            ),
            Claim.equality(
                f"epochs/{name}/{words}/published", source("after Eq. 20"), f"{statement}: {words}", expected=printed,
                **options,
            ),
        ]  # fmt: skip
    velocities = _weighted_logarithm(sampled.measured.velocities, exponent(λ, np.arange(len(λ))))
    claims.append(
        Claim.bound(
            "epochs/velocities follow the Hessian", source("after Eq. 20"),
            "σ_u² ∝ H approximately: |d ln σ_u²/d ln λ − 1| over all modes watched",
            **evidence(velocities) | {"measured": abs(float(velocities.value) - 1)},
            expected=0.15, side="at most",
        )
    )  # fmt: skip
    return claims


def exponent(λ: np.ndarray, band: np.ndarray) -> np.ndarray:
    """Weights of ln σ² in the slope of its least squares over ln λ."""
    x, weights = np.log(λ[band]) - np.mean(np.log(λ[band])), np.zeros(len(λ))
    weights[band] = x / np.sum(x**2)
    return weights


def asymptotes(study: Study) -> list[Claim]:
    """τ of modes just above the crossover against white noise's, and far below against τ_SGD."""
    setting, τ = study.setting, study.of["epochs"].measured.times
    η, β = setting.learning_rate, setting.momentum
    x, full = study.curvatures / setting.crossover, of_law(study.of["epochs"].full, "times")
    flat = float(theory.flat_correlation_time(momentum=β, batches_per_epoch=setting.batches, form="published"))
    above, softest = np.flatnonzero((x >= 1) & (x < 3)), list(bands(study).values())[-1]
    cases = {
        "above/τ = (1 + β)/(ηλ)": (above, (1 + β) / (η * study.curvatures), "1 to 3 λ_cross"),
        "far below/τ = τ_SGD": (softest, np.full(len(x), flat), "the softest modes"),
    }
    claims = []
    for name, (band, printed, words) in cases.items():
        if len(band) >= LEAST:
            expected = float(np.mean((full / printed)[band]))
            claims.append(
                Claim.equality(
                    f"epochs/{name}/published", source("after Eq. 18"), f"measured τ over the asymptote, {words}",
                    **evidence(ratio(τ, printed, band)), expected=1.0, resolution=0.5 * abs(expected - 1),
                    note=f"The law says {expected:.3g}.",
                )
            )  # fmt: skip
    return claims


def hessian_noise(study: Study) -> list[Claim]:
    """C ∝ H, of the modes watched and of the softest ones: exact evaluations at θ*."""
    λ, C = study.curvatures, study.noise
    slope = float(np.log(C) @ exponent(λ, np.arange(len(λ))))
    h, noise = study.minimum.curvatures, study.minimum.noise
    loud = noise > 1e-9 * noise.max()
    c = (noise / np.maximum(h, 1e-12))[loud]
    share = float(np.median(c[-len(c) // 4 :]) / np.median(c[: len(c) // 4]))
    return [
        Claim.bound(
            "noise/C follows the Hessian", source("Hessian noise approximation"),
            "C ∝ H approximately: |d ln C_ii/d ln λ − 1| over all modes watched",
            abs(slope - 1), 0.0, 0.15, side="at most",
        ),
        Claim.equality(
            "noise/C ∝ H in all modes/published", source("Hessian noise approximation"),
            "median of C_ii/λ_i over the softest quarter of all modes with noise, over that of the stiffest",
            share, 0.0, 1.0, resolution=0.1, tolerance=0.1,
        ),
    ]  # fmt: skip
