"""Principal directions of weight fluctuations and the loss along them, measured without circular bias.

    v_k from one half of the replicas,      Var_k = v_kᵀ M v_k from the other half,      δL_k = ½ θ² v_kᵀ H v_k

One half gives the directions in which it happened to fluctuate most; the other half's variances along them are
unbiased. Expectations are taken along the same v_k, so that what is left of sampling error in them is in both.
"""

from dataclasses import dataclass

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


def _deviations(values: np.ndarray, groups: int) -> np.ndarray:
    """From the mean of each group, at each snapshot [snapshots, groups, members, components]."""
    z = values.reshape(values.shape[0], groups, -1, values.shape[2])
    return z - z.mean(axis=2, keepdims=True)
