"""The finite-size effect: principal components of weights sampled over a window of time, against the Hessian's modes.

Of one replica's weights over a window, about the window's mean, Σ̂ = Σ_j s_j q_j q_jᵀ, each q_j with the curvature
F_j = q_jᵀ(∇²L + λ)q_j. Modes relax within (1 − β)/(ηλ) steps, λ_cross/(3λ) epochs. In a window that is not much longer
the weights are a smooth path: the leading q_j follow its long moves, the last ones the short ones, and ln s falls with
ln F much more steeply than the variances along the Hessian's modes, of the same weights, do. It is so for white noise
as well, whose variances hardly depend on λ. Fewer samples than directions make it worse: a long window needs more.

The law's own paths show it where the truth is known: every Hessian's mode for itself with Gaussian noise of C_ii at
the minimum, and the correlations of its sampling,

    δ' = δ + u',   u' = βu − η (λδ + √C_ii ξ_k),   ⟨ξ_k ξ_l⟩ = −S/(P − S) for k ≠ l in one epoch, 0 in two.

A network's principal components are steeper still; its C does not commute with H.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.kuehn2025._late_phase import SILENT, Minimum, Modes, Setting, frozen_noise, law
from sgdynamics.statistics import Estimate

EMPTY = 1e-9  # of the largest variance: what float32 leaves of components without samples
FLAT = 0.05  # of λ_cross: the softest curvature of the fits

Along = Float[np.ndarray, "replicas samples modes"]


class Window(NamedTuple):
    """Exponents of one window's length, over replicas; and of the first replica F_j, s_j."""

    epochs: int
    components: Estimate
    modes: Estimate
    curvatures: np.ndarray
    variances: np.ndarray


def window(minimum: Minimum, crossover: float, weights: Along, epochs: int) -> Window:
    """Of `weights` along the Hessian's modes, of that many epochs."""
    h, pairs, own = minimum.curvatures, [], []
    for δ in np.asarray(weights, float):
        x = δ - δ.mean(axis=0)
        pairs.append(components(h, x))
        own.append(slope(h[loud(minimum)], np.mean(x**2, axis=0)[loud(minimum)], crossover))
    found = [slope(F, s, crossover) for F, s in pairs]
    return Window(epochs, over_realisations(np.array(found)), over_realisations(np.array(own)), *pairs[0])


def loud(minimum: Minimum) -> np.ndarray:
    """Which modes have noise."""
    return minimum.noise > SILENT * minimum.noise.max()


def components(h: Modes, x: Float[np.ndarray, "samples modes"]) -> tuple[np.ndarray, np.ndarray]:
    """F_j and s_j of the principal components of centred samples along the Hessian's modes."""
    few = len(x) < len(h)
    s, columns = np.linalg.eigh((x @ x.T if few else x.T @ x) / len(x))
    kept = np.flatnonzero(s > EMPTY * s[-1])[::-1]
    q = columns[:, kept].T @ x / np.sqrt(len(x) * s[kept, None]) if few else columns[:, kept].T
    return q**2 @ h, s[kept]


def slope(curvatures: np.ndarray, variances: np.ndarray, crossover: float) -> float:
    """d ln s/d ln λ below the crossover, least squares."""
    fitted = (curvatures < crossover) & (curvatures > FLAT * crossover)
    return float(np.polyfit(np.log(curvatures[fitted]), np.log(variances[fitted]), 1)[0])


def law_slope(minimum: Minimum, setting: Setting, sampling: str) -> float:
    """That of the frozen law's variances along the Hessian's modes."""
    h, C = minimum.curvatures[loud(minimum)], frozen_noise(minimum, setting, sampling)[loud(minimum)]
    return slope(h, law(h, C, setting, sampling)[0], setting.crossover)


def paths(
    minimum: Minimum, setting: Setting, sampling: str, seed: int, *, replicas: int, burn_in: int,
    steps: Sequence[int],
) -> Along:  # fmt: skip
    """The law's own paths from rest at the minimum: δ along every mode at ascending `steps` after the burn-in."""
    draw, M = np.random.default_rng(seed), setting.batches
    η, β = np.float32(setting.learning_rate), np.float32(setting.momentum)
    λ = np.float32(minimum.curvatures)
    size = η * np.sqrt(np.maximum(frozen_noise(minimum, setting, sampling), 0), dtype=np.float32)
    δ = np.zeros((replicas, len(λ)), np.float32)
    u, found, wanted = np.zeros_like(δ), [], set(steps)
    for epoch in range(burn_in + 1 + steps[-1] // M):
        for k, kick in enumerate(size * epoch_noise(draw, setting, sampling, δ.shape)):
            u = β * u - η * λ * δ - kick
            δ = δ + u
            if (epoch - burn_in) * M + k in wanted:
                found.append(δ)
    return np.swapaxes(found, 0, 1)


def epoch_noise(
    draw: np.random.Generator, setting: Setting, sampling: str, shape: tuple[int, ...]
) -> Float[np.ndarray, "batches *shape"]:
    """ξ_k of one epoch, of variance 1: less a = 1 − √(1 − MS/P) of their mean, which is all of it where S divides P."""
    ξ = draw.standard_normal((setting.batches, *shape), dtype=np.float32)
    if sampling == "replacement":
        return ξ
    S, P = setting.batch_size, setting.samples
    a = 1 - np.sqrt(1 - setting.batches * S / P)
    return (ξ - np.float32(a) * ξ.mean(axis=0)) / np.float32(np.sqrt(1 - S / P))
