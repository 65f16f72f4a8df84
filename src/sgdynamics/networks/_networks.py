"""Networks, as Equinox modules: a network is called on one input [inputs] and returns one output [outputs].

Any Equinox module of that kind can be used in a `Problem`; these are the ones that the papers need.

    Linear         f(x) = W x
    DeepLinear     f(x) = W_L … W_2 W_1 x                            (`_deep_linear`)
    MLP            f(x) = W_L φ(… φ(W_1 x + b_1) …) + b_L
    ConvNet        strided convolutions, residual blocks if told     (`_convolutional`)
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics import _checks
from sgdynamics._types import PRNGKey
from sgdynamics.networks._deep_linear import AbstractLinearMap, checked


class Linear(AbstractLinearMap):
    """One layer without bias, f(x) = W x, started at W = 0. θ is W row by row."""

    weight: Float[Array, "outputs inputs"]

    def __init__(self, inputs: int, outputs: int):
        self.weight = jnp.zeros((_checks.count("outputs", outputs), _checks.count("inputs", inputs)))

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        return self.weight @ x

    def matrix(self) -> Float[Array, "outputs inputs"]:
        return self.weight


class MLP(eqx.Module):
    """Fully connected layers with biases and an activation between them.

    `widths` = (d_0, …, d_L). θ is W_1, b_1, …, W_L, b_L.
    """

    layers: tuple[eqx.nn.Linear, ...]
    activation: Callable = eqx.field(static=True)

    def __init__(self, widths: Sequence[int], activation: Callable = jax.nn.tanh, *, key: PRNGKey):
        widths = checked(widths)
        pairs = zip(pairwise(widths), jax.random.split(key, len(widths) - 1), strict=True)
        self.layers = tuple(eqx.nn.Linear(before, after, key=k) for (before, after), k in pairs)
        self.activation = activation

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)
