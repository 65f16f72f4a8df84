"""Networks, as Equinox modules: a network is called on one input [inputs] and returns one output [outputs].

Any Equinox module of that kind can be used in a `Problem`; these are the ones that the papers need.

    Linear         f(x) = W x
    DeepLinear     f(x) = W_L … W_2 W_1 x
    MLP            f(x) = W_L φ(… φ(W_1 x + b_1) …) + b_L
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgdynamics import _checks
from sgdynamics._types import PRNGKey


class AbstractLinearMap(eqx.Module):
    """A network that is linear in its input (not, in general, in its parameters)."""

    @abstractmethod
    def matrix(self) -> Float[Array, "outputs inputs"]:
        """The matrix W with f(x) = W x."""


class Linear(AbstractLinearMap):
    """One layer without bias, f(x) = W x, started at W = 0. θ is W row by row."""

    weight: Float[Array, "outputs inputs"]

    def __init__(self, inputs: int, outputs: int):
        self.weight = jnp.zeros((_checks.count("outputs", outputs), _checks.count("inputs", inputs)))

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        return self.weight @ x

    def matrix(self) -> Float[Array, "outputs inputs"]:
        return self.weight


class DeepLinear(AbstractLinearMap):
    """L layers without bias or nonlinearity, f(x) = W_L … W_1 x, W_l of shape [d_l, d_{l−1}].

    `widths` = (d_0, …, d_L); entries are drawn with variance 1/d_{l−1}. θ is W_1, …, W_L, each row by row.
    """

    weights: tuple[Float[Array, "_ _"], ...]

    def __init__(self, widths: Sequence[int], *, key: PRNGKey):
        keys = jax.random.split(key, _depth(widths))
        shapes = [(after, before) for before, after in pairwise(widths)]
        draws = [jax.random.normal(k, s) / np.sqrt(s[1]) for k, s in zip(keys, shapes, strict=True)]
        self.weights = tuple(draws)

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        for weight in self.weights:
            x = weight @ x
        return x

    def matrix(self) -> Float[Array, "outputs inputs"]:
        product = self.weights[0]
        for weight in self.weights[1:]:
            product = weight @ product
        return product


class MLP(eqx.Module):
    """Fully connected layers with biases and an activation between them.

    `widths` = (d_0, …, d_L). θ is W_1, b_1, …, W_L, b_L.
    """

    layers: tuple[eqx.nn.Linear, ...]
    activation: Callable = eqx.field(static=True)

    def __init__(self, widths: Sequence[int], activation: Callable = jax.nn.tanh, *, key: PRNGKey):
        keys = jax.random.split(key, _depth(widths))
        pairs = zip(pairwise(widths), keys, strict=True)
        self.layers = tuple(eqx.nn.Linear(before, after, key=k) for (before, after), k in pairs)
        self.activation = activation

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


def _depth(widths: Sequence[int]) -> int:
    if len(widths) < 2:
        raise ValueError(f"widths = {tuple(widths)}, but it must name at least the inputs and the outputs.")
    for width in widths:
        _checks.count("widths", width)
    return len(widths) - 1
