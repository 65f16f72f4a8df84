"""The loss that fluctuations cost: L(θ) = ½ θᵀHθ has the mean ½ Σ_i h_i σ_i² (slides before Fig. 24).

Anti-correlated noise lowers it in the modes below h_cross. By how much in all is a property of the spectrum.
"""

import jax.numpy as jnp
from jaxtyping import ArrayLike, Real

from sgdynamics import _checks
from sgdynamics._types import Scalar
from sgdynamics.theory import _arguments


def excess_loss(curvature: Real[ArrayLike, "*modes"], weight_variance: Real[ArrayLike, "..."]) -> Scalar:
    """½ Σ h σ_θ² over all modes, [].

    **Raises** `ValueError` for negative curvatures or variances, and shapes that do not match.
    """
    h = _arguments.curvature(curvature)
    σ2 = _checks.shaped("weight_variance", _arguments.variance(weight_variance, "weight_variance"), h.shape)
    return jnp.sum(h * σ2) / 2
