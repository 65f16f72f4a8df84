"""Pairs of states a given number of steps apart: autocovariance and displacement.

A few origins (copies of the states, not a ring of the past) serve all lags: an origin waits, is paired with
the state at each lag, and is taken anew when the longest lag K has been served. Origin o = 0, 1, … is taken
at records o·K/4, o·K/4 + K, …, so its age is known from the record alone, and nothing is done at records
where no lag is due. With δx, δy about the reference point c, x = x(t + lag) and y = x(t):

    autocovariance(lag) = Σ δx δyᵀ/n − (Σ δx/n)(Σ δy/n)ᵀ        displacement(lag) = Σ |x − y|²/n

The means are those of the same pairs, so that a slow drift of the ensemble's mean does not enter to first
order; the jackknife over groups removes the bias that this leaves.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._types import Mask
from . import _running
from ._base import AbstractAccumulator, Record, Records, check_counts, counted, ratio
from ._covariance import check_covariance_size, outer
from ._groups import Groups, Ledger
from ._observables import Observable, masked, mean_of_living, observe_vector

ORIGINS = 4


class LaggedSums(eqx.Module):
    """The sums of pairs, each [lags, groups, …] about `reference`, and the states to pair with."""

    ledger: Ledger
    reference: Float[Array, " components"]
    moments: Any
    origins: Float[Array, "origins replicas components"]
    every: int = eqx.field(static=True)


class AbstractLagged(AbstractAccumulator):
    """A statistic of pairs of states at given distances."""

    @property
    @abc.abstractmethod
    def distances(self) -> tuple[str, tuple[int, ...]]:
        """What the user calls the distances, and the distances in steps."""

    @abc.abstractmethod
    def check(self, components: int, groups: Groups) -> None:
        """An error where the sums would be too large."""

    @abc.abstractmethod
    def terms(
        self,
        now: Float[Array, "groups members components"],
        then: Float[Array, "groups members components"],
        present: Bool[Array, "groups members"],
    ) -> Any:
        """What the pairs of one lag add to the sums; both are deviations, 0 where a member is not present."""

    @abc.abstractmethod
    def shifted(self, moments: Any, shift: Float[Array, " components"]) -> Any:
        """Moments (wide, [lags, groups, …]) about c as moments about c − shift."""

    def grouped(self, sums: LaggedSums) -> Any:
        return jax.tree.map(lambda s: jnp.moveaxis(s, 0, 1), _running.widened(sums.moments))

    def init(self, states: Any, alive: Mask, groups: Groups, records: Records) -> LaggedSums:
        check_counts(groups, records)
        lags = in_records(*self.distances, records)
        x = observe_vector(self.of, states, alive)
        self.check(x.shape[1], groups)
        split = jax.eval_shape(groups.split, x)
        terms = jax.eval_shape(self.terms, split, split, jax.eval_shape(groups.present, alive))
        per_lag = jax.tree.map(lambda s: jax.ShapeDtypeStruct((len(lags), *s.shape), s.dtype), terms)
        origins = jnp.zeros((min(ORIGINS, period(lags)), *x.shape), x.dtype).at[0].set(x)
        zero = _running.zeros(per_lag)
        return LaggedSums(Ledger.open(groups, alive), mean_of_living(x, alive), zero, origins, records.every)

    def update(self, sums: LaggedSums, states: Any, alive: Mask, record: Record) -> LaggedSums:
        lags = tuple(lag // sums.every for lag in self.distances[1])
        waited = waiting(jnp.asarray(record).astype(jnp.int32) + 1, sums.origins.shape[0], period(lags))
        due = due_lags(waited, lags)
        renewed = (waited >= 0) & (waited % period(lags) == 0)

        def serve(kept: Any) -> Any:
            return self._serve(sums, observe_vector(self.of, states, alive), alive, kept, due, renewed)

        kept = (sums.moments, sums.origins)
        moments, origins = jax.lax.cond(jnp.any(due) | jnp.any(renewed), serve, lambda kept: kept, kept)
        return LaggedSums(sums.ledger.record(alive), sums.reference, moments, origins, sums.every)

    def _serve(self, sums: LaggedSums, x: Array, alive: Mask, kept: Any, due: Array, renewed: Array) -> Any:
        """Pair the present state with each origin that has a lag due, and renew origins at the end."""
        groups = sums.ledger.groups
        present = groups.present(alive)
        now = masked(present, groups.split(x) - sums.reference[None, None])

        def pair(moments: Any, origin: Array, due: Array) -> Any:
            then = masked(present, groups.split(origin) - sums.reference[None, None])
            return add_if(jnp.any(due), moments, jnp.argmax(due), lambda: self.terms(now, then, present))

        moments, origins = kept
        lag_zero = jnp.asarray([lag == 0 for lag in self.distances[1]])
        for o in range(origins.shape[0]):
            moments = pair(moments, origins[o], due[o])
            if 0 in self.distances[1]:
                moments = pair(moments, x, lag_zero & renewed[o])
        return moments, masked(renewed, jnp.broadcast_to(x[None], origins.shape), origins)

    def merge(self, a: LaggedSums, b: LaggedSums, *, other_replicas: bool = False) -> LaggedSums:
        ledger = a.ledger.merge(b.ledger, other_replicas)
        shift = (b.reference - a.reference).astype(_running.wide())
        moved = self.shifted(_running.widened(b.moments), shift)
        both = _running.replaced(a.moments, jax.tree.map(jnp.add, _running.widened(a.moments), moved))
        return LaggedSums(ledger, a.reference, both, a.origins, a.every)


def period(lags: tuple[int, ...]) -> int:
    """Records between two renewals of an origin: the longest lag."""
    return max(1, *lags)


def waiting(record: Int[Array, ""], origins: int, period: int) -> Int[Array, " origins"]:
    """Records since each origin was first taken; negative before that."""
    return record - jnp.arange(origins, dtype=jnp.int32) * (period // origins)


def due_lags(waited: Int[Array, " origins"], lags: tuple[int, ...]) -> Bool[Array, "origins lags"]:
    """Which lag > 0 each origin is to serve now: at most one. Lag 0 is served when an origin is taken."""
    longest = period(lags)
    age = jnp.where(waited % longest == 0, longest, waited % longest)
    return (waited > 0)[:, None] & (age[:, None] == jnp.asarray(lags, jnp.int32)[None])


def add_if(due: Bool[Array, ""], moments: Any, index: Int[Array, ""], terms: Callable[[], Any]) -> Any:
    """The sums with `terms` added at lag number `index`, where that is due.

    The condition is on that lag's sums alone: XLA would copy the sums of all lags into its branches.
    """
    part = jax.tree.map(lambda s: s[index], moments)
    part = jax.lax.cond(due, lambda part: _running.add(part, terms()), lambda part: part, part)
    return jax.tree.map(lambda s, p: s.at[index].set(p), moments, part)


def distinct(argument: str, steps: Any) -> tuple[int, ...]:
    """Numbers of steps as a tuple of distinct whole numbers ≥ 0."""
    values = tuple(int(k) if int(k) == k else k for k in np.atleast_1d(np.asarray(steps)).tolist())
    for k in values:
        if not isinstance(k, int) or k < 0:
            raise ValueError(f"{argument} holds {k}, but every entry must be a whole number of steps ≥ 0.")
    if not values or len(set(values)) < len(values):
        raise ValueError(f"{argument} = {values}, but it must hold at least one entry, and none twice.")
    return values


def in_records(argument: str, steps: tuple[int, ...], records: Records) -> tuple[int, ...]:
    """Numbers of steps as numbers of records; an error that names the entry that never comes."""
    last = records.last_step()
    for k in steps:
        if k % records.every:
            raise ValueError(
                f"{argument} holds {k}, but it must be a multiple of every = {records.every}. "
                f"Use {k - k % records.every} or {k - k % records.every + records.every}, or another every."
            )
        if last is not None and k > last:
            raise ValueError(
                f"{argument} holds {k}, but only {last} steps will be recorded. Drop it, or simulate longer."
            )
    return tuple(k // records.every for k in steps)


class Autocovariance(AbstractLagged):
    """E[δx(t + lag) δx(t)ᵀ] at each of `lags` (steps, multiples of `every`, 0 allowed),
    [lags, components, components].

    An observable of any shape is taken row by row; a scalar has one component. Each lag is centred by the
    means of its own pairs. More than 1,000 components in 32 groups at one lag (groups × lags × components²
    numbers) must be consented to with `allow_large`.
    """

    lags: tuple[int, ...] = eqx.field(static=True)
    of: Observable | None
    allow_large: bool = eqx.field(static=True)
    quantity: str = eqx.field(static=True)

    def __init__(self, lags: Any, of: Observable | None = None, *, allow_large: bool = False):
        self.lags = distinct("lags", lags)
        self.of = of
        self.allow_large = allow_large
        self.quantity = "autocovariance"

    @property
    def distances(self) -> tuple[str, tuple[int, ...]]:
        return "lags", self.lags

    def coordinates(self) -> dict[str, Array]:
        return {"lags": jnp.asarray(self.lags)}

    def check(self, components: int, groups: Groups) -> None:
        check_covariance_size(components, len(self.lags), groups, self.allow_large)

    def terms(self, now: Array, then: Array, present: Bool[Array, "groups members"]) -> Any:
        product = jnp.einsum("gmi,gmj->gij", now, then, precision="highest")
        return counted(present), jnp.sum(now, axis=1), jnp.sum(then, axis=1), product

    def shifted(self, moments: Any, shift: Float[Array, " components"]) -> Any:
        count, now, then, product = moments
        n = count[:, :, None]
        h = jnp.broadcast_to(shift, now.shape)
        moved = product + outer(h, then) + outer(now, h) + n[..., None] * outer(h, h)
        return count, now + n * h, then + n * h, moved

    def value(self, totals: Any, reference: Array) -> Array:
        count, now, then, product = totals
        return ratio(product, count) - outer(ratio(now, count), ratio(then, count))


class Displacement(AbstractLagged):
    """E|x(t + k) − x(t)|² at each of `steps` k (multiples of `every`), summed over components, [steps].

    Origins t are spread over all records, as suits a stationary path; of one fixed origin, it is
    `GlobalDisplacement`. The local displacement, from each record to the next, is `Displacement((every,))`:
    alone, it takes all pairs of consecutive records; beside a longer k, only those after an origin.
    """

    steps: tuple[int, ...] = eqx.field(static=True)
    of: Observable | None
    quantity: str = eqx.field(static=True)

    def __init__(self, steps: Any, of: Observable | None = None):
        self.steps = distinct("steps", steps)
        self.of = of
        self.quantity = "displacement"

    @property
    def distances(self) -> tuple[str, tuple[int, ...]]:
        return "steps", self.steps

    def coordinates(self) -> dict[str, Array]:
        return {"steps": jnp.asarray(self.steps)}

    def check(self, components: int, groups: Groups) -> None:
        """The sums are one number for each group and distance."""

    def terms(self, now: Array, then: Array, present: Bool[Array, "groups members"]) -> Any:
        return counted(present), jnp.sum((now - then) ** 2, axis=(1, 2))

    def shifted(self, moments: Any, shift: Float[Array, " components"]) -> Any:
        return moments

    def value(self, totals: Any, reference: Array) -> Array:
        count, square = totals
        return ratio(square, count)
