"""How the statistics of an ensemble change with what the run depends on: derivatives with errors.

With p the parameters, θ_r(p) the path of replica r for its own draws, and v the estimate of a statistic,

    ∂v/∂p_i = Σ_g w_g ∂p_g/∂p_i                      p_g, w_g: pseudo-value and weight of group g of replicas

a mean over independent groups again, so that its error is their scatter, as that of v is.

    forward     one run beside the run for each p_i, all p_g at once, memory independent of the number of steps:
                for few parameters (learning rate, momentum, noise)
    reverse     one way back for each number v that is asked for, whatever the number of parameters, in memory
                O(√steps): for many (a schedule, initial weights, data). What p_g is here is the whole estimate from a
                share of the replicas, which has a copy of p for itself

(infinitesimal perturbation analysis: Glasserman 1991, "Gradient estimation via perturbation analysis", ch. 1-2).
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from sgdynamics import _checks
from sgdynamics._types import PRNGKey
from sgdynamics.dynamics import AbstractDynamics
from sgdynamics.ensemble._core import check_statistics
from sgdynamics.ensemble._measure import Share, measure_share
from sgdynamics.statistics import AbstractStatistic, Estimate, Extrema, FirstPassage, Histogram, SnapshotsEstimate
from sgdynamics.statistics._estimate import from_pseudo_values

Make = Callable[[Any], AbstractDynamics | tuple[AbstractDynamics, Any]]
Mode = Literal["forward", "reverse"]
COUNTS = (Histogram, FirstPassage, Extrema)
PER_NUMBER = 4
"""Parameters forwards for a way back: it takes as long as one to four ways forward (`sgdynamics bench derivatives`)."""
HALVES = 2
FEWEST = 4


class Sensitivity(eqx.Module):
    """Estimates and how they change.

    - estimates: in the structure of the statistics
    - derivatives: the same structure, and at each place that of the parameters, of `Estimate`s [*statistic, *parameter]
    - mode: "forward" or "reverse"
    """

    estimates: PyTree
    derivatives: PyTree
    mode: str = eqx.field(static=True)


def sensitivity(
    make: Make,
    at: PyTree,
    statistics: PyTree[AbstractStatistic],
    *,
    replicas: int,
    steps: int,
    key: PRNGKey,
    burn_in: int = 0,
    every: int = 1,
    groups: int = 32,
    mode: Mode | None = None,
) -> Sensitivity:
    """The derivatives of an ensemble's statistics with respect to what the run depends on, with standard errors.

    Arguments
    - make: parameters -> dynamics, or (dynamics, initial); differentiable. Whatever is made of the parameters counts:
      hyperparameters, a schedule, noise, data, initial weights.
    - at: the parameters, a tree of floating-point numbers and arrays, at which to differentiate.
    - statistics: one of `sgdynamics.statistics`, or a tree of them, that are smooth in the paths: no counts. Of
      `Snapshots` the mean is meant: a learning curve.
    - replicas, steps, key, burn_in, every, groups: as for `simulate`, whose draws these are.
    - mode: "forward" or "reverse"; None: what is cheaper.

    Everything is computed in the precision of `at` and of what `make` gives: float64 is worth its price here.

        def descent(η):
            return sgd.SGD(problem, learning_rate=η, sampler=10)

        found = sgd.sensitivity(descent, 0.1, sgd.statistics.Loss(problem), replicas=1024, steps=200, key=key)
        found.derivatives.value, found.derivatives.standard_error      # dL/dη

    Raises `ValueError` for bad sizes, statistics that are counts, and parameters that are not floating-point.
    """
    check_smooth(statistics)
    flat, unravel = raveled(at)
    run = Run(make, statistics, replicas, steps, key, burn_in, every, groups)
    mode = _mode(mode, run, flat, unravel)
    found, slopes = (_forward if mode == "forward" else _reverse)(run, flat, unravel)
    names = [_name(path) for path, _ in jax.tree.flatten_with_path(at)[0]]
    derivative = lambda value, slope: _split(value, slope, at, names)
    return Sensitivity(found, jax.tree.map(derivative, found, slopes, is_leaf=is_estimate), mode)


class Run(eqx.Module):
    """A run as a function of its parameters."""

    make: Make
    statistics: PyTree[AbstractStatistic]
    replicas: int = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    key: PRNGKey
    burn_in: int = eqx.field(static=True)
    every: int = eqx.field(static=True)
    groups: int = eqx.field(static=True)

    def __check_init__(self):
        _checks.key("key", self.key)

    def __call__(
        self, parameters: PyTree, size: int | None = None, first: Any = 0, groups: int | None = None
    ) -> PyTree:
        """The estimates; `size` replicas from number `first` on, or all."""
        made = self.make(parameters)
        dynamics, initial = made if isinstance(made, tuple) else (made, None)
        share = Share(self.replicas, self.replicas if size is None else size, jnp.asarray(first, jnp.int32))
        times = (self.steps, self.key, self.burn_in, self.every)
        return measure_share(dynamics, self.statistics, share, *times, initial, groups or self.groups)

    def means(self, *args: Any) -> PyTree:
        """The same without the paths of single replicas."""
        return means(self(*args))


def means(found: PyTree) -> PyTree:
    """Estimates alone: of `Snapshots`, which keep the path of every replica, that of the mean."""
    is_path = lambda x: isinstance(x, SnapshotsEstimate)
    return jax.tree.map(lambda x: x.mean if is_path(x) else x, found, is_leaf=is_path)


def is_estimate(x: Any) -> bool:
    """Whether a tree of estimates ends here."""
    return isinstance(x, Estimate)


def check_smooth(statistics: PyTree) -> None:
    """An error for statistics that have no derivative."""
    for leaf in check_statistics(statistics):
        if isinstance(leaf, COUNTS):
            raise ValueError(
                f"statistics holds a {type(leaf).__name__}, which counts events and has no derivative along a path. "
                "Use means, covariances, losses, displacements, spectra."
            )


class Unravel(eqx.Module):
    """From parameters in a row to those of the structure of `like`."""

    like: PyTree

    def __call__(self, flat: Float[Array, " n"]) -> PyTree:
        return ravel_pytree(self.like)[1](flat)


def raveled(at: PyTree) -> tuple[Float[Array, " n"], Unravel]:
    """The parameters in a row, and the way back."""
    leaves = jax.tree.leaves(at)
    if not leaves or not all(jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves):
        raise ValueError(f"at = {at!r}, but it must be a tree of floating-point numbers or arrays, e.g. 0.1.")
    like = jax.tree.map(jnp.asarray, at)
    return ravel_pytree(like)[0], Unravel(like)


def _mode(asked: Mode | None, run: Run, flat: Array, unravel: Unravel) -> Mode:
    if asked is not None and asked not in get_args(Mode):
        raise ValueError(f'mode = {asked!r}, but it must be "forward", "reverse" or None.')
    mode = asked or ("forward" if flat.size <= PER_NUMBER * _numbers(run, flat, unravel) else "reverse")
    if mode == "reverse":
        _shares(run.replicas, run.groups)
    return mode


def _numbers(run: Run, flat: Array, unravel: Unravel) -> int:
    """How many the statistics give."""
    return sum(x.size for x in jax.tree.leaves(_values(eqx.filter_eval_shape(run.means, unravel(flat)))))


@eqx.filter_jit
def _forward(run: Run, flat: Array, unravel: Unravel) -> tuple[PyTree, PyTree]:
    """The estimates, and the derivatives of their pseudo-values [groups, *statistic, parameters] with the weights."""

    def pseudo(flat):
        found = run.means(unravel(flat))
        return _tree(lambda estimate: estimate.groups, found), found

    slopes, found = jax.jacfwd(pseudo, has_aux=True)(flat)
    return found, _tree(lambda estimate, slope: (slope, estimate.weights), found, slopes)


@eqx.filter_jit
def _reverse(run: Run, flat: Array, unravel: Unravel) -> tuple[PyTree, PyTree]:
    """As `_forward`: here groups are shares of the replicas, each with a copy of the parameters."""
    shares, size = _shares(run.replicas, run.groups)
    starts = size * jnp.arange(shares, dtype=jnp.int32)

    def one(flat, first):
        found = run.means(unravel(flat), size, first, HALVES)
        return _values(found), _tree(lambda estimate: estimate.left_out == 0, found)

    copies = jnp.broadcast_to(flat, (shares, flat.size))
    out, back, whole_shares = jax.vjp(lambda copies: jax.vmap(one)(copies, starts), copies, has_aux=True)
    rows, unravel_one = ravel_pytree(jax.tree.map(lambda x: x[0], out))
    # a share's values depend on its own copy alone: one cotangent serves all shares
    cotangent = lambda unit: jax.tree.map(lambda x: jnp.broadcast_to(x, (shares, *x.shape)), unravel_one(unit))
    slopes = jax.vmap(lambda unit: back(cotangent(unit))[0])(jnp.eye(rows.size, dtype=rows.dtype))
    per_share = jax.vmap(jax.vmap(unravel_one, in_axes=1, out_axes=-1), in_axes=1)(slopes)
    # of a share in which a replica diverged nothing is taken
    kept = jax.tree.map(lambda whole: whole.astype(flat.dtype), whole_shares)
    weights = jax.tree.map(lambda share: share / jnp.maximum(jnp.sum(share), 1), kept)
    shapes = jax.eval_shape(run.means, unravel(flat))
    averaged = lambda shape, values, weights: from_pseudo_values(values, weights, quantity=shape.quantity, of=shape.of)
    return _tree(averaged, shapes, out, weights), _tree(lambda _, *slope: slope, shapes, per_share, weights)


def _shares(replicas: int, groups: int) -> tuple[int, int]:
    """(shares, replicas of each): as many equal ones as there are pairs of groups, or fewer."""
    shares = next((n for n in range(min(groups, replicas) // HALVES, 0, -1) if replicas % n == 0), 0)
    if shares < FEWEST:
        raise ValueError(
            f"replicas = {replicas}, but mode = 'reverse' measures errors between equal shares of them, and {replicas} "
            f"cannot be cut into {FEWEST} or more, at most half of groups = {groups}. Use a multiple of 32."
        )
    return shares, replicas // shares


def _tree(function: Callable, found: PyTree, *others: PyTree) -> PyTree:
    return jax.tree.map(function, found, *others, is_leaf=is_estimate)


def _values(found: PyTree) -> PyTree:
    return _tree(lambda estimate: estimate.value, found)


def _split(estimate: Estimate, slope: tuple[Array, Array], at: PyTree, names: list[str]) -> PyTree:
    """The derivative of one estimate with respect to each parameter."""
    slopes, weights = slope
    leaves, structure = jax.tree.flatten(at)
    derivatives, begin = [], 0
    for leaf, name in zip(leaves, names, strict=True):
        shape, size = jnp.shape(leaf), jnp.size(leaf)
        part = slopes[..., begin : begin + size].reshape(*slopes.shape[:-1], *shape)
        quantity = f"∂({estimate.quantity})/∂({name})" if name else f"derivative of the {estimate.quantity}"
        derivatives.append(from_pseudo_values(part, weights, quantity=quantity, of=estimate.of))
        begin += size
    return jax.tree.unflatten(structure, derivatives)


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
