"""Three small networks that the weak errors are sampled on: two-layer linear, deep linear (online), tanh."""

from typing import Any, NamedTuple

import jax
import numpy as np

import sgdynamics as sgd
from sgdynamics.networks import MLP, DeepLinear
from sgdynamics.samplers import AbstractSampler, Online, WithReplacement


class Case(NamedTuple):
    """A problem, how its minibatches are drawn, the time T over which weak errors are taken, and learning rates."""

    problem: sgd.Problem
    sampler: AbstractSampler
    time: float
    learning_rates: tuple[float, ...]


def two_layer() -> Case:
    """2-2-1 linear network on 12 noisy examples; largest curvature on the way about 4."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 2))
    y = x @ np.array([[1.0], [-0.5]]) + 0.5 * rng.normal(size=(12, 1))
    network = DeepLinear((2, 2, 1), key=jax.random.key(1))
    return Case(sgd.Problem(network, sgd.data.Dataset(x, y)), WithReplacement(4), 2.0, _powers(2, 6))


def deep_linear() -> Case:
    """2-2-2-2 linear network on a teacher's stream; largest curvature at the minimum about 8."""
    network = DeepLinear((2, 2, 2, 2), key=jax.random.key(5))
    teacher = sgd.data.Teacher(np.diag([1.0, 0.5]), 0.5)
    return Case(sgd.Problem(network, teacher), Online(4), 1.0, _powers(3, 6))


def tanh() -> Case:
    """1-3-1 tanh network on 12 noisy points of a sine; largest curvature about 2."""
    rng = np.random.default_rng(1)
    x = np.linspace(-1.5, 1.5, 12)[:, None]
    y = np.sin(2 * x) + 0.3 * rng.normal(size=(12, 1))
    network = MLP((1, 3, 1), key=jax.random.key(3))
    return Case(sgd.Problem(network, sgd.data.Dataset(x, y)), WithReplacement(4), 4.0, _powers(1, 4))


CASES: dict[str, Any] = {"two-layer": two_layer, "deep linear": deep_linear, "tanh": tanh}


def _powers(first: int, last: int) -> tuple[float, ...]:
    return tuple(2.0**-k for k in range(first, last + 1))
