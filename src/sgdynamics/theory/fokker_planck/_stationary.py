"""The stationary law of dw = μ dt + √D dB without a current: Corlouer et al. (2026), Proposition 5.1,

    p(w) ∝ D⁻¹ exp(∫_{w_ref}^w 2μ/D dz)                                                                            (16)

on [lower, upper], with ends that reflect or are never reached. The paper has w_ref = 0, at which the integral diverges
for every depth (as ln w for two layers, as a power for more): w_ref may be any point inside, here the highest panel.

Quadrature is in the logarithm, panel by panel: 2μ/D is smooth on the scale of μ and D even where p has a peak that is
far narrower. The panels are laid in the coordinate u = ln((w − lower)/(upper − w)): a fixed part, equal ones and ones
that shrink by 4 towards each end, for power laws there, and a part that gathers where p is largest. Where p is not
integrable at an end or at a stable zero of μ, the law is a Dirac mass there (`_atoms`).
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar, Scalar
from sgdynamics.theory.fokker_planck import _atoms, _panels
from sgdynamics.theory.fokker_planck._panels import Coefficient

TOLERANCE = 1e-6
PASSES = 5
ZEROS = 3
"""Of the drift, on which panels close in: more stable ones are left to what gathers at the peaks."""


class StationaryDensity(eqx.Module):
    """The law on a grid of Gauss-Legendre nodes; made by `stationary_density`.

    - `points`, `weights`: nodes and quadrature weights, [points]; Σ weights · density · f(points) = E f.
    - `log_density`, `density`: ln p and p, normalised on [lower, upper]; −∞ and 0 for a Dirac mass.
    - `normalisable`: false if (16) has no integral; the law is then a Dirac mass at `atom`, otherwise nan.
    - `mode`: the highest maximum of p inside the domain, or the outermost node if p has none.
    - `tails`: [2], the probability beyond each end if p fell on outside as it does at the end, that is p / |(ln p)'|:
      what cutting the law there loses. ∞ if p does not fall towards that end, 0 if D vanishes there.
    - `error`: an estimate of the error of the quadrature, as a probability.
    """

    points: Float[Array, " points"]
    weights: Float[Array, " points"]
    log_density: Float[Array, " points"]
    normalisable: Bool[Array, ""]
    atom: Scalar
    mode: Scalar
    tails: Float[Array, "ends"]
    error: Scalar
    _edges: Float[Array, " edges"]

    @property
    def density(self) -> Float[Array, " points"]:
        return jnp.exp(self.log_density)

    @property
    def mean(self) -> Scalar:
        return self._centre + self.expectation(lambda w: w - self._centre)

    @property
    def variance(self) -> Scalar:
        mean = self.mean
        return self.expectation(lambda w: (w - mean) ** 2)

    def moment(self, order: int, *, about: RealScalar = 0.0) -> Scalar:
        """E (w − about)^order, []. On the domain: those of the whole law may be infinite, for all that this shows."""
        order, about = _checks.count("order", order, least=0), _checks.float64("about", about)
        return self.expectation(lambda w: (w - about) ** order)

    def expectation(self, function: Coefficient) -> Scalar:
        """E function(w), [], for a smooth function of an array of points."""
        on_grid = jnp.sum(self.weights * self.density * function(self.points))
        return jnp.where(self.normalisable, on_grid, function(self._somewhere[None])[0])

    def cdf(self, w: Real[ArrayLike, "*points"]) -> Float[Array, "*points"]:
        """Probability of [lower, w], [*points]; of a Dirac mass the step, 1 at the atom itself."""
        w = _checks.float64("w", w)
        edges, half = self._edges, jnp.diff(self._edges) / 2
        values = self.density.reshape(len(half), _panels.NODES)
        mass = half * jnp.sum(values * jnp.asarray(_panels.gauss_legendre().weights)[None, :], axis=1)
        before = jnp.concatenate([jnp.zeros(1), jnp.cumsum(mass)])
        inside = jnp.clip(w, edges[0], edges[-1])
        k = jnp.clip(jnp.searchsorted(edges, inside, side="right") - 1, 0, len(half) - 1)
        x = (inside - edges[k]) / jnp.where(half[k] > 0, half[k], 1.0) - 1
        coefficients = (values @ jnp.asarray(_panels.gauss_legendre().coefficients).T)[k]
        within = half[k] * jnp.sum(coefficients * _panels.legendre_integrals(x, _panels.NODES), axis=-1)
        step = jnp.where(w < self._somewhere, 0.0, 1.0)
        return jnp.where(self.normalisable, jnp.clip(before[k] + within, 0.0, 1.0), step)

    def probability(self, edges: Real[ArrayLike, " edges"]) -> Float[Array, " cells"]:
        """Of each cell between the increasing `edges`, [cells], for comparing with histograms."""
        edges = _checks.float64("edges", edges)
        _checks.require("edges", edges, jnp.diff(edges) > 0, allowed="increasing")
        return jnp.diff(self.cdf(edges))

    @property
    def _somewhere(self) -> Scalar:
        return jnp.where(self.normalisable, self._centre, self.atom)

    @property
    def _centre(self) -> Scalar:
        """A point near the peak, from which deviations are small: the mean loses no digits."""
        return jax.lax.stop_gradient(jnp.where(self.normalisable, self.mode, self.atom))


def stationary_density(
    drift: Coefficient, diffusion: Coefficient, *, lower: RealScalar, upper: RealScalar, panels: int = 96
) -> StationaryDensity:
    """The stationary law of dw = drift(w) dt + √diffusion(w) dB on [lower, upper] that carries no current.

    - `drift`, `diffusion`: functions of an array of points that keep its shape (constants may be scalars). They are
      called inside the domain, not at its ends: `lower` = 0 is right for a process that stays positive.
    - `lower`, `upper`: ends that reflect, or that the process cannot reach. If the process goes beyond them, the law
      is that of staying inside: see `tails` for how much that cuts off.
    - `panels`: how many gather at the peaks, of 16 nodes each. A peak may be a millionth of the domain
      wide, if the coefficients themselves are smooth.

    Differentiable with respect to arrays that the functions close over, and to the ends. Peaks less than 1e-7 of the
    domain wide cannot be told from Dirac masses and are reported as such.

    **Raises** `ValueError` for `lower` ≥ `upper`, coefficients that are not finite or a negative diffusion; where the
    diffusion is 0 inside and the law no Dirac mass; where p is not integrable at two places or more, as it then depends
    on the start; and where the quadrature's `error` exceeds 1e-6, as at a coefficient with a jump or a singularity.
    """
    _checks.x64()
    a, b = _panels.interval(lower, upper)
    panels = _checks.count("panels", panels, least=8)
    zeros = _atoms.drift_zeros(drift, _inside(a, b))
    shares = _shares(drift, diffusion, a, b, panels, zeros)
    edges = _edges(a, b, shares)
    points, μ, D = _coefficients(drift, diffusion, edges)
    weights, log_p, error = _normalised(edges, _log_density(edges, μ, D))
    count, atom, tails = _singularities(drift, diffusion, jnp.stack([a, b]), jnp.exp(log_p), zeros)
    smooth = count == 0
    log_p = jnp.where(smooth, log_p, -jnp.inf)
    log_p = _checks.provided(
        log_p, "diffusion", 0.0, ~smooth | jnp.all(D > 0), allowed="> 0 inside the domain, or 0 where the drift is too",
        remedy="Change lower or upper to where the process can go.",
    )  # fmt: skip
    log_p = _checks.provided(
        log_p, "places where the density has no integral", count, count <= 1, allowed="one at most",
        remedy="Where the process ends depends on its start: choose lower and upper around one of them.",
    )  # fmt: skip
    log_p = _checks.provided(
        log_p, "error of the quadrature", error, ~smooth | (error <= TOLERANCE), allowed=f"at most {TOLERANCE}",
        remedy="Use more panels, or lower and upper nearer to the peak, between which drift and diffusion are smooth.",
    )  # fmt: skip
    mode = jnp.where(smooth, _mode(drift, diffusion, points, log_p), atom)
    return StationaryDensity(
        points=points.ravel(),
        weights=weights.ravel(),
        log_density=log_p.ravel(),
        normalisable=smooth,
        atom=jnp.where(smooth, jnp.nan, atom),
        mode=mode,
        tails=jnp.where(smooth, tails, 0.0),
        error=jnp.where(smooth, error, 0.0),
        _edges=edges,
    )


def _coefficients(
    drift: Coefficient, diffusion: Coefficient, edges: Float[Array, " edges"]
) -> tuple[Float[Array, "panels nodes"], Float[Array, "panels nodes"], Float[Array, "panels nodes"]]:
    """(nodes, μ, D). The caller's functions run as they are; what is compiled serves every other process too."""
    points = _panels.spread(edges)
    return points, _panels.drift_at(drift, points), _panels.diffusion_at(diffusion, points)


@jax.jit
def _log_density(
    edges: Float[Array, " edges"], μ: Float[Array, "panels nodes"], D: Float[Array, "panels nodes"]
) -> Float[Array, "panels nodes"]:
    """ln p + constant."""
    rule, half = _panels.gauss_legendre(), jnp.diff(edges) / 2
    safe = jnp.where(D > 0, D, 1.0)
    rate = jnp.where(D > 0, 2 * _panels.ratio(μ, safe), 0.0)
    whole = half * (rate @ jnp.asarray(rule.weights))
    local = half[:, None] * (rate @ jnp.asarray(rule.primitive).T) - jnp.log(safe)
    reference = jnp.asarray(len(half) // 2)
    # first from the middle to find the peak, then from there: next to 0 the integral may be 1e18 and would drown it
    for _ in range(2):
        log_p = _sum_from(whole, reference)[:, None] + local
        reference = jax.lax.stop_gradient(jnp.argmax(jnp.max(log_p, axis=1)))
    return _sum_from(whole, reference)[:, None] + local


@jax.jit
def _normalised(edges: Float[Array, " edges"], log_p: Float[Array, "panels nodes"]) -> tuple[Array, Array, Array]:
    """(weights, ln p, error): what is left in the two highest polynomials, as a probability."""
    rule, half = _panels.gauss_legendre(), jnp.diff(edges) / 2
    weights = half[:, None] * jnp.asarray(rule.weights)[None, :]
    log_p = log_p - jax.lax.stop_gradient(jnp.max(log_p))
    log_p = log_p - jnp.log(jnp.sum(weights * jnp.exp(log_p)))
    ragged = jnp.abs(jnp.exp(log_p) @ jnp.asarray(rule.coefficients).T)[:, -2:]
    return weights, log_p, jax.lax.stop_gradient(jnp.sum(half[:, None] * ragged))


def _sum_from(whole: Float[Array, " panels"], reference: Array) -> Float[Array, " panels"]:
    """The integral from the left edge of the panel `reference` to that of each panel."""
    beyond = jnp.arange(len(whole)) >= reference
    right = jnp.where(beyond, whole, 0.0)
    left = jnp.where(beyond, 0.0, whole)
    return jnp.cumsum(right) - right - jnp.cumsum(left[::-1])[::-1]


@jax.jit
def _edges(a: Array, b: Array, shares: Float[Array, " edges"]) -> Float[Array, " edges"]:
    # a few units of rounding from ends other than 0, where a coefficient may vanish or be singular
    least, most = a + 2e-15 * jnp.abs(a), b - 2e-15 * jnp.abs(b)
    return jnp.clip(a + (b - a) * shares, least, most)


def _inside(a: Array, b: Array) -> Float[Array, " edges"]:
    """Between which zeros of the drift are looked for: one next to an end is the end's."""
    ε = _atoms.RESOLUTION * (b - a)
    return a + 5 * ε + (b - a - 10 * ε) * jnp.asarray(np.arange(65) / 64)


def _near_zeros(a: Array, b: Array, zeros: tuple[Array, Array]) -> Float[Array, " edges"]:
    """Shares of the domain that close in on the first stable zeros of the drift, on both sides.

    There the diffusion may vary, and p with it, on any scale: σ for a mode whose labels have little noise.
    """
    stable, at = jax.lax.stop_gradient(zeros)
    first = jnp.argsort(~stable)[:ZEROS]
    centre = jnp.where(stable[first], (at[first] - a) / (b - a), 0.5)
    distance = jnp.asarray(np.concatenate([-(2.0 ** -np.arange(3, 27)), [0.0], 2.0 ** -np.arange(3, 27)]))
    return jnp.clip(centre[:, None] + distance[None, :], 0.0, 1.0).ravel()


def _shares(
    drift: Coefficient, diffusion: Coefficient, a: Array, b: Array, panels: int, zeros: tuple[Array, Array]
) -> Float[Array, " edges"]:
    """Edges of the panels as shares of the domain, without derivatives: quadrature does not depend on them."""
    a, b = jax.lax.stop_gradient((a, b))
    # the outermost 4⁻¹³⁰ and 4⁻²⁴ are left out: there no panel could follow 1/(w − lower)² up to the end
    towards = [4.0 ** -np.arange(3, 131), 1 - 4.0 ** -np.arange(3, 25)]
    ends = np.concatenate([np.arange(1, 32) / 32, *towards])
    fixed = jnp.append(jnp.asarray(ends), jnp.clip(_near_zeros(a, b, zeros), ends.min(), ends.max()))
    even = jnp.asarray((np.arange(panels) + 0.5) / panels)

    def gather(shares):
        edges = _edges(a, b, shares)
        points, μ, D = jax.lax.stop_gradient(_coefficients(drift, diffusion, edges))
        gathered = _gather((points - a) / (b - a), _log_density(edges, μ, D), panels)
        return jnp.sort(jnp.concatenate([fixed, gathered]))

    return _panels.repeat(PASSES, gather, jnp.sort(jnp.concatenate([fixed, even])))


@partial(jax.jit, static_argnames="panels")
def _gather(
    share: Float[Array, "panels nodes"], log_p: Float[Array, "panels nodes"], panels: int
) -> Float[Array, " gathered"]:
    """Shares with equal amounts of 1/(1 + ln(p_max/p)) between them, p the density of u = ln(share/(1 − share)).

    Its slow fall finds a peak that lies between the nodes, and covers its flanks.
    """
    share, log_p = share.ravel(), log_p.ravel()
    share, rest = jnp.maximum(share, 1e-80), jnp.maximum(1 - share, 1e-16)
    u = jnp.log(share) - jnp.log(rest)
    depth = log_p + jnp.log(share) + jnp.log(rest)
    need = 1 / (1 + jnp.max(depth) - depth)
    # the larger of neighbours: a lone high node is a peak on both its sides
    amount = jnp.cumsum(jnp.maximum(need[1:], need[:-1]) * jnp.maximum(jnp.diff(u), 0.0))
    amount = jnp.concatenate([jnp.zeros(1), amount])
    wanted = amount[-1] * jnp.asarray((np.arange(panels) + 0.5) / panels)
    return jax.nn.sigmoid(jnp.interp(wanted, amount, u))


def _singularities(
    drift: Coefficient,
    diffusion: Coefficient,
    ends: Float[Array, "2"],
    p: Float[Array, "panels nodes"],
    drift_zeros: tuple[Array, Array],
) -> tuple[Array, Array, Array]:
    """(how many places where p has no integral, the first of them, probability cut off at the two ends)."""
    ε, (stable, zeros) = _atoms.RESOLUTION * (ends[1] - ends[0]), drift_zeros
    left = _atoms.exponents(drift, diffusion, jnp.append(zeros, ends[1]), -ε)
    right = _atoms.exponents(drift, diffusion, jnp.append(zeros, ends[0]), ε)
    return _places(stable, zeros, ends, left, right, p[jnp.asarray([0, -1]), jnp.asarray([0, -1])])


@jax.jit
def _places(stable: Array, zeros: Array, ends: Array, left: tuple, right: tuple, p: Array) -> tuple:
    κ_end = jnp.stack([right[0][-1], left[0][-1]])
    D_end = jnp.stack([right[1][-1], left[1][-1]])
    lost = jnp.append(stable & ((left[0][:-1] <= -1) | (right[0][:-1] <= -1)), κ_end <= -1)
    atom = jnp.append(zeros, ends)[jnp.argmax(lost)]
    decay = κ_end * jnp.log(4.0) / (3 * _atoms.RESOLUTION * (ends[1] - ends[0]))
    beyond = jnp.where(decay > 0, p / jnp.where(decay > 0, decay, 1.0), jnp.inf)
    return jnp.sum(lost), atom, jnp.where(D_end > 0.25, 0.0, beyond)


def _mode(drift: Coefficient, diffusion: Coefficient, points: Array, log_p: Array) -> Scalar:
    """Where D (ln p)' = 2μ − D' falls through 0, next to the highest node."""

    def slope(w):
        _, rise = jax.jvp(lambda z: _panels.diffusion_at(diffusion, z), (w,), (jnp.ones_like(w),))
        return 2 * _panels.drift_at(drift, w) - rise

    flat, log_p = points.ravel(), jax.lax.stop_gradient(log_p).ravel()
    k, index = jnp.argmax(log_p), jnp.arange(log_p.size)
    # the nearest nodes that are lower by more than rounding
    lower = log_p < log_p[k] - 1e-9
    a = flat[jnp.max(jnp.where(lower & (index < k), index, 0))]
    b = flat[jnp.min(jnp.where(lower & (index > k), index, log_p.size - 1))]
    crossing = (slope(a[None])[0] > 0) & (slope(b[None])[0] <= 0)
    root = _atoms.newton(slope, _atoms.falling_root(slope, a[None], b[None]))[0]
    return jnp.where(crossing, root, flat[k])
