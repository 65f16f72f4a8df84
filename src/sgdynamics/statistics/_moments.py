"""Mean, variance and kurtosis of each component, from power sums about the reference point c.

With δ = x − c and s_k = Σ δ^k over replicas and records, n = s_0:

    mean      c + s_1/n
    variance  μ_2 = s_2/n − (s_1/n)²
    kurtosis  μ_4/μ_2² − 3,   μ_4 the fourth central moment

(the jackknife removes the bias of order 1/replicas of the latter two). About c − h,
s'_k = Σ_j binom(k, j) h^{k−j} s_j.
"""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._base import AbstractMoments, counted, ratio
from ._observables import Observable


class AbstractPowers(AbstractMoments):
    """A function of power sums; `order` is the highest power."""

    order: eqx.AbstractClassVar[int]

    def terms(self, deviations: Float[Array, "groups members ..."], present: Bool[Array, "groups members"]) -> Any:
        powers = tuple(jnp.sum(deviations**k, axis=1) for k in range(1, self.order + 1))
        return counted(present), powers

    def shifted(self, moments: Any, shift: Float[Array, "..."]) -> Any:
        count, powers = moments
        n = jnp.broadcast_to(count.reshape(-1, *(1,) * shift.ndim), powers[0].shape)
        s = (n, *powers)
        h = shift[None]
        return count, tuple(
            sum((math.comb(k, j) * h ** (k - j) * s[j] for j in range(k)), start=s[k]) for k in range(1, self.order + 1)
        )

    def raw(self, totals: Any) -> tuple[Array, ...]:
        """E δ^k, k = 1, …, order."""
        count, powers = totals
        return tuple(ratio(s, count) for s in powers)


class Mean(AbstractPowers):
    """The mean of an observable over replicas and records, of the observable's shape."""

    of: Observable | None = None
    quantity: str = eqx.field(static=True, default="mean")
    order: ClassVar[int] = 1

    def value(self, totals: Any, reference: Array) -> Array:
        return reference + self.raw(totals)[0]


class Variance(AbstractPowers):
    """The variance of each component of an observable about the ensemble's mean, of its shape."""

    of: Observable | None = None
    quantity: str = eqx.field(static=True, default="variance")
    order: ClassVar[int] = 2

    def value(self, totals: Any, reference: Array) -> Array:
        first, second = self.raw(totals)
        return second - first**2


class Kurtosis(AbstractPowers):
    """The excess kurtosis of each component of an observable (0 for a Gaussian), of its shape."""

    of: Observable | None = None
    quantity: str = eqx.field(static=True, default="kurtosis")
    order: ClassVar[int] = 4

    def value(self, totals: Any, reference: Array) -> Array:
        a, b, c, d = self.raw(totals)
        variance = b - a**2
        fourth = d - 4 * a * c + 6 * a**2 * b - 3 * a**4
        return fourth / variance**2 - 3


class LossAt(eqx.Module):
    """The observable θ ↦ problem.loss(θ), or problem.loss(θ, data) on other data; a scalar."""

    problem: Any
    data: Any = None
    name: str = eqx.field(static=True, default="loss")

    def __call__(self, state: Any) -> Float[Array, ""]:
        if self.data is None:
            return self.problem.loss(state.position)
        return self.problem.loss(state.position, self.data)


def Loss(problem: Any, data: Any = None) -> Mean:
    """The mean loss over replicas and records: of `problem` on its own data or, if given, on `data` (a test
    set). A scalar."""
    if not callable(getattr(problem, "loss", None)):
        raise ValueError(f"problem = {problem!r}, but it must have a method loss(θ). Pass an sgd.Problem.")
    return Mean(of=LossAt(problem, data), quantity="loss")
