"""Principal directions of weight fluctuations and the loss along them, measured without circular bias.

    v_k from one half of the replicas,      Var_k = v_kᵀ M v_k from the other half,      δL_k = ½ θ² v_kᵀ H v_k

One half gives the directions in which it happened to fluctuate most; the other half's variances along them are
unbiased. Expectations are taken along the same v_k, so that what is left of sampling error in them is in both.

    ψ = 2 d ln Var / d ln δL,      Var ∝ F^{−ψ},  F ∝ δL^{−½}

by least squares over modes: errors of Var_k do not bias it, as they would with Var_k on the other axis.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from sgdynamics import _checks
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.statistics import Estimate, SnapshotsEstimate

GROUPS = 32  # of replicas in a half, between which errors are measured


@dataclass(frozen=True)
class Principal:
    """Directions in columns [components, modes], from half of the replicas, and the other half's variances [modes]."""

    directions: np.ndarray
    variances: Estimate


def principal(snapshots: SnapshotsEstimate, modes: int, groups: int = GROUPS) -> Principal:
    """The leading directions, descending in the variance that they were chosen by."""
    z = np.asarray(snapshots.values, float)
    _checks.finite("snapshots", z)
    half = z.shape[1] // 2
    δ = _deviations(z[:, :half], 1).reshape(-1, z.shape[2])
    vectors = np.linalg.eigh(δ.T @ δ)[1][:, : -modes - 1 : -1]
    return Principal(vectors, variances_along(z[:, half:], vectors, groups))


def variances_along(
    values: Float[np.ndarray, "snapshots replicas components"],
    directions: Float[np.ndarray, "components modes"],
    groups: int = GROUPS,
) -> Estimate:
    """Variance of each component of values · directions [modes], about the mean of a group at each snapshot."""
    _checks.require("groups", groups, values.shape[1] % groups == 0, allowed=f"a divisor of {values.shape[1]} replicas")
    δ = _deviations(values @ directions, groups)
    return over_realisations(np.sum(δ**2, axis=(0, 2)) / (len(δ) * (δ.shape[2] - 1)), "variance")


def along(directions: Float[Any, "components modes"], matrix: Float[Any, "components components"]) -> np.ndarray:
    """vᵀ M v of each column [modes]."""
    V = np.asarray(directions)
    return np.einsum("ik,ij,jk->k", V, np.asarray(matrix), V, optimize=True)


def exponent(variances: Float[Any, " modes"], curvatures: Float[np.ndarray, " modes"]) -> float:
    """ψ = 2 d ln Var / d ln δL by least squares over modes."""
    x = np.log(curvatures) - np.mean(np.log(curvatures))
    return float(2 * np.sum(x * np.log(variances)) / np.sum(x**2))


def mapped(estimate: Estimate, function: Callable[[np.ndarray], Any], quantity: str = "mean") -> Estimate:
    """`estimate.map(function)` by NumPy, with nothing to compile, for groups of one size and any `function` of arrays.

    The jackknife over G groups: pseudo-values G f(v) − (G − 1) f(v without the group).
    """
    groups = np.asarray(estimate.groups)
    G, value = len(groups), groups.mean(axis=0)
    without = np.stack([function((G * value - group) / (G - 1)) for group in groups])
    return over_realisations(G * np.asarray(function(value)) - (G - 1) * without, quantity)


def _deviations(values: np.ndarray, groups: int) -> np.ndarray:
    """From the mean of each group, at each snapshot [snapshots, groups, members, components]."""
    z = values.reshape(values.shape[0], groups, -1, values.shape[2])
    return z - z.mean(axis=2, keepdims=True)
