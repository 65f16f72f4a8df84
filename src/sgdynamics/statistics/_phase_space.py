"""Phase space along chosen modes: positions and velocities projected on the same directions.

(Vᵀ(θ − origin), Vᵀv): what oscillates where the columns of V are eigenvectors of the Hessian.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._observables import Projection, velocity


class PhaseSpace(eqx.Module):
    """The observable (positions along modes, velocities along modes), [2 · modes], all positions first.

    `directions` [parameters, modes] has one mode per column (one vector [parameters] is one mode);
    `origin` [parameters], 0 unless told, is where positions are counted from. Of it, `Covariance` gives the
    covariance in phase space, `Autocovariance` its correlations in time, `Snapshots` the trajectories,
    `AngularVelocity` the rotation. A `ValueError` where the dynamics has no velocity.
    """

    positions: Projection
    velocities: Projection
    name: str = eqx.field(static=True, default="phase space")

    def __init__(self, directions: Any, origin: Any = None):
        self.positions = Projection(directions, origin)
        self.velocities = Projection(directions)
        self.name = "phase space"

    def __call__(self, state: Any) -> Float[Array, " components"]:
        moving = _At(velocity(state))
        return jnp.concatenate([jnp.atleast_1d(self.positions(state)), jnp.atleast_1d(self.velocities(moving))])


class _At(eqx.Module):
    """A velocity where a projection looks for a position."""

    position: Float[Array, " parameters"]
