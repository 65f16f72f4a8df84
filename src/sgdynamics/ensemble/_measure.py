"""A whole run as one pure function, to be differentiated, mapped over, and compiled with what is around it.

    measure(dynamics, statistics, …)     the estimates of `simulate(…, kernel=reference_kernel)`, of the same draws

Forwards (`jax.jvp`, `jax.jacfwd`) the memory does not depend on the number of steps. Backwards (`jax.grad`) the states
are remembered at about √steps points, and those between two are computed again from the first: memory O(√steps), at
the price of one run more (Chen, Xu, Zhang and Guestrin 2016, "Training deep nets with sublinear memory cost").

A replica's draws do not depend on the parameters, so a derivative is that of each path for its own draws; its mean is
the derivative of the mean, because every step is smooth in them. Whether a replica counts as diverged is not.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from sgdynamics import _checks
from sgdynamics._types import PRNGKey
from sgdynamics.dynamics import AbstractDynamics
from sgdynamics.ensemble._core import Replicas, advance, check_times, evolve, is_statistic, reference_kernel, replicate
from sgdynamics.ensemble._starts import starts
from sgdynamics.statistics import AbstractStatistic, Groups, Records


def measure(
    dynamics: AbstractDynamics,
    statistics: PyTree[AbstractStatistic],
    *,
    replicas: int,
    steps: int,
    key: PRNGKey,
    burn_in: int = 0,
    every: int = 1,
    initial: Any = None,
    groups: int = 32,
) -> PyTree:
    """The estimates of a run, in the structure of `statistics`, as a pure function of everything that is an array.

    Arguments are those of `simulate`, and so are the draws. Arrays keep the precision that they have. To be called
    under `jax.jit`; sizes are Python integers. Replicas that diverge are left out as in `simulate`, but nothing warns
    of them: `estimate.left_out` counts the groups. Raises `ValueError` for sizes that are no counts.
    """
    _checks.key("key", key)
    share = Share(replicas, replicas, jnp.int32(0))
    return measure_share(dynamics, statistics, share, steps, key, burn_in, every, initial, groups)


class Share:
    """Which replicas of a run are made: `size` of all `replicas`, from number `first` on."""

    def __init__(self, replicas: int, size: int, first: Int[Array, ""]):
        self.replicas, self.size, self.first = _checks.count("replicas", replicas), size, first

    def __call__(self, x: Array | None) -> Array | None:
        return None if x is None else jax.lax.dynamic_slice_in_dim(x, self.first, self.size)


def measure_share(
    dynamics: AbstractDynamics,
    statistics: PyTree[AbstractStatistic],
    share: Share,
    steps: int,
    key: PRNGKey,
    burn_in: int,
    every: int,
    initial: Any,
    groups: int,
) -> PyTree:
    """`measure`, of a share of the replicas."""
    steps, every, burn_in = check_times(steps, every, burn_in)
    replicas, block = _start(dynamics, share, initial, key), _block(burn_in + steps)
    remembering = lambda dynamics, replicas, steps: reference_kernel(dynamics, replicas, steps, block=block)
    replicas = advance(dynamics, replicas, burn_in, remembering)
    of = Groups(share.size, groups)
    opened = lambda statistic: statistic.init(replicas.states, replicas.alive, of, Records(steps // every, every))
    sums = jax.tree.map(opened, statistics, is_leaf=is_statistic)
    # a block is a part of what lies between two records, or some of these
    kernel, records = (remembering, None) if block < every else (reference_kernel, block // every)
    times = {"first_record": 0, "records": steps // every, "every": every}
    _, sums = evolve(dynamics, statistics, replicas, sums, **times, kernel=kernel, block=records)
    conclude = lambda statistic, sums: statistic.conclude(sums)
    return jax.tree.map(conclude, statistics, sums, is_leaf=is_statistic)


def _start(dynamics: AbstractDynamics, share: Share, initial: Any, key: PRNGKey) -> Replicas:
    start_key, run_key = jax.random.split(key)
    positions, velocities = starts(dynamics, initial, share.replicas, start_key)
    return replicate(dynamics, share(positions), share(velocities), run_key, first=share.first)


def _block(steps: int) -> int:
    return max(1, math.isqrt(steps))
