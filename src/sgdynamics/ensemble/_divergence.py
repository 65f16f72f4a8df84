"""What becomes of replicas that diverge: not finite, or too large for fourth powers to be summed.

drop    they are struck out, counted, and never averaged in
stop    the run ends with a `DivergenceError` that says which, and when
keep    they are averaged in like all others, and may make the estimates infinite or nan: a warning says so
"""

from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np

from sgdynamics.ensemble._core import Replicas
from sgdynamics.ensemble._pieces import ManyDevices, OneDevice
from sgdynamics.ensemble._run import AbstractWatcher, Point

Policy = Literal["drop", "stop", "keep"]


class DivergenceError(ArithmeticError):
    """A replica diverged in a run that was to stop then."""


def check_policy(policy: str) -> None:
    if policy not in get_args(Policy):
        raise ValueError(f"divergence = {policy!r}, but it must be one of {', '.join(map(repr, get_args(Policy)))}.")


class Stop(AbstractWatcher):
    """Ends a run where fewer replicas live than at its `start`."""

    def __init__(self, pieces: OneDevice | ManyDevices, start: Replicas):
        self.pieces, self.living = pieces, _living(start)

    def look(self, point: Point, steps: int) -> None:
        if _living(point.replicas) == self.living:
            return
        replicas, _ = self.pieces.whole(point.replicas, None)
        dead, last = np.flatnonzero(~np.asarray(replicas.alive)).tolist(), int(replicas.step)
        which = ", ".join(map(str, dead[:5])) + (", …" if len(dead) > 5 else "")
        raise DivergenceError(
            f"{len(dead)} of {replicas.alive.size} replicas (number {which}) have diverged by step {last}, not all by "
            f'step {last - steps}. Lower the learning rate, or start nearer; divergence="drop" goes on without them.'
        )


def _living(replicas: Replicas) -> int:
    return int(jnp.sum(replicas.alive))
