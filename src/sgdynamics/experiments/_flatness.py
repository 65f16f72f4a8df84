"""How the loss and the variance along directions go together (Feng and Tu 2021; Gross et al. 2024, Sec. III C 3).

    Var_k = v_kᵀ M v_k,   κ_k = v_kᵀ H v_k,   F ∝ κ^{−½},      Var ∝ F^{−ψ}:   ψ = 2 d ln Var / d ln κ

by least squares over modes: errors of Var_k do not bias it, as they would with Var_k on the other axis. What is not
linear in an estimate takes its error from the jackknife over groups of replicas.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.statistics import Estimate


def along(directions: Float[Any, "components modes"], matrix: Float[Any, "components components"]) -> np.ndarray:
    """vᵀ M v of each column [modes]."""
    V = np.asarray(directions)
    return np.einsum("ik,ij,jk->k", V, np.asarray(matrix), V, optimize=True)


def exponent(variances: Float[Any, " modes"], curvatures: Float[Any, " modes"]) -> float:
    """ψ = 2 d ln Var / d ln κ."""
    return 2 * _slope(np.log(curvatures), np.log(variances))


def steepness(variances: Float[Any, " modes"], curvatures: Float[Any, " modes"]) -> float:
    """d ln κ / d ln Var: 0 where the loss is equally steep in directions that fluctuate unequally."""
    return _slope(np.log(variances), np.log(curvatures))


def mapped(estimate: Estimate, function: Callable[[np.ndarray], Any], quantity: str = "mean") -> Estimate:
    """`estimate.map(function)` by NumPy, with nothing to compile, for groups of one size and any `function` of arrays.

    The jackknife over G groups: pseudo-values G f(v) − (G − 1) f(v without the group).
    """
    groups = np.asarray(estimate.groups)
    G, value = len(groups), groups.mean(axis=0)
    without = np.stack([function((G * value - group) / (G - 1)) for group in groups])
    return over_realisations(G * np.asarray(function(value)) - (G - 1) * without, quantity)


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    δ = x - np.mean(x)
    return float(np.sum(δ * y) / np.sum(δ**2))
