"""The parameters of the experiment before Fig. 24."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdynamics import _checks, samplers
from sgdynamics.experiments._pretrained import RECIPES

STRIDE = 21  # steps between two records of a network's loss
BURN_IN = 5  # epochs


@dataclass(frozen=True)
class Fig24Config:
    """Excess loss with epochs and with replacement."""

    exponents: tuple[float, ...] = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
    """p of the map's spectra h_i = h_1 i^−p."""
    inputs: int = 24
    """Modes of the regression."""
    exponent: float = 1.0
    """p of the regression's spectrum."""
    batches: int = 50
    """Batches per epoch M of the regression."""
    batch_size: int = 20
    """Minibatch size S of the regression, which has M S samples."""
    regression_replicas: int = 256
    """Replicas of the regression, with each sampling."""
    regression_epochs: int = 60
    """Length of the regression's record, in epochs."""
    network: str = "convolutional"
    """Architecture of the network: linear, one_hidden, two_hidden, convolutional or residual."""
    size: str = "quick"
    """quick or full."""
    network_batch_size: int = 4
    """Minibatch size S of the network; a stride of 21 steps must meet all its batches."""
    momentum: float = 0.9
    """Momentum β of the network."""
    stiffness: tuple[float, ...] = (1.0, 3.0, 10.0)
    """h_1/h_cross of the network: its learning rates, ascending."""
    replicas: int = 128
    """Replicas of the network, at each learning rate and with each sampling."""
    epochs: int = 42
    """Length of the network's record, in epochs; whole multiples of 21."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("batch_size", "network_batch_size", "regression_epochs"):
            _checks.count(name, getattr(self, name))
        for name in ("regression_replicas", "replicas"):
            _checks.count(name, getattr(self, name), least=32, remedy="Errors are those between 32 groups.")
        for name, least in (("inputs", 2), ("batches", 2)):
            _checks.count(name, getattr(self, name), least=least)
        for name in ("exponents", "exponent", "stiffness"):
            _checks.positive(name, np.asarray(getattr(self, name)))
        samples = self.batches * self.batch_size
        _checks.require("inputs", self.inputs, self.inputs < samples, allowed=f"below the {samples} samples")
        _checks.require("momentum", self.momentum, 0 <= self.momentum < 1, allowed="in [0, 1)")
        _checks.require(
            "epochs", self.epochs, self.epochs > 0 and self.epochs % STRIDE == 0, allowed=f"multiples of {STRIDE}"
        )
        rising = len(self.stiffness) >= 3 and bool(np.all(np.diff(self.stiffness) > 0))
        _checks.require("stiffness", self.stiffness, rising, allowed="three or more, ascending")
        for name, value, among in (("size", self.size, RECIPES), ("network", self.network, RECIPES["full"])):
            if value not in among:
                raise ValueError(f"{name} = {value!r}, but it must be one of {', '.join(among)}.")
        samples, S = RECIPES[self.size][self.network].samples, self.network_batch_size
        fits = samples % S == 0 and samples // S > 1 and math.gcd(samples // S, STRIDE) == 1
        _checks.require(
            "network_batch_size", S, fits, allowed=f"a divisor of {samples}, with batches coprime to {STRIDE}"
        )


def both_samplers(batch_size: int) -> dict[str, Any]:
    return {"epochs": samplers.Epochs(batch_size), "replacement": samplers.WithReplacement(batch_size)}
