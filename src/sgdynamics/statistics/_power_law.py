"""Power laws: E|Δ|² = A k^c over a stated range of steps k.

c and ln A are the line of least squares through ln E|Δ|² over ln k, every step with the same weight (with
`logarithmic_steps`, every decade has). Displacements at different steps come from the same paths, so their errors say
little about that of c; the jackknife does, from the fits to all groups but one.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .. import _checks
from ._estimate import Estimate, from_values, without_each


class PowerLawEstimate(eqx.Module):
    """`exponent` c and `prefactor` A of A k^c over steps `first` ≤ k ≤ `last`, both [...]; `value` and
    `standard_error` are the exponent's.

    `residuals` [points, ...]: ln of measured over fitted, at the `steps` [points] in the range; where they are
    not noise, it is no power law, and the exponent depends on the range. `quantity`: of what was fitted.
    """

    exponent: Estimate
    prefactor: Estimate
    residuals: Float[np.ndarray, "points ..."]
    steps: Int[np.ndarray, " points"]
    first: int = eqx.field(static=True)
    last: int = eqx.field(static=True)
    quantity: str = eqx.field(static=True)

    @property
    def value(self) -> Array:
        return self.exponent.value

    @property
    def standard_error(self) -> Array:
        return self.exponent.standard_error

    def __str__(self) -> str:
        return f"{self.exponent} (steps {self.first} to {self.last})"


def power_law(displacement: Estimate, *, first: int, last: int) -> PowerLawEstimate:
    """The exponent c of E|Δ|² ∝ k^c over the steps first ≤ k ≤ last, with its error by the jackknife over groups.

    `displacement` [steps, ...] is what `Displacement` or `GlobalDisplacement` gives, or any estimate with
    `steps`, positive in the range; each of its further components is fitted apart. A `ValueError` where
    fewer than two of its steps, or values that are not positive, lie in the range.
    """
    if displacement.steps is None:
        raise ValueError(
            f"displacement is an estimate of {displacement.quantity} without steps, but a power law is one of steps. "
            "Use that of statistics.Displacement or statistics.GlobalDisplacement."
        )
    first, last = _checks.count("first", first), _checks.count("last", last)
    steps = np.asarray(displacement.steps)
    within = (steps >= first) & (steps <= last)
    _checks.require(
        "first, last", (first, last), within.sum() > 1, allowed="a range with at least two of the steps recorded",
        remedy="Widen it, or record more steps.",
    )  # fmt: skip
    value, groups, weights = displacement.value, displacement.groups, displacement.weights
    without = np.asarray(without_each(value, groups, weights))[:, within]
    value = np.asarray(value)[within]
    positive = np.all(value > 0) and np.all(without[np.asarray(weights) > 0] > 0)
    _checks.require("displacement", value, positive, allowed="> 0 from first to last", remedy="Move the range.")
    x = np.log(steps[within])
    exponent, intercept = _line(x, np.log(value))
    exponents, intercepts = zip(*(_line(x, np.log(v)) for v in without), strict=True)
    line = intercept + _column(x, value) * exponent
    name = displacement.quantity
    return PowerLawEstimate(
        _estimate(exponent, exponents, weights, f"exponent of {name}"),
        _estimate(np.exp(intercept), np.exp(intercepts), weights, f"prefactor of {name}"),
        np.log(value) - line, steps[within], first, last, name,
    )  # fmt: skip


def _estimate(full: Any, without: Any, weights: Float[Array, " groups"], quantity: str) -> Estimate:
    return from_values(jnp.asarray(full), jnp.asarray(np.stack(without)), weights, quantity=quantity)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
    """Slope and intercept of the line of least squares through y [points, ...] over x [points]."""
    δ = _column(x - x.mean(), y)
    slope = np.sum(δ * y, axis=0) / np.sum(δ**2)
    return slope, y.mean(axis=0) - slope * x.mean()


def _column(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    return x.reshape(-1, *(1,) * (like.ndim - 1))
