"""Fences against recomputation.

XLA's CPU compiler fuses a producer into each of its consumers and computes it once for each: a drawn index once for
every number of the row that it fetches, a chain of layers 20 to 60 times. `lax.optimization_barrier` does not stop it.
A conditional does, whose predicate always holds but not by anything that the compiler could know.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from sgdynamics._types import Step


def always(step: Step) -> Bool[Array, ""]:
    """True, though the compiler does not know: odd numbers are not 0, however often a step's number has wrapped."""
    return (step | 1) != 0


def fence(step: Step, function: Callable, *args: Any) -> Any:
    """`function(*args)`, computed once whatever becomes of the result; `step` is a traced whole number, any."""
    nothing = lambda *args: jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(function, *args))
    return jax.lax.cond(always(step), function, nothing, *args)
