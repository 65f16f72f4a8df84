"""SGD's phase-space process on a small regression: the decomposition of its drift, right and by the recipe."""

from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments import _regression
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._regression import Regression
from sgdynamics.theory import momentum
from sgdynamics.theory.ou import OrnsteinUhlenbeck


@dataclass(frozen=True)
class DecompositionConfig:
    """A small regression, so that Hessian and noise do not commute, and the two ensembles on it."""

    inputs: int = 5
    """N."""
    samples: int = 30
    """P."""
    label_noise_std: float = 0.5
    """Standard deviation of the label noise."""
    learning_rate: float = 0.1
    """η; time t = η × step."""
    momentum: float = 0.9
    """β."""
    batch_size: int = 4
    """Minibatch size S, drawn with replacement."""
    replicas: int = 4096
    """Replicas of each ensemble."""
    steps: int = 800
    """Steps recorded; both ensembles start in their stationary laws."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("batch_size", "replicas", "steps"):
            _checks.count(name, getattr(self, name))
        _checks.count("inputs", self.inputs, least=2)
        _checks.count("samples", self.samples, least=self.inputs + 2)
        for name in ("label_noise_std", "learning_rate"):
            _checks.positive(name, getattr(self, name))
        _checks.momentum("momentum", self.momentum)


@dataclass(frozen=True)
class Laws:
    """Of dx = −A (x − μ) dt + √(2κ⁻¹ D) dW over x = (θ, v), with H and C of `case`."""

    case: Regression
    process: OrnsteinUhlenbeck
    inverse_temperature: float
    right: tuple[np.ndarray, np.ndarray]
    printed: tuple[np.ndarray, np.ndarray]
    commuting: np.ndarray
    explicit: float

    @cached_property
    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """A and D."""
        return np.asarray(self.process.drift), np.asarray(self.process.noise) * self.inverse_temperature / 2

    @cached_property
    def covariance(self) -> np.ndarray:
        """κ⁻¹ B."""
        return np.linalg.inv(self.right[1]) / self.inverse_temperature

    @cached_property
    def recipe(self) -> np.ndarray:
        """The symmetric part of κ⁻¹ U⁻¹ of (25)."""
        M = np.linalg.inv(self.printed[1]) / self.inverse_temperature
        return (M + M.T) / 2

    @property
    def most_negative(self) -> tuple[float, np.ndarray]:
        """The recipe's least variance, and its direction."""
        values, vectors = np.linalg.eigh(self.recipe)
        return float(values[0]), vectors[:, 0]

    @property
    def lowest(self) -> float:
        """The least eigenvalue of (A + Aᵀ)/2, the matrix of ½ xᵀ A x."""
        A, _ = self.matrices
        return float(np.linalg.eigvalsh((A + A.T) / 2)[0])

    @cached_property
    def residuals(self) -> dict[str, float]:
        """Relative residuals: what the paper has for 0, then what is 0."""
        (A, D), (Q, U), (printed_Q, printed_U) = self.matrices, self.right, self.printed
        raw = A @ (self.inverse_temperature * self.covariance) - D
        return {
            "Q + Qᵀ, recipe": relative(printed_Q + printed_Q.T, printed_Q),
            "U − Uᵀ, recipe": relative(printed_U - printed_U.T, printed_U),
            "(23) as printed": relative(Q @ A + A @ Q - (A @ D - D @ A), A @ D - D @ A),
            "A − Aᵀ, (7)": relative(A - A.T, A),
            "(23) with Aᵀ": relative(A @ Q + Q @ A.T - (A @ D - D @ A.T), A @ D - D @ A.T),
            "A − (D + Q) U": relative((D + Q) @ U - A, A),
            "Q + Qᵀ, Q = A B − D": relative(raw + raw.T, raw),
        }


def laws(config: DecompositionConfig) -> Laws:
    """The regression's process and its decompositions."""
    case = _regression.teacher_student(
        jax.random.key(config.seed), samples=config.samples, inputs=config.inputs,
        label_noise_std=config.label_noise_std, learning_rate=config.learning_rate, batch_size=config.batch_size,
    )  # fmt: skip
    V = np.asarray(case.modes)
    H, C = V @ np.diag(np.asarray(case.curvature)) @ V.T, np.asarray(case.noise_covariance())
    H = (H + H.T) / 2
    η, β = config.learning_rate, config.momentum
    process, right, printed = _decompositions(H, C, η, β)
    matrices = lambda pair: (np.asarray(pair[0]), np.asarray(pair[1]))
    return Laws(
        case, process, 1 - β**2, matrices(right), matrices(printed), commuting_covariance(H, C, η, β), explicit(H, η, β)
    )


def commuting_covariance(H: np.ndarray, C: np.ndarray, learning_rate: float, momentum: float) -> np.ndarray:
    """(8) taken for any H and C: the symmetric part of diag(η/(2(1 − β)) H⁻¹ C, C/(1 − β²))."""
    position, zero = learning_rate / (2 * (1 - momentum)) * np.linalg.solve(H, C), np.zeros_like(C)
    return np.block([[(position + position.T) / 2, zero], [zero, C / (1 - momentum**2)]])


def explicit(H: np.ndarray, learning_rate: float, momentum_: float) -> float:
    """Relative residual of A = (D + Q) U with (43), for this Hessian and noise that commutes with it, H + H²."""
    C = H + H @ H
    process = momentum.phase_space(H, C, learning_rate=learning_rate, momentum=momentum_)
    found = momentum.commuting_decomposition(H, C, learning_rate=learning_rate, momentum=momentum_)
    A, D, Q, U = map(np.asarray, (process.drift, found.diffusion, found.circulation, found.modified_hessian))
    return relative((D + Q) @ U - A, A)


def relative(residual: np.ndarray, unit: np.ndarray) -> float:
    """In the Frobenius norm."""
    return float(np.linalg.norm(residual) / np.linalg.norm(unit))


@once
def _decompositions(H, C, η, β):
    """The process, (Q, U) of B, and (Q, U) of the recipe."""
    process = momentum.phase_space(H, C, learning_rate=η, momentum=β)
    κ = 1 - β**2
    right = momentum.process_decomposition(process, inverse_temperature=κ)
    printed = momentum.symmetric_decomposition(process.drift, process.noise * κ / 2, form="published")
    return process, (right.circulation, right.modified_hessian), printed
