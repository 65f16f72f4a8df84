"""Is it stationary? The first half of the records against the second.

The sums of both halves are kept apart. Each group of replicas gives the change of its (pseudo-)value from the
first half to the second, and groups are independent, so change / standard error is Student's t of groups − 1
degrees of freedom in a stationary run, however slowly single replicas relax.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .._types import Mask
from ._base import AbstractAccumulator, AbstractStatistic, Record, Records
from ._estimate import Estimate, from_pseudo_values
from ._groups import Groups
from ._observables import Observable, name_of


class HalvesEstimate(eqx.Module):
    """`first`, `second`: estimates from each half of the records; `change`: of second − first, from the same
    groups; `whole`: what the statistic gives for all records, whose are `value` and `standard_error`."""

    first: Estimate
    second: Estimate
    change: Estimate
    whole: Any

    @property
    def value(self) -> Array:
        return self.whole.value

    @property
    def standard_error(self) -> Array:
        return self.whole.standard_error

    def __str__(self) -> str:
        return f"{self.whole}; from the first half of the records to the second: {self.change}"


class HalvesSums(eqx.Module):
    first: Any
    second: Any
    half: Int[Array, ""]
    count: Int[Array, ""]
    every: int = eqx.field(static=True)


class Halves(AbstractStatistic):
    """`statistic` of the first and of the second half of the records, apart and together.

    With an odd number of records, the second half has one more. Each half counts its steps from its own
    start. Any statistic of sums can be halved; those that keep something of each path cannot.
    """

    statistic: AbstractAccumulator

    def __init__(self, statistic: Any):
        if not isinstance(statistic, AbstractAccumulator):
            raise ValueError(
                f"statistic = {type(statistic).__name__}, but it must be one of sums, such as Mean, "
                "Covariance, Autocovariance or Histogram. Compare snapshots at two steps instead."
            )
        self.statistic = statistic

    @property
    def of(self) -> Observable | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.statistic.of

    def init(self, states: Any, alive: Mask, groups: Groups, records: Records) -> HalvesSums:
        if isinstance(records.count, int) and records.count < 2:
            raise ValueError(
                f"records = {records.count}, but Halves needs at least 2. Simulate longer, or record more often."
            )
        half, count = records.count // 2, jnp.asarray(records.count).astype(jnp.int32)
        empty = self.statistic.init(states, alive, groups, Records(half, records.every))
        return HalvesSums(empty, empty, count // 2, count, records.every)

    def update(self, sums: HalvesSums, states: Any, alive: Mask, record: Record) -> HalvesSums:
        record = jnp.asarray(record).astype(jnp.int32)
        groups = sums.first.ledger.groups

        def first_half(first: Any, second: Any) -> Any:
            return self.statistic.update(first, states, alive, record), second

        def middle(first: Any, second: Any) -> Any:
            # The last record of the first half is step 0 of the second, with its origins. Both halves have one point
            # of reference: a new mean of all replicas in mid-run would need all devices at once.
            records = Records(sums.count - sums.half, sums.every)
            begun = self.statistic.init(states, alive, groups, records)
            second = eqx.tree_at(lambda s: s.reference, begun, first.reference)
            return self.statistic.update(first, states, alive, record), second

        def second_half(first: Any, second: Any) -> Any:
            return first, self.statistic.update(second, states, alive, record - sums.half)

        where = 1 + jnp.sign(record - (sums.half - 1))
        first, second = jax.lax.switch(where, [first_half, middle, second_half], sums.first, sums.second)
        return HalvesSums(first, second, sums.half, sums.count, sums.every)

    def merge(self, a: HalvesSums, b: HalvesSums, *, other_replicas: bool = False) -> HalvesSums:
        first = self.statistic.merge(a.first, b.first, other_replicas=other_replicas)
        second = self.statistic.merge(a.second, b.second, other_replicas=other_replicas)
        return HalvesSums(first, second, a.half, a.count, a.every)

    def usable(self, sums: HalvesSums) -> Bool[Array, " groups"]:
        return sums.first.ledger.merge(sums.second.ledger, False).usable()

    def conclude(self, sums: HalvesSums) -> HalvesEstimate:
        usable = self.usable(sums)
        first = self.statistic.estimate(sums.first, usable)
        second = self.statistic.estimate(sums.second, usable)
        whole = self.statistic.conclude(self.statistic.merge(sums.first, sums.second))
        change = from_pseudo_values(
            second.groups - first.groups,
            first.weights,
            quantity=f"change of {self.statistic.quantity}",
            of=name_of(self.of),
            **self.statistic.coordinates(),
        )
        return HalvesEstimate(first, second, change, whole)
