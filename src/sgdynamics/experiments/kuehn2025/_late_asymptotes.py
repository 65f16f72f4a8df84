"""The slides' asymptotes beside a network of the late phase: how far from them its modes are.

    λ ≫ λ_cross    τ ≈ (1 + β)/(ηλ),  Σ ∝ 1          λ ≪ λ_cross    τ ≈ τ_SGD,  Σ ∝ H          σ_u² ∝ C (∝ H)

are printed as approximate, of C ∝ H, static noise and M (1 − β) ≫ 1, and are so (`kuehn2025/fig16`, `fig21`). Within a
decade of λ_cross none is reached; far below it noise that does not cancel takes over before they are (`_late_noise`).
"""

import jax.numpy as jnp
import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments.kuehn2025._late_claims import LEAST, bands, ratio
from sgdynamics.experiments.kuehn2025._late_study import Study, of_law
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.theory import epochs as theory

NOT_YET = "asymptote not yet reached"

# one program for all bands
_weighted_logarithm = once(lambda estimate, weights: estimate.map(lambda values: jnp.log(values) @ weights))


def exponents(study: Study) -> list[Claim]:
    """d ln σ²/d ln λ of weights above and below the crossover, and of velocities."""
    found = bands(study)
    below = [band for name, band in found.items() if name != "above"]
    claims = _exponents(study, "above", found["above"], 0.0, "Σ ∝ 1") if "above" in found else []
    claims += _exponents(study, "below", np.concatenate(below), 1.0, "Σ ∝ H") if below else []
    velocities = _weighted_logarithm(
        study.of["epochs"].measured.velocities, exponent(study.curvatures, np.arange(len(study.modes)))
    )
    distance = evidence(velocities) | {"measured": abs(float(velocities.value) - 1)}
    claims.append(
        Claim.bound(
            "epochs/velocities follow the Hessian", source("after Eq. 20"),
            "σ_u² ∝ H, approximately: |d ln σ_u²/d ln λ − 1| over all modes watched is at most 0.15",
            **distance, expected=0.15, side="at most",
        )
    )  # fmt: skip
    return claims


def _exponents(study: Study, name: str, band: np.ndarray, asymptotic: float, words: str) -> list[Claim]:
    sampled, weights = study.of["epochs"], exponent(study.curvatures, band)
    found = evidence(_weighted_logarithm(sampled.measured.weights, weights))
    expected = float(np.log(sampled.full[0]) @ weights)
    tolerance = float(np.mean(sampled.tolerance[band]))
    statement = f"d ln σ_θ²/d ln λ over the modes {name} the crossover"
    return [
        Claim.equality(
            f"epochs/{name}/exponent of weights", source("Fig. 17"),
            f"{statement} is the law's; 0.1 can be seen, {tolerance:.2g} is what the law leaves out",
            expected=expected, resolution=0.1, tolerance=tolerance, **found,
        ),
        Claim.rejection(
            f"epochs/{name}/{words}, {NOT_YET}", source("after Eq. 20"),
            f"{statement} is not yet the asymptote's {asymptotic:g}, {where(study, band)}",
            expected=expected, rejected=asymptotic, **found,
        ),
    ]  # fmt: skip


def exponent(λ: np.ndarray, band: np.ndarray) -> np.ndarray:
    """Weights of ln σ² in the slope of its least squares over ln λ."""
    x, weights = np.log(λ[band]) - np.mean(np.log(λ[band])), np.zeros(len(λ))
    weights[band] = x / np.sum(x**2)
    return weights


def where(study: Study, band: np.ndarray) -> str:
    """How far from their conditions the asymptotes are taken."""
    setting, x = study.setting, study.curvatures[band] / study.setting.crossover
    memories = setting.batches * (1 - setting.momentum)
    return f"at λ/λ_cross = {x.min():.2g} to {x.max():.2g} and M(1 − β) = {memories:.3g}"


def times(study: Study) -> list[Claim]:
    """τ of modes just above the crossover against white noise's, and of the softest against τ_SGD."""
    setting, τ = study.setting, study.of["epochs"].measured.times
    η, β = setting.learning_rate, setting.momentum
    x, full = study.curvatures / setting.crossover, of_law(study.of["epochs"].full, "times")
    flat = float(theory.flat_correlation_time(momentum=β, batches_per_epoch=setting.batches, form="published"))
    cases = {
        "above/τ = (1 + β)/(ηλ)": (np.flatnonzero((x >= 1) & (x < 3)), (1 + β) / (η * study.curvatures)),
        f"{list(bands(study))[-1]}/τ = τ_SGD": (list(bands(study).values())[-1], np.full(len(x), flat)),
    }
    return [
        Claim.rejection(
            f"epochs/{name}, {NOT_YET}", source("after Eq. 18"),
            f"measured τ over the asymptote's is not yet 1, {where(study, band)}",
            **evidence(ratio(τ, asymptotic, band)), expected=np.mean((full / asymptotic)[band]), rejected=1.0,
        )
        for name, (band, asymptotic) in cases.items() if len(band) >= LEAST
    ]  # fmt: skip


def hessian_noise(study: Study) -> list[Claim]:
    """C ∝ H, of the modes watched and of the softest ones: exact evaluations at θ*."""
    slope = float(np.log(study.noise) @ exponent(study.curvatures, np.arange(len(study.modes))))
    share = _softest_over_stiffest(study.minimum.curvatures, study.minimum.noise)
    return [
        Claim.bound(
            "noise/C follows the Hessian", source("Hessian noise approximation"),
            "C ∝ H, approximately: |d ln C_ii/d ln λ − 1| over all modes watched is at most 0.15",
            abs(slope - 1), 0.0, 0.15, side="at most",
        ),
        Claim.rejection(
            "noise/C ∝ H in all modes/control", source("Hessian noise approximation"),
            "not closer than within 0.1 in all modes: median of C_ii/λ_i over the softest quarter of all modes with "
            "noise, over that of the stiffest",
            share, 0.0, rejected=1.0, tolerance=0.1, resolution=0.1,
        ),
    ]  # fmt: skip


def _softest_over_stiffest(h: np.ndarray, noise: np.ndarray) -> float:
    loud = noise > 1e-9 * noise.max()
    c, quarter = (noise / np.maximum(h, 1e-12))[loud], np.count_nonzero(loud) // 4
    return float(np.median(c[-quarter:]) / np.median(c[:quarter]))
