"""Parameters of a model for which its ensemble has the statistics that were measured.

With y the measured values, m(p) those of the model's ensemble for fixed draws, and J = ∂m/∂p,

    Zᵀ W (m(p) − y) = 0                                       what is solved for p
    step:   (Zᵀ W J) d = Zᵀ W (m − y)                         (Gauss-Newton, were Z = J)

Z = ∂m'/∂p and W = diag 1/s'² are of a second ensemble of the model, with draws of its own. Those of the first share
their noise with m, so that E[Jᵀ W (m − y)] is not 0 at the true parameters: least squares with as many values as
replicas are off by more than an error (instrumental variables: Wooldridge 2010, "Econometric Analysis of Cross
Section and Panel Data", ch. 5).

d is handed to an optax transformation in the place of a gradient: by default it is followed downhill, halved until
gᵀ(ZᵀWZ)⁻¹g, g = ZᵀW(m − y), falls enough. p̂ is a linear function of y and of the draws near its end, so that its
error follows from the scatter of the groups of replicas, of both ensembles, whatever the correlations between the
values:

    p̂_g − p̂ = (Zᵀ W J)⁻¹ Zᵀ W (y_g − y),      the same with −(m_g − m)
"""

from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from sgdynamics import _checks
from sgdynamics._sensitivity import Make, Run, Unravel, check_smooth, is_estimate, means, raveled
from sgdynamics._types import PRNGKey
from sgdynamics.statistics import AbstractStatistic, Estimate
from sgdynamics.statistics._estimate import from_pseudo_values

OWN = 1
"""What the key of the second ensemble is folded by."""


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
    - replicas, steps, key, burn_in, every, groups: of the model's two ensembles, whose draws stay the same throughout.
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
    measured = means(measured)
    seen = _matching(measured, eqx.filter_eval_shape(run.means, unravel(flat)))
    transformation = optax.with_extra_args_support(transformation or descending())
    # optax begins with weak types, and what it gives back would be compiled anew
    strong = lambda x: jax.lax.convert_element_type(x, jnp.result_type(x))
    memory, done = jax.tree.map(strong, transformation.init(flat)), 0
    while True:
        step = _step(run, seen, flat, unravel)
        _check(step, unravel(flat))
        converged = bool(step.decrement < 1e-4)
        if converged or done == iterations:
            break
        value_fn = Misfit(run, seen, step.weighted, step.curvature, unravel)
        flat, memory = _moved(transformation, step, memory, flat, value_fn)
        done += 1
    errors = unravel(jnp.sqrt(jnp.diag(step.covariance)))
    z = jax.tree.unflatten(jax.tree.structure(measured, is_leaf=is_estimate), _unrow(step.z, seen))
    return Fit(unravel(flat), errors, step.covariance, z, step.model, converged, done)


class Step(eqx.Module):
    """What a step is made of: its direction, and with it what says whether it was the last."""

    direction: Float[Array, " n"]
    gradient: Float[Array, " n"]
    misfit: Float[Array, ""]
    curvature: Float[Array, "n n"]
    weighted: Float[Array, "n values"]
    weights: Float[Array, " values"]
    covariance: Float[Array, "n n"]
    z: Float[Array, " values"]
    model: PyTree

    @property
    def decrement(self) -> Float[Array, ""]:
        """The squared length of the step, in units of the parameters' errors."""
        return self.direction @ jnp.linalg.solve(self.covariance, self.direction)


class Misfit(eqx.Module):
    """gᵀ(ZᵀWZ)⁻¹g with given instruments, ZᵀW."""

    run: Run
    seen: list[Estimate]
    weighted: Float[Array, "n values"]
    curvature: Float[Array, "n n"]
    unravel: Unravel

    def __call__(self, flat: Float[Array, " n"]) -> Float[Array, ""]:
        model = _estimates(self.run.means(self.unravel(flat)))
        g = self.weighted @ (_values(model) - _values(self.seen))
        return g @ jnp.linalg.solve(self.curvature, g)


@eqx.filter_jit
def _step(run: Run, seen: list[Estimate], flat: Array, unravel: Unravel) -> Step:
    def responses(key):
        def values(flat):
            found = eqx.tree_at(lambda run: run.key, run, key).means(unravel(flat))
            return _values(_estimates(found)), found

        return jax.jacfwd(values, has_aux=True)(flat)

    both_slopes, both = jax.lax.map(responses, jnp.stack([run.key, jax.random.fold_in(run.key, OWN)]))
    (J, Z), (found, other) = both_slopes, (jax.tree.map(lambda x, i=i: x[i], both) for i in range(2))
    model = _estimates(found)
    weights = _weights(*(_squared_errors(side) for side in (_estimates(other), seen)))
    difference = _values(model) - _values(seen)
    weighted = Z.T * weights[None, :]
    A, B, g = weighted @ Z, weighted @ J, weighted @ difference
    direction, whitened = jnp.linalg.solve(B, g), jnp.linalg.solve(A, g)
    covariance = _covariance(jnp.linalg.solve(B, weighted), (_pseudo(seen), _pseudo(model)))
    square = _squared_errors(model) + _squared_errors(seen)
    z = jnp.where(square == 0, 0, difference / jnp.sqrt(jnp.where(square == 0, 1, square)))
    return Step(direction, 2 * B.T @ whitened, g @ whitened, A, weighted, weights, covariance, z, found)


def _weights(model: Array, seen: Array) -> Float[Array, " values"]:
    """Of what has no error in either, such as a displacement after no steps, 0: it says nothing. The measurement's own
    errors go with its values, and would favour the small ones."""
    square = jnp.where(model > 0, model, seen)
    return jnp.where(square > 0, 1 / jnp.where(square > 0, square, 1), 0)


@eqx.filter_jit
def _moved(transformation, step: Step, memory: Any, flat: Array, value_fn: Misfit) -> tuple[Array, Any]:
    told = {"value": step.misfit, "grad": step.gradient, "value_fn": value_fn}
    update, memory = transformation.update(step.direction, memory, flat, **told)
    return optax.apply_updates(flat, update), memory


def _covariance(response: Float[Array, "n values"], scatter: tuple) -> Float[Array, "n n"]:
    """Of the parameters, from the scatter of the groups of both ensembles."""
    total = jnp.zeros((len(response),) * 2)
    for values, weights in scatter:
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
    if not bool(jnp.all(jnp.isfinite(step.curvature)) & jnp.all(jnp.isfinite(step.z))):
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


def _squared_errors(estimates: list[Estimate]) -> Float[Array, " values"]:
    return _row([e.standard_error for e in estimates]) ** 2


def _unrow(row: Array, like: list[Estimate]) -> list[Array]:
    ends = [0]
    for estimate in like:
        ends.append(ends[-1] + estimate.value.size)
    return [row[a:b].reshape(e.value.shape) for a, b, e in zip(ends, ends[1:], like, strict=False)]


def _pseudo(estimates: list[Estimate]) -> tuple[Float[Array, "groups values"], Float[Array, " groups"]]:
    """Pseudo-values of all estimates of one ensemble, [groups, values], with their weights."""
    weights = estimates[0].weights
    return jnp.concatenate([e.groups.reshape(weights.size, -1) for e in estimates], axis=1), weights
