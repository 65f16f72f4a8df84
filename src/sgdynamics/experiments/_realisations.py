"""Averages over realisations of the data: independent draws, so that their scatter is the error of the mean.

With n values v_i, the mean v̄ has the standard error √(Σ (v_i − v̄)² / (n (n − 1))), Student's t of n − 1 degrees
of freedom.
"""

from collections.abc import Callable, Sequence
from typing import Any, SupportsFloat

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key

from sgdynamics import _checks
from sgdynamics._types import PRNGKey
from sgdynamics.experiments._compiled import once
from sgdynamics.statistics import Estimate


def over_realisations(values: Float[ArrayLike, "realisations *shape"], quantity: str = "mean") -> Estimate:
    """The mean over independent realisations, with its standard error; `map` works on it as on any estimate."""
    n = _checks.count("realisations", np.shape(values)[0], least=2, remedy="One realisation has no error.")
    values = np.asarray(values, float)  # NumPy: nothing to compile
    error = np.std(values, axis=0, ddof=1) / np.sqrt(n)
    weights, dof = jnp.full(n, 1 / n), jnp.asarray(n - 1)
    mean, error, values = (jnp.asarray(array) for array in (np.mean(values, axis=0), error, values))
    return Estimate(mean, error, values, weights, dof, jnp.asarray(0), quantity=quantity)


def pooled(estimates: Sequence[Estimate], quantity: str = "mean") -> Estimate:
    """The mean of independent estimates of one thing, one from each realisation, with the error of their scatter."""
    return over_realisations(np.stack([np.asarray(estimate.value) for estimate in estimates]), quantity)


def difference(a: Estimate, b: Estimate) -> dict[str, SupportsFloat]:
    """What a − b of independent estimates of shape () brings to a claim, as `evidence` does for one.

    The error is √(s_a² + s_b²), and its degrees of freedom ν are Welch's,

        (s_a² + s_b²)²/ν = s_a⁴/ν_a + s_b⁴/ν_b.
    """
    variances = np.array([float(estimate.standard_error) ** 2 for estimate in (a, b)])
    given, total = [float(estimate.degrees_of_freedom) for estimate in (a, b)], variances.sum()
    shares = variances / total if total > 0 else np.ones(2) / 2
    return {
        "measured": float(a.value) - float(b.value),
        "standard_error": float(np.sqrt(total)),
        "degrees_of_freedom": float(1 / np.sum(shares**2 / given)),
    }


def each(function: Callable[[PRNGKey], Any], keys: Key[Array, " realisations"], *, batch: int = 1) -> Any:
    """`function` of every key, compiled once, `batch` of them at a time: memory does not grow with their number."""
    if batch <= 1:
        return once(lambda keys: jax.lax.map(function, keys))(keys)
    # whole batches only: a smaller last one is a second loop beside the first, and on two cores their linear algebra
    # waited for each other for ever
    size = min(batch, len(keys))
    filled = jnp.resize(keys, -(-len(keys) // size) * size)
    values = once(lambda keys: jax.lax.map(function, keys, batch_size=size))(filled)
    return jax.tree.map(lambda value: value[: len(keys)], values)
