"""The minimum of |X w − y|²/(2P) + λ|w|²/2, in every regime, with derivatives."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.jit
def least_squares(
    x: Float[Array, "samples inputs"], y: Float[Array, "samples *outputs"], weight_decay: Float[Array, ""]
) -> Float[Array, "inputs *outputs"]:
    """μ = w* − λ (H + λ + sΠ)⁻¹ w*, w* = X⁺ y of minimum norm, Π the projector onto the null space of H.

    Equal to (H + λ)⁻¹ Xᵀ y / P, but accurate and differentiable also at λ = 0 with a singular H, as long as
    the rank of X does not change.
    """
    inverse = jnp.linalg.pinv(x)
    minimum = inverse @ y
    one = jnp.eye(x.shape[1], dtype=x.dtype)
    hessian = x.T @ x / len(x)
    trace = jax.lax.stop_gradient(jnp.trace(hessian))
    scale = jnp.where(trace > 0, trace, 1)
    regular = hessian + weight_decay * one + scale * (one - inverse @ x)
    return minimum - weight_decay * jnp.linalg.solve(regular, minimum)
