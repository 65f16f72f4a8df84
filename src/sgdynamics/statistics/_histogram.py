"""Histograms: how often an observable falls between given edges.

density_b = (share of replicas and records with e_b ≤ x < e_{b+1}) / (e_{b+1} − e_b); what falls below the
first edge or not below the last is counted too, so that the density integrates to 1 − underflow − overflow.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .. import _checks
from .._types import Mask
from ._base import AbstractMoments, Sums, check_size, ratio
from ._estimate import Estimate
from ._groups import Groups
from ._observables import Observable, floating

LARGEST = 10**8  # numbers


class HistogramEstimate(eqx.Module):
    """`density` [..., bins] between `edges` [bins + 1]; `underflow`, `overflow` [...] are the shares outside.

    The leading axes are those of the observable. `value` and `standard_error` are the density's.
    """

    density: Estimate
    underflow: Estimate
    overflow: Estimate
    edges: Float[Array, " edges"]

    @property
    def value(self) -> Array:
        return self.density.value

    @property
    def standard_error(self) -> Array:
        return self.density.standard_error

    def __str__(self) -> str:
        return f"{self.density}; below {self.underflow}; above {self.overflow}"


class Histogram(AbstractMoments):
    """The density of each component of an observable between `edges` [bins + 1], ascending.

    Estimates are `HistogramEstimate`s; `estimate` gives the bare shares [..., 1 + bins + 1], the first and
    the last of them outside the edges.
    """

    edges: Float[Array, " edges"]
    of: Observable | None
    quantity: str = eqx.field(static=True)

    def __init__(self, edges: Any, of: Observable | None = None):
        self.edges = floating("edges", edges)
        if self.edges.ndim != 1 or self.edges.size < 2:
            raise ValueError(f"edges has shape {self.edges.shape}, but it must be [bins + 1]. jnp.linspace makes some.")
        _checks.require("edges", self.edges, jnp.diff(self.edges) > 0, allowed="ascending", remedy="Sort it.")
        self.of = of
        self.quantity = "histogram"

    def reference(self, x: Float[Array, "replicas ..."], alive: Mask) -> Float[Array, "..."]:
        return jnp.zeros_like(x[0])

    def check(self, x: Any, groups: Groups) -> None:
        check_size(
            f"the size of the counts, {groups.count} groups x {x.shape[1:]} components x bins",
            groups.count * (x.size // x.shape[0]) * (self.edges.size + 1),
            LARGEST,
            False,
            "Use fewer groups or edges, or a scalar observable",
        )

    def terms(self, deviations: Float[Array, "groups members ..."], present: Bool[Array, "groups members"]) -> Any:
        bins = jnp.searchsorted(self.edges.astype(deviations.dtype), deviations, side="right").astype(jnp.int32)
        here = present.reshape(present.shape + (1,) * (bins.ndim - 1))
        every_bin = jnp.arange(self.edges.size + 1, dtype=jnp.int32).reshape((1,) * bins.ndim + (-1,))
        return jnp.sum((bins[..., None] == every_bin) & here, axis=1, dtype=jnp.uint32)

    def shifted(self, moments: Any, shift: Float[Array, "..."]) -> Any:
        return moments

    def value(self, totals: Any, reference: Array) -> Array:
        return ratio(totals, jnp.sum(totals, axis=-1))

    def conclude(self, sums: Sums) -> HistogramEstimate:
        shares = self.estimate(sums, self.usable(sums))
        widths = jnp.diff(self.edges.astype(shares.value.dtype))
        density = shares.map(lambda s: s[..., 1:-1] / widths.reshape((1,) * (s.ndim - 1) + (-1,)))
        density = eqx.tree_at(lambda e: e.edges, density, self.edges, is_leaf=lambda x: x is None)
        underflow, overflow = (shares.map(lambda s, i=i: s[..., i], quantity="share") for i in (0, -1))
        return HistogramEstimate(density, underflow, overflow, self.edges)
