"""Which form of the replicas' loop is run: sizes in, choice out.

Every kernel makes the paths of the reference step, to rounding; they differ in cost only. The choice is
recorded in the ensemble's provenance, and `simulate(..., kernel=...)` overrides it.
"""

from sgdynamics.dynamics import AbstractDynamics
from sgdynamics.ensemble import (
    _deep_linear,
    _deep_linear_langevin,
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


def choose(dynamics: AbstractDynamics, *, every: int, dtype) -> Kernel:
    """The kernel for records `every` steps apart."""
    deep_linear = _deep_linear.build(dynamics, every, dtype) or _deep_linear_langevin.build(dynamics, every, dtype)
    return _of_regression(dynamics, every, dtype) or deep_linear or reference_kernel


def _of_regression(dynamics: AbstractDynamics, every: int, dtype) -> Kernel | None:
    """The cheapest form that is right for the data and accurate in this precision."""
    if not is_regression(dynamics):
        return None
    costs = nanoseconds(*dynamics.problem.data.x.shape, dynamics.sampler.batch_size, every)
    forms = sorted(costs, key=costs.__getitem__)
    return next(filter(None, (REGRESSION[form](dynamics, every, dtype) for form in forms)))


def name(kernel: Kernel) -> str:
    """What the provenance calls a kernel."""
    return getattr(kernel, "__name__", type(kernel).__name__)
