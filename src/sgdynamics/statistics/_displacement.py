"""Global displacement: how far from a fixed origin, E|x(k) − x*|² (Kunin et al. 2023, Sec. 4 and Eq. 13).

The origin x* is each replica's own state at step 0 (the start of recording) or, if given, one point. Only
the steps that were asked for are looked at, and one sum per group and step is kept, of squares of
*differences*: float32 does not cancel. The local displacement of the paper, E|x(k + 1) − x(k)|², is
`Displacement((every,))`, which averages over origins all along a stationary path.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .. import _checks
from .._types import Mask
from . import _running
from ._base import AbstractAccumulator, Record, Records, check_counts, check_size, counted, ratio, step_of
from ._covariance import LARGEST
from ._groups import Groups, Ledger
from ._lagged import add_if, distinct, in_records
from ._observables import Observable, floating, masked, observe_vector


class DisplacedSums(eqx.Module):
    """The sums of squares, [steps, groups, …]; `origins` is [1, components] where all replicas share one."""

    ledger: Ledger
    reference: Float[Array, ""]
    moments: Any
    origins: Float[Array, "origins components"]
    every: int = eqx.field(static=True)


class GlobalDisplacement(AbstractAccumulator):
    """E|x(k) − x*|² at each of `steps` k after the start of recording (multiples of `every`; 0 is the start),
    summed over components, [steps]; with `per_component`, E(x_i(k) − x*_i)² of each, [steps, components].

    x* is each replica's own state at the start or, if given, the point `origin` [components]. An observable
    of any shape is taken row by row. Nothing is averaged over time, so the path need not be stationary; sums
    that are merged over records are of runs that each started at an origin of their own. More than 32
    million numbers (groups × steps × components) must be consented to with `allow_large`.
    """

    steps: tuple[int, ...] = eqx.field(static=True)
    of: Observable | None
    origin: Float[Array, " components"] | None
    per_component: bool = eqx.field(static=True)
    allow_large: bool = eqx.field(static=True)
    quantity: str = eqx.field(static=True)

    def __init__(
        self,
        steps: Any,
        of: Observable | None = None,
        *,
        origin: Any = None,
        per_component: bool = False,
        allow_large: bool = False,
    ):
        self.steps = distinct("steps", steps)
        self.of = of
        self.origin = None if origin is None else floating("origin", origin).ravel()
        self.per_component = per_component
        self.allow_large = allow_large
        self.quantity = "global displacement"

    def coordinates(self) -> dict[str, Array]:
        return {"steps": jnp.asarray(self.steps)}

    def init(self, states: Any, alive: Mask, groups: Groups, records: Records) -> DisplacedSums:
        check_counts(groups, records)
        in_records("steps", self.steps, records)
        x = observe_vector(self.of, states, alive)
        self._check(x.shape[1], groups)
        origins = x if self.origin is None else self.origin.astype(x.dtype)[None]
        present = groups.present(alive)
        terms = jax.eval_shape(self._terms, groups.split(x), present)
        zero = _running.zeros(jax.tree.map(lambda s: jax.ShapeDtypeStruct((len(self.steps), *s.shape), s.dtype), terms))
        empty = DisplacedSums(Ledger.open(groups, alive), jnp.zeros((), x.dtype), zero, origins, records.every)
        return self._recorded(empty, states, alive, jnp.int32(0)) if 0 in self.steps else empty

    def update(self, sums: DisplacedSums, states: Any, alive: Mask, record: Record) -> DisplacedSums:
        return self._recorded(sums, states, alive, step_of(record, sums.every))

    def _recorded(self, sums: DisplacedSums, states: Any, alive: Mask, step: Int[Array, ""]) -> DisplacedSums:
        due = jnp.asarray(self.steps, jnp.int32) == step

        def serve(moments: Any) -> Any:
            groups, present = sums.ledger.groups, sums.ledger.groups.present(alive)
            away = observe_vector(self.of, states, alive) - sums.origins
            terms = self._terms(masked(present, groups.split(away)), present)
            return add_if(jnp.any(due), moments, jnp.argmax(due), lambda: terms)

        moments = jax.lax.cond(jnp.any(due), serve, lambda moments: moments, sums.moments)
        return DisplacedSums(sums.ledger.record(alive), sums.reference, moments, sums.origins, sums.every)

    def _terms(
        self, away: Float[Array, "groups members components"], present: Bool[Array, "groups members"]
    ) -> tuple[Array, Array]:
        squares = jnp.sum(away**2, axis=1)
        return counted(present), squares if self.per_component else jnp.sum(squares, axis=1)

    def _check(self, components: int, groups: Groups) -> None:
        if self.origin is not None:
            _checks.shaped("origin", self.origin, (components,), "Give one number for each component observed.")
        if self.per_component:
            check_size(
                f"the size of the sums, {groups.count} groups x {len(self.steps)} steps x {components} components",
                groups.count * len(self.steps) * components,
                LARGEST,
                self.allow_large,
                "Take fewer steps, look at fewer components with of=statistics.Projection(directions)",
            )

    def merge(self, a: DisplacedSums, b: DisplacedSums, *, other_replicas: bool = False) -> DisplacedSums:
        ledger = a.ledger.merge(b.ledger, other_replicas)
        both = jax.tree.map(jnp.add, _running.widened(a.moments), _running.widened(b.moments))
        return DisplacedSums(ledger, a.reference, _running.replaced(a.moments, both), a.origins, a.every)

    def grouped(self, sums: Any) -> Any:
        return jax.tree.map(lambda s: jnp.moveaxis(s, 0, 1), _running.widened(sums.moments))

    def value(self, totals: Any, reference: Array) -> Array:
        count, squares = totals
        return ratio(squares, count)


def logarithmic_steps(last: int, count: int = 30, *, every: int = 1) -> tuple[int, ...]:
    """About `count` multiples of `every` from `every` to `last`, evenly spaced in their logarithms.

    Early ones that round to the same step are given once. The greatest is the last multiple ≤ `last`.
    """
    every, count = _checks.count("every", every), _checks.count("count", count)
    last = _checks.count("last", last, least=every, remedy="Simulate for at least `every` steps.")
    records = np.geomspace(1, last // every, count) if count > 1 else np.array([last // every])
    return tuple((np.unique(np.round(records).astype(int)) * every).tolist())
