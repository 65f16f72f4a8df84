"""The relaxation of the mean to the minimum: Gross et al. (2.25), (2.27), averaged over the noise.

In the eigenbasis of H, z = Vᵀ w with rates ω (ascending):

    ⟨z_k(t)⟩ = z*_k + e^{−ω_k t} (z_k(0) − z*_k)               SDE   (2.27)
    ⟨z_k⟩ after n steps = z*_k + (1 − ηω_k)ⁿ (z_k(0) − z*_k)      SGD, exact: the noise has mean 0

and for noise frozen at the minimum Var z_k(t) = N_kk (1 − e^{−2ω_k t}) / (2ω_k), N = η VᵀCV [the noise term
of (2.27), which carries √η]. Rates of Gaussian data end at the edges of `spectral_edges`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Real

from sgdynamics import _checks, _linalg
from sgdynamics._types import RealScalar
from sgdynamics.theory.regression._least_squares import data, hessian, minimum


def modes(
    x: Real[ArrayLike, "samples inputs"],
) -> tuple[Float[Array, " modes"], Float[Array, "inputs modes"]]:
    """(ω, V): eigenvalues of H, ascending as in the paper, and its eigenvectors as columns; z = Vᵀ w."""
    return jnp.linalg.eigh(hessian(x))


def mode_relaxation(
    time: Real[ArrayLike, "..."],
    initial: Real[ArrayLike, "..."],
    target: Real[ArrayLike, "..."],
    rate: Real[ArrayLike, "..."],
) -> Float[Array, "..."]:
    """z* + e^{−ωt} (z(0) − z*) of (2.27), for the SDE, broadcast over all arguments."""
    time, initial, target, rate = _broadcast(time=time, initial=initial, target=target, rate=rate)
    return target + jnp.exp(-rate * time) * (initial - target)


def mode_relaxation_after(
    steps: Int[ArrayLike, "..."],
    initial: Real[ArrayLike, "..."],
    target: Real[ArrayLike, "..."],
    rate: Real[ArrayLike, "..."],
    *,
    learning_rate: RealScalar,
) -> Float[Array, "..."]:
    """z* + (1 − ηω)ⁿ (z(0) − z*) for SGD after n = `steps` steps, broadcast over all arguments."""
    steps = _checks.not_negative("steps", jnp.asarray(steps))
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    initial, target, rate, n = _broadcast(initial=initial, target=target, rate=rate, steps=steps)
    return target + (1 - η * rate) ** jnp.round(jax.lax.stop_gradient(n)) * (initial - target)


def mode_variance(
    time: Real[ArrayLike, "..."], rate: Real[ArrayLike, "..."], noise: Real[ArrayLike, "..."]
) -> Float[Array, "..."]:
    """N (1 − e^{−2ωt}) / (2ω) from a sharp start, N = `noise` per unit of t (η C_kk); N t where ω = 0."""
    time, rate, noise = _broadcast(time=time, rate=rate, noise=noise)
    exponent = 2 * rate * time
    safe = jnp.where(exponent == 0, 1, exponent)
    decayed = jnp.where(exponent == 0, 1 - exponent / 2, -jnp.expm1(-safe) / safe)
    return noise * time * decayed


def relaxation(
    time: Real[ArrayLike, "*times"],
    initial: Real[ArrayLike, " inputs"],
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
) -> Float[Array, "*times inputs"]:
    """⟨w(t)⟩ = w* + e^{−Ht} (w(0) − w*) of the SDE, [*times, inputs]. For N > P the null space stays."""
    start, end, t = _path(initial, x, y, time)
    F = _linalg.propagator(hessian(x), _checks.not_negative("time", t))
    return jnp.einsum("...ij,j->...i", F, start - end) + jnp.expand_dims(end, tuple(range(t.ndim)))


def relaxation_after(
    steps: Int[ArrayLike, "*steps"],
    initial: Real[ArrayLike, " inputs"],
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
) -> Float[Array, "*steps inputs"]:
    """⟨w⟩ = w* + (1 − ηH)ⁿ (w(0) − w*) of SGD after n = `steps` steps, [*steps, inputs]; exact."""
    n = _checks.not_negative("steps", jnp.asarray(steps))
    start, end, _ = _path(initial, x, y, 0.0)
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    T = _linalg.matrix_power(jnp.eye(len(end)) - η * hessian(x), n)
    return jnp.einsum("...ij,j->...i", T, start - end) + jnp.expand_dims(end, tuple(range(n.ndim)))


def _path(initial: ArrayLike, x: ArrayLike, y: ArrayLike, time: ArrayLike) -> tuple[Array, Array, Array]:
    x, y = data(x, y)
    start = _checks.shaped("initial", _checks.float64("initial", initial), x.shape[1:])
    return start, minimum(x, y), _checks.float64("time", time)


def _broadcast(**values: ArrayLike) -> list[Array]:
    """All as float64 of one shape, under NumPy's rules (which the session may have switched off)."""
    arrays = [_checks.float64(name, value) for name, value in values.items()]
    shape = jnp.broadcast_shapes(*(array.shape for array in arrays))
    return [jnp.broadcast_to(array, shape) for array in arrays]
