"""How a run is made, in plain values that JSON can hold."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics.dynamics import AbstractDynamics
from sgdynamics.ensemble import _kernels
from sgdynamics.ensemble._starts import is_state


def provenance(dynamics, initial, kernel, dtype, replicas, steps, burn_in, every, groups, key) -> dict[str, Any]:
    """How the run is made, in plain values."""
    device = jax.devices()[0]
    return {
        "dynamics": type(dynamics).__name__,
        "hyperparameters": _hyperparameters(dynamics),
        "replicas": replicas,
        "steps": steps,
        "burn_in": burn_in,
        "every": every,
        "groups": min(groups, replicas),
        "dtype": dtype.name,
        "kernel": _kernels.name(kernel),
        "initial": _describe(initial),
        "initial_is_own_law": getattr(initial, "of", None) == fingerprint(dynamics),
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "burn_in_time": _elapsed(dynamics, burn_in),
        "device": device.device_kind,
        "platform": device.platform,
    }


def _hyperparameters(dynamics: AbstractDynamics) -> dict[str, Any]:
    """The scalars that a dynamics is made with; schedules by name."""
    names = ("learning_rate", "momentum", "weight_decay")
    schedules = {name: repr(getattr(dynamics, name)) for name in names if callable(getattr(dynamics, name, None))}
    return _scalars(dynamics) | schedules | _sampler(getattr(dynamics, "sampler", None))


def _scalars(module: Any) -> dict[str, Any]:
    """The fields of a module that are single numbers, words or truth values."""
    if not dataclasses.is_dataclass(module):
        return {}
    fields = {field.name: getattr(module, field.name) for field in dataclasses.fields(module)}
    plain = {name: value for name, value in fields.items() if isinstance(value, int | float | str | bool)}
    arrays = {name: x for name, x in fields.items() if eqx.is_inexact_array(x) and x.shape == ()}
    return plain | {name: _read(x) for name, x in arrays.items()}


def _read(x: Any) -> float | str:
    try:
        return float(x)
    except jax.errors.ConcretizationTypeError:
        return "traced"


def _sampler(sampler: Any) -> dict[str, Any]:
    if sampler is None:
        return {}
    return {"sampler": type(sampler).__name__, "batch_size": getattr(sampler, "batch_size", None)}


def _describe(initial: Any) -> str:
    if initial is None:
        return "parameters"
    if hasattr(initial, "draw"):
        return "law"
    if is_state(initial):
        return "state"
    return "callable" if callable(initial) else "position"


def fingerprint(dynamics: AbstractDynamics) -> str:
    """The kind of a dynamics and its hyperparameters, by which a run knows its own law again."""
    numerical = ("substeps", "fused")  # how it is integrated does not change what it is
    settings = {name: value for name, value in _hyperparameters(dynamics).items() if name not in numerical}
    noise = getattr(dynamics, "noise", None)
    return f"{type(dynamics).__name__}({settings}, noise={type(noise).__name__}({_scalars(noise)}))"


def _elapsed(dynamics: AbstractDynamics, steps: int) -> float:
    """Time t that passes in the first `steps` steps, Σ of the learning rates."""
    if callable(getattr(dynamics, "learning_rate", None)):
        return float(jnp.sum(jax.vmap(dynamics.time_step)(jnp.arange(steps))))
    return steps * float(dynamics.time_step(jnp.asarray(0)))
