"""One run for each of many settings, all at once: the pure run, mapped over what it depends on.

Every setting meets the same draws, so that differences between settings are smaller than the error of each.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from sgdynamics import _checks
from sgdynamics._sensitivity import Make, Run
from sgdynamics._types import PRNGKey
from sgdynamics.statistics import AbstractStatistic


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
    - over: a tree of arrays with the same leading axis, one entry for each setting: {"learning_rate": [0.1, 0.2, 0.4]}.
      Of all combinations: `jnp.meshgrid`, ravelled.
    - replicas, steps, key, burn_in, every, groups: as for `simulate`, whose draws every setting has.
    - at_once: how many settings are run together; None: all. Fewer take less memory.

    Everything is computed in the precision of `over` and of what `make` gives. Raises `ValueError` for leading axes
    that differ, and for bad sizes.
    """
    over = jax.tree.map(jnp.asarray, over)
    counts = {x.shape[0] if x.ndim else None for x in jax.tree.leaves(over)}
    if len(counts) != 1 or None in counts or 0 in counts:
        shapes = [x.shape for x in jax.tree.leaves(over)]
        raise ValueError(f"over has arrays of shapes {shapes}, but all must have the same leading axis of settings.")
    (count,) = counts
    size = count if at_once is None else min(count, _checks.count("at_once", at_once))
    return _swept(Run(make, statistics, replicas, steps, key, burn_in, every, groups), over, size)


@eqx.filter_jit
def _swept(run: Run, over: PyTree, size: int) -> PyTree:
    return jax.lax.map(run, over, batch_size=size)
