"""Laws of SGD with momentum in the eigenbasis of the Hessian, over (δ, v), where noise and Hessian do not commute.

    exact         noise that depends on θ, discrete time                                      `predict`
    general       noise of the minimum, discrete time                                         `HarmonicDescent`
    no inertia    M_ij = η C_ij/{(1 − β)(h_i + h_j)}, i ≠ j; else as general
    commuting     M_ii = η C_ii/{2(1 − β) h_i}, all else 0                                    (8), (9), Assumption 3
    printed       η/{2(1 − β)} K⁻¹ C, with what C is: not symmetric
    proportional  η σ²/{2S(1 − β)} 1, σ²/S = tr C/tr H                                        Assumption 5

Of general and no inertia together, modes i and j are coupled by inertia's factor

    s_ij = 1/{1 + η β (h_i − h_j)²/((1 − β)² [(1 + β)(h_i + h_j) − η h_i h_j])}

less: modes that turn at different frequencies forget each other's phase. At a fixed η/(1 − β) this brings momentum to
what Assumption 3 says of Cov θ, although H and C commute no better. For all M that SGD has, C(θ) or not,
E[δ_i v_j − δ_j v_i] = M_ij (h_i − h_j)/(1 − β).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

import sgdynamics as sgd
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments.beyond import _commuting_measures as measures
from sgdynamics.theory.harmonic import HarmonicDescent

Pairs = Float[np.ndarray, "modes modes"]
LAWS = ("exact", "general", "commuting", "printed", "proportional")
WORDS = {
    "exact": "exact",
    "general": "noise of the minimum, general",
    "commuting": "commuting (8), (9)",
    "printed": "K⁻¹Σ as printed, symmetric part",
    "proportional": "Σ = σ²H",
}
_predict = once(sgd.predict)


def inertia(h: np.ndarray, learning_rate: float, momentum: float) -> Pairs:
    """s_ij."""
    η, β = learning_rate, momentum
    sums, products = h[:, None] + h[None, :], h[:, None] * h[None, :]
    ratio = η * β * (h[:, None] - h[None, :]) ** 2 / ((1 - β) ** 2 * ((1 + β) * sums - η * products))
    return 1 / (1 + ratio)


def printed(h: np.ndarray, C: Pairs, learning_rate: float, momentum: float) -> Pairs:
    """η/{2(1 − β)} K⁻¹ C in the eigenbasis of K."""
    return learning_rate / (2 * (1 - momentum)) * C / h[:, None]


@dataclass(frozen=True)
class Case:
    """One regression at one learning rate and momentum: its modes, stiffest first, and its laws."""

    descent: sgd.SGD
    prediction: sgd.Prediction
    h: np.ndarray
    V: np.ndarray
    C: Pairs
    η: float
    β: float

    @cached_property
    def phase(self) -> np.ndarray:
        """Covariance of (δ, v) of the exact law, [2 modes, 2 modes]."""
        W = np.kron(np.eye(2), self.V)
        return W.T @ np.asarray(self.prediction.phase_covariance) @ W

    def law(self, name: str) -> Pairs:
        """Cov θ in the modes, the printed one as it is."""
        d, rate = len(self.h), self.η / (1 - self.β)
        laws = {
            "exact": lambda: self.phase[:d, :d],
            "general": lambda: self._general,
            "no inertia": lambda: self._general + self._without_inertia,
            "commuting": lambda: np.diag(rate / 2 * np.diagonal(self.C) / self.h),
            "printed": lambda: printed(self.h, self.C, self.η, self.β),
            "proportional": lambda: rate / 2 * np.trace(self.C) / np.sum(self.h) * np.eye(d),
        }
        return laws[name]()

    def spectrum(self, name: str) -> np.ndarray:
        """Eigenvalues of its symmetric part, descending."""
        M = self.law(name)
        return np.linalg.eigvalsh((M + M.T) / 2)[::-1]

    @property
    def circulation(self) -> Pairs:
        """E[δ_i v_j − δ_j v_i] of the exact law."""
        return turning(self.phase)

    @cached_property
    def _general(self) -> Pairs:
        law = HarmonicDescent(self.h, self.C, learning_rate=self.η, momentum=self.β)
        return np.asarray(law.stationary_covariance())

    @property
    def _without_inertia(self) -> Pairs:
        """What the coupling of modes would be more."""
        M = self.η * self.C / ((1 - self.β) * (self.h[:, None] + self.h[None, :]))
        return (M - self._general) * (1 - np.eye(len(self.h)))


def turning(phase: Any) -> Any:
    """E[δ_i v_j − δ_j v_i] of a covariance of (δ, v)."""
    d = phase.shape[0] // 2
    return phase[:d, d:] - phase[:d, d:].T


def case(data: sgd.data.Dataset, *, rate: float, momentum: float, batch_size: int) -> Case:
    """At the learning rate η = rate (1 − β)."""
    η, β = rate * (1 - momentum), momentum
    problem = sgd.Problem(sgd.networks.Linear(data.x.shape[1], 1), data)
    descent = sgd.SGD(problem, learning_rate=jnp.asarray(η), sampler=batch_size, momentum=jnp.asarray(β))
    H, Σ = measures.least_squares(np.asarray(data.x), np.asarray(data.y))
    h, V, C = measures.in_modes(H, Σ / batch_size)
    return Case(descent, _predict(descent), h, V, C, η, β)
