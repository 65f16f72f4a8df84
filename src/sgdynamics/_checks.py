"""Checks at the boundary: what is wrong, what is allowed, what to do.

Concrete values raise `ValueError`; traced ones raise at run time through `equinox.error_if`.
Every check returns the value it was given, so that it can be used in place.
"""

import math
from numbers import Real
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

T = TypeVar("T")


def is_concrete(x: Any) -> bool:
    """Whether the value of `x` can be read now, i.e. `x` is not being traced."""
    try:
        bool(jnp.all(jnp.isfinite(jnp.asarray(x))))
    except jax.errors.ConcretizationTypeError:
        return False
    return True


def known_zero(x: Any) -> bool:
    """Whether x is a number that can be read now, and is zero: not a schedule, nor traced."""
    try:
        return not callable(x) and bool(x == 0)
    except jax.errors.ConcretizationTypeError:
        return False


def known(x: Any) -> np.ndarray | None:
    """The values of an array that can be read now; None of one that is being traced."""
    try:
        return np.asarray(x)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
        return None


def require(argument: str, value: T, ok: Any, *, allowed: str, remedy: str = "") -> T:
    """`value`, where every entry of `ok` is true; otherwise an error that names all there is to know."""
    remedy = f" {remedy}" if remedy else ""
    try:
        passed = bool(np.all(ok)) if isinstance(ok, bool | np.bool_ | np.ndarray) else bool(jnp.all(jnp.asarray(ok)))
    except jax.errors.ConcretizationTypeError:
        message = f"{argument} must be {allowed}.{remedy}"
        return eqx.error_if(value, ~jnp.all(jnp.asarray(ok)), message)
    if not passed:
        raise ValueError(f"{argument} = {shown(value)}, but it must be {allowed}.{remedy}")
    return value


def provided(result: T, argument: str, value: Any, ok: Any, *, allowed: str, remedy: str = "") -> T:
    """`result`, where every entry of `ok` is true; otherwise the error of `require` about `value`.

    For what is only known after the work is done, such as an equation that turns out to have no solution.
    """
    try:
        require(argument, value, bool(jnp.all(jnp.asarray(ok))), allowed=allowed, remedy=remedy)
        return result
    except jax.errors.ConcretizationTypeError:
        return require(argument, result, ok, allowed=allowed, remedy=remedy)


def shown(value: Any) -> str:
    """A value as an error message shows it: whole where it is small, else its shape and its worst entries."""
    if isinstance(value, int):
        return str(value)  # however many digits it has
    array = jnp.asarray(value)
    if array.size <= 4:
        try:
            return str(array.tolist())
        except jax.errors.ConcretizationTypeError:
            return "(a value being differentiated)"
    bad = int(jnp.sum(~jnp.isfinite(array)))
    return f"array of shape {array.shape}" + (f" with {bad} non-finite entries" if bad else "")


def finite(argument: str, value: T) -> T:
    return require(argument, value, _is_finite(_array(value)), allowed="finite")


def positive(argument: str, value: T, remedy: str = "") -> T:
    x = _array(value)
    return require(argument, value, (x > 0) & _is_finite(x), allowed="finite and > 0", remedy=remedy)


def not_negative(argument: str, value: T, remedy: str = "") -> T:
    x = _array(value)
    return require(argument, value, (x >= 0) & _is_finite(x), allowed="finite and ≥ 0", remedy=remedy)


def momentum(argument: str, value: T) -> T:
    x = _array(value)
    return require(argument, value, (x >= 0) & (x < 1), allowed="in [0, 1)")


def _is_finite(x: Any) -> Any:
    return np.isfinite(x) if isinstance(x, np.ndarray) else jnp.isfinite(x)


def _array(value: Any) -> Any:
    """The value as a NumPy array, which can be read also while something else is being traced."""
    try:
        return np.asarray(value)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
        return jnp.asarray(value)


def key(argument: str, value: T) -> T:
    """`value`, where it is a random key, also one of the older kind (two words)."""
    dtype = getattr(value, "dtype", None)
    if dtype is None or not (jnp.issubdtype(dtype, jax.dtypes.prng_key) or dtype == jnp.uint32):
        seed = value if isinstance(value, int) else 0
        raise ValueError(f"{argument} = {value!r}, but it must be a key: jax.random.key({seed}).")
    return value


def count(argument: str, value: Any, *, least: int = 1, remedy: str = "") -> int:
    """`value` as an int, at least `least`."""
    is_whole = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and value == int(value)
    if not is_whole or value < least:
        remedy = f" {remedy}" if remedy else ""
        raise ValueError(f"{argument} = {value}, but it must be a whole number ≥ {least}.{remedy}")
    return int(value)


def x64() -> None:
    """An error where JAX computes in 32 bits: theory's differences would drown in rounding."""
    if not jax.config.jax_enable_x64:
        raise ValueError(
            "jax_enable_x64 = False, but theory needs 64-bit floats. "
            'Add `jax.config.update("jax_enable_x64", True)` at the start of your program; '
            "`simulate(..., dtype=jax.numpy.float32)` still runs ensembles in 32 bits."
        )


def float64(argument: str, value: Any):
    """`value` as a finite float64 array."""
    x64()
    try:
        known = np.asarray(value, dtype=np.float64)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
        return finite(argument, jnp.asarray(value, dtype=jnp.float64))
    # NumPy needs no compilation for a new shape
    return jnp.asarray(require(argument, known, bool(np.all(np.isfinite(known))), allowed="finite"))


def shaped(argument: str, value: T, shape: tuple[int, ...], remedy: str = "") -> T:
    """`value`, where its shape is `shape`."""
    if jnp.shape(value) != shape:
        raise ValueError(f"{argument} has shape {jnp.shape(value)}, but it must have shape {shape}. {remedy}".rstrip())
    return value


def square(argument: str, value: T) -> T:
    """`value`, where it is a square matrix with at least one row."""
    shape = jnp.shape(value)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise ValueError(f"{argument} has shape {shape}, but it must be a square matrix.")
    return value


def symmetric(argument: str, value: Any) -> Any:
    """`value` with what rounding has left of asymmetry averaged out, where that is all there is."""
    square(argument, value)
    skew = jnp.max(jnp.abs(value - value.T)) <= 1e-6 * jnp.max(jnp.abs(value))
    value = require(argument, value, skew, allowed="symmetric", remedy="Use (N + Nᵀ)/2.")
    return (value + value.T) / 2


def covariance(argument: str, value: T, *, like: Any) -> T:
    """`value`, where it is symmetric, has no negative eigenvalues (to rounding) and the shape of `like`."""
    shaped(argument, value, jnp.shape(like))
    M = jax.lax.stop_gradient(jnp.asarray(value))
    size = jnp.max(jnp.abs(M), initial=0)
    value = require(
        argument, value, jnp.max(jnp.abs(M - M.T), initial=0) <= 1e-8 * size, allowed="symmetric",
        remedy="Use (N + Nᵀ)/2.",
    )  # fmt: skip
    lowest = jnp.min(jnp.linalg.eigvalsh(M), initial=0)
    return require(
        argument, value, lowest >= -1e-8 * M.shape[0] * size, allowed="free of negative eigenvalues",
        remedy="A covariance has none.",
    )  # fmt: skip
