"""Where a measured covariance lies between two laws: the sharpest linear test of one against the other.

On the line W + c (R − W) from a wrong law W (c = 0) to the right one R (c = 1), least squares in units of the
scatter of a sampled covariance, whose precision is X ↦ R⁻¹ X R⁻¹ for normal samples, give

    c = tr[R⁻¹ (R − W) R⁻¹ (M − W)] / tr[R⁻¹ (R − W) R⁻¹ (R − W)],

linear in the measured M and so without bias, whatever the scatter really is.
"""

import jax.numpy as jnp
from jaxtyping import ArrayLike, Float

from sgdynamics.statistics import Estimate


def between(
    measured: Estimate,
    *,
    wrong: Float[ArrayLike, "parameters parameters"],
    right: Float[ArrayLike, "parameters parameters"],
) -> Estimate:
    """c, []: 0 where `measured` is `wrong`, 1 where it is `right`. Of a printed law that is not symmetric, the
    symmetric part is taken."""
    wrong, right = jnp.asarray(wrong), jnp.asarray(right)
    wrong = (wrong + wrong.T) / 2
    weight = jnp.linalg.solve(right, jnp.linalg.solve(right, right - wrong).T)
    scale = jnp.sum(weight * (right - wrong))
    return measured.map(lambda M: jnp.sum(weight * (M - wrong)) / scale, "between")
