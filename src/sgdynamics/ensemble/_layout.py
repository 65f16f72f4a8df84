"""Where each replica is kept when D devices share G groups of replicas.

Every device has g = ⌈G/D⌉ groups of M places each, M the size of the largest group, in the order of the groups:

    group j                  is group j mod g of device ⌊j/g⌋
    replica m of group j     is in place j M + m
    all other places         are padding: copies of other replicas, never alive, that are dropped at the end

So replicas need divide neither by groups nor by devices, and each device has a whole number of groups: what it adds
up for them is what one device would. An array is cut along one axis, that of the replicas or that of the groups.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree, Shaped

from sgdynamics.statistics import Groups


class Cut(NamedTuple):
    """The axis of an array that is cut into shares, and what lies along it."""

    axis: int
    along: Literal["replicas", "groups"]


REPLICAS = Cut(0, "replicas")


@dataclass(frozen=True)
class Layout:
    """The division of `groups` between `devices` devices."""

    groups: Groups
    devices: int

    @property
    def own(self) -> Groups:
        """The groups of one device."""
        count = -(-self.groups.count // self.devices)
        return Groups(count * self.groups.members, count)

    def lay(self, x: Shaped[Array, "..."], cut: Cut | None) -> Shaped[Array, "..."]:
        """An array as one device would have it, with its padding; what is not cut stays."""
        return x if cut is None else jnp.take(x, self._kept(cut), axis=cut.axis)

    def lift(self, x: Any, cut: Cut | None) -> Any:
        """The inverse of `lay`, of JAX's arrays or NumPy's; padding is dropped."""
        if cut is None:
            return x
        index = np.arange(self.groups.count) if cut.along == "groups" else np.flatnonzero(self.filled())
        return x[(slice(None),) * cut.axis + (index,)]

    def filled(self) -> Bool[np.ndarray, " places"]:
        """Which places are more than padding."""
        return self._padded(self.groups.places()[1], False).ravel()

    def _kept(self, cut: Cut) -> Int[np.ndarray, " places"]:
        """Which replica, or group, is kept in each place."""
        if cut.along == "groups":
            return self._padded(np.arange(self.groups.count), 0)
        return self._padded(self.groups.places()[0], 0).ravel()

    def _padded(self, x: Shaped[np.ndarray, "groups ..."], filler: Any) -> Shaped[np.ndarray, "groups_of_all ..."]:
        more = self.devices * self.own.count - self.groups.count
        return np.pad(x, [(0, more)] + [(0, 0)] * (x.ndim - 1), constant_values=filler)


def cuts(sums: Callable[[Groups], PyTree]) -> tuple[Cut | None, ...]:
    """How each array of the statistics' sums is cut: along the axis that is longer where there are more replicas, or
    more groups. `sums` gives their shapes."""
    few, many, larger = (jax.tree.leaves(sums(groups)) for groups in (Groups(8, 4), Groups(16, 8), Groups(16, 4)))
    return tuple(_cut(*shapes) for shapes in zip(few, many, larger, strict=True))


def _cut(few: Any, many: Any, larger: Any) -> Cut | None:
    axes = [axis for axis, (n, m) in enumerate(zip(few.shape, many.shape, strict=True)) if m > n]
    if not axes:
        return None
    if len(axes) > 1:
        raise ValueError(
            f"a statistic's sums hold an array of shape {few.shape} for 8 replicas in 4 groups and {many.shape} for "
            "twice as many, but one axis alone may grow: sums must be those of each group, or of each replica."
        )
    (axis,) = axes
    return Cut(axis, "replicas" if larger.shape[axis] > few.shape[axis] else "groups")
