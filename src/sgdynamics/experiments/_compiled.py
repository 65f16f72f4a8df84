"""Compiled for one evaluation.

An experiment evaluates theory once or twice for each shape of its data, and JAX's compiler then takes longer
than the work. As one program, and without expensive optimisation, a law takes a third of the time to be ready
that it takes operation by operation; what it computes is the same (linear algebra runs in LAPACK anyway).
"""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

P = ParamSpec("P")
R = TypeVar("R")
_CHEAP = {"xla_llvm_disable_expensive_passes": True, "xla_backend_optimization_level": 0}


def once(function: Callable[P, R]) -> Callable[P, R]:
    """`function` as one program that is quick to compile. Arrays are its variables; everything else (Python
    numbers, strings, sizes) is constant. Inside another program it is part of that one."""
    jit: Any = eqx.filter_jit
    compiled = jit(function, compiler_options=_CHEAP)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        inside = any(_is_traced(leaf) for leaf in jax.tree.leaves((args, kwargs)))
        return function(*args, **kwargs) if inside else compiled(*args, **kwargs)

    return call


def _is_traced(leaf: object) -> bool:
    if not isinstance(leaf, jax.Array):
        return False
    try:
        np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)
    except jax.errors.TracerArrayConversionError:
        return True
    return False
