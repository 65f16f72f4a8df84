"""The displacement from one given state, and the exponent of a curve."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sgdynamics.experiments.kunin2023._spectrum_case import Case
from sgdynamics.theory.recursion import MinibatchMoments


def displacement_from(
    start: Float[np.ndarray, " parameters"], case: Case, steps: Int[np.ndarray, " steps"]
) -> Float[np.ndarray, " steps"]:
    """E|θ_k − θ_0|² of SGD without weight decay from θ_0 = `start` at rest, noise that depends on θ included."""
    descent = case.descent
    moments = MinibatchMoments(
        descent.problem.data.x, descent.problem.data.y, learning_rate=case.η, momentum=case.β,
        sampling_factor=descent.sampler.covariance_factor(descent.problem.data),
    )  # fmt: skip
    every = int(np.gcd.reduce(steps))
    path = _path(moments, jnp.asarray(start - np.asarray(case.prediction.mean)), every, int(steps.max()) // every)
    return np.asarray(path)[steps // every - 1]


@eqx.filter_jit
def _path(moments: MinibatchMoments, δ: Float[Array, " inputs"], every: int, records: int) -> Float[Array, " records"]:
    """After each `every` steps."""
    d = δ.shape[0]
    z = jnp.concatenate([δ, jnp.zeros_like(δ)])

    def advance(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        mean, M = moments.after(every, *carry)
        return (mean, M), jnp.trace(M[:d, :d]) - 2 * δ @ mean[:d] + δ @ δ

    return jax.lax.scan(advance, (z, jnp.outer(z, z)), length=records)[1]


def exponent(steps: Int[np.ndarray, " steps"], displacement: Float[np.ndarray, " steps"], length: int) -> float:
    """c of the line of least squares through ln E|Δ_k|² over ln k, length/3 ≤ k ≤ length, as `power_law` has it."""
    within, weights = slope(steps, length)
    return float(weights @ np.log(displacement[within]))


def slope(
    steps: Int[np.ndarray, " steps"], length: int
) -> tuple[Int[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Which steps are fitted, and what the logarithm at each of them adds to the slope."""
    within = np.flatnonzero((3 * steps >= length) & (steps <= length))
    x = np.log(steps[within])
    x = x - x.mean()
    return within, x / (x @ x)
