"""H.4's process: its configuration, and what theory says about it."""

from dataclasses import dataclass

import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments._compiled import once
from sgdynamics.theory import momentum
from sgdynamics.theory.ou import OrnsteinUhlenbeck

DIRECTIONS = np.array([[-1.0, 1.0], [1.0, 1.0]]) / np.sqrt(2)  # q₁, q₂ in columns

_recipe = once(momentum.symmetric_decomposition)
_lyapunov = once(momentum.process_decomposition)


@dataclass(frozen=True)
class PotentialsConfig:
    """H.4's process, and the ensemble that follows it."""

    rates: tuple[float, float] = (4.0, 1.0)
    """Eigenvalues λ₁, λ₂ of A along (−1, 1) and (1, 1), in 1/t."""
    diffusion: tuple[float, float] = (4.0, 1.0)
    """Diagonal of D."""
    mean: tuple[float, float] = (-0.1, 0.05)
    """b."""
    noise: float = 1e-4
    """2κ⁻¹: the noise has the covariance 2κ⁻¹ D per unit of t."""
    time_step: float = 0.05
    """Time between two exact transitions, in t."""
    lags: tuple[int, ...] = (1, 4, 8, 12, 16, 24, 32, 40)
    """Time steps at which the swept area is measured."""
    replicas: int = 4096
    """Independent replicas."""
    burn_in: int = 400
    """Time steps before the first record: the replicas start in the Gibbs law of Φ."""
    steps: int = 1000
    """Time steps recorded."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("replicas", "burn_in", "steps"):
            _checks.count(name, getattr(self, name))
        for name in ("noise", "time_step"):
            _checks.positive(name, getattr(self, name))
        for name in ("rates", "diffusion"):
            pair = getattr(self, name)
            _checks.require(name, pair, len(pair) == 2 and min(pair) > 0 and pair[0] != pair[1],
                            allowed="two different numbers above 0: detailed balance is to be broken")  # fmt: skip
        _checks.require("mean", self.mean, len(self.mean) == 2 and any(self.mean), allowed="two numbers, not both 0")
        _checks.require("lags", self.lags, all(0 < lag <= self.steps for lag in self.lags) and len(self.lags) > 0,
                        allowed="numbers of steps from 1 to `steps`")  # fmt: skip
        relaxation = self.burn_in * self.time_step * min(self.rates)
        _checks.require("burn_in", self.burn_in, relaxation >= 10,
                        allowed="10 relaxation times of the slower direction or more")  # fmt: skip

    @property
    def inverse_temperature(self) -> float:
        """κ."""
        return 2 / self.noise

    @property
    def matrices(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A, D and b."""
        A = DIRECTIONS @ np.diag(self.rates) @ DIRECTIONS.T
        return A, np.diag(np.array(self.diffusion, float)), np.array(self.mean, float)

    @property
    def circulation(self) -> float:
        """Q₁₂ of (24) by hand."""
        (fast, slow), (first, second) = self.rates, self.diffusion
        return (fast - slow) / (fast + slow) * (first - second) / 2


@dataclass(frozen=True)
class Theory:
    """Q and U by the recipe, and the same by the Lyapunov equation; stationary and original covariance."""

    recipe: tuple[np.ndarray, np.ndarray]
    lyapunov: tuple[np.ndarray, np.ndarray]
    covariance: np.ndarray
    original: np.ndarray


def theory_of(config: PotentialsConfig) -> Theory:
    """Both routes to Q and U."""
    (A, D, b), κ = config.matrices, config.inverse_temperature
    Q, U = map(np.asarray, _recipe(A, D))
    general = _lyapunov(OrnsteinUhlenbeck(A, config.noise * D, b), inverse_temperature=κ)
    lyapunov = np.asarray(general.circulation), np.asarray(general.modified_hessian)
    return Theory((Q, U), lyapunov, np.linalg.inv(U) / κ, np.linalg.inv(A) / κ)


def swept_area(
    time: float | np.ndarray, rates: tuple[float, float], circulation: float, inverse_temperature: float
) -> np.ndarray:
    """½ (C₂₁ − C₁₂) after `time`, of a symmetric drift with two eigenvalues `rates`."""
    fast, slow = rates
    decayed = (np.exp(-slow * np.asarray(time)) - np.exp(-fast * np.asarray(time))) / (fast - slow)
    return np.asarray(circulation * decayed / inverse_temperature)
