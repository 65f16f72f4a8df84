"""Estimates with errors: the jackknife over groups of replicas.

With v the statistic of all groups, v₋g that without group g, w_g the share of the replicas in group g and
h_g = 1/w_g, the pseudo-values are

    p_g = h_g v − (h_g − 1) v₋g = v + (1 − w_g)/w_g · (v − v₋g),

the estimate is Σ w_g p_g, which has no bias of first order, and the square of its error is
Σ (p_g − value)² / (h_g − 1) / G, with Student's t of G − 1 degrees of freedom (Busing, Meijer and van der
Leeden 1999, the jackknife for groups of unequal size; with equal groups h_g = G it is the usual one).
For a mean, p_g is the mean of group g.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Real

from .. import _checks
from ._observables import masked
from ._running import wide


class Estimate(eqx.Module):
    """A measured quantity with its standard error.

    - `value`, `standard_error`: arrays of the quantity's shape. With one usable group the error is inf;
      with none, value and error are nan.
    - `groups` [groups, ...], `weights` [groups]: the pseudo-values behind them and their weights, of sum 1.
      A group that was left out has weight 0, and the value itself as its pseudo-value.
    - `degrees_of_freedom`: of Student's t, usable groups − 1. `left_out`: how many groups were left out,
      because a replica diverged after it had contributed, or because nobody was alive.
    - `quantity`: "mean", "covariance", …; `of`: the observable's name, None for the position.
    - `lags`, `steps`, `frequencies` (rad per step), `edges`: coordinates of the first (edges: last) axis,
      where there are any.
    """

    value: Float[Array, "*shape"]
    standard_error: Float[Array, "*shape"]
    groups: Float[Array, "groups *shape"]
    weights: Float[Array, " groups"]
    degrees_of_freedom: Int[Array, ""]
    left_out: Int[Array, ""]
    quantity: str = eqx.field(static=True)
    of: str | None = eqx.field(static=True, default=None)
    lags: Int[Array, " lags"] | None = None
    steps: Int[Array, " steps"] | None = None
    edges: Float[Array, " edges"] | None = None
    frequencies: Float[Array, " frequencies"] | None = None

    def map(self, function: Callable[[Array], Array], quantity: str | None = None) -> "Estimate":
        """The estimate of `function` of the value, with its error carried through the groups.

        Exact for linear functions (each pseudo-value is mapped), to first order for others. Coordinates
        are dropped, because the shape may change.
        """
        return from_values(
            function(self.value),
            jax.vmap(function)(without_each(self.value, self.groups, self.weights)),
            self.weights,
            quantity=self.quantity if quantity is None else quantity,
            of=self.of,
        )

    def z(self, expected: Any) -> Float[Array, "..."]:
        """(value − expected) / standard error; Student's t where `expected` is right."""
        return (self.value - jnp.asarray(expected, self.value.dtype)) / self.standard_error

    def __str__(self) -> str:
        name = self.quantity + (f" of {self.of}" if self.of else "")
        values, errors = np.ravel(self.value), np.ravel(self.standard_error)
        entries = [format_with_error(v, e) for v, e in zip(values[:4], errors[:4], strict=True)]
        if self.value.ndim == 0:
            return entries[0]
        more = ", …" if values.size > 4 else ""
        return f"{name} {list(self.value.shape)}: {', '.join(entries)}{more}"


def jackknife(
    value: Callable[[Any], Array],
    sums: Any,
    members: Real[Array, " groups"],
    usable: Bool[Array, " groups"],
    **described: Any,
) -> Estimate:
    """The estimate of `value(totals)`, where totals are sums over groups of `sums` (leading axis groups).

    Groups that are not usable are left out; the others weigh as many as their members.
    """
    weights = jnp.where(usable, members.astype(wide()), 0)
    weights = weights / jnp.maximum(jnp.sum(weights), 1)
    kept = jax.tree.map(lambda s: masked(usable, s), sums)
    totals = jax.tree.map(lambda s: jnp.sum(s, axis=0), kept)
    without = jax.vmap(lambda group: value(jax.tree.map(jnp.subtract, totals, group)))(kept)
    return from_values(value(totals), without, weights, **described)


def from_values(full: Array, without: Array, weights: Float[Array, " groups"], **described: Any) -> Estimate:
    """The estimate from the statistic of all groups, and without each of them."""
    return from_pseudo_values(_pseudo_values(full, without, weights), weights, **described)


def from_pseudo_values(pseudo: Array, weights: Float[Array, " groups"], **described: Any) -> Estimate:
    """The estimate from a (pseudo-)value of each group."""
    return Estimate(*_averaged(pseudo, weights), **described)


# one program each: operation by operation, compiling them for a new shape would take a second


@jax.jit
def without_each(value: Array, groups: Array, weights: Array) -> Array:
    """The value without each group in turn, as a linear statistic has it."""
    shares = masked(weights > 0, jnp.broadcast_to(_column(weights, groups), groups.shape))
    # leaving out the only group leaves nothing: any finite stand-in will do
    rest = jnp.where(shares < 1, 1 - shares, 1)
    return (value[None] - shares * groups) / rest


@jax.jit
def _pseudo_values(full: Array, without: Array, weights: Array) -> Array:
    several = (weights > 0) & (weights < 1)
    # where a group is left out, or is the only one, it says nothing: its pseudo-value is the value
    return full[None] + _odds(weights, without) * masked(several, full[None] - without)


@jax.jit
def _averaged(pseudo: Array, weights: Array) -> tuple[Array, ...]:
    """(value, standard error, pseudo-values, weights, degrees of freedom, groups left out)."""
    usable = weights > 0
    count = jnp.sum(usable)
    value = jnp.sum(masked(usable, _column(weights, pseudo) * pseudo), axis=0)
    value = jnp.where(count > 0, value, jnp.nan)
    pseudo = masked(usable, pseudo, value[None])
    scatter = jnp.sum(masked(usable, (pseudo - value[None]) ** 2) / _odds(weights, pseudo), axis=0)
    several = jnp.sqrt(scatter / jnp.maximum(count, 1).astype(scatter.dtype))
    error = jnp.where(count > 1, several, jnp.where(count == 1, jnp.inf, jnp.nan))
    return value, error, pseudo, weights, jnp.maximum(count - 1, 0), usable.size - count


def _odds(weights: Float[Array, " groups"], x: Array) -> Array:
    """(1 − w)/w of each group, along the first axis of `x`; 1 where it is not needed."""
    share = jnp.where((weights > 0) & (weights < 1), weights, 0.5)
    return _column((1 - share) / share, x)


def _column(weights: Array, x: Array) -> Array:
    return weights.reshape(-1, *(1,) * (x.ndim - 1))


def warn_if_none(usable: Bool[Array, " groups"], statistic: str) -> None:
    """Outside jit, a warning where there is nothing to estimate from."""
    if not _checks.is_concrete(usable) or bool(jnp.any(usable)):
        return
    warnings.warn(
        f"{statistic}: none of {usable.size} groups of replicas can be used, so the estimate is nan. Either "
        "nothing was recorded, or a replica diverged in each of them: lower the learning rate, lengthen "
        "burn_in so that replicas diverge before recording starts, or use more groups.",
        stacklevel=3,
    )


def format_with_error(value: Any, error: Any) -> str:
    """`0.1234(56)`: a value with two digits of its standard error in units of the last digit shown.

    An error of 10 or more is written out, `123(12)`; very large and very small values get an exponent,
    `1.2346(56)e-09`. Without an error to go by, up to six digits are shown: `0.1234(0)`, `0.1234(inf)`.
    """
    value, error = float(value), float(error)
    if not math.isfinite(value):
        return f"{value:g}"
    if not math.isfinite(error) or error == 0:
        return f"{value:.6g}({error:g})"
    exponent = _exponent(max(abs(value), error))
    if -5 < exponent < 6:
        return _in_parentheses(value, error)
    return _in_parentheses(value / 10.0**exponent, error / 10.0**exponent) + f"e{exponent:+03d}"


def _exponent(x: float) -> int:
    """The decimal exponent of `x` once it is rounded to two digits."""
    return int(f"{x:.1e}".split("e")[1])


def _in_parentheses(value: float, error: float) -> str:
    last = _exponent(error) - 1
    if last >= 0:
        return f"{round(value, -last):.0f}({round(error, -last):.0f})"
    return f"{value:.{-last}f}({round(error * 10.0**-last):d})"
