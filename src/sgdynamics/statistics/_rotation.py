"""Mean rotation in phase planes.

In the plane of position x and velocity v of one mode, with z = (x, v) − mean, z' a `lag` of steps later,
Σ = E z zᵀ and C = E z' zᵀ,

    tan φ = (C_vx − C_xv) √det Σ / (Σ_vv C_xx + Σ_xx C_vv − Σ_xv (C_xv + C_vx)),

the angle from E w·w' and E w∧w' with w = Σ^{−½} z, in which the stationary ellipse is a circle. The first is
tr Σ⁻¹C and the second the area swept, (C_vx − C_xv)/√det Σ; neither depends on the units of v, nor on any
other linear choice of coordinates. Both are linear in the data and are divided only at the end, so that noise
of the single angles, which is large near the centre, does not enter. Where z' = M z + noise, C = MΣ: a
rotation by φ with damping ρ, M = ρR(φ), gives φ exactly, whatever ρ and the noise; in general
tan φ = (W_vx − W_xv)/tr M with W = Σ^{−½} M Σ^{½}. For the damped oscillator of natural frequency ω₀ and
damped frequency ω_d, tan φ = −(ω₀/ω_d) tan(ω_d lag): −ω₀ per unit of time at short lags, overdamped or not.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .. import _checks
from ._base import counted, ratio
from ._covariance import outer
from ._groups import Groups
from ._lagged import AbstractLagged
from ._observables import Observable


class AngularVelocity(AbstractLagged):
    """The mean rotation per step in the phase plane of each mode, in rad per step, [modes].

    `of` observes all positions, then all velocities, [2 · modes]: `PhaseSpace(directions)`. Positive is
    anticlockwise with x to the right and v upwards, from +x to +v; where v is the velocity of x, paths turn
    clockwise, so the value is negative. It is the angle by which the plane turns in `lag` steps (a multiple of
    `every`), divided by `lag`: it lies in (−π, π]/lag, and to be far from either end must be the user's
    choice of a short enough lag. Centred on the mean of the same pairs. nan where the law fills no area.
    """

    of: Observable | None
    lag: int = eqx.field(static=True)
    quantity: str = eqx.field(static=True)

    def __init__(self, of: Observable, *, lag: int = 1):
        self.of = of
        self.lag = _checks.count("lag", lag)
        self.quantity = "angular velocity"

    @property
    def distances(self) -> tuple[str, tuple[int, ...]]:
        return "lag", (self.lag,)

    def check(self, components: int, groups: Groups) -> None:
        if components % 2:
            raise ValueError(
                f"of has {components} components, but it must have positions and as many velocities. "
                "Use of=statistics.PhaseSpace(directions)."
            )

    def terms(self, now: Array, then: Array, present: Bool[Array, "groups members"]) -> Any:
        now, then = _planes(now), _planes(then)

        def second(a: Array, b: Array) -> Array:
            return jnp.einsum("gmka,gmkb->gkab", a, b, precision="highest")

        squares = second(now, now) + second(then, then)
        return counted(present), jnp.sum(now, axis=1), jnp.sum(then, axis=1), squares, second(now, then)

    def shifted(self, moments: Any, shift: Float[Array, " components"]) -> Any:
        count, now, then, squares, product = moments
        n, h = count[..., None, None], jnp.broadcast_to(_planes(shift), now.shape)
        both, square = now + then, n[..., None] * outer(h, h)
        squares = squares + outer(h, both) + outer(both, h) + 2 * square
        return count, now + n * h, then + n * h, squares, product + outer(h, then) + outer(now, h) + square

    def value(self, totals: Any, reference: Array) -> Array:
        count, *sums = totals
        now, then, squares, product = (ratio(s, count)[0] for s in sums)
        Σ = (squares - outer(now, now) - outer(then, then)) / 2
        return _angle(Σ, product - outer(now, then)) / self.lag


def _planes(x: Float[Array, "*batch components"]) -> Float[Array, "*batch modes 2"]:
    """(all positions, all velocities) as one (position, velocity) for each mode."""
    return jnp.moveaxis(x.reshape(*x.shape[:-1], 2, -1), -2, -1)


def _angle(Σ: Float[Array, "modes 2 2"], C: Float[Array, "modes 2 2"]) -> Float[Array, " modes"]:
    area = Σ[:, 0, 0] * Σ[:, 1, 1] - Σ[:, 0, 1] ** 2
    swept = (C[:, 1, 0] - C[:, 0, 1]) * jnp.sqrt(jnp.where(area > 0, area, 1))
    along = Σ[:, 1, 1] * C[:, 0, 0] + Σ[:, 0, 0] * C[:, 1, 1] - Σ[:, 0, 1] * (C[:, 0, 1] + C[:, 1, 0])
    return jnp.where(area > 0, jnp.arctan2(swept, jnp.where(area > 0, along, 1)), jnp.nan)
