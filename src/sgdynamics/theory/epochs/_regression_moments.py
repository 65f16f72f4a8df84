"""Epoch shuffling of linear regression, exactly: first and second moments at every position in the epoch.

One batch B is an affine map of the weights' deviation δ from the minimum and of the velocity u = w_k − w_{k−1}, linear
in z = (1, δ, u),

    u ← β u − η [(H_B + λ) δ − b_B],      δ ← δ + u,      z ← A_B z,      b_B = (1/S) Σ_{μ∈B} r_μ x_μ − λ w*.

Instead of the P! orders of an epoch it takes the 2ᴾ sets U of used examples (`_regression_subsets`). With the examples
of U used in random order,

    X_U = E z zᵀ = (average over the last batch B ⊂ U) A_B X_{U∖B} A_Bᵀ,      X_∅ = X,

and before batch l = 0 … M−1, E z zᵀ = (average over |U| = lS) X_U. Over a whole epoch that is a linear map of X; X is
its fixed point with 1 in the corner. The last P mod S examples of every order are left out, |U| ≤ MS. The map has a
spectral radius below 1 in the second moments, i.e. there is a stationary law, exactly where Y = 1 + (map of Y) has a
solution Y > 0, as the map keeps positive matrices positive.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar, Scalar
from sgdynamics.theory.epochs import _regression_subsets as subsets
from sgdynamics.theory.epochs._regression_model import drawn
from sgdynamics.theory.regression._least_squares import data, minimum

SLOWEST = 1e12  # of Y: its largest entry is about the number of epochs that memory lasts


def regression_moments(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
    momentum: RealScalar = 0.0,
    weight_decay: RealScalar = 0.0,
) -> tuple[Float[Array, "positions both"], Float[Array, "positions both both"]]:
    """(means, covariances) of (w − w*, u) before batch l = 0 … M−1 of an epoch; both = 2 inputs. Exact.

    u is the last step, w_k − w_{k−1}; w* is the minimum, with weight decay λ that of L(w) + λ|w|²/2. For small data
    sets: work and memory grow as 2 to the power of the samples. **Raises** `ValueError` where that is too much (2·10⁶
    pairs of a set and its last batch: 17 samples one by one), for batches larger than the data, shapes that do not
    match, values out of range, and where there is no stationary law.
    """
    x, y = data(x, y)
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    β = _checks.momentum("momentum", _checks.float64("momentum", momentum))
    λ = _checks.not_negative("weight_decay", _checks.float64("weight_decay", weight_decay))
    S = drawn(batch_size, len(x))
    levels = subsets.levels(len(x), S)
    w = minimum(x, y, weight_decay=λ)
    maps = _maps(x, y - x @ w, w, η, β, λ, subsets.batches(len(x), S))
    moments, slowest, stable = _stationary(maps, levels)
    moments = _checks.provided(
        moments, "learning_rate", η, stable & (slowest < SLOWEST), allowed="small enough for a stationary covariance",
        remedy="Reduce it, or enlarge the batch; where the Hessian has eigenvalues 0, add weight decay.",
    )  # fmt: skip
    means = moments[:, 0, 1:]
    return means, moments[:, 1:, 1:] - means[:, :, None] * means[:, None, :]


@jax.jit
def _maps(x: Array, r: Array, w: Array, η: Scalar, β: Scalar, λ: Scalar, batches: Array) -> Float[Array, "batches d d"]:
    """A_B for every batch."""
    n, one = len(batches), jnp.eye(x.shape[1])[None]
    X, zero = x[batches], jnp.zeros((len(batches), x.shape[1], 1))
    H = jnp.einsum("bsi,bsj->bij", X, X) / X.shape[1] + λ * one
    b = (jnp.einsum("bs,bsi->bi", r[batches], X) / X.shape[1] - λ * w[None])[..., None]
    βs = jnp.broadcast_to(β * one, H.shape)
    first = jnp.concatenate([jnp.ones((n, 1, 1)), jnp.swapaxes(jnp.concatenate([zero, zero], axis=1), 1, 2)], axis=2)
    weights = jnp.concatenate([η * b, one - η * H, βs], axis=2)
    velocity = jnp.concatenate([η * b, -η * H, βs], axis=2)
    return jnp.concatenate([first, weights, velocity], axis=1)


@jax.jit
def _stationary(maps: Array, levels: tuple[subsets.Level, ...]) -> tuple[Float[Array, "positions d d"], Scalar, Array]:
    """(E z zᵀ at each position, largest entry of Y, whether Y > 0)."""
    d = maps.shape[-1]
    rows, columns = np.tril_indices(d)
    inner = columns > 0  # the second moments of (δ, u); the corner is the first of all
    basis = np.zeros((len(rows), d, d))
    basis[np.arange(len(rows)), rows, columns] = basis[np.arange(len(rows)), columns, rows] = 1
    ends = jax.lax.map(partial(_epoch, maps, levels), jnp.asarray(basis))
    E = ends[:, -1, rows, columns].T
    rest = jnp.linalg.solve(jnp.eye(len(E) - 1) - E[1:, 1:], E[1:, 0])
    of_inner = jax.lax.stop_gradient(E[np.ix_(inner, inner)])
    Y = jnp.linalg.solve(jnp.eye(len(of_inner)) - of_inner, jnp.eye(d)[rows, columns][inner])
    Y = jnp.einsum("k,kij->ij", Y, jnp.asarray(basis[inner, 1:, 1:]))
    stable = jnp.min(jnp.linalg.eigvalsh(jnp.where(jnp.isfinite(Y), Y, -1))) > 0
    moments = jnp.einsum("k,klij->lij", jnp.concatenate([jnp.ones(1), rest]), ends[:, :-1])
    return moments, jnp.max(jnp.abs(Y)), stable


def _epoch(maps: Array, levels: tuple[subsets.Level, ...], X: Array) -> Float[Array, "ends d d"]:
    """E z zᵀ before each batch of an epoch and after the last."""
    of_sets, averages = X[None], [X]
    for level in levels:
        # one way to have got there after the other: all at once would take too much memory
        of_sets = jax.lax.scan(partial(_add, maps, of_sets), jnp.zeros((level.last.shape[1], *X.shape)), level)[0]
        of_sets = of_sets / len(level.last)
        averages.append(jnp.mean(of_sets, axis=0))
    return jnp.stack(averages)


def _add(maps: Array, of_sets: Array, total: Array, way: subsets.Level) -> tuple[Array, None]:
    A = maps[way.last]
    return total + A @ of_sets[way.before] @ jnp.swapaxes(A, 1, 2), None
