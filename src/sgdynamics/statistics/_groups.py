"""Groups of replicas: the unit in which errors are measured.

Replicas are independent of each other, their records in time are not. So a statistic keeps one set of sums
per group of replicas, and the scatter between groups is an honest measure of its error, whatever the
correlation in time. A ledger tells which groups can be trusted: a replica that diverges after it has
contributed to the sums of its group has spoiled them, because a diverging path is wrong before it overflows.
"""

from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Shaped, UInt

from .. import _checks
from .._types import Mask


@dataclass(frozen=True)
class Groups:
    """The division of `replicas` replicas into `count` contiguous groups whose sizes differ by at most one.

    More groups than replicas are cut down to one replica each.
    """

    replicas: int
    count: int = 32

    def __post_init__(self):
        _checks.count("replicas", self.replicas)
        _checks.count("groups", self.count, remedy="32 is a good choice.")
        object.__setattr__(self, "count", min(self.count, self.replicas))

    @property
    def members(self) -> int:
        """The size of the largest group."""
        return -(-self.replicas // self.count)

    @property
    def even(self) -> bool:
        return self.replicas % self.count == 0

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each place [groups, members]: the replica that fills it, and whether it is more than padding."""
        bounds = np.linspace(0, self.replicas, self.count + 1).round().astype(int)
        place = bounds[:-1, None] + np.arange(self.members)
        filled = place < bounds[1:, None]
        return np.where(filled, place, bounds[:-1, None]), filled

    def split(self, x: Shaped[Array, "replicas ..."]) -> Shaped[Array, "groups members ..."]:
        """[replicas, ...] as [groups, members, ...]; short groups are padded with copies, see `present`."""
        if self.even:
            return x.reshape(self.count, self.members, *x.shape[1:])
        return x[self.places()[0]]

    def present(self, alive: Mask) -> Bool[Array, "groups members"]:
        """Which members of each group exist and are alive."""
        if self.even:
            return self.split(alive)
        return self.split(alive) & self.places()[1]

    def join(self, x: Shaped[Array, "groups members ..."]) -> Shaped[Array, "replicas ..."]:
        """The inverse of `split`; padding is dropped."""
        if self.even:
            return x.reshape(self.replicas, *x.shape[2:])
        return x[np.nonzero(self.places()[1])]


class Ledger(eqx.Module):
    """Who has contributed to the sums of each group, and whose sums are spoiled."""

    groups: Groups = eqx.field(static=True)
    members: UInt[Array, " groups"]
    contributed: Bool[Array, " groups"]
    spoiled: Bool[Array, " groups"]

    @staticmethod
    def open(groups: Groups, alive: Mask) -> "Ledger":
        never = jnp.zeros(groups.count, bool)
        return Ledger(groups, living(groups, alive), never, never)

    def record(self, alive: Mask) -> "Ledger":
        """The ledger after a record. `alive` is sticky: fewer living members mean that one has died."""
        members = living(self.groups, alive)
        spoiled = self.spoiled | (self.contributed & (members < self.members))
        return Ledger(self.groups, members, self.contributed | (members > 0), spoiled)

    def merge(self, other: "Ledger", other_replicas: bool) -> "Ledger":
        if self.groups.count != other.groups.count:
            raise ValueError(
                f"merge: {self.groups.count} and {other.groups.count} groups, but sums must have "
                "the same number of groups. Record both with the same `groups`."
            )
        contributed, spoiled = self.contributed | other.contributed, self.spoiled | other.spoiled
        if other_replicas:
            groups = Groups(self.groups.replicas + other.groups.replicas, self.groups.count)
            return Ledger(groups, self.members + other.members, contributed, spoiled)
        died = self.contributed & (other.members < self.members)
        died = died | (other.contributed & (self.members < other.members))
        members = jnp.minimum(self.members, other.members)
        return Ledger(self.groups, members, contributed, spoiled | died)

    def usable(self) -> Bool[Array, " groups"]:
        return self.contributed & ~self.spoiled & (self.members > 0)


def living(groups: Groups, alive: Mask) -> UInt[Array, " groups"]:
    return jnp.sum(groups.present(alive), axis=1, dtype=jnp.uint32)
