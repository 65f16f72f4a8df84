"""One setting of SGD's hyperparameters on a data set, and what the slides derive from them."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from sgdynamics.experiments._compiled import once
from sgdynamics.theory import epochs as theory

_time = once(theory.correlation_time)


@dataclass(frozen=True)
class Setting:
    """Learning rate η, momentum β, batch size S, and the P samples."""

    learning_rate: float
    momentum: float
    batch_size: int
    samples: int

    @property
    def batches(self) -> int:
        """M, of an epoch."""
        return self.samples // self.batch_size

    @property
    def memories(self) -> float:
        """M (1 − β), the epoch in units of momentum's memory; the slides' formulas are for many."""
        return self.batches * (1 - self.momentum)

    @property
    def crossover(self) -> float:
        """λ_cross = 3 (1 − β)/(ηM), as `theory.epochs.crossover_curvature`, which needs 64-bit floats; presets are
        checked on import, before anybody has turned them on."""
        return 3 * (1 - self.momentum) / (self.learning_rate * self.batches)

    @property
    def flat_time(self) -> float:
        """The slides' τ_SGD = (M/3)(1 + β)/(1 − β)."""
        return float(theory.flat_correlation_time(**self._epoch, form="published"))

    @property
    def flat_time_exact(self) -> float:
        """τ of vanishing curvature over the slides' τ_SGD."""
        return float(theory.flat_correlation_time(**self._epoch)) / self.flat_time

    @property
    def crossover_exact(self) -> float:
        """Where the exact asymptotes meet, (1 + β)/(ητ), over the slides' λ_cross."""
        return 1 / self.flat_time_exact

    def times(self, curvatures: Any) -> np.ndarray:
        """τ(λ), exact."""
        return np.asarray(_time(jnp.asarray(curvatures), learning_rate=self.learning_rate, **self._epoch))

    @property
    def _epoch(self) -> dict[str, Any]:
        return {"momentum": self.momentum, "batches_per_epoch": self.batches}
