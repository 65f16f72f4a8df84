"""Arguments that the functions of this package share: two layers that chain, data that fit them, hyperparameters."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from sgdynamics import _checks
from sgdynamics._types import RealScalar, Scalar

First = Float[Array, "hidden inputs"]
Second = Float[Array, "outputs hidden"]


class Data(NamedTuple):
    """`x` [samples, inputs], `residuals` e = y − w x [samples, outputs], `targets` y [samples, outputs]."""

    x: Float[Array, "samples inputs"]
    residuals: Float[Array, "samples outputs"]
    targets: Float[Array, "samples outputs"]


def layers(first: ArrayLike, second: ArrayLike) -> tuple[First, Second]:
    """Both layers as float64, where the second takes what the first gives."""
    W1, W2 = _checks.float64("first", first), _checks.float64("second", second)
    if W1.ndim != 2 or W2.ndim != 2 or W1.size == 0 or W2.size == 0 or W2.shape[1] != W1.shape[0]:
        raise ValueError(
            f"first has shape {W1.shape} and second {W2.shape}, but they must be [hidden, inputs] and "
            "[outputs, hidden], none of them 0. The network is second @ first @ x."
        )
    return W1, W2


def data(W1: First, W2: Second, x: ArrayLike, y: ArrayLike) -> Data:
    """Data that fit the two layers; targets may be [samples] where there is one output."""
    x, y = _checks.float64("x", x), _checks.float64("y", y)
    inputs, outputs = W1.shape[1], W2.shape[0]
    if x.ndim != 2 or x.shape[1] != inputs or x.shape[0] == 0:
        raise ValueError(f"x has shape {x.shape}, but it must be [samples, {inputs}], as first has {inputs} inputs.")
    y = y[:, None] if y.ndim == 1 and outputs == 1 else y
    y = _checks.shaped("y", y, (x.shape[0], outputs), remedy="One target of each output for each row of x.")
    return Data(x, y - (x @ W1.T) @ W2.T, y)


def form(value: str, known: tuple[str, ...]) -> str:
    """`value`, where it is one of the `known`."""
    if value not in known:
        raise ValueError(f"form = {value!r}, but it must be one of {', '.join(map(repr, known))}.")
    return value


def positive(argument: str, value: RealScalar) -> Scalar:
    """One number > 0, as float64."""
    return _checks.positive(argument, _checks.shaped(argument, _checks.float64(argument, value), ()))


def not_negative(argument: str, value: RealScalar) -> Scalar:
    """One number ≥ 0, as float64."""
    return _checks.not_negative(argument, _checks.shaped(argument, _checks.float64(argument, value), ()))


def temperature(learning_rate: RealScalar, batch_size: RealScalar) -> Scalar:
    """η/S, [], > 0."""
    return positive("learning_rate", learning_rate) / positive("batch_size", batch_size)


def equilibrium_variance(learning_rate: RealScalar, batch_size: RealScalar, residual_variance: RealScalar) -> Scalar:
    """κ = η σ_e² / 2S, [], the variance of every direction that fluctuates (3.42)."""
    return temperature(learning_rate, batch_size) * not_negative("residual_variance", residual_variance) / 2


def broadcast(*arrays: Array) -> list[Array]:
    """All of one shape, under NumPy's rules (which the session may have switched off)."""
    shape = jnp.broadcast_shapes(*(x.shape for x in arrays))
    return [jnp.broadcast_to(x, shape) for x in arrays]
