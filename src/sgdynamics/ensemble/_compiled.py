"""How the loop is compiled: on CPUs with vectors as long as the processor has.

LLVM prefers half of AVX-512 by habit of older processors, which slowed down under it; the loop is a tenth to a quarter
faster with all of it. Where the compiler does not know the option, or has no use for it, it is left out.
"""

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

WIDE_VECTORS = {"xla_cpu_prefer_vector_width": 512}


class Compiled:
    """`eqx.filter_jit` of a function with these options, made when it is first called: then JAX knows its device."""

    def __init__(self, function: Callable):
        self.function = function

    @cached_property
    def jitted(self) -> Any:
        return eqx.filter_jit(self.function, compiler_options=options())  # pyright: ignore[reportCallIssue]

    def __call__(self, *args: Any) -> Any:
        return self.jitted(*args)

    def lower(self, *args: Any) -> Any:
        """The program before it is compiled."""
        return self.jitted.lower(*args)


@cache
def options() -> dict[str, int]:
    """The compiler's options, those that it takes."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=WIDE_VECTORS).lower(jnp.zeros(())).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return WIDE_VECTORS
