"""The end of training with label noise, as Fig. 5 of Corlouer et al. (2026) looks at it.

To leading order (18) holds in the network. At the next, the learning rate's finite steps widen the law by the factor
1/(1 − ηκ/2), and the other amplitudes' fluctuations add to the noise of the first one: its diffusion is
β κ² (σ² + |uᵀΔ|² + (uᵀΔv)²), with Δ = M − W of variances (βσ²/2) κ_γ. Relative to (18) both make

    ε = ηκ/2 + (β/2) (κ + Σ_γ κ_γ),        κ_γ = Σ_l s^{2(L−l)/L} s_γ^{2(l−1)/L},   κ = κ_α,

which we take as the size of all that is left out, in the variance and in the shift of the mean.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._students import Student
from sgdynamics.experiments.corlouer2026._one_mode import OneMode
from sgdynamics.statistics import Estimate
from sgdynamics.theory import deep_linear


@dataclass(frozen=True)
class Ending:
    """What one depth leaves at the end: `values` [replicas, records] of the first amplitude, `silent` [replicas]."""

    student: Student
    values: np.ndarray
    silent: np.ndarray
    imbalance: np.ndarray

    @property
    def singular_value(self) -> float:
        return float(self.student.singular_values[0])

    @cached_property
    def mode(self) -> OneMode:
        student = self.student
        noise = float(student.teacher.label_noise_std)
        return OneMode(self.singular_value, student.depth, student.temperature, noise)

    @cached_property
    def variance(self) -> float:
        """(18)."""
        return float(deep_linear.stationary_expansion(self.singular_value, **self.mode.settings).variance)

    @cached_property
    def shift(self) -> float:
        """Of the mean, in the network."""
        student = self.student
        sizes = {"inputs": student.widths[0], "outputs": student.widths[-1], "depth": student.depth}
        return float(deep_linear.mean_shift(student.singular_values, **sizes, **student.hyperparameters)[0])

    @cached_property
    def published(self) -> float:
        """(17), relative to s."""
        expansion = deep_linear.stationary_expansion(self.singular_value, form="published", **self.mode.settings)
        return float(expansion.drift_zero) - self.singular_value

    @cached_property
    def left_out(self) -> float:
        """ε of the module's docstring."""
        student = self.student
        κ = coupling_rates(student.singular_values, student.depth, student.widths[0])
        return float(student.learning_rate * κ[0] / 2 + student.temperature / 2 * (κ[0] + κ.sum()))

    @cached_property
    def deviations(self) -> np.ndarray:
        """From the ensemble's mean at each time [replicas, records]."""
        n = len(self.values)
        return (self.values - self.values.mean(axis=0)) * np.sqrt(n / (n - 1))

    def over_replicas(self, terms: np.ndarray) -> Estimate:
        """The mean of `terms` [replicas, records, ...] over both, with the error that replicas give."""
        return over_realisations(terms.mean(axis=1))

    def standardised(self, order: int) -> Estimate:
        """The moment of this order, centred and scaled by the measured mean and variance."""
        return self.over_replicas((self.deviations / np.sqrt(np.mean(self.deviations**2))) ** order)


def coupling_rates(singular_values: np.ndarray, depth: int, inputs: int) -> np.ndarray:
    """κ_γ = Σ_l s_1^{2(L−l)/L} s_γ^{2(l−1)/L} of all inputs, absent modes last [inputs]."""
    s = np.concatenate([singular_values, np.zeros(inputs - len(singular_values))])
    return sum(s[0] ** (2 * (depth - l) / depth) * s ** (2 * (l - 1) / depth) for l in range(1, depth + 1))
