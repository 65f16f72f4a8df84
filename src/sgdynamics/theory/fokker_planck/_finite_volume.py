"""The time-dependent law of dw = μ dt + √D dB: finite volumes for the Fokker-Planck equation

    ∂p/∂t = −∂J/∂w,        J = μ p − ½ ∂(D p)/∂w,        J = 0 at both ends.

Between the centres of cells i and i+1, a distance h apart, the flux is exponentially fitted (Scharfetter and Gummel;
Chang and Cooper, J. Comput. Phys. 6, 1 (1970)): that of a constant J through a potential with the right difference,

    J = D̄/(2h) [B(−z) p_i − B(z) p_{i+1}],        z = ∫ 2μ/D dw − Δ ln D,        B(z) = z/(e^z − 1),

D̄ the harmonic mean of D. Without a current p_{i+1}/p_i = e^z, which is (16) of Corlouer et al. (2026) at the centres.
Where D = 0 this is the upwind scheme. The rates are those of a Markov chain on the cells; a step of backward Euler,
(1 − Δt Qᵀ) P(t+Δt) = P(t), keeps probabilities positive and their sum 1 for any step. It is solved without a
subtraction: with the off-diagonals and the sums of columns (which are 1) as data, elimination only adds and multiplies
(Grassmann, Taksar and Heyman, Oper. Res. 33, 1107 (1985)), so that every entry is right to rounding even for Δt = ∞.
Errors: second order in the width of the cells where they vary smoothly (first where drift carries p across more than
a cell's worth of diffusion, z ≫ 1), first order in Δt.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar
from sgdynamics.theory.fokker_planck import _panels
from sgdynamics.theory.fokker_planck._panels import Coefficient

QUADRATURE = 5


class FiniteVolume(eqx.Module):
    """The chain on the cells between `edges`, [cells + 1] increasing, equal or not (`numpy.geomspace` for a power law).

    - `drift`, `diffusion`: functions of an array of points that keep its shape (constants may be scalars), called
      inside the domain, not at its ends. The ends reflect.
    - `upward`, `downward`: [cells − 1], rates per unit of t from cell i to i+1, and from i+1 to i.
    - `log_ratios`: z above, [cells − 1].

    Differentiable with respect to arrays that the functions close over, and to the edges.

    **Raises** `ValueError` for less than two cells, edges that do not increase, coefficients that are not finite or a
    negative diffusion.
    """

    edges: Float[Array, " edges"]
    upward: Float[Array, " faces"]
    downward: Float[Array, " faces"]
    log_ratios: Float[Array, " faces"]

    def __init__(self, drift: Coefficient, diffusion: Coefficient, edges: Real[ArrayLike, " edges"]):
        edges = _checks.float64("edges", edges)
        _checks.require("edges", edges, edges.size >= 3, allowed="at least three, for two cells")
        self.edges = _checks.require("edges", edges, jnp.diff(edges) > 0, allowed="increasing")
        x = self.centres
        h, between = jnp.diff(x), _panels.spread(x, QUADRATURE)
        at_faces = _panels.drift_at(drift, between), _panels.diffusion_at(diffusion, between)
        at_centres = _panels.drift_at(drift, x), _panels.diffusion_at(diffusion, x)
        self.log_ratios, self.upward, self.downward = _rates(h, self.widths, at_faces, at_centres)

    @property
    def centres(self) -> Float[Array, " cells"]:
        return (self.edges[1:] + self.edges[:-1]) / 2

    @property
    def widths(self) -> Float[Array, " cells"]:
        return jnp.diff(self.edges)

    def evolve(
        self, initial: Real[ArrayLike, " cells"], times: Real[ArrayLike, "*times"], *, steps: int = 100
    ) -> Float[Array, "*times cells"]:
        """Probabilities of the cells at `times` from `initial` at t = 0, [*times, cells].

        - `times`: not decreasing, [] or [times]; `steps`: how many of equal length to each time from that before. The
          error is proportional to 1/steps: double them to see it.

        **Raises** `ValueError` for times that decrease or are negative, and for an `initial` that is negative or does
        not add up to 1.
        """
        initial = _checks.shaped("initial", _checks.float64("initial", initial), self.widths.shape)
        initial = _checks.not_negative("initial", initial)
        remedy = "`cells` and `point` make such probabilities."
        unit = jnp.abs(jnp.sum(initial) - 1) < 1e-8
        initial = _checks.require("initial", initial, unit, allowed="probabilities that add up to 1", remedy=remedy)
        times, steps = _checks.float64("times", times), _checks.count("steps", steps)
        spans = jnp.diff(times.reshape(-1), prepend=0.0)
        spans = _checks.require("times", spans, spans >= 0, allowed="≥ 0 and not decreasing")

        return _evolve(self.upward, self.downward, initial, spans, steps).reshape(*times.shape, -1)

    def stationary(self) -> Float[Array, " cells"]:
        """The limit of `evolve` for t → ∞, [cells]: (16) at the centres times the widths."""
        log_p = jnp.concatenate([jnp.zeros(1), jnp.cumsum(self.log_ratios)])
        return jax.nn.softmax(log_p + jnp.log(self.widths))

    def cells(self, cdf: Coefficient) -> Float[Array, " cells"]:
        """Probabilities of the cells under the law with this cumulative distribution, cut off at the ends, [cells]."""
        within = jnp.diff(jnp.asarray(cdf(self.edges), dtype=jnp.float64))
        within = _checks.not_negative("differences of cdf", within)
        total = jnp.sum(within)
        return within / _checks.positive("probability between the edges", total, remedy="Move the edges.")

    def point(self, w: RealScalar) -> Float[Array, " cells"]:
        """A point mass at w: shared by the cells with the next centres so that its mean is w, [cells]."""
        w, x = _checks.float64("w", w), self.centres
        inside = (self.edges[0] <= w) & (w <= self.edges[-1])
        w = _checks.require("w", w, inside, allowed="between the outer edges")
        k = jnp.clip(jnp.searchsorted(x, w) - 1, 0, len(x) - 2)
        share = jnp.clip((w - x[k]) / (x[k + 1] - x[k]), 0.0, 1.0)
        return jnp.zeros_like(x).at[k].add(1 - share).at[k + 1].add(share)


@jax.jit
def _rates(h: Array, width: Array, at_faces: tuple[Array, Array], at_centres: tuple[Array, Array]) -> tuple:
    """(z, rates upward, rates downward) from (μ, D) at nodes between the centres and at the centres."""
    share = jnp.asarray(_panels.gauss_legendre(QUADRATURE).weights / 2)
    D, at_centre = _floored(*at_faces, h[:, None]), _floored(*at_centres, width)
    z = 2 * h * (_panels.ratio(at_faces[0], D) @ share) - jnp.diff(jnp.log(at_centre))
    conductance = 1 / (_panels.ratio(jnp.ones_like(D), D) @ share) / (2 * h)
    return z, conductance * _bernoulli(-z) / width[:-1], conductance * _bernoulli(z) / width[1:]


def _floored(μ: Array, D: Array, width: Array) -> Array:
    """D, or so little above 0 that the upwind scheme is the same to rounding."""
    return jnp.maximum(D, 1e-14 * jnp.abs(jax.lax.stop_gradient(μ)) * width + 1e-200)


def _bernoulli(z: Float[Array, " faces"]) -> Float[Array, " faces"]:
    """B(z) = z/(e^z − 1) ≥ 0."""
    small = jnp.abs(z) < 1e-3
    # e^z beyond 700 would overflow, in the derivative if not here
    away = jnp.minimum(jnp.where(small, 1.0, z), 700.0)
    return jnp.where(small, 1 - z / 2 + z**2 / 12 - z**4 / 720, away / jnp.expm1(away))


def _factors(up: Float[Array, " faces"], down: Float[Array, " faces"]) -> tuple[Array, Array, Array]:
    """(lower multipliers, pivots, upper diagonal) of the matrix with columns (−down, 1 + down + up, −up)."""

    def pivot(total, rates):
        to_next, back = rates
        # the sum of the next column once this one is eliminated
        return 1 + back * (total / (total + to_next)), total

    last, totals = jax.lax.scan(pivot, jnp.ones(()), (up, down))
    pivots = jnp.append(totals + up, last)
    return up / pivots[:-1], pivots, down


def _solve(lower: Array, diagonal: Array, upper: Array, P: Array) -> Array:
    """Forward and back substitution as two bidiagonal systems, in which pivoting finds nothing to do."""
    nothing, zero = jnp.zeros_like(diagonal), jnp.zeros(1)
    solve = jax.lax.linalg.tridiagonal_solve
    P = solve(jnp.concatenate([zero, -lower]), jnp.ones_like(diagonal), nothing, P[:, None])
    return solve(nothing, diagonal, jnp.concatenate([-upper, zero]), P)[:, 0]


@partial(jax.jit, static_argnames="steps")
def _evolve(up: Array, down: Array, initial: Array, spans: Array, steps: int) -> Float[Array, "times cells"]:
    def one_time(law, span):
        factors = _factors(up * span / steps, down * span / steps)
        law = jax.lax.scan(lambda P, _: (_solve(*factors, P), None), law, None, length=steps)[0]
        return law, law

    return jax.lax.scan(one_time, initial, spans)[1]
