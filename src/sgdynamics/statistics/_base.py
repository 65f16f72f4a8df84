"""What a statistic is: init, update, merge, finalise.

A statistic is a recipe; what it has seen so far is in its sums, a separate tree of arrays. `init` makes the
sums from the state at the start of recording (step 0), `update` adds one record, `merge` joins the sums of
other records or replicas, `finalise` gives the estimate with its error. All are pure, and can be traced,
jitted and differentiated; the size of the sums does not depend on the number of records.

Sums are taken about a fixed reference point c, the mean of the replicas that live at `init`, so that float32
does not cancel; the estimate does not depend on c.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .. import _checks
from .._types import Mask
from . import _running
from ._estimate import Estimate, jackknife, warn_if_none
from ._groups import Groups, Ledger
from ._observables import Observable, masked, mean_of_living, name_of, observe

Record = Int[Array, ""] | int


class Records(eqx.Module):
    """How many records will be made (`count`, may be traced), and how many steps lie between two (`every`).

    Record 0 is made at step `every`, counted from the start of recording; record r at step (r + 1)·every.
    """

    count: Record
    every: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        _checks.count("every", self.every)
        if isinstance(self.count, int):
            _checks.count("records", self.count, remedy="Simulate at least `every` steps after burn_in.")

    def last_step(self) -> int | None:
        """The step of the last record, where the number of records is known."""
        return self.count * self.every if isinstance(self.count, int) else None


def step_of(record: Record, every: int) -> Int[Array, ""]:
    return (jnp.asarray(record).astype(jnp.int32) + 1) * every


class Sums(eqx.Module):
    """The sums of a statistic: `moments`, each with a leading axis groups, about `reference`."""

    ledger: Ledger
    reference: Float[Array, "..."]
    moments: Any


class AbstractStatistic(eqx.Module):
    """A streaming statistic over replicas and records. States have `.position` [replicas, parameters] and
    `.velocity` (the same, or None); `alive` [replicas] is sticky, and dead replicas are never looked at."""

    of: eqx.AbstractVar[Observable | None]

    @abc.abstractmethod
    def init(self, states: Any, alive: Mask, groups: Groups, records: Records) -> Any:
        """Empty sums; `states`, at step 0, gives the reference point and the first origins.

        Their arrays have one axis of groups or one of replicas; any other array is the same whatever the replicas: on
        several devices each updates the sums of its own groups, and knows of no other.
        """

    @abc.abstractmethod
    def update(self, sums: Any, states: Any, alive: Mask, record: Record) -> Any:
        """The sums with one more record, number `record` = 0, 1, 2, …, the same for all replicas."""

    @abc.abstractmethod
    def merge(self, a: Any, b: Any, *, other_replicas: bool = False) -> Any:
        """The sums of both: of other records of the same replicas or, if told, of other replicas.

        Associative and commutative to rounding.
        """

    @abc.abstractmethod
    def usable(self, sums: Any) -> Bool[Array, " groups"]:
        """Which groups of replicas can be estimated from."""

    @abc.abstractmethod
    def conclude(self, sums: Any) -> Any:
        """What `finalise` gives, as a pure function."""

    def finalise(self, sums: Any) -> Any:
        """The estimate: an object with `.value` and `.standard_error`.

        With no usable group all is nan, and outside jit a warning says so.
        """
        warn_if_none(self.usable(sums), type(self).__name__)
        return _concluded(self, sums)


@eqx.filter_jit
def _concluded(statistic: AbstractStatistic, sums: Any) -> Any:
    # compiled in one piece: operation by operation, the first estimate would take seconds
    return statistic.conclude(sums)


class AbstractAccumulator(AbstractStatistic):
    """A statistic that is a function of totals: sums that are additive over groups of replicas."""

    quantity: eqx.AbstractVar[str]

    @abc.abstractmethod
    def value(self, totals: Any, reference: Array) -> Array:
        """The statistic, from the sums over a set of groups, in the widest float."""

    def grouped(self, sums: Any) -> Any:
        """The moments in the widest float, each with its leading axis groups."""
        return _running.widened(sums.moments)

    def coordinates(self) -> dict[str, Array]:
        """The coordinates that the estimate carries."""
        return {}

    def estimate(self, sums: Any, usable: Bool[Array, " groups"]) -> Estimate:
        """The estimate from the usable groups alone."""
        reference = sums.reference.astype(_running.wide())
        return jackknife(
            lambda totals: self.value(totals, reference),
            self.grouped(sums),
            sums.ledger.members,
            usable,
            quantity=self.quantity,
            of=name_of(self.of),
            **self.coordinates(),
        )

    def usable(self, sums: Any) -> Bool[Array, " groups"]:
        return sums.ledger.usable()

    def conclude(self, sums: Any) -> Any:
        return self.estimate(sums, self.usable(sums))


class AbstractMoments(AbstractAccumulator):
    """A statistic of one record at a time: its sums are Σ of `terms` of deviations from the reference."""

    def observe(self, states: Any, alive: Mask) -> Float[Array, "replicas ..."]:
        return observe(self.of, states, alive)

    def reference(self, x: Float[Array, "replicas ..."], alive: Mask) -> Float[Array, "..."]:
        return mean_of_living(x, alive)

    def check(self, x: Any, groups: Groups) -> None:
        """An error where the sums for observables of the shape of `x` would be too large."""

    @abc.abstractmethod
    def terms(self, deviations: Float[Array, "groups members ..."], present: Bool[Array, "groups members"]) -> Any:
        """What one record adds to each group's sums; deviations are 0 where a member is not present."""

    @abc.abstractmethod
    def shifted(self, moments: Any, shift: Float[Array, "..."]) -> Any:
        """Moments (wide, leading axis groups) about c as moments about c − shift."""

    def init(self, states: Any, alive: Mask, groups: Groups, records: Records) -> Sums:
        check_counts(groups, records)
        x = jax.eval_shape(self.observe, states, alive)
        self.check(x, groups)
        reference = self.reference(self.observe(states, alive), alive)
        split = jax.ShapeDtypeStruct((groups.count, groups.members, *x.shape[1:]), x.dtype)
        present = jax.eval_shape(groups.present, alive)
        return Sums(Ledger.open(groups, alive), reference, _running.zeros(jax.eval_shape(self.terms, split, present)))

    def update(self, sums: Sums, states: Any, alive: Mask, record: Record) -> Sums:
        groups = sums.ledger.groups
        present = groups.present(alive)
        x = groups.split(self.observe(states, alive))
        terms = self.terms(masked(present, x - sums.reference[None, None]), present)
        return Sums(sums.ledger.record(alive), sums.reference, _running.add(sums.moments, terms))

    def merge(self, a: Sums, b: Sums, *, other_replicas: bool = False) -> Sums:
        ledger = a.ledger.merge(b.ledger, other_replicas)
        shift = (b.reference - a.reference).astype(_running.wide())
        moved = self.shifted(_running.widened(b.moments), shift)
        both = jax.tree.map(jnp.add, _running.widened(a.moments), moved)
        return Sums(ledger, a.reference, _running.replaced(a.moments, both))


def counted(present: Bool[Array, "groups members"]) -> Array:
    return jnp.sum(present, axis=1, dtype=jnp.uint32)


def ratio(total: Array, count: Array) -> Array:
    """total / count, nan where nothing was counted; its derivatives stay finite."""
    count = count.reshape(count.shape + (1,) * (total.ndim - count.ndim))
    return jnp.where(count > 0, total / jnp.where(count > 0, count, 1), jnp.nan)


def check_counts(groups: Groups, records: Records) -> None:
    """An error where a group's count, a uint32, would overflow."""
    if isinstance(records.count, int) and records.count * groups.members >= 2**32:
        raise ValueError(
            f"groups = {groups.count}, but {records.count} records of {groups.members} replicas a group "
            "overflow the count of 2³² − 1. Use more groups, or record less often (every)."
        )


def check_size(what: str, numbers: int, limit: int, allow_large: bool, remedies: str) -> None:
    if numbers > limit and not allow_large:
        raise ValueError(
            f"{what} = {numbers:,} numbers ({numbers * 8 / 2**30:.2g} GiB in 64 bits), but without "
            f"consent it must be at most {limit:,}. {remedies}, or consent with allow_large=True."
        )
