"""The mean square of one step of the stationary state, E|θ_{k+1} − θ_k|² [(12), G.1].

(12) is the SDE's η² tr C/(1 − β²). Exactly, each mode of K = h + λ has it divided by 1 − ηK/(2(1 + β)).
"""

import jax.numpy as jnp
from jaxtyping import ArrayLike, Real

from sgdynamics._types import RealScalar, Scalar
from sgdynamics.theory import _arguments


def speed(
    curvature: Real[ArrayLike, "*modes"],
    noise_variance: Real[ArrayLike, "..."],
    *,
    learning_rate: RealScalar,
    momentum: RealScalar,
    weight_decay: RealScalar = 0.0,
    form: str = "exact",
) -> Scalar:
    """E|θ_{k+1} − θ_k|² in the stationary state, summed over modes, [].

    - `curvature`: h ≥ 0 of each mode, without weight decay.
    - `noise_variance`: C_ii of the minibatch gradient along each eigenvector; a number is the same for all modes.
    - `form`: "exact" in discrete time, the displacement at one step, or "published" (12), which knows no curvature.

    **Raises** `ValueError` for negative arguments, momentum outside [0, 1), and in the exact form learning rates of
    2 (1 + β)/(h + λ) or more.
    """
    _arguments.form(form, ("exact", "published"))
    η, β, λ = _arguments.single(_arguments.hyperparameters(learning_rate, momentum, weight_decay))
    h, C, η, β = _arguments.broadcast(*_arguments.modes(curvature, noise_variance), η, β)
    published = η**2 * C / (1 - β**2)
    if form == "published":
        return jnp.sum(published)
    η = _arguments.stable(η, β, h + λ)
    return jnp.sum(published / (1 - η * (h + λ) / (2 * (1 + β))))
