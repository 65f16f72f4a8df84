"""SGD's variances along measured components against the laws at the minimum, and the exponent ψ of both."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import ArrayLike, Float

import sgdynamics as sgd
from sgdynamics._predict import Modes
from sgdynamics.experiments._flatness import exponent, mapped
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.statistics import Estimate
from sgdynamics.theory.harmonic import HarmonicDescent

GROUPS = 32  # of replicas, between which errors are measured


@dataclass(frozen=True)
class Laws:
    """Covariances of SGD linearised at the minimum, in the eigenmodes there: the predicted one and two controls."""

    prediction: sgd.Prediction
    weight_decay: float

    @cached_property
    def harmonic(self) -> np.ndarray:
        return np.asarray(self.prediction.known_covariance)

    @cached_property
    def isotropic(self) -> np.ndarray:
        """Of noise of the same trace without a preferred direction."""
        return self._answering(np.ones_like(self.curvatures))

    @cached_property
    def proportional(self) -> np.ndarray:
        """Of noise C ∝ H (its positive part): the relation is then the weight decay's, M ∝ H (H + λ)⁻¹."""
        return self._answering(np.maximum(self.curvatures, 0))

    @cached_property
    def curvatures(self) -> np.ndarray:
        """Of the loss without weight decay, whose eigenmodes are those of both."""
        return np.asarray(self.modes.curvatures) - self.weight_decay

    @cached_property
    def vectors(self) -> np.ndarray:
        return np.asarray(self.modes.vectors)

    @property
    def modes(self) -> Modes:
        assert self.prediction.modes is not None
        return self.prediction.modes

    def _answering(self, shape: np.ndarray) -> np.ndarray:
        """To noise diag(shape) of the predicted trace."""
        law = self.prediction.law
        assert isinstance(law, HarmonicDescent)
        shape = np.where(np.asarray(law.curvature) > 0, shape, 0)  # noise in flat directions would have no law
        noise = np.diag(shape / shape.sum() * np.trace(law.noise))
        control = HarmonicDescent(law.curvature, noise, learning_rate=law.learning_rate)
        return np.asarray(control.stationary_covariance())


@dataclass(frozen=True)
class Case:
    """One network with one loss: the laws at its minimum, and SGD's variances along measured components."""

    name: str
    laws: Laws
    components: np.ndarray
    variances: Estimate

    def along(self, matrix: np.ndarray) -> np.ndarray:
        """vᵀ M v of each component, of M in the eigenmodes."""
        inside = self.laws.vectors.T @ self.components
        return np.einsum("mi,mn,ni->i", inside, matrix, inside)

    @cached_property
    def curvatures(self) -> np.ndarray:
        """Of the loss without weight decay."""
        return self.along(np.diag(self.laws.curvatures))

    @cached_property
    def measured(self) -> Estimate:
        return mapped(self.variances, lambda v: exponent(v, self.curvatures), "exponent")

    def predicted(self, covariance: np.ndarray) -> float:
        """ψ of a law's variances along the same components."""
        return exponent(self.along(covariance), self.curvatures)


def halves(positions: Float[ArrayLike, "records replicas parameters"], modes: int) -> tuple[np.ndarray, Estimate]:
    """The leading components of one half of the replicas, and the variances of the other half along them."""
    X = np.asarray(positions, float)
    half = X.shape[1] // 2
    first, second = (part - part.mean(axis=1, keepdims=True) for part in (X[:, :half], X[:, half:]))
    _, _, Vt = np.linalg.svd(first.reshape(-1, X.shape[2]), full_matrices=False)
    V = Vt[:modes].T
    n = second.shape[1]
    squares = ((second @ V) ** 2).mean(axis=0) * n / (n - 1)
    grouped = squares[: n - n % GROUPS].reshape(GROUPS, -1, modes).mean(axis=1)
    return V, over_realisations(grouped, "variance")
