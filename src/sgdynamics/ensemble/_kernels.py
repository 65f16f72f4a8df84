"""Which form of the replicas' loop is run: sizes in, choice out.

Every kernel makes the paths of the reference step, to rounding; they differ in cost only. Each has a `build` that
refuses what it is not for, or not worth while for, by the sizes that its module states; of linear regression's forms
the cheapest by `_regression_cost` is taken. The choice is recorded in the ensemble's provenance, and
`simulate(..., kernel=...)` overrides it.
"""

import math
from typing import Any

import jax

from sgdynamics.dynamics import AbstractDynamics
from sgdynamics.ensemble import (
    _deep_linear,
    _deep_linear_langevin,
    _generic,
    _linear,
    _network,
    _pallas_deep_linear,
    _pallas_launch,
    _pallas_regression,
    _quadratic,
    _regression_counts,
    _regression_parameters,
    _regression_residual,
)
from sgdynamics.ensemble._core import Kernel, reference_kernel
from sgdynamics.ensemble._regression import is_regression
from sgdynamics.ensemble._regression_cost import nanoseconds

REGRESSION = {
    "residuals": _regression_residual.build,
    "counts": _regression_counts.build,
    "parameters": _regression_parameters.build,
}


def choose(dynamics: AbstractDynamics, *, every: int, dtype, replica_steps: float | int = math.inf) -> Kernel:
    """The kernel for records `every` steps apart, in a run of so many steps of all replicas together.

    It is for this dynamics: its data and noise, and whether there is momentum, weight decay or label noise, are built
    in where they are known. For another dynamics choose anew.
    """
    return (
        _on_gpu(dynamics, every, dtype)
        or _of_regression(dynamics, every, dtype)
        or _deep_linear.build(dynamics, every, dtype)
        or _deep_linear_langevin.build(dynamics, every, dtype)
        or _quadratic.build(dynamics, every, dtype)
        or _linear.build(dynamics, every, dtype)
        or _generic.build(dynamics, every, dtype, replica_steps)
        or _network.build(dynamics, every)
        or reference_kernel
    )


def _on_gpu(dynamics: AbstractDynamics, every: int, dtype) -> Kernel | None:
    """Many steps in one launch, on devices that can."""
    if not _pallas_launch.worth(_device()):
        return None
    return _pallas_regression.build(dynamics, every, dtype) or _pallas_deep_linear.build(dynamics, every, dtype)


def _device() -> Any:
    """Where arrays are placed: the first device, unless the user has chosen one."""
    chosen = jax.config.jax_default_device
    if isinstance(chosen, str):
        return jax.devices(chosen)[0]
    return jax.devices()[0] if chosen is None else chosen


def _of_regression(dynamics: AbstractDynamics, every: int, dtype) -> Kernel | None:
    """The cheapest form that is right for the data and accurate in this precision."""
    if not is_regression(dynamics):
        return None
    samples, inputs = dynamics.problem.data.x.shape
    costs = nanoseconds(samples, inputs, dynamics.sampler.batch_size, every)
    forms = sorted(costs, key=costs.__getitem__)
    return next(filter(None, (REGRESSION[form](dynamics, every, dtype) for form in forms)))


def name(kernel: Kernel) -> str:
    """What the provenance calls a kernel."""
    return getattr(kernel, "__name__", type(kernel).__name__)
