"""One run for each of many settings, all at once: the pure run, mapped over what it depends on.

Every setting meets the same draws, so that differences between settings are smaller than the error of each.
"""

import warnings
from numbers import Number
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from sgdynamics import _checks
from sgdynamics._sensitivity import Make, Run, is_estimate
from sgdynamics._types import PRNGKey
from sgdynamics.statistics import AbstractStatistic

MOST_NAMED = 8


def sweep(
    make: Make,
    over: PyTree,
    statistics: PyTree[AbstractStatistic],
    *,
    replicas: int,
    steps: int,
    key: PRNGKey,
    burn_in: int = 0,
    every: int = 1,
    groups: int = 32,
    at_once: int | None = None,
) -> PyTree:
    """The estimates of many runs, in the structure of `statistics`, each with a leading axis of settings.

    Arguments
    - make: settings -> dynamics, or (dynamics, initial), of arrays; sizes and structures are the same for all.
    - over: a tree of arrays (or lists of numbers) with the same leading axis, one entry for each setting:
      {"learning_rate": [0.1, 0.2, 0.4]}. Of all combinations: `jnp.meshgrid`, ravelled.
    - replicas, steps, key, burn_in, every, groups: as for `simulate`, whose draws every setting has.
    - at_once: how many settings are run together; None: all. Fewer take less memory.

    Everything is computed in the precision of `over` and of what `make` gives. Raises `ValueError` for leading axes
    that differ, and for bad sizes. Warns of settings in which groups of replicas were left out, as those are in which a
    replica diverged.
    """
    over = jax.tree.map(jnp.asarray, over, is_leaf=_is_row)
    counts = {x.shape[0] if x.ndim else None for x in jax.tree.leaves(over)}
    if len(counts) != 1 or None in counts or 0 in counts:
        shapes = [x.shape for x in jax.tree.leaves(over)]
        raise ValueError(f"over has arrays of shapes {shapes}, but all must have the same leading axis of settings.")
    (count,) = counts
    size = count if at_once is None else min(count, _checks.count("at_once", at_once))
    found = _swept(Run(make, statistics, replicas, steps, key, burn_in, every, groups), over, size)
    _warn_of_left_out(found, count)
    return found


def _is_row(x: Any) -> bool:
    """Whether x is a list of numbers, one for each setting."""
    return isinstance(x, list) and len(x) > 0 and all(isinstance(value, Number) for value in x)


def _warn_of_left_out(found: PyTree, count: int) -> None:
    """Warns of settings in which groups of replicas were left out, where that can be read now."""
    estimates = [x for x in jax.tree.leaves(found, is_leaf=is_estimate) if is_estimate(x)]
    known = [_checks.known(estimate.left_out) for estimate in estimates]
    numbers = [x for x in known if x is not None and x.shape == (count,)]
    if not numbers or not np.any(numbers):
        return
    most, groups = np.max(numbers, axis=0), estimates[0].weights.shape[-1]
    where = [f"{most[i]} in setting {i}" for i in np.flatnonzero(most)]
    named = ", ".join(where[:MOST_NAMED]) + (", …" if len(where) > MOST_NAMED else "")
    warnings.warn(
        f"Replicas diverged, or nothing was recorded, in {len(where)} of {count} settings. Of {groups} groups of "
        f"replicas are left out: {named} (counted from 0, in the order of `over`). Where all are, the estimate is nan. "
        "Lower the learning rate, or start nearer.",
        stacklevel=3,
    )


@eqx.filter_jit
def _swept(run: Run, over: PyTree, size: int) -> PyTree:
    return jax.lax.map(run, over, batch_size=size)
