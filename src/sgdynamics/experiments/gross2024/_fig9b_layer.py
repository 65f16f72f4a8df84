"""The first layer about the minimum for one output: range and null directions, loss and variances along them."""

from dataclasses import dataclass

import numpy as np

from sgdynamics.experiments._flatness import along, mapped
from sgdynamics.experiments._two_layer import TwoLayer
from sgdynamics.experiments.gross2024._principal import GROUPS, Principal, principal, variances_along
from sgdynamics.statistics import Estimate, SnapshotsEstimate


@dataclass(frozen=True)
class Measured:
    """Of one dynamics: principal directions of δW₁, variances of z₁ = uᵀ δW₁ along linear response's modes, and the
    sum of all variances in null directions."""

    principal: Principal
    range: Estimate
    null: Estimate


def measure(snapshots: SnapshotsEstimate, case: TwoLayer) -> Measured:
    """From positions of δW₁ at snapshots."""
    values = np.asarray(snapshots.values, float)
    inputs, hidden, _ = case.widths
    modes = range_directions(case) @ first_modes(case)[1]
    along_modes = variances_along(values, modes, 2 * GROUPS)
    null = np.linalg.qr(np.concatenate([_output_direction(case)[:, None], np.eye(hidden)], axis=1))[0][:, 1:hidden]
    beyond = variances_along(values, np.kron(null, np.eye(inputs)), 2 * GROUPS)
    return Measured(principal(snapshots, 2 * inputs), along_modes, mapped(beyond, np.sum))


def _output_direction(case: TwoLayer) -> np.ndarray:
    """u = W₂/S₂ [hidden]."""
    second = np.asarray(case.layers[1])[0]
    return second / np.linalg.norm(second)


def range_directions(case: TwoLayer) -> np.ndarray:
    """u bᵀ for the unit vectors b, in columns over δW₁ [hidden · inputs, inputs]."""
    return np.kron(_output_direction(case)[:, None], np.eye(case.widths[0]))


def curvatures(case: TwoLayer, directions: np.ndarray) -> np.ndarray:
    """κ(v) = tr(W₂ v S_xx vᵀ W₂ᵀ) of each column over δW₁ [modes]."""
    inputs, hidden, _ = case.widths
    x = np.asarray(case.data.x)
    moved = np.einsum("h,hik->ik", np.asarray(case.layers[1])[0], directions.reshape(hidden, inputs, -1))
    return along(moved, x.T @ x / len(x))


def first_modes(case: TwoLayer) -> tuple[np.ndarray, np.ndarray]:
    """Variances of M₁₁ of linear response, descending, and eigenvectors b in columns [inputs, inputs]."""
    layer = np.asarray(case.directions)[: case.layers[0].size, : case.widths[0]]
    turn = range_directions(case).T @ layer  # u and the direction of the theory differ by a sign
    M = np.asarray(case.covariance())[: case.widths[0], : case.widths[0]]
    values, vectors = np.linalg.eigh(turn @ M @ turn.T)
    return values[::-1], vectors[:, ::-1]
