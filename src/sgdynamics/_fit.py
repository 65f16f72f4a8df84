"""Parameters of a model for which its ensemble has the statistics that were measured.

With y the measured values, m(p) those of the model's ensemble for fixed draws, and s² the sum of the squares of both
errors,

    χ²(p) = Σ_j (m_j(p) − y_j)²/s_j²,      J = ∂m/∂p,  W = diag 1/s²
    step:   (Jᵀ W J) d = Jᵀ W (m − y)                                     (Gauss-Newton)

d is handed to an optax transformation in the place of a gradient: by default it is followed downhill, halved until χ²
falls enough. p̂ is a linear function of y and of the draws near its end, so that its error follows from the scatter of
the groups of replicas, of both ensembles, whatever the correlations between the values:

    p̂_g − p̂ = (Jᵀ W J)⁻¹ Jᵀ W (y_g − y),      the same with −(m_g − m)

J, W and m share the model's draws, so that E[Jᵀ W (m − y)] is not 0 at the true parameters: a bias of the order of
values/replicas of the model, which the errors do not contain. An Ornstein-Uhlenbeck process fitted to itself with 192
values and 256 replicas is off by 1.55(15) standard errors in its friction and −0.4(2) in its temperature (40 pairs).
"""

from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from sgdynamics import _checks
from sgdynamics._sensitivity import Make, Run, Unravel, check_smooth, is_estimate, raveled
from sgdynamics._types import PRNGKey
from sgdynamics.statistics import AbstractStatistic, Estimate
from sgdynamics.statistics._estimate import from_pseudo_values


class Fit(eqx.Module):
    """What a fit has found.

    - parameters, standard_error: in the structure of the start
    - covariance: [n, n], of the parameters in a row
    - z: in the structure of the statistics, (model − measured)/error of each value there: beyond ±4, the model does not
      describe what was measured, however it is tuned
    - model: the model's estimates there
    - converged: whether the last step was less than a hundredth of the errors; iterations: how many were made
    """

    parameters: PyTree
    standard_error: PyTree
    covariance: Float[Array, "n n"]
    z: PyTree
    model: PyTree
    converged: bool = eqx.field(static=True)
    iterations: int = eqx.field(static=True)


@cache
def descending() -> optax.GradientTransformationExtraArgs:
    """Down a given direction, by a step that is halved until the value falls enough."""
    search = optax.scale_by_backtracking_linesearch(max_backtracking_steps=15, decrease_factor=0.5)
    return optax.chain(optax.scale(-1.0), search)


def fit(
    make: Make,
    start: PyTree,
    statistics: PyTree[AbstractStatistic],
    measured: PyTree[Estimate],
    *,
    replicas: int,
    steps: int,
    key: PRNGKey,
    burn_in: int = 0,
    every: int = 1,
    groups: int = 32,
    transformation: optax.GradientTransformation | None = None,
    iterations: int = 50,
) -> Fit:
    """The parameters for which a model's statistics are those measured: a noise scale, an effective temperature or
    friction for which a stochastic differential equation does what SGD was seen to do.

    Arguments
    - make: parameters -> dynamics, or (dynamics, initial), as for `sensitivity`. Parameters that must be positive are
      best given as logarithms.
    - start: the parameters to begin with, a tree of floating-point numbers or arrays; few.
    - statistics: of `sgdynamics.statistics`, smooth in the paths, a tree of them.
    - measured: their `Estimate`s in the same structure, such as `simulate(...).estimates` of another dynamics; of
      independent draws.
    - replicas, steps, key, burn_in, every, groups: of the model's ensemble, whose draws stay the same throughout. Give
      it several times as many replicas as there are values: with fewer, parameters are off by about an error or two.
    - transformation: of optax, which is given the Gauss-Newton step for a gradient (and `value`, `grad`, `value_fn`).
    - iterations: at most so many.

    Raises `ValueError` where structures or shapes do not match, where no value has an error in either ensemble, where
    the model is not finite, and where the statistics do not tell the parameters apart. A fit that has not converged
    says so in `converged` alone.
    """
    check_smooth(statistics)
    iterations = _checks.count("iterations", iterations)
    flat, unravel = raveled(start)
    run = Run(make, statistics, replicas, steps, key, burn_in, every, groups)
    seen = _matching(measured, eqx.filter_eval_shape(run, unravel(flat)))
    transformation = optax.with_extra_args_support(transformation or descending())
    memory, done = transformation.init(flat), 0
    while True:
        step = _step(run, seen, flat, unravel)
        _check(step, unravel(flat))
        converged = bool(step.decrement < 1e-4)
        if converged or done == iterations:
            break
        value_fn = Misfit(run, seen, step.weights, unravel)
        flat, memory = _moved(transformation, step, memory, flat, value_fn)
        done += 1
    covariance = _covariance(step)
    errors = unravel(jnp.sqrt(jnp.diag(covariance)))
    z = jax.tree.unflatten(jax.tree.structure(measured, is_leaf=is_estimate), _unrow(step.z, seen))
    return Fit(unravel(flat), errors, covariance, z, step.model, converged, done)


class Step(eqx.Module):
    """What a Gauss-Newton step is made of."""

    direction: Float[Array, " n"]
    gradient: Float[Array, " n"]
    misfit: Float[Array, ""]
    curvature: Float[Array, "n n"]
    weighted: Float[Array, "n values"]
    weights: Float[Array, " values"]
    z: Float[Array, " values"]
    decrement: Float[Array, ""]
    scatter: tuple[Any, Any]
    model: PyTree


class Misfit(eqx.Module):
    """χ² with given weights."""

    run: Run
    seen: list[Estimate]
    weights: Float[Array, " values"]
    unravel: Unravel

    def __call__(self, flat: Float[Array, " n"]) -> Float[Array, ""]:
        model = _estimates(self.run(self.unravel(flat)))
        return jnp.sum(self.weights * (_values(model) - _values(self.seen)) ** 2)


@eqx.filter_jit
def _step(run: Run, seen: list[Estimate], flat: Array, unravel: Unravel) -> Step:
    def values(flat):
        found = run(unravel(flat))
        return _values(_estimates(found)), found

    J, found = jax.jacfwd(values, has_aux=True)(flat)
    model = _estimates(found)
    both = [_row([e.standard_error for e in side]) for side in (model, seen)]
    square = both[0] ** 2 + both[1] ** 2
    # what has no error in either, such as a displacement after no steps, says nothing
    weights = jnp.where(square > 0, 1 / jnp.where(square > 0, square, 1), 0)
    difference = _values(model) - _values(seen)
    weighted = J.T * weights[None, :]
    A, gradient = weighted @ J, weighted @ difference
    direction = jnp.linalg.solve(A, gradient)
    misfit = jnp.sum(weights * difference**2)
    scatter = (_pseudo(seen), _pseudo(model))
    z = jnp.sqrt(weights) * difference
    return Step(direction, 2 * gradient, misfit, A, weighted, weights, z, direction @ gradient, scatter, found)


@eqx.filter_jit
def _moved(transformation, step: Step, memory: Any, flat: Array, value_fn: Misfit) -> tuple[Array, Any]:
    told = {"value": step.misfit, "grad": step.gradient, "value_fn": value_fn}
    update, memory = transformation.update(step.direction, memory, flat, **told)
    return optax.apply_updates(flat, update), memory


def _covariance(step: Step) -> Float[Array, "n n"]:
    """Of the parameters, from the scatter of the groups of both ensembles."""
    response = jnp.linalg.solve(step.curvature, step.weighted)
    total = jnp.zeros_like(step.curvature)
    for values, weights in step.scatter:
        found = from_pseudo_values(values @ response.T, weights, quantity="parameters")
        deviations = jnp.where(weights[:, None] > 0, found.groups - found.value[None, :], 0)
        # of groups of weight w: Σ w²(p_g − p)(p_g − p)ᵀ, and one degree of freedom is lost
        corrected = (found.degrees_of_freedom + 1) / found.degrees_of_freedom
        total += corrected * ((weights[None, :] ** 2 * deviations.T) @ deviations)
    return total


def _matching(measured: PyTree, model: PyTree) -> list[Estimate]:
    """The measured estimates in a row; an error where they are not those that the model gives."""
    one, other = (jax.tree.structure(tree, is_leaf=is_estimate) for tree in (measured, model))
    if one != other or not all(map(is_estimate, jax.tree.leaves(measured, is_leaf=is_estimate))):
        raise ValueError(
            f"measured is of the structure {one}, but it must be that of the statistics' estimates, {other}. "
            "Pass `simulate(dynamics, statistics, ...).estimates` of the same statistics."
        )
    seen, expected = _estimates(measured), _estimates(model)
    for a, b in zip(seen, expected, strict=True):
        if a.value.shape != b.value.shape:
            raise ValueError(
                f"measured has a {a.quantity} of shape {a.value.shape}, but the model's has {b.value.shape}. "
                "Both must be of the same statistics."
            )
        if not bool(jnp.all(jnp.isfinite(a.value))):
            raise ValueError(f"measured has a {a.quantity} that is not finite: {a.value}. Leave it out.")
    return seen


def _check(step: Step, parameters: PyTree) -> None:
    """An error where a step leads nowhere."""
    if not bool(jnp.all(jnp.isfinite(step.curvature)) & jnp.isfinite(step.misfit)):
        raise ValueError(
            f"start has led to parameters = {parameters!r}, where the model's statistics or their derivatives are not "
            "finite. Start nearer, or fit logarithms of what must be positive."
        )
    if not bool(jnp.any(step.weights > 0)):
        raise ValueError(
            "measured and the model have no errors at all, so that nothing weighs their difference. Measure with two "
            "groups of replicas or more, after a step or more."
        )
    scale = jnp.sqrt(jnp.diag(step.curvature))
    if not bool(jnp.all(scale > 0)) or float(jnp.linalg.cond(step.curvature / scale[:, None] / scale[None, :])) > 1e10:
        raise ValueError(
            f"start has parameters that the statistics do not tell apart, or do not depend on, at {parameters!r}. Fit "
            "fewer, or more statistics."
        )


def _estimates(tree: PyTree) -> list[Estimate]:
    return [leaf for leaf in jax.tree.leaves(tree, is_leaf=is_estimate) if is_estimate(leaf)]


def _row(arrays: list[Array]) -> Float[Array, " values"]:
    return jnp.concatenate([jnp.ravel(x) for x in arrays])


def _values(estimates: list[Estimate]) -> Float[Array, " values"]:
    return _row([e.value for e in estimates])


def _unrow(row: Array, like: list[Estimate]) -> list[Array]:
    ends = [0]
    for estimate in like:
        ends.append(ends[-1] + estimate.value.size)
    return [row[a:b].reshape(e.value.shape) for a, b, e in zip(ends, ends[1:], like, strict=False)]


def _pseudo(estimates: list[Estimate]) -> tuple[Float[Array, "groups values"], Float[Array, " groups"]]:
    """Pseudo-values of all estimates of one ensemble, [groups, values], with their weights."""
    weights = estimates[0].weights
    return jnp.concatenate([e.groups.reshape(weights.size, -1) for e in estimates], axis=1), weights
