"""The parameters of `_epochs_regression`."""

from dataclasses import dataclass

import numpy as np

from sgdynamics import _checks


@dataclass(frozen=True)
class EpochsRegressionConfig:
    """Epochs on three data sets of one spectrum."""

    inputs: int = 6
    """N."""
    decades: float = 2.0
    """log₁₀ of the largest over the smallest curvature of the population; the largest is 1/[t]."""
    label_noise_std: float = 0.5
    """σ."""
    static_samples: int = 2000
    """P where static noise is good."""
    static_batches: tuple[int, ...] = (20, 100)
    """M there, divisors of P."""
    static_rate: float = 0.4
    """ηM there, [t]; with momentum β, ηM/(1 − β)."""
    momentum: float = 0.9
    """β of the runs with momentum, in (0, 1)."""
    samples: int = 200
    """P where it is not."""
    batch_size: int = 4
    """S there, a divisor of P."""
    learning_rates: tuple[float, ...] = (0.05, 0.1, 0.2)
    """η there, ascending."""
    tiny_samples: int = 10
    """P of the data set whose moments are exact, at most 16."""
    tiny_inputs: int = 3
    """N of it; its spectrum extends over one decade."""
    tiny_batch_size: int = 2
    """S of it, a divisor of P."""
    tiny_rate: float = 0.4
    """η/(1 − β) of it."""
    replicas: int = 128
    """SGD replicas of each run with many samples; 4 times as many with few, 16 times on the tiny data set."""
    relaxations: float = 5.0
    """Steps before the first record in relaxation times 1/(ηh) of the flattest mode, from the minimum. A fifth of it
    where static noise is good: those runs start from the frozen law, and were it wrong, one relaxation time would have
    brought variances all but e⁻² of the way to the right one."""
    recorded: float = 4.0
    """Steps recorded, in the same unit, with few samples at the smallest learning rate; at the others more steps, in
    proportion to η, as the mean's shift becomes the smaller part of the fluctuations. An eighth of it with many
    samples, 10 times on the tiny data set."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("tiny_inputs", "batch_size", "tiny_batch_size", "replicas"):
            _checks.count(name, getattr(self, name))
        _checks.count("inputs", self.inputs, least=2)
        for name in ("decades", "label_noise_std", "static_rate", "tiny_rate", "relaxations", "recorded"):
            _checks.positive(name, getattr(self, name))
        _checks.require("momentum", self.momentum, 0 < self.momentum < 1, allowed="in (0, 1)")
        for M in self.static_batches:
            divides = M > 2 and self.static_samples % M == 0
            _checks.require("static_batches", M, divides, allowed=f"a divisor of {self.static_samples} above 2")
        for name, P in (("batch_size", self.samples), ("tiny_batch_size", self.tiny_samples)):
            S = getattr(self, name)
            _checks.require(name, S, P % S == 0 and P > 2 * S, allowed=f"a divisor of {P} below its half")
        _checks.require("tiny_samples", self.tiny_samples, self.tiny_samples <= 16, allowed="at most 16")
        rates = np.asarray(self.learning_rates)
        ascending = rates.size > 0 and bool(np.all(np.diff(rates, prepend=0.0) > 0))
        _checks.require("learning_rates", self.learning_rates, ascending, allowed="positive, ascending")
