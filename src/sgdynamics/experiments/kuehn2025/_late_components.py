"""The finite-size effect: principal components of weights sampled over a few epochs, against the Hessian's own modes.

Of one replica's weights over a window, about the window's mean, Σ̂ = Σ_j s_j q_j q_jᵀ. The weights stay correlated over
τ, up to several epochs: a window holds few independent samples, so that the leading q_j gather what fluctuates by
chance and the last ones what does not, whatever the curvature F_j = q_jᵀ(∇²L + λ)q_j. The slope of ln s over ln F is
far above that of the variances of the same weights along the Hessian's modes, about 1 or less.
"""

from typing import Any, NamedTuple

import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.kuehn2025._late_phase import SILENT, Minimum
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.statistics import Estimate

EMPTY = 1e-9  # of the largest variance: what float32 leaves of components without samples
FLAT = 0.05  # of λ_cross: the softest curvature of the fits


class Window(NamedTuple):
    """Exponents of one window's length, over replicas; and of the first replica F_j, s_j."""

    epochs: int
    components: Estimate
    modes: Estimate
    curvatures: np.ndarray
    variances: np.ndarray


def window(minimum: Minimum, crossover: float, weights: np.ndarray, epochs: int) -> Window:
    """Of `weights` [replicas, samples, parameters] of that many epochs."""
    h = minimum.curvatures
    loud = minimum.noise > SILENT * minimum.noise.max()
    pairs, own = [], []
    for θ in weights:
        x = θ - θ.mean(axis=0)
        F, s = components(minimum, x)
        pairs.append((F, s))
        along = np.mean((x @ minimum.vectors) ** 2, axis=0)
        own.append(slope(h[loud], along[loud], crossover))
    found = [slope(F, s, crossover) for F, s in pairs]
    return Window(epochs, over_realisations(found), over_realisations(own), *pairs[0])


def components(minimum: Minimum, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F_j and s_j of the principal components of centred samples [samples, parameters]."""
    _, root, q = np.linalg.svd(x, full_matrices=False)
    s = root**2 / len(x)
    kept = s > EMPTY * s[0]
    return (q[kept] @ minimum.vectors) ** 2 @ minimum.curvatures, s[kept]


def slope(curvatures: np.ndarray, variances: np.ndarray, crossover: float) -> float:
    """d ln s/d ln λ below the crossover, least squares."""
    fitted = (curvatures < crossover) & (curvatures > FLAT * crossover)
    return float(np.polyfit(np.log(curvatures[fitted]), np.log(variances[fitted]), 1)[0])


def claims(windows: list[Window], expected: float) -> list[Claim]:
    """Σ ∝ H² and steeper by principal components; about the law's exponent in the Hessian's basis, of the same θ."""
    found = []
    for w in windows:
        label = f"components/{w.epochs} epochs"
        options: dict[str, Any] = {**evidence(w.components)}
        found += [
            Claim.bound(
                f"{label}/as steep as H²", source("after Fig. 17"),
                "d ln s/d ln F of principal components is that of Σ ∝ H², or steeper", expected=1.9, side="at least",
                **options,
            ),
            Claim.bound(
                f"{label}/Hessian's basis", source("after Fig. 17"),
                "along the Hessian's modes, same weights: distance of the exponent from the law's, over that of "
                "the principal components", expected=0.15, side="at most",
                **evidence(w.modes.map(lambda own, w=w: abs(own - expected) / (w.components.value - expected))),
            ),
            Claim.rejection(
                f"{label}/control", source("after Fig. 17"),
                "principal components do not measure the law's exponent", expected=2.0, rejected=expected, **options,
            ),
        ]  # fmt: skip
    return found
