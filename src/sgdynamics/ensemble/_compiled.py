"""How the loop is compiled for CPUs.

With vectors as long as the processor has: LLVM prefers half of AVX-512 by habit of older processors, which slowed down
under it; the loop is a tenth to a quarter faster with all of it. And, where the cores are devices of their own, with
matrix products in one thread each: products as small as a replica's lose more by being shared out than they gain
(shared out, steps of a tanh network of 2,000 parameters take 1.4 times as long). Where the compiler does not know an
option, or has no use for it, it is left out.
"""

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

WIDE_VECTORS = {"xla_cpu_prefer_vector_width": 512}
ONE_THREAD = {"xla_cpu_multi_thread_eigen": False}


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
def options() -> dict[str, int | bool]:
    """The compiler's options, those that it takes."""
    if jax.default_backend() != "cpu":
        return {}
    wanted = (WIDE_VECTORS, ONE_THREAD) if jax.local_device_count() > 1 else (WIDE_VECTORS,)
    return {name: value for option in wanted if _taken(option) for name, value in option.items()}


def _taken(option: dict[str, Any]) -> bool:
    try:
        jax.jit(lambda x: x, compiler_options=option).lower(jnp.zeros(())).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
