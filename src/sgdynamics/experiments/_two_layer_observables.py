"""What is looked at in a two-layer network whose weights drift along its minima."""

import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.statistics import Estimate, SnapshotsEstimate


def local_covariance(snapshots: SnapshotsEstimate, groups: int = 32) -> Estimate:
    """Covariance over replicas about their mean at each snapshot, averaged over snapshots [components, components].

    Unbiased in every group of replicas, about the group's own mean, so that the groups' scatter is the error.
    **Raises** `ValueError` where a replica died or groups are not of one size.
    """
    z = np.asarray(snapshots.values, float)
    _checks.require("groups", groups, z.shape[1] % groups == 0, allowed=f"a divisor of the {z.shape[1]} replicas")
    _checks.finite("snapshots", z)
    z = z.reshape(z.shape[0], groups, -1, z.shape[2])
    δ = z - z.mean(axis=2, keepdims=True)
    members = z.shape[2] - 1
    return over_realisations(np.einsum("tgri,tgrj->gij", δ, δ, optimize=True) / (members * len(z)), "covariance")
