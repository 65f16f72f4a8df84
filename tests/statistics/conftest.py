"""Hand-made states, and a plain loop that records them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from sgdynamics import statistics


class States(NamedTuple):
    position: jax.Array
    velocity: jax.Array | None = None


def record(statistic, path, *, groups=8, alive=None, every=1, velocity=None, finalise=True):
    """The estimate of `path` [1 + records, replicas, parameters], whose first state is that at step 0."""
    path = jnp.asarray(path)
    records, replicas = path.shape[0] - 1, path.shape[1]
    alive = jnp.ones(path.shape[:2], bool) if alive is None else jnp.asarray(alive)
    velocity = None if velocity is None else jnp.asarray(velocity)

    def states(k):
        return States(path[k], None if velocity is None else velocity[k])

    @jax.jit
    def run():
        first = statistic.init(
            states(0), alive[0], statistics.Groups(replicas, groups), statistics.Records(records, every)
        )

        def body(k, sums):
            return statistic.update(sums, states(k + 1), alive[k + 1], k)

        return jax.lax.fori_loop(0, records, body, first)

    sums = run()
    return statistic.finalise(sums) if finalise else sums


@pytest.fixture
def recorded():
    return record
