"""The covariance of an observable over replicas and records.

With δ = x − c about the reference point c: C = Σ δδᵀ/n − (Σ δ/n)(Σ δ/n)ᵀ, or about a given point, which then
is c: C = Σ δδᵀ/n. One matrix product per group and record. About the ensemble's mean, C has a bias of
−(covariance of that mean), which the jackknife over groups removes: it is of the form −V/groups.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._types import Mask
from ._base import AbstractMoments, check_size, counted, ratio
from ._groups import Groups
from ._observables import Observable, floating, mean_of_living, observe_vector

LARGEST = 32 * 1000**2  # numbers: 1,000 components in 32 groups


class Covariance(AbstractMoments):
    """E[(x − m)(x − m)ᵀ], [components, components].

    m is the ensemble's mean over replicas and records or, if given, the point `about` [components]. An
    observable of any shape is taken row by row; a scalar has one component. More than 1,000 components in
    32 groups (groups × components² numbers) must be consented to with `allow_large`.
    """

    of: Observable | None
    about: Float[Array, " components"] | None
    allow_large: bool = eqx.field(static=True)
    quantity: str = eqx.field(static=True)

    def __init__(self, of: Observable | None = None, *, about: Any = None, allow_large: bool = False):
        self.of = of
        self.about = None if about is None else floating("about", about).ravel()
        self.allow_large = allow_large
        self.quantity = "covariance"

    def observe(self, states: Any, alive: Mask) -> Float[Array, "replicas components"]:
        return observe_vector(self.of, states, alive)

    def reference(self, x: Float[Array, "replicas components"], alive: Mask) -> Float[Array, " components"]:
        return mean_of_living(x, alive) if self.about is None else self.about.astype(x.dtype)

    def check(self, x: Any, groups: Groups) -> None:
        components = x.shape[1]
        if self.about is not None and self.about.shape != (components,):
            raise ValueError(
                f"about has {self.about.size} components, but the observable has {components}. Give one for each."
            )
        check_covariance_size(components, 1, groups, self.allow_large)

    def terms(
        self, deviations: Float[Array, "groups members components"], present: Bool[Array, "groups members"]
    ) -> Any:
        # the default precision on accelerators has 11 bits: too few for a variance
        second = jnp.einsum("gmi,gmj->gij", deviations, deviations, precision="highest")
        return counted(present), jnp.sum(deviations, axis=1), second

    def shifted(self, moments: Any, shift: Float[Array, " components"]) -> Any:
        count, first, second = moments
        n, h = count[:, None, None], jnp.broadcast_to(shift, first.shape)
        moved = second + outer(h, first) + outer(first, h) + n * outer(h, h)
        return count, first + count[:, None] * h, moved

    def value(self, totals: Any, reference: Array) -> Array:
        count, first, second = totals
        raw = ratio(second, count)
        if self.about is not None:
            return raw
        mean = ratio(first, count)
        return raw - outer(mean, mean)


def outer(x: Float[Array, "*batch i"], y: Float[Array, "*batch j"]) -> Float[Array, "*batch i j"]:
    return x[..., :, None] * y[..., None, :]


def check_covariance_size(components: int, lags: int, groups: Groups, allow_large: bool) -> None:
    of_lags = f" x {lags} lags" if lags > 1 else ""
    check_size(
        f"the size of the sums, {groups.count} groups{of_lags} x {components}² components",
        groups.count * lags * components**2,
        LARGEST,
        allow_large,
        "Use fewer groups, look at fewer components with of=statistics.Projection(directions)",
    )
