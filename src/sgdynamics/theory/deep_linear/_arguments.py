"""Arguments that several functions of this package share: sizes, hyperparameters, shapes that broadcast."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from sgdynamics import _checks

TWO_LAYERS = "A network of one layer is linear regression."


class Hyperparameters(NamedTuple):
    """β = learning_rate / batch_size and σ = label_noise_std."""

    temperature: Array
    label_noise_std: Array


def layers(depth: int, *, least: int = 2) -> int:
    """`depth` as an int, at least 2 unless told."""
    return _checks.count("depth", depth, least=least, remedy=TWO_LAYERS if least == 2 else "")


def form(value: str, known: tuple[str, ...]) -> str:
    """`value`, where it is one of the `known`."""
    if value not in known:
        raise ValueError(f"form = {value!r}, but it must be one of {', '.join(map(repr, known))}.")
    return value


def hyperparameters(learning_rate: ArrayLike, batch_size: ArrayLike, label_noise_std: ArrayLike) -> Hyperparameters:
    """Checked and of one shape."""
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    b = _checks.positive("batch_size", _checks.float64("batch_size", batch_size))
    σ = _checks.not_negative("label_noise_std", _checks.float64("label_noise_std", label_noise_std))
    η, b, σ = broadcast(η, b, σ)
    return Hyperparameters(η / b, σ)


def positive(**values: ArrayLike) -> list[Array]:
    """All as float64, finite and > 0, of one shape."""
    return broadcast(*(_checks.positive(name, _checks.float64(name, value)) for name, value in values.items()))


def modes(amplitudes: ArrayLike, singular_values: ArrayLike, *settings: Array) -> list[Array]:
    """Amplitudes > 0 and singular values ≥ 0 as [..., modes], and each setting, [...], as [..., 1]."""
    w = _axis("amplitudes", _amplitudes(amplitudes))
    s = _axis(
        "singular_values", _checks.not_negative("singular_values", _checks.float64("singular_values", singular_values))
    )
    if w.shape[-1] != s.shape[-1]:
        raise ValueError(
            f"amplitudes has shape {w.shape} and singular_values {s.shape}, but their last axis is that of the same "
            "modes. Give one amplitude for each singular value."
        )
    batch = jnp.broadcast_shapes(w.shape[:-1], s.shape[:-1], *(x.shape for x in settings))
    w, s = (jnp.broadcast_to(x, (*batch, w.shape[-1])) for x in (w, s))
    return [w, s, *(jnp.broadcast_to(x, batch)[..., None] for x in settings)]


def _amplitudes(value: ArrayLike) -> Array:
    """Checked where they can be read; nan where they are traced and not positive.

    An Euler step may overshoot 0: that one replica is then counted out as diverged, and does not stop the ensemble.
    """
    if _checks.is_concrete(value):
        return _checks.positive("amplitudes", _checks.float64("amplitudes", value))
    _checks.x64()
    w = jnp.asarray(value, dtype=jnp.float64)
    return jnp.where(w > 0, w, jnp.nan)


def broadcast(*arrays: Any) -> list[Array]:
    """All of one shape, under NumPy's rules (which the session may have switched off)."""
    shape = jnp.broadcast_shapes(*(jnp.shape(x) for x in arrays))
    return [jnp.broadcast_to(x, shape) for x in arrays]


def _axis(argument: str, value: Array) -> Array:
    if value.ndim == 0:
        raise ValueError(
            f"{argument} has shape (), but it must be [..., modes]. Give one mode as an array of length 1."
        )
    return value
