"""A function of one replica, evaluated for many at once with replicas in the last axis.

`vmap` puts replicas first, where a matrix product becomes thousands of products too small to be fast. Last, each is a
few long vector operations:

    C_ab = Σ_k A_ak B_bk    with A_ak, B_bk, C_ab vectors over the replicas

written out in pieces of a few terms (more read from more places at once than a core can follow), the smaller factor
outermost, so that it stays in the cache. The function's program, its jaxpr, is gone through operation by
operation; what is no such product is left to `vmap`, with replicas last. Products, and functions that are dear to
compute twice, stand behind fences. (`_stacks` has the products of the deep linear kernels, which are written by hand
and lie in longer rows.)
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun
from jaxtyping import Array

from sgdynamics._types import Step
from sgdynamics.ensemble._fence import fence

# the terms of a product that are summed at once: 9 and 10 ran at 50 to 60 GFLOP/s a core, 12 and all 36 at 25
TERMS = 10
DEAR = {"tanh", "exp", "exp2", "expm1", "log", "log1p", "logistic", "erf", "sin", "cos", "pow", "sqrt", "rsqrt"}
CALLS = {"jit", "pjit"}


class Last:
    """The values of one variable, replicas in the last axis. Variables of which there is only one are bare arrays."""

    def __init__(self, array: Array):
        self.array = array


def evaluate(program: ClosedJaxpr, arguments: Sequence[Last | Array], step: Step) -> list[Last | Array]:
    """What the program makes of its arguments, replica by replica."""
    jaxpr = program.jaxpr
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, program.consts, strict=True))
    values |= dict(zip(jaxpr.invars, arguments, strict=True))
    read = lambda v: jnp.asarray(v.val, v.aval.dtype) if isinstance(v, Literal) else values[v]
    for equation in jaxpr.eqns:
        if equation.primitive.name in CALLS:
            results = evaluate(equation.params["jaxpr"], [read(v) for v in equation.invars], step)
        else:
            results = _apply(equation, _operation(jaxpr, equation), values, step)
        values |= dict(zip(equation.outvars, results, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _apply(equation: JaxprEqn, operation: Callable, values: dict[Any, Any], step: Step) -> list[Last | Array]:
    """The results of one operation on values that were found before."""
    inputs = [values[v] for v in _variables(equation)]
    if not any(isinstance(x, Last) for x in inputs):
        return operation(*inputs)
    if written_out(equation) and all(isinstance(x, Last) for x in inputs):
        ((a,), (b,)), _ = equation.params["dimension_numbers"]
        A, B = (values[v].array for v in equation.invars)
        return [Last(contraction(A, B, a, b, step))]
    axes = tuple(-1 if isinstance(x, Last) else None for x in inputs)
    operation = jax.vmap(operation, in_axes=axes, out_axes=-1)
    arrays = [x.array if isinstance(x, Last) else x for x in inputs]
    dear = equation.primitive.name in DEAR
    return [Last(result) for result in (fence(step, operation, *arrays) if dear else operation(*arrays))]


def _variables(equation: JaxprEqn) -> list[Any]:
    return list(dict.fromkeys(v for v in equation.invars if not isinstance(v, Literal)))


def _operation(jaxpr: Jaxpr, equation: JaxprEqn) -> Callable[..., list[Array]]:
    """One operation of a program as a function of its variables."""
    alone = jaxpr.replace(
        constvars=[], invars=_variables(equation), outvars=equation.outvars, eqns=[equation],
        effects=equation.effects, debug_info=jaxpr.debug_info.with_unknown_names(),
    )  # fmt: skip
    return jaxpr_as_fun(ClosedJaxpr(alone, ()))


def operations(program: ClosedJaxpr) -> Iterator[JaxprEqn]:
    """All operations of the program, calls' too."""
    for equation in program.jaxpr.eqns:
        if equation.primitive.name in CALLS:
            yield from operations(equation.params["jaxpr"])
        else:
            yield equation


def written_out(equation: JaxprEqn) -> bool:
    """Whether an operation is a product of matrices, or of tensors with one common axis, that is to be written out."""
    if equation.primitive.name != "dot_general":
        return False
    (contracted, _), (batch, _) = equation.params["dimension_numbers"]
    a, b = (variable.aval for variable in equation.invars)
    return len(contracted) == 1 and not batch and a.dtype == b.dtype == equation.outvars[0].aval.dtype


def contraction(A: Array, B: Array, a: int, b: int, step: Step) -> Array:
    """Σ_k A_…k… B_…k… over axis a of A and axis b of B: the other axes of A, those of B, and replicas."""
    A, B = jnp.moveaxis(A, a, 0), jnp.moveaxis(B, b, 0)
    if A[0].size > B[0].size:
        C, own = contraction(B, A, 0, 0, step), B.ndim - 2
        return jnp.moveaxis(C, range(own), range(A.ndim - 2, C.ndim - 1))
    A = jnp.expand_dims(A, range(A.ndim - 1, A.ndim + B.ndim - 3))
    B = jnp.expand_dims(B, range(1, A.ndim - B.ndim + 1))
    C = None
    for piece in _pieces(A.shape[0]):
        terms = lambda A, B, *C, piece=piece: sum((A[k] * B[k] for k in piece), *C)
        C = fence(step, terms, A, B) if C is None else fence(step, terms, A, B, C)
    return C


def _pieces(terms: int) -> list[range]:
    """0 … terms − 1 in pieces of nearly equal lengths, `TERMS` at most."""
    size = -(-terms // -(-terms // TERMS))
    return [range(start, min(start + size, terms)) for start in range(0, terms, size)]
