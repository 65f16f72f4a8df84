"""What the ensembles of Fig. 4 of Corlouer et al. (2026) leave, beside the linear map and the floors of `_fig4`."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sgdynamics.experiments._students import Student
from sgdynamics.experiments.corlouer2026 import _collapse


@dataclass(frozen=True)
class Endings:
    """First rows δ [records, replicas, inputs] from small starts and from near the minimum; `root` at the end alone.

    The other fields are those of the configuration.
    """

    student: Student
    substeps: int
    displacement: float
    early: float
    compared: float
    jitters: tuple[float, ...]
    times: np.ndarray
    small: dict[str, np.ndarray]
    near: dict[str, np.ndarray]
    root: np.ndarray

    def record(self, time: float) -> int:
        """The one nearest to `time`."""
        return int(np.argmin(np.abs(self.times - time)))

    @property
    def variances(self) -> dict[str, float]:
        """ε of the ensembles with isotropic noise."""
        return {"isotropic": 1.0} | {f"SDE + {ε:g}": ε for ε in self.jitters}

    @property
    def floors(self) -> dict[str, float]:
        """ηε/2."""
        return {name: self.student.learning_rate * ε / 2 for name, ε in self.variances.items()}

    def mapped(self, name: str) -> np.ndarray:
        """Mean squares of the starts near the minimum by the linear map [records, inputs]."""
        τ = self.student.learning_rate / (self.substeps if name == "SDE" else 1)
        start = (self.displacement * self.student.singular_values[0]) ** 2
        κ, steps = _collapse.rates(self.student), np.round(self.times / τ)
        return _collapse.mean_squares(κ, start, self.student.temperature, τ, steps)

    @cached_property
    def lone_rate(self) -> float:
        """Of the mean square of one mode alone under SGD, its noise driven by itself only: 2h − O(β)."""
        h, τ, β = _collapse.rates(self.student)[0], self.student.learning_rate, self.student.temperature
        return -np.log((1 - τ * h) ** 2 + 2 * τ * β * h**2) / τ
