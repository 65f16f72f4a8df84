"""Second moments of two modes after l = 0 … M−1 batches of an epoch: what averaging over the position hides.

Noises of one epoch that sum to nothing are ζ_n − ζ̄ with independent ζ of variance C M/(M − 1). With T the transition
of the state (θ, u) of each mode, b = −η (1, 1), r_n = Tⁿ b and the law Q₀ between two epochs,

    Q_l = T^l Q₀ T^lᵀ + M/(M−1) C [Σ_{n<l} r_n r_nᵀ − g_l g_lᵀ/M],      g_l = Σ_{n<l} r_n,
    Q₀  = T^M Q₀ T^Mᵀ + M/(M−1) C Σ_{n<M} (r_n − r̄)(r_n − r̄)ᵀ.

A flat mode only adds the noise up: its y = θ + c u, c = β/(1 − β), is a bridge that closes,

    y' = y − (1 + c)(α θ + η δg),      without noise   y_n − y_0 = −(1 + c) α S_n,   S_n = Σ_{m<n} θ_m.

So Q₀ is found in (y, u) where α < (1 − β)², and in (θ, u), c = 0, elsewhere, where 1/(1 − β) would cost digits. Every
term of the equation for E y_i y_j of two flat modes is of the order of s = α_i + α_j; it is divided by s, so that no
curvature is too small, and derivatives are right at 0 too. Powers are kept as Tⁿ − 1.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics.theory.epochs._moments import Field, Moments, Pair, shares

Block = Float[Array, "... 2 2"]
Vector = Float[Array, "... 2"]


class Slow(NamedTuple):
    """One mode in (y, u): α, β, c, and whether it counts as flat."""

    curvature: Field
    momentum: Field
    shift: Field
    flat: Array


class Answer(NamedTuple):
    """To a state and to kicks, over n steps: Tⁿ − 1, the row S_n, and the sums over n of (Tⁿ − 1) b and S_n b."""

    excess: Block
    summed: Vector
    total: Vector
    total_summed: Field


@partial(jax.jit, static_argnums=1)
def complete_epochs(pair: Pair, positions: int) -> Moments:
    """As `_moments.complete_epochs`, each [positions, *modes]."""
    start = between_epochs(pair, positions)
    Q = jnp.stack([jnp.stack([start.weights, start.weight_velocity], -1),
                   jnp.stack([start.velocity_weight, start.velocities], -1)], -2)  # fmt: skip
    T, R = (_excess(_mode(α, pair.momentum, plain=True)) for α in pair[:2])
    b, d = (_kick(_mode(α, pair.momentum, plain=True)) for α in pair[:2])

    def step(carry, _):
        (E, F), (g, f), added = carry
        noise = positions / max(positions - 1, 1) * (added - _outer(g, f) / positions)
        r, s = b + _times(E, b), d + _times(F, d)
        later = (_next(E, T), _next(F, R)), (g + r, f + s), added + _outer(r, s)
        return later, _congruence(E, Q, F) + noise

    nothing = (jnp.zeros_like(T), jnp.zeros_like(R)), (jnp.zeros_like(b), jnp.zeros_like(d)), jnp.zeros_like(Q)
    Q = jax.lax.scan(step, nothing, length=positions)[1]
    return Moments(Q[..., 0, 0], Q[..., 0, 1], Q[..., 1, 0], Q[..., 1, 1])


@partial(jax.jit, static_argnums=1)
def between_epochs(pair: Pair, positions: int) -> Moments:
    """The first of `complete_epochs`."""
    first, second = (_mode(α, pair.momentum) for α in pair[:2])
    one, other, both, both_summed = _over_an_epoch(first, second, positions)
    unbiased = positions / max(positions - 1, 1)
    spread = unbiased * (both - _outer(one.total, other.total) / positions)
    spread_summed = unbiased * (both_summed - one.total_summed * other.total_summed / positions)

    row, value = _of_flat_modes(pair, (first, second), (one.summed, other.summed), spread_summed)
    flat = first.flat & second.flat
    equations, right = _equations(one.excess, other.excess), spread.reshape(*spread.shape[:-2], 4)
    equations = equations.at[..., 0, :].set(jnp.where(flat[..., None], row, equations[..., 0, :]))
    right = right.at[..., 0].set(jnp.where(flat, value, right[..., 0]))
    X = jnp.linalg.solve(equations, right[..., None])[..., 0]

    yy, yu, uy, uu = (X[..., i] for i in range(4))
    c, e = first.shift, second.shift
    return Moments(yy - e * yu - c * uy + c * e * uu, yu - c * uu, uy - e * uu, uu)


def _over_an_epoch(first: Slow, second: Slow, positions: int) -> tuple[Answer, Answer, Block, Field]:
    """Both answers after an epoch, and Σ_n of the products of their (Tⁿ − 1) b and of their S_n b."""
    T, R, b, d = _excess(first), _excess(second), _kick(first), _kick(second)

    def step(carry, _):
        one, other, both, both_summed = carry
        r, s, p, q = _times(one.excess, b), _times(other.excess, d), _dot(one.summed, b), _dot(other.summed, d)
        later = _later(one, first, T, r, p), _later(other, second, R, s, q)
        return (*later, both + _outer(r, s), both_summed + p * q), None

    zeros = lambda T: Answer(0 * T, 0 * T[..., 0], 0 * T[..., 0], 0 * T[..., 0, 0])
    nothing = jnp.zeros_like(_outer(b, d))
    return jax.lax.scan(step, (zeros(T), zeros(R), nothing, nothing[..., 0, 0]), length=positions)[0]


def _later(answer: Answer, mode: Slow, excess: Block, kicked: Vector, summed: Field) -> Answer:
    """After one more step."""
    E, S, total, total_summed = answer
    weight = E[..., 0, :] - mode.shift[..., None] * E[..., 1, :]  # θ = y − c u, of Tⁿ − 1
    start = jnp.stack([jnp.ones_like(mode.shift), -mode.shift], -1)
    return Answer(_next(E, excess), S + weight + start, total + kicked, total_summed + summed)


def _equations(E: Block, F: Block) -> Float[Array, "... 4 4"]:
    """X − (1 + E) X (1 + F)ᵀ of the entries of X, row by row."""
    one = jnp.broadcast_to(jnp.eye(2, dtype=E.dtype), jnp.broadcast_shapes(E.shape, F.shape))
    kron = lambda A, B: (A[..., :, None, :, None] * B[..., None, :, None, :]).reshape(*one.shape[:-2], 4, 4)
    return -(kron(E, one) + kron(one, F) + kron(E, F))


def _of_flat_modes(pair: Pair, modes: tuple[Slow, Slow], summed: tuple[Vector, Vector], spread: Field):
    """The equation for E y_i y_j over s: (1 + c)[a S·X e_y + …] of the entries of X, and its right side."""
    _, a, g = shares(pair)
    α, c, e, (S, R) = pair.first, 1 + modes[0].shift, 1 + modes[1].shift, summed
    along = jnp.zeros_like(_outer(S, R))
    along = along.at[..., :, 0].add((c * a)[..., None] * S).at[..., 0, :].add((e * g)[..., None] * R)
    both = c * e * α * g  # (1 + c)(1 + e) α_i α_j/s
    row = along - both[..., None, None] * _outer(S, R)
    return row.reshape(*row.shape[:-2], 4), both * spread


def _mode(α: Field, β: Field, *, plain: bool = False) -> Slow:
    """In (y, u); `plain`: in (θ, u)."""
    flat = (α < (1 - β) ** 2) & (not plain)
    return Slow(α, β, jnp.where(flat, β / (1 - β), 0), flat)


def _excess(mode: Slow) -> Block:
    """T − 1 of (y, u)."""
    α, β, c, flat = mode
    pull = (1 + c) * α
    rows = [jnp.stack([-pull, jnp.where(flat, 0, β) + pull * c], -1), jnp.stack([-α, β - 1 + α * c], -1)]
    return jnp.stack(rows, -2)


def _kick(mode: Slow) -> Vector:
    """b in units of η."""
    return -jnp.stack([1 + mode.shift, jnp.ones_like(mode.shift)], -1)


def _next(E: Block, excess: Block) -> Block:
    """T^{n+1} − 1 from Tⁿ − 1."""
    return E + excess + excess @ E


def _times(E: Block, b: Vector) -> Vector:
    return jnp.einsum("...ij,...j->...i", E, b)


def _dot(S: Vector, b: Vector) -> Field:
    return S[..., 0] * b[..., 0] + S[..., 1] * b[..., 1]


def _outer(r: Vector, s: Vector) -> Block:
    return r[..., :, None] * s[..., None, :]


def _congruence(E: Block, X: Block, F: Block) -> Block:
    """(1 + E) X (1 + F)ᵀ."""
    left = X + E @ X
    return left + left @ jnp.swapaxes(F, -1, -2)
