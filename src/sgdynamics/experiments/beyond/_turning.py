"""The stationary current of SGD in white coordinates: what is observed, and what is expected of it.

y = Bᵀ(w − w*), the columns of B the planes of `theory.regression.rotation` in pairs, fastest first, and last, where N
is odd, the direction that does not turn. The exact law gives y the covariance 1; its SDE has the diffusion
D_y = Bᵀ D B and the current G y p, G_ba = −G_ab = ω_k. Over a lag of k steps

    G(τ) = (R − Rᵀ)/(2τ),      R = E[y(t+τ) y(t)ᵀ],      τ = ηk.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._regression import Regression
from sgdynamics.statistics import Autocovariance, Estimate, Projection
from sgdynamics.theory import regression

BLOCK = 4  # groups of replicas whose pairs make one value of a square

_rotation = once(regression.rotation)
_entropy_production = once(regression.entropy_production)


class Measured(NamedTuple):
    """What a measured R says: ω_k [planes], that of the fastest plane, the work of the force of SGD's current, and
    the entropy production from pairs of groups."""

    rates: Estimate
    fastest: Estimate
    work: Estimate
    entropy: Estimate


class Turning:
    """The planes of one data set's current, measured over a lag of `lag` steps."""

    def __init__(self, case: Regression, lag: int):
        self.case, self.lag = case, lag

    @cached_property
    def planes(self) -> regression.Rotation:
        """Rates and planes of SGD's exact law."""
        planes = _rotation(self.hessian, self.covariance)
        return regression.Rotation(*map(np.asarray, planes))

    @cached_property
    def hessian(self) -> np.ndarray:
        """H."""
        return self._of_hessian(lambda h: h)

    @cached_property
    def covariance(self) -> np.ndarray:
        """M of SGD's exact law."""
        return np.asarray(self.case.prediction.covariance)

    @cached_property
    def directions(self) -> np.ndarray:
        """B, [inputs, inputs]."""
        M = self.covariance
        pairs = np.stack([self.planes.first, self.planes.second], axis=-1).reshape(len(M), -1)
        # what is uncorrelated with all planes: nothing, or one direction
        rest = np.linalg.svd(pairs.T @ M)[2][pairs.shape[1] :].T
        return np.concatenate([pairs, rest / np.sqrt(np.sum(rest * (M @ rest), axis=0))], axis=1)

    @cached_property
    def diffusion(self) -> np.ndarray:
        """D_y, per unit of t."""
        return self.directions.T @ self.diffusion_of_weights @ self.directions

    @cached_property
    def diffusion_of_weights(self) -> np.ndarray:
        """D = (H M + M H)/2, per unit of t: half the noise that an SDE of SGD's own M must have."""
        product = self.hessian @ self.covariance
        return (product + product.T) / 2

    @cached_property
    def force(self) -> np.ndarray:
        """K with F = K y: the force D⁻¹ u that the velocity u = G y of the current would need."""
        return np.linalg.solve(self.diffusion, self._generator)

    @cached_property
    def _generator(self) -> np.ndarray:
        """G."""
        G = np.zeros_like(self.directions)
        a, b, ω = *_planes(G), np.asarray(self.planes.rates)
        G[b, a], G[a, b] = ω, -ω
        return G

    @property
    def continuum(self) -> float:
        """Entropy production of the SDE with frozen noise, per unit of t."""
        return float(_entropy_production(self.case.data.x, self.case.data.y))

    def statistics(self, lags: tuple[int, ...]) -> dict[str, Autocovariance]:
        """All planes at the short lag, and the fastest one at `lags`."""
        at = self.case.minimum
        return {
            "short": Autocovariance((self.lag,), of=Projection(self.directions, at)),
            "plane": Autocovariance(lags, of=Projection(self.directions[:, :2], at)),
        }

    def exact(self, steps: int) -> np.ndarray:
        """R of SGD after `steps` steps."""
        return self._correlation(lambda h: (1 - self.case.learning_rate * h) ** steps, self.covariance)

    def continuous(self, steps: int, covariance: ArrayLike) -> np.ndarray:
        """R of an SDE of stationary covariance M = `covariance`: e^{−Hτ} M."""
        return self._correlation(lambda h: np.exp(-self.case.learning_rate * steps * h), covariance)

    def _correlation(self, decay: Callable[[np.ndarray], np.ndarray], covariance: ArrayLike) -> np.ndarray:
        return self.directions.T @ self._of_hessian(decay) @ np.asarray(covariance) @ self.directions

    def _of_hessian(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        h, V = np.asarray(self.case.curvature), np.asarray(self.case.modes)
        return V * function(h) @ V.T

    def current(self, R: Any, lag: int) -> Any:
        """G(τ) = (R − Rᵀ)/(2τ)."""
        return (R - R.T) / (2 * self.case.learning_rate * lag)

    def rates(self, G: Any) -> Any:
        """ω_k = G_ba, [planes]."""
        a, b = _planes(G)
        return G[b, a]

    def measured(self, R: Estimate) -> Measured:
        """Of R at the short lag, as the ensemble gives it, [1, inputs, inputs]."""
        current = R.map(lambda R: self.current(R[0], self.lag), "current")
        both = current.map(lambda G: jnp.append(self.rates(G), self.work(G)))
        rates, work = both.map(lambda values: values[:-1]), both.map(lambda values: values[-1])
        return Measured(rates, rates.map(lambda values: values[0]), work, self.entropy_production(current))

    def work(self, G: Any) -> Any:
        """E⟨F ∘ dy⟩/dt = tr(Kᵀ G(τ)), [], linear in G(τ)."""
        return (self.force * G).sum()

    def square(self, G: ArrayLike, other: ArrayLike) -> float:
        """tr[Gᵀ D⁻¹ G'] of two measured currents."""
        return float(np.sum(np.asarray(G) * np.linalg.solve(self.diffusion, np.asarray(other))))

    def entropy_production(self, current: Estimate) -> Estimate:
        """The mean of tr[G_gᵀ D⁻¹ G_h] over pairs g ≠ h of groups within each of several blocks: every block is an
        independent value without bias, and their scatter is the error."""
        groups = np.asarray(current.groups)[np.asarray(current.weights) > 0]
        whole = groups[: len(groups) // BLOCK * BLOCK]
        blocks = whole.reshape(-1, BLOCK, *whole.shape[1:])
        solved = np.linalg.solve(np.broadcast_to(self.diffusion, blocks.shape), blocks)
        gram = np.einsum("bgij,bhij->bgh", blocks, solved)
        values = (gram.sum(axis=(1, 2)) - np.trace(gram, axis1=1, axis2=2)) / (BLOCK * (BLOCK - 1))
        return over_realisations(values, "entropy production")


def _planes(G: Any) -> tuple[np.ndarray, np.ndarray]:
    """Where a plane's two coordinates stand."""
    first = np.arange(0, G.shape[0] - 1, 2)
    return first, first + 1
