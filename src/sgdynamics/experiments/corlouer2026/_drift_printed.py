"""Two formulas of the paper that need no ensemble: the transpose in Prop. 3.1, the lower limit of (16).

With Δ = M − W and matrices stacked column by column, (A ⊗ B) vec X = vec(B X Aᵀ). So J_l = W_<lᵀ ⊗ W_>l, and

    g_l = −J_lᵀ vec Δ = −(W_<l ⊗ W_>lᵀ) vec Δ        is the gradient −W_>lᵀ Δ W_<lᵀ;
    g_l = −(W_<l ⊗ W_>l) vec Δ                       as printed is −W_>l Δ W_<lᵀ, if the shapes fit at all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics._types import PRNGKey
from sgdynamics.experiments._claims import Claim
from sgdynamics.experiments._students import Student
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.networks import DeepLinear
from sgdynamics.theory import deep_linear, fokker_planck

Layers = tuple[jax.Array, ...]
ROUNDING = 1e-9
LIMITS = (1e-2, 1e-3, 1e-4)  # lower limits ε of (16)
PANELS, NODES = 64, 16  # of the quadrature, in ln w: smooth there


def exact_gradient(weights: Layers, Δ: jax.Array) -> list[jax.Array]:
    """−W_>lᵀ Δ W_<lᵀ of each layer."""
    return _layerwise(weights, lambda below, above: -above.T @ Δ @ below.T)


def printed_gradient(weights: Layers, Δ: jax.Array) -> list[jax.Array]:
    """−W_>l Δ W_<lᵀ of each layer, all of them square."""
    return _layerwise(weights, lambda below, above: -above @ Δ @ below.T)


def _layerwise(weights: Layers, function: Callable) -> list[jax.Array]:
    below = lambda l: reduce(lambda product, W: W @ product, weights[:l], jnp.eye(weights[0].shape[1]))
    above = lambda l: reduce(lambda product, W: W @ product, weights[l + 1 :], jnp.eye(weights[l].shape[0]))
    return [function(below(l), above(l)) for l in range(len(weights))]


def transposed(student: Student, key: PRNGKey) -> list[Claim]:
    """Prop. 3.1 in a network of random weights; all layers of one width, or the printed shapes do not fit."""
    θ = jnp.concatenate([W.reshape(-1) for W in DeepLinear(student.widths, key=key).weights])
    weights, gradient = student.weights(θ), student.problem.gradient(θ)
    Δ = student.teacher.matrix - DeepLinear.of(weights).matrix()
    claims = []
    for id, place, form in (("", ", corrected", exact_gradient), ("/published", "", printed_gradient)):
        flat = jnp.concatenate([G.reshape(-1) for G in form(weights, Δ)])
        apart = jnp.linalg.norm(flat - gradient) / jnp.linalg.norm(gradient)
        claims.append(
            Claim.equality(
                f"transpose of the Jacobian{id}", source(f"Prop. 3.1{place}"),
                "relative difference of g from the loss's derivative, in a square network of random weights",
                apart, 0.0, 0.0, resolution=ROUNDING, tolerance=ROUNDING,
                note="printed for rectangular layers, the shapes of J_lᵀ and δ do not even fit" if id else "",
            )
        )  # fmt: skip
    return claims


@dataclass(frozen=True)
class Mode:
    """One mode alone, with singular value s, at temperature β."""

    s: float
    depth: int
    temperature: float
    label_noise_std: float

    def drift(self, w: jax.Array) -> jax.Array:
        """μ, of an array of amplitudes."""
        return deep_linear.modewise_drift(w[..., None], jnp.array([self.s]), **self._settings)[..., 0]

    def diffusion(self, w: jax.Array) -> jax.Array:
        """D, of an array of amplitudes."""
        return deep_linear.modewise_diffusion(w[..., None], jnp.array([self.s]), **self._settings)[..., 0]

    def exponent(self, lower: float, upper: float) -> float:
        """∫ 2μ/D from `lower` to `upper`: what (16) exponentiates."""
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        edges = np.linspace(np.log(lower), np.log(upper), PANELS + 1)
        half = np.diff(edges)[:, None] / 2
        w = jnp.asarray(np.exp(edges[:-1, None] + half * (1 + nodes)))
        return float(np.sum(half * weights * np.asarray(2 * w * self.drift(w) / self.diffusion(w))))

    def integrals(self) -> np.ndarray:
        """`exponent` at s/2, from each of `LIMITS`."""
        return np.array([self.exponent(ε, self.s / 2) for ε in LIMITS])

    @property
    def _settings(self) -> dict[str, Any]:
        β, σ = self.temperature, self.label_noise_std
        return {"depth": self.depth, "learning_rate": β, "batch_size": 1, "label_noise_std": σ}


def lower_limit(mode: Mode) -> list[Claim]:
    """(16) with 0 for its lower limit."""
    integral, depth = mode.integrals(), mode.depth
    growth = np.diff(integral)
    words = f"∫ 2μ/D to s/2, from {LIMITS[2]:g} over from {LIMITS[1]:g}, less that over from {LIMITS[0]:g}, as a ratio"
    leading = 10 ** (1 - 2 / depth)
    place = f"L = {depth}/lower limit of (16)"
    return [
        Claim.equality(
            place, source("Eq. 16, corrected"), f"{words}: 10^(1−2/L), as the integrand goes like z^(2/L−2)",
            growth[1] / growth[0], 0.0, leading, resolution=0.02 * leading, tolerance=0.02 * leading,
            note="2 % for terms smaller by powers of z",
        ),
        Claim.bound(
            f"{place}/converges/published", source("Eq. 16"), f"{words}: below 0.9, if 0 is a limit of the integral",
            growth[1] / growth[0], 0.0, 0.9, side="at most",
            note="from 1e-2, 1e-3, 1e-4 the integral is " + ", ".join(f"{value:.0f}" for value in integral),
        ),
    ]  # fmt: skip


def any_lower_limit(mode: Mode) -> Claim:
    """(16) with another."""
    return Claim.equality(
        f"L = {mode.depth}/lower limit of (16)/any other", source("Eq. 16, corrected"),
        f"ln p(w) − ln p(w') by (16) from {LIMITS[-1]:g} on, less that of the stationary density",
        _density_difference(mode), 0.0, 0.0, resolution=1e-6, tolerance=1e-6,
    )  # fmt: skip


def _density_difference(mode: Mode) -> float:
    """Between the two points where p is half its maximum."""
    law = fokker_planck.stationary_density(mode.drift, mode.diffusion, lower=0.0, upper=2 * mode.s)
    above = np.flatnonzero(np.asarray(law.density) > np.max(law.density) / 2)
    a, b = (int(above[i]) for i in (0, -1))
    w = np.asarray(law.points)
    by_16 = np.diff([mode.exponent(LIMITS[-1], w[i]) for i in (a, b)])[0]
    by_16 -= np.diff(np.log(np.asarray(mode.diffusion(jnp.asarray(w[[a, b]])))))[0]
    return by_16 - float(law.log_density[b] - law.log_density[a])
