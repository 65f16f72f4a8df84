"""The three ways to draw minibatches from a data set, each with the law of the weights that it leads to.

Independent batches, with or without replacement, have the exact law of `theory.recursion`. Epoch shuffling has one that
is cyclic in the position in the epoch, known to first order in the multiplicative noise (`theory.epochs`):
laws here are averages over positions, as records see them whose spacing has no factor in common with the number of
batches in an epoch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics import samplers
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._regression import Regression
from sgdynamics.theory import epochs, regression

Kind = Literal["with", "without", "epochs"]
KINDS: tuple[Kind, ...] = ("with", "without", "epochs")
WORDS: dict[Kind, str] = {"with": "with replacement", "without": "without replacement", "epochs": "epochs"}
SAMPLERS = {"with": samplers.WithReplacement, "without": samplers.WithoutReplacement, "epochs": samplers.Epochs}


@dataclass(frozen=True)
class Law:
    """The weights' law under one way of sampling, averaged over the position in the epoch.

    - `shift`: mean − w* [inputs]; `covariance`, about the mean, and `gradient`, of the batch gradient [inputs, inputs]
    - `frozen`: the covariance without multiplicative noise under epochs; elsewhere the same as `covariance`
    - `neglected`: covariance that the theory may have missed, at most [inputs, inputs]; 0 where it is exact
    - `first_shift`, `first_covariance`: before the first batch of an epoch
    """

    shift: np.ndarray
    covariance: np.ndarray
    gradient: np.ndarray
    frozen: np.ndarray
    neglected: np.ndarray
    first_shift: np.ndarray
    first_covariance: np.ndarray

    @property
    def accuracy(self) -> float:
        """What may be missing, in units of the total variance."""
        return float(np.trace(self.neglected) / np.trace(self.covariance))

    def start(self, case: Regression, key: jax.Array, replicas: int) -> np.ndarray:
        """Normal draws with the moments of the beginning of an epoch, [replicas, inputs]."""
        values, U = np.linalg.eigh(self.first_covariance)
        ξ = np.asarray(jax.random.normal(key, (replicas, len(values))))
        return np.asarray(case.minimum) + self.first_shift + ξ @ (U * np.sqrt(np.maximum(values, 0))).T


def law(case: Regression, kind: Kind) -> Law:
    """The law of `case` when its batches are drawn in the way `kind`. Compiled once for all learning rates."""
    x, y, η = case.data.x, case.data.y, jnp.asarray(case.learning_rate, jnp.float64)
    if kind == "epochs":
        return _cyclic(*map(np.asarray, _epochs(case.batch_size)(x, y, η)))
    M = np.asarray(_white(x, y, η, jnp.asarray(case.batch_size, jnp.float64), kind == "with"))
    H, nothing = np.asarray(regression.hessian(x)), np.zeros(case.inputs)
    return Law(nothing, M, (H @ M + M @ H) / case.learning_rate, M, 0 * M, nothing, M)


def spacing(batches_per_epoch: int, least: int) -> int:
    """The smallest number of steps between records, `least` or more, that meets every position in an epoch."""
    return next(n for n in range(least, least + batches_per_epoch + 1) if math.gcd(n, batches_per_epoch) == 1)


@once
def _white(x, y, η, batch_size, replacement):
    return regression.stationary_covariance(x, y, learning_rate=η, batch_size=batch_size, replacement=replacement)


@cache
def _epochs(batch_size: int) -> Callable[..., Any]:
    return once(partial(_cyclic_moments, batch_size))


def _cyclic_moments(batch_size: int, x, y, η):
    settings = {"learning_rate": η, "batch_size": batch_size}
    correction, of_gradients = epochs.regression_corrections(x, y, **settings)
    frozen = epochs.regression_covariances(x, y, **settings)
    covariances = frozen + correction
    gradients = epochs.regression_gradient_covariances(x, y, **settings) + of_gradients
    missing = epochs.regression_multiplicative_scale(x, jnp.mean(covariances, axis=0), **settings)
    return epochs.regression_means(x, y, **settings), covariances, gradients, frozen, missing


def _cyclic(means, covariances, gradients, frozen, neglected) -> Law:
    of_means = np.cov(means.T, bias=True).reshape(neglected.shape)
    covariance, gradient = covariances.mean(axis=0) + of_means, gradients.mean(axis=0)
    return Law(means.mean(axis=0), covariance, gradient, frozen.mean(axis=0), neglected, means[0], covariances[0])
