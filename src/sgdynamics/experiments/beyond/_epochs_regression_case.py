"""One data set and one setting of SGD by epochs, with all laws that theory has for it.

Inputs are Gaussian with a spectrum over some decades, in a random basis. The label noise is even, or larger where x
lies far along a direction between the Hessian's eigenvectors, so that the noise covariance C and H do not commute:

    ε = σ √((1 + (q·z)²)/2) ξ,      x = √h z,      q = (1, …, 1)/√N      in the basis of the population's Hessian.

Weights are measured from the minimum: y is replaced by the residuals at it. Single precision then resolves
fluctuations of 10⁻⁵.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import sgdynamics as sgd
from sgdynamics.experiments._compiled import once
from sgdynamics.theory import epochs, regression

_predict = once(sgd.predict)
_noise_covariance = once(regression.noise_covariance)
_independent = once(partial(regression.stationary_covariance, replacement=False))


class Laws(NamedTuple):
    """Means of w [inputs] and covariances [inputs, inputs], averaged over the position in the epoch.

    - `first`, `second`: what the orders of the multiplicative noise add to `frozen`
    - `spread`: the covariance of the means at the positions
    """

    mean: Array
    frozen: Array
    first: Array
    second: Array
    spread: Array

    @property
    def whole(self) -> Array:
        """To second order."""
        return self.frozen + self.first + self.second + self.spread

    @property
    def size(self) -> float:
        """ε = tr(second order)/tr(frozen)."""
        return float(jnp.trace(self.second) / jnp.trace(self.frozen))


@once
def laws(x: Array, y: Array, learning_rate: Array, batch_size: int, momentum: Array) -> Laws:
    """To second order in the multiplicative noise: the orders apart, which `predict` adds up, at any learning rate."""
    setting: Any = {"learning_rate": learning_rate, "batch_size": batch_size, "momentum": momentum}
    means, frozen = epochs.regression_means(x, y, **setting), epochs.regression_covariances(x, y, **setting)
    first, second = epochs.regression_corrections(x, y, **setting)[0], epochs.regression_second_order(x, y, **setting)
    average = lambda values: jnp.mean(values, axis=0)
    return Laws(average(means), average(frozen), average(first), average(second), _spread(means))


@once
def exact(x: Array, y: Array, learning_rate: Array, batch_size: int, momentum: Array) -> tuple[Array, Array]:
    """Mean and covariance of w, averaged over the position in the epoch, of a tiny data set."""
    setting: Any = {"learning_rate": learning_rate, "batch_size": batch_size, "momentum": momentum}
    means, covariances = epochs.regression_moments(x, y, **setting)
    n = x.shape[1]
    return jnp.mean(means[:, :n], axis=0), jnp.mean(covariances[:, :n, :n], axis=0) + _spread(means[:, :n])


def _spread(means: Array) -> Array:
    about = means - jnp.mean(means, axis=0, keepdims=True)
    return about.T @ about / len(means)


@dataclass(frozen=True)
class Case:
    """SGD by epochs on one data set."""

    name: str
    data: sgd.data.Dataset
    learning_rate: float
    batch_size: int
    momentum: float = 0.0

    @property
    def batches(self) -> int:
        """M."""
        return len(self.data.x) // self.batch_size

    @cached_property
    def problem(self) -> sgd.Problem:
        return sgd.Problem(sgd.networks.Linear(self.data.x.shape[1], 1), self.data)

    def descent(self, sampler: type = sgd.samplers.Epochs) -> sgd.SGD:
        return sgd.SGD(
            self.problem, learning_rate=self.learning_rate, momentum=self.momentum, sampler=sampler(self.batch_size)
        )

    @property
    def arguments(self) -> tuple[Any, ...]:
        """Of `laws` and `exact`."""
        return self.data.x, self.data.y, jnp.asarray(self.learning_rate), self.batch_size, jnp.asarray(self.momentum)

    @cached_property
    def laws(self) -> Laws:
        return laws(*self.arguments)

    @cached_property
    def _spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        h, V = np.linalg.eigh(np.asarray(regression.hessian(self.data.x)))
        return h, V

    @property
    def curvatures(self) -> np.ndarray:
        """h, ascending."""
        return self._spectrum[0]

    @property
    def modes(self) -> np.ndarray:
        """V."""
        return self._spectrum[1]

    @cached_property
    def noise(self) -> np.ndarray:
        """C at the minimum."""
        x, y, S = self.data.x, self.data.y, jnp.asarray(self.batch_size)
        return np.asarray(_noise_covariance(x, y, jnp.zeros(x.shape[1]), batch_size=S, replacement=False))

    @property
    def independent(self) -> Array:
        """The exact covariance of batches drawn independently, each without replacement."""
        x, y, η, S, β = self.arguments
        return _independent(x, y, learning_rate=η, batch_size=jnp.asarray(S), momentum=β)

    @property
    def commutator(self) -> float:
        """|HC − CH| / |HC|."""
        H = np.asarray(regression.hessian(self.data.x))
        return float(np.linalg.norm(H @ self.noise - self.noise @ H) / np.linalg.norm(H @ self.noise))

    def along(self, covariance: Any) -> Any:
        """Variances along the Hessian's modes."""
        V = jnp.asarray(self.modes)
        return jnp.einsum("ik,ij,jk->k", V, jnp.asarray(covariance), V)

    def commuting(self, covariance: Any) -> np.ndarray:
        """The law without correlations between the modes: C's part that commutes with H alone."""
        return (self.modes * np.asarray(self.along(covariance))) @ self.modes.T

    def relaxation(self) -> int:
        """Steps of the slowest mode's relaxation time, (1 − β)/(ηh), in whole epochs."""
        steps = (1 - self.momentum) / (self.learning_rate * self.curvatures[0])
        return self.batches * int(np.ceil(steps / self.batches))

    @cached_property
    def prediction(self) -> sgd.Prediction:
        """The frozen law, velocities included."""
        return _predict(self.descent(), form="frozen")


def data(
    key: jax.Array, *, samples: int, inputs: int, decades: float, label_noise_std: float, uneven: bool
) -> sgd.data.Dataset:
    """x [samples, inputs], and the residuals at the minimum."""
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    basis = np.linalg.qr(random.normal(size=(inputs, inputs)))[0]
    z = random.normal(size=(samples, inputs))
    x = z * np.sqrt(np.geomspace(1.0, 10.0**-decades, inputs)) @ basis.T
    y = label_noise_std * random.normal(size=samples)
    y = y * np.sqrt((1 + z.sum(axis=1) ** 2 / inputs) / 2) if uneven else y
    return sgd.data.Dataset(jnp.asarray(x), jnp.asarray(y - x @ np.linalg.lstsq(x, y, rcond=None)[0]))
