"""Choices that make a statistic of the ensemble smallest, found by descending its gradient through the whole run.

    p ← p + transformation(∂v/∂p),      v: a statistic of fresh draws in every iteration

(stochastic gradient descent once more, of SGD's own ensemble). Whether anything was gained is then measured by draws
that the search has not seen, the same for the start and the end, so that the difference has a small error.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from sgdynamics import _checks
from sgdynamics._sensitivity import Make, Run, Unravel, check_smooth, raveled
from sgdynamics._types import PRNGKey
from sgdynamics.statistics import AbstractStatistic, Estimate
from sgdynamics.statistics._estimate import from_pseudo_values


class Design(eqx.Module):
    """What a search has found.

    - parameters: in the structure of the start
    - before, after: the statistic at the start and at the end; change: after − before, of the same draws, which the
      search has not seen
    - history: [iterations], the statistic on the way, each of draws of its own
    """

    parameters: PyTree
    before: Estimate
    after: Estimate
    change: Estimate
    history: Float[Array, " iterations"]


def design(
    make: Make,
    start: PyTree,
    statistic: AbstractStatistic,
    *,
    replicas: int,
    steps: int,
    key: PRNGKey,
    burn_in: int = 0,
    every: int = 1,
    groups: int = 32,
    transformation: optax.GradientTransformation | None = None,
    iterations: int = 100,
) -> Design:
    """The parameters that make a statistic of an ensemble smallest: a learning-rate schedule, say, for the least loss
    after so many steps.

    Arguments
    - make: parameters -> dynamics, or (dynamics, initial), as for `sensitivity`.
    - start: the parameters to begin with, a tree of floating-point numbers or arrays; many are as quick as few.
    - statistic: one of `sgdynamics.statistics`, smooth in the paths, whose value is a single number.
    - replicas, steps, key, burn_in, every, groups: as for `simulate`; iteration i draws from `key` folded by i. For the
      statistic at the end of a run alone: burn_in = steps before it, steps = 1.
    - transformation: of optax; None: `optax.adam(0.05)`.
    - iterations: how many.

    Gradients go back through every step, with memory O(√steps). Raises `ValueError` for a statistic of many numbers,
    bad sizes, and where the search leaves the finite numbers.
    """
    check_smooth(statistic)
    _checks.key("key", key)
    iterations = _checks.count("iterations", iterations)
    flat, unravel = raveled(start)
    run = lambda i: Run(make, statistic, replicas, steps, jax.random.fold_in(key, i), burn_in, every, groups)
    shape = eqx.filter_eval_shape(run(0).means, unravel(flat)).value.shape
    if shape != ():
        raise ValueError(f"statistic has a value of shape {shape}, but it must be a single number to be made smallest.")
    transformation = optax.with_extra_args_support(optax.adam(0.05) if transformation is None else transformation)
    memory, begin, history = transformation.init(flat), flat, []
    for i in range(iterations):
        value, flat, memory = _descended(run(i), transformation, flat, memory, unravel)
        history.append(value)
        if not bool(jnp.all(jnp.isfinite(flat))):
            raise ValueError(
                f"transformation has led to parameters that are not finite, in iteration {i}. Take smaller steps, such "
                "as optax.adam(0.01), or clip gradients."
            )
    before, after = (_measured(run(iterations), p, unravel) for p in (begin, flat))
    change = from_pseudo_values(
        after.groups - before.groups, before.weights, quantity=f"change of the {before.quantity}"
    )
    return Design(unravel(flat), before, after, change, jnp.stack(history))


@eqx.filter_jit
def _descended(run: Run, transformation: Any, flat: Array, memory: Any, unravel: Unravel) -> tuple[Array, Array, Any]:
    value, gradient = jax.value_and_grad(lambda flat: run.means(unravel(flat)).value)(flat)
    update, memory = transformation.update(gradient, memory, flat)
    return value, optax.apply_updates(flat, update), memory


@eqx.filter_jit
def _measured(run: Run, flat: Array, unravel: Unravel) -> Estimate:
    return run.means(unravel(flat))
