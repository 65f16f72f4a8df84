"""Which form of the replicas' loop is run: sizes in, choice out.

Every kernel makes the paths of the reference step, to rounding; they differ in cost only. The choice is
recorded in the ensemble's provenance, and `simulate(..., kernel=...)` overrides it.
"""

from sgdynamics.dynamics import AbstractDynamics
from sgdynamics.ensemble import _deep_linear, _regression
from sgdynamics.ensemble._core import Kernel, reference_kernel


def choose(dynamics: AbstractDynamics, *, every: int, dtype) -> Kernel:
    """The kernel for records `every` steps apart."""
    return _regression.build(dynamics, every, dtype) or _deep_linear.build(dynamics, every) or reference_kernel


def name(kernel: Kernel) -> str:
    """What the provenance calls a kernel."""
    return getattr(kernel, "__name__", type(kernel).__name__)
