"""Statistics of single paths: snapshots, first passages, extrema.

They keep a few numbers for each replica, so a replica that diverges is left out alone, not with its group;
its path is left out from the start, whenever it diverged. The state at step 0 belongs to the path.
"""

import abc
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._types import Mask
from ._base import AbstractStatistic, Record, Records, check_size, ratio, step_of
from ._estimate import Estimate, jackknife
from ._groups import Groups, living
from ._lagged import distinct, in_records
from ._observables import Observable, floating, masked, name_of, observe
from ._running import wide

LARGEST = 10**8  # numbers

Values = Float[Array, "replicas ..."]
Steps = Int[Array, "replicas ..."]


class PathSums(eqx.Module):
    """What a statistic keeps of each path, and which replicas are alive."""

    groups: Groups = eqx.field(static=True)
    every: int = eqx.field(static=True)
    alive: Mask
    kept: Any


class AbstractPaths(AbstractStatistic):
    """A statistic that keeps something of each replica's path."""

    @abc.abstractmethod
    def begin(self, x: Values, alive: Mask, records: Records) -> Any:
        """What is kept at step 0."""

    @abc.abstractmethod
    def keep(self, kept: Any, x: Values, alive: Mask, step: Int[Array, ""]) -> Any:
        """What is kept after the record at `step`."""

    @abc.abstractmethod
    def combine(self, a: Any, b: Any) -> Any:
        """What is kept of the records of both."""

    def init(self, states: Any, alive: Mask, groups: Groups, records: Records) -> PathSums:
        kept = self.begin(observe(self.of, states, alive), alive, records)
        return PathSums(groups, records.every, alive, kept)

    def update(self, sums: PathSums, states: Any, alive: Mask, record: Record) -> PathSums:
        step = step_of(record, sums.every)
        kept = self.keep(sums.kept, observe(self.of, states, alive), alive, step)
        return PathSums(sums.groups, sums.every, alive, kept)

    def usable(self, sums: PathSums) -> Bool[Array, " groups"]:
        return living(sums.groups, sums.alive) > 0

    def merge(self, a: PathSums, b: PathSums, *, other_replicas: bool = False) -> PathSums:
        if other_replicas or a.groups != b.groups:
            raise ValueError(
                f"merge: paths of {a.groups.replicas} and {b.groups.replicas} other replicas, but paths "
                "can only be merged over records. Finalise both, and join their replicas' values."
            )
        return PathSums(a.groups, a.every, a.alive & b.alive, self.combine(a.kept, b.kept))


def path_estimate(
    sums: PathSums, value: Callable[[Any], Array], kept: Any, quantity: str, **described: Any
) -> Estimate:
    """The estimate of a function of totals over replicas of `kept`, finite arrays [replicas, …]."""
    members = living(sums.groups, sums.alive)
    present = sums.groups.present(sums.alive)
    totals = jax.tree.map(lambda x: jnp.sum(masked(present, sums.groups.split(x.astype(wide()))), axis=1), kept)
    return jackknife(value, totals, members, members > 0, quantity=quantity, **described)


class SnapshotsEstimate(eqx.Module):
    """`values` [snapshots, replicas, ...] at `steps` [snapshots]: nan where a snapshot was not taken or its
    replica is dead. `alive` [replicas]: at the end. `mean`: the estimate of the ensemble's mean at each step
    over replicas alive at the end, [snapshots, ...]; `value` and `standard_error` are its."""

    mean: Estimate
    values: Float[Array, "snapshots replicas ..."]
    steps: Int[Array, " snapshots"]
    alive: Mask

    @property
    def value(self) -> Array:
        return self.mean.value

    @property
    def standard_error(self) -> Array:
        return self.mean.standard_error

    def __str__(self) -> str:
        return str(self.mean)


class SnapshotsKept(eqx.Module):
    values: Float[Array, "snapshots replicas ..."]
    taken: Bool[Array, " snapshots"]


class Snapshots(AbstractPaths):
    """The observable of every replica at chosen `steps` (multiples of `every`; 0 is the state at the start).

    More than 10⁸ numbers (snapshots × replicas × components) must be consented to with `allow_large`.
    """

    steps: tuple[int, ...] = eqx.field(static=True)
    of: Observable | None
    allow_large: bool = eqx.field(static=True)

    def __init__(self, steps: Any, of: Observable | None = None, *, allow_large: bool = False):
        self.steps = distinct("steps", steps)
        self.of = of
        self.allow_large = allow_large

    def begin(self, x: Values, alive: Mask, records: Records) -> SnapshotsKept:
        in_records("steps", self.steps, records)
        check_size(
            f"the size of the snapshots, {len(self.steps)} snapshots x {x.shape}",
            len(self.steps) * x.size,
            LARGEST,
            self.allow_large,
            "Take fewer snapshots, or look at less with of=statistics.Projection(directions)",
        )
        nothing = jnp.full((len(self.steps), *x.shape), jnp.nan, x.dtype)
        return self.keep(SnapshotsKept(nothing, jnp.zeros(len(self.steps), bool)), x, alive, jnp.int32(0))

    def keep(self, kept: SnapshotsKept, x: Values, alive: Mask, step: Int[Array, ""]) -> SnapshotsKept:
        now = jnp.asarray(self.steps, jnp.int32) == step
        values = jax.lax.cond(
            jnp.any(now),
            lambda values: values.at[jnp.argmax(now)].set(masked(alive, x, jnp.nan)),
            lambda values: values,
            kept.values,
        )
        return SnapshotsKept(values, kept.taken | now)

    def combine(self, a: SnapshotsKept, b: SnapshotsKept) -> SnapshotsKept:
        return SnapshotsKept(masked(a.taken, a.values, b.values), a.taken | b.taken)

    def conclude(self, sums: PathSums) -> SnapshotsEstimate:
        kept, steps = sums.kept, jnp.asarray(self.steps)
        values = jnp.moveaxis(kept.values, 0, 1)
        # before the jackknife the missing ones are 0, after it they are nan again
        finite = jnp.where(jnp.isfinite(values), values, 0)

        def mean(totals: Any) -> Array:
            total, count = totals
            return masked(kept.taken, ratio(total, count), jnp.nan)

        estimate = path_estimate(
            sums, mean, (finite, jnp.ones(sums.groups.replicas)), "mean", of=name_of(self.of), steps=steps
        )
        return SnapshotsEstimate(estimate, kept.values, steps, sums.alive)


class FirstPassageEstimate(eqx.Module):
    """`times` [replicas, ...]: the first step at or beyond the level, inf where it was not reached, nan for
    dead replicas. `mean`: of the times of those that passed; `fraction`: how many did. `value` and
    `standard_error` are the mean's; it is biased low where the fraction is below 1."""

    mean: Estimate
    fraction: Estimate
    times: Values

    @property
    def value(self) -> Array:
        return self.mean.value

    @property
    def standard_error(self) -> Array:
        return self.mean.standard_error

    def __str__(self) -> str:
        return f"{self.mean} (fraction passed {self.fraction})"


class FirstPassage(AbstractPaths):
    """The first recorded step at which each component of an observable is at or beyond `level`.

    `level` is a scalar or has the observable's shape; `direction` is "up" (≥ level) or "down" (≤ level).
    A replica that begins there has passed at step 0. A crossing between two records is seen at the later.
    """

    level: Float[Array, "..."]
    of: Observable | None
    direction: Literal["up", "down"] = eqx.field(static=True)

    def __init__(self, level: Any, of: Observable | None = None, direction: str = "up"):
        if direction not in ("up", "down"):
            raise ValueError(f'direction = {direction!r}, but it must be "up" or "down".')
        self.level = floating("level", level)
        self.of = of
        self.direction = direction

    def begin(self, x: Values, alive: Mask, records: Records) -> Steps:
        if self.level.ndim and self.level.shape != x.shape[1:]:
            raise ValueError(
                f"level has shape {self.level.shape}, but the observable has {x.shape[1:]}. "
                "Give one level, or one for each component."
            )
        return self.keep(jnp.full(x.shape, -1, jnp.int32), x, alive, jnp.int32(0))

    def keep(
        self,
        kept: Steps,
        x: Values,
        alive: Mask,
        step: Int[Array, ""],
    ) -> Steps:
        level = jnp.broadcast_to(self.level.astype(x.dtype), x.shape)
        beyond = x >= level if self.direction == "up" else x <= level
        return jnp.where((kept < 0) & masked(alive, beyond, False), step, kept)

    def combine(self, a: Steps, b: Steps) -> Steps:
        return jnp.where((a < 0) | (b < 0), jnp.maximum(a, b), jnp.minimum(a, b))

    def conclude(self, sums: PathSums) -> FirstPassageEstimate:
        passed, of = sums.kept >= 0, name_of(self.of)
        counts = (jnp.where(passed, sums.kept, 0), passed)
        mean = path_estimate(sums, lambda totals: ratio(*totals), counts, "first passage", of=of)
        shares = (passed, jnp.ones(sums.groups.replicas))
        fraction = path_estimate(sums, lambda totals: ratio(*totals), shares, "fraction passed", of=of)
        times = jnp.where(passed, sums.kept.astype(wide()), jnp.inf)
        return FirstPassageEstimate(mean, fraction, masked(sums.alive, times, jnp.nan))


class ExtremaEstimate(eqx.Module):
    """`minima`, `maxima` [replicas, ...] and the steps at which they were first reached (nan and −1 for dead
    replicas). `mean`: the estimate of the mean minimum and maximum, [2, ...]; `value` and `standard_error`
    are its."""

    mean: Estimate
    minima: Values
    maxima: Values
    minimum_steps: Steps
    maximum_steps: Steps

    @property
    def value(self) -> Array:
        return self.mean.value

    @property
    def standard_error(self) -> Array:
        return self.mean.standard_error

    def __str__(self) -> str:
        return str(self.mean)


class ExtremaKept(eqx.Module):
    minima: Values
    maxima: Values
    minimum_steps: Steps
    maximum_steps: Steps


class Extrema(AbstractPaths):
    """The least and the greatest value of each component of an observable on each replica's path (step 0 and
    every record), and the steps at which they occur."""

    of: Observable | None = None

    def begin(self, x: Values, alive: Mask, records: Records) -> ExtremaKept:
        start = jnp.zeros(x.shape, jnp.int32)
        return ExtremaKept(x, x, start, start)

    def keep(self, kept: ExtremaKept, x: Values, alive: Mask, step: Int[Array, ""]) -> ExtremaKept:
        steps = jnp.broadcast_to(step, x.shape)
        living = jnp.broadcast_to(alive.reshape(-1, *(1,) * (x.ndim - 1)), x.shape)
        return _extremer(kept, ExtremaKept(x, x, steps, steps), living)

    def combine(self, a: ExtremaKept, b: ExtremaKept) -> ExtremaKept:
        return _extremer(a, b, True)

    def conclude(self, sums: PathSums) -> ExtremaEstimate:
        kept, dead = sums.kept, ~sums.alive
        both = jnp.stack([kept.minima, kept.maxima], axis=1)
        counts = (both, jnp.ones(sums.groups.replicas))
        of = name_of(self.of)
        mean = path_estimate(sums, lambda totals: ratio(*totals), counts, "mean minimum and maximum", of=of)
        return ExtremaEstimate(
            mean,
            masked(dead, jnp.full_like(kept.minima, jnp.nan), kept.minima),
            masked(dead, jnp.full_like(kept.maxima, jnp.nan), kept.maxima),
            masked(dead, jnp.full_like(kept.minimum_steps, -1), kept.minimum_steps),
            masked(dead, jnp.full_like(kept.maximum_steps, -1), kept.maximum_steps),
        )


def _extremer(a: ExtremaKept, b: ExtremaKept, where: Any) -> ExtremaKept:
    """The extremes of both (of `a` alone, where told); of equal ones the earlier."""
    lower = where & ((b.minima < a.minima) | ((b.minima == a.minima) & (b.minimum_steps < a.minimum_steps)))
    higher = where & ((b.maxima > a.maxima) | ((b.maxima == a.maxima) & (b.maximum_steps < a.maximum_steps)))
    return ExtremaKept(
        jnp.where(lower, b.minima, a.minima),
        jnp.where(higher, b.maxima, a.maxima),
        jnp.where(lower, b.minimum_steps, a.minimum_steps),
        jnp.where(higher, b.maximum_steps, a.maximum_steps),
    )
