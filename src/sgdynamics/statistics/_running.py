"""Sums of very many terms in few bits.

A plain float32 sum of n equal terms errs by about ε √n (3e-5 after 10⁶ records) and stands still after
2²⁴ of them. Kahan's compensated sum carries the lost low bits along, c ← ((s + y) − s) − y with y = x − c,
and errs by about 2ε whatever n; its cost is a few additions on the sums of the groups, not on the replicas.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped


class Running(eqx.Module):
    """A sum under way: `total − residue`. Counts and float64 sums need no residue (None)."""

    total: Shaped[Array, "..."]
    residue: Float[Array, "..."] | None

    @staticmethod
    def zero(shape: tuple[int, ...], dtype: Any) -> "Running":
        compensated = jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 64
        return Running(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype) if compensated else None)

    def add(self, term: Shaped[Array, "..."]) -> "Running":
        if self.residue is None:
            return Running(self.total + term, None)
        increment = term - self.residue
        total = self.total + increment
        return Running(total, (total - self.total) - increment)

    def wide(self) -> Float[Array, "..."]:
        """The sum in the widest float of the session."""
        total = self.total.astype(wide())
        return total if self.residue is None else total - self.residue.astype(wide())

    def replaced(self, wider: Float[Array, "..."]) -> "Running":
        """A running sum of this kind that holds `wider`, with its low bits in the residue."""
        if jnp.issubdtype(self.total.dtype, jnp.integer):
            return Running(jnp.round(wider).astype(self.total.dtype), None)
        total = wider.astype(self.total.dtype)
        if self.residue is None:
            return Running(total, None)
        return Running(total, (total.astype(wider.dtype) - wider).astype(self.total.dtype))


def wide() -> jnp.dtype:
    """float64 where x64 is on, float32 where it is not."""
    return jnp.result_type(float)


def is_running(x: Any) -> bool:
    return isinstance(x, Running)


def zeros(like: Any) -> Any:
    """Running sums of zero, one for each array (or its shape) of the tree `like`."""
    return jax.tree.map(lambda x: Running.zero(x.shape, x.dtype), like)


def add(sums: Any, terms: Any) -> Any:
    return jax.tree.map(lambda s, x: s.add(x), sums, terms, is_leaf=is_running)


def widened(sums: Any) -> Any:
    return jax.tree.map(lambda s: s.wide(), sums, is_leaf=is_running)


def replaced(sums: Any, wider: Any) -> Any:
    return jax.tree.map(lambda s, x: s.replaced(x), sums, wider, is_leaf=is_running)
