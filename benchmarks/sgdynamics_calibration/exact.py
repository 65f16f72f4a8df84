"""Laws that the library does not know, by other means than its own.

first passage, extremes   of x_{k+1} = a x_k + √(1 − a²) ξ, started from its law N(0, 1): with f_0 the normal density
                          and f_{k+1}(y) = ∫_{−∞}^u f_k(x) φ(y; a x, 1 − a²) dx, P(x_0 < u, …, x_k < u) = ∫_{−∞}^u f_k
spectrum                  by the definition, Σ_{nm} w_n w_m R(n − m) cos(ω (n − m)) / Σ w²
rotation                  the angle from E w·w' and E w∧w', with w = Σ^{−½} z by the symmetric root
"""

from functools import cache

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy import signal

FAR = 9.0  # standard deviations, beyond which nothing is counted
NODES = 120


def survival(decay: float, level: float, steps: int) -> np.ndarray:
    """P(x_0 < u, …, x_k < u) for k = 0 … steps, [steps + 1]; `level` u in standard deviations."""
    nodes, weights = _nodes(NODES)
    half = (level + FAR) / 2
    x, w = half * (nodes + 1) - FAR, half * weights
    variance = 1 - decay**2
    kernel = _normal(x[:, None] - decay * x[None, :], variance) * w[None, :]
    density, shares = _normal(x, 1.0), []
    for _ in range(steps + 1):
        shares.append(w @ density)
        density = kernel @ density
    return np.array(shares)


@cache
def _nodes(count: int) -> tuple[np.ndarray, np.ndarray]:
    return leggauss(count)


def _normal(x: np.ndarray, variance: float) -> np.ndarray:
    return np.exp(-(x**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def first_passage(decay: float, level: float, steps: int) -> tuple[float, float]:
    """(the share that reaches `level` within `steps`, their mean time in steps)."""
    below = survival(decay, level, steps)
    at = np.concatenate([[1 - below[0]], -np.diff(below)])
    return float(at.sum()), float(np.arange(steps + 1) @ at / at.sum())


def mean_maximum(decay: float, steps: int) -> float:
    """E max(x_0, …, x_steps), in standard deviations: ∫_0^∞ (1 − F) − ∫_{−∞}^0 F over levels."""
    nodes, weights = _nodes(60)
    positive, w = FAR / 2 * (nodes + 1), FAR / 2 * weights
    reached = lambda u: survival(decay, u, steps)[-1]
    return float(sum(w_i * (1 - reached(u) - reached(-u)) for u, w_i in zip(positive, w, strict=True)))


def spectrum(autocovariance: np.ndarray) -> np.ndarray:
    """[segment // 2 + 1, components], of autocovariances [segment, components] at lags 0, 1, …, with Hann's window."""
    segment = len(autocovariance)
    w = np.asarray(signal.get_window("hann", segment))
    n = np.arange(segment)
    apart = n[:, None] - n[None, :]
    pairs = np.outer(w, w)[:, :, None] * autocovariance[np.abs(apart)]
    lines = 2 * np.pi * np.arange(segment // 2 + 1) / segment
    return np.stack([np.sum(pairs * np.cos(ω * apart)[..., None], axis=(0, 1)) for ω in lines]) / np.sum(w**2)


def rotation(covariance: np.ndarray, lagged: np.ndarray) -> float:
    """The angle of one plane, from E z zᵀ and E z' zᵀ [2, 2]."""
    λ, U = np.linalg.eigh(covariance)
    root = U @ np.diag(λ**-0.5) @ U.T
    turned = root @ lagged @ root
    return float(np.arctan2(turned[1, 0] - turned[0, 1], np.trace(turned)))
