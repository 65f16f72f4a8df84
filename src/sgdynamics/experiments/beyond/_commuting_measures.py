"""How far Hessian H and gradient noise C of some data are from commuting, and from proportional.

    c² = |HC − CH|² / (4 |HC|²)                            0 where they commute, at most 1
    sin² = 1 − (C·H)²/(|C|² |H|²)                          0 where C = σ² H: of the angle between the matrices
    share of C off the diagonal = 1 − Σ_i C_ii² / |C|²     in the eigenbasis of H
    slope of log C_ii over log h_i                         1 where C = σ² H
    scatter = variance of log (C_ii/h_i) over modes        0 where C = σ² H

All but the slope are quadratic in what does not commute or is not proportional, and fluctuations between N samples
add O(1/N) to each. The jackknife over groups of samples gives the error and takes that bias away: of data
whose H and C commute on average, c² is then 0 within errors. The modes are those of all samples throughout: those of
H itself turn by large angles where curvatures are near to each other, which no jackknife can follow.

Regressions are fitted again to what a group leaves over; networks keep their θ*.
"""

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

import sgdynamics as sgd
from sgdynamics._types import Vector
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.statistics import Estimate

Square = Float[np.ndarray, "parameters parameters"]
Matrices = Callable[[int | None], tuple[Square, Square]]
"""(H, C) without that group of samples; None: of all."""

MEASURES = ("commutator", "angle", "share", "slope", "scatter")
NOISELESS = 1e-10  # of the largest C_ii: below it a mode has no noise, and no place on a logarithmic axis
FLAT = 1e-3  # of the largest curvature: below it a mode of a network is held by weight decay


def commutator(H: Square, C: Square) -> float:
    """c²."""
    return float(np.sum((H @ C - C @ H) ** 2) / (4 * np.sum((H @ C) ** 2)))


def angle(H: Square, C: Square) -> float:
    """sin²."""
    return float(1 - np.sum(H * C) ** 2 / (np.sum(H**2) * np.sum(C**2)))


def in_modes(H: Square, C: Square) -> tuple[np.ndarray, np.ndarray, Square]:
    """(h descending, eigenvectors V, VᵀCV)."""
    h, V = np.linalg.eigh(H)
    V = V[:, ::-1]
    return h[::-1], V, V.T @ C @ V


def proportion(h: np.ndarray, c: np.ndarray) -> tuple[float, float]:
    """(slope, scatter)."""
    x, y = np.log(h), np.log(c)
    return float(np.polyfit(x, y, 1)[0]), float(np.var(y - x))


def measures(H: Square, C: Square, V: Float[np.ndarray, "parameters modes"], judged: np.ndarray) -> np.ndarray:
    """The five, in the order of `MEASURES`, in the modes V; slope and scatter of the modes `judged`."""
    C_modes = V.T @ C @ V
    h, c = np.sum(V * (H @ V), axis=0), np.diagonal(C_modes)
    share = 1 - np.sum(c**2) / np.sum(C_modes**2)
    return np.array([commutator(H, C), angle(H, C), share, *proportion(h[judged], c[judged])])


def curved(h: np.ndarray) -> np.ndarray:
    """Modes that are not flat."""
    return h > FLAT * h[0]


def noiseless(c: np.ndarray) -> np.ndarray:
    """Modes without noise."""
    return c < NOISELESS * np.max(c)


def jackknife(matrices: Matrices, groups: int, modes: int) -> Estimate:
    """The measures, with errors over groups of samples and without their bias of O(1/N); `modes` judged."""
    h, V, C = in_modes(*matrices(None))
    judged = np.flatnonzero(curved(h) & ~noiseless(np.diagonal(C)))[:modes]
    at = lambda g: measures(*matrices(g), V, judged)
    without = np.stack([at(g) for g in range(groups)])
    return over_realisations(groups * at(None) - (groups - 1) * without, "jackknife over samples")


# --- where H and C come from --------------------------------------------------------------------------------


def least_squares(x: np.ndarray, y: np.ndarray) -> tuple[Square, Square]:
    """H and C at the minimum."""
    return noise(x, residuals(x, y))


def of_regression(x: np.ndarray, y: np.ndarray, groups: int) -> Matrices:
    """Fitted to the samples that are left; sample i is in group i mod `groups`, so let their order be random."""
    group = np.arange(len(x)) % groups
    return lambda g: least_squares(x[group != g], y[group != g]) if g is not None else least_squares(x, y)


def of_residuals(x: np.ndarray, r: np.ndarray, groups: int) -> Matrices:
    """Of given residuals, without a fit: one would make them smaller at inputs of large leverage."""
    group = np.arange(len(x)) % groups
    return lambda g: noise(x[group != g], r[group != g]) if g is not None else noise(x, r)


def noise(x: np.ndarray, r: np.ndarray) -> tuple[Square, Square]:
    """H = XᵀX/N and C = Σ r² x xᵀ/N."""
    return x.T @ x / len(x), (x * r[:, None] ** 2).T @ x / len(x)


def residuals(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """At the minimum."""
    return y - x @ np.linalg.lstsq(x.T @ x, x.T @ y, rcond=None)[0]  # of what is left a pixel may be constant


@dataclass(frozen=True)
class Parts:
    """∇²L [groups, parameters, parameters] of each group of samples, and every sample's gradient."""

    hessians: np.ndarray
    gradients: np.ndarray

    def matrices(self, without: int | None) -> tuple[Square, Square]:
        kept = np.arange(len(self.hessians)) != (-1 if without is None else without)
        g = self.gradients[kept].reshape(-1, self.gradients.shape[-1])
        g = g - g.mean(axis=0)
        return self.hessians[kept].mean(axis=0), g.T @ g / len(g)


def of_network(problem: sgd.Problem, θ: Vector, groups: int, order: np.ndarray) -> Parts:
    """At θ*, without weight decay; of as many samples as fill equal groups."""
    size = len(order) // groups
    members = order[: size * groups].reshape(groups, size)
    gradients, hessian = eqx.filter_jit(_gradients), eqx.filter_jit(_hessian)
    data = problem.data
    pieces = [sgd.data.Dataset(data.x[m], data.y[m]) for m in members]
    at = lambda function: np.stack([np.asarray(function(problem, θ, d)) for d in pieces])
    return Parts(at(hessian), at(gradients))


def _gradients(problem: sgd.Problem, θ: jax.Array, data: sgd.data.Dataset) -> jax.Array:
    return problem.example_gradients(θ, data)


def _hessian(problem: sgd.Problem, θ: jax.Array, data: sgd.data.Dataset) -> jax.Array:
    H = problem.hessian(θ, data)
    return (H + jnp.swapaxes(H, 0, 1)) / 2
