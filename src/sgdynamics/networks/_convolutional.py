"""A small convolutional network, plain or residual, without normalisation: it has parameters and no other state.

Each stage is a strided convolution, followed by `blocks` residual blocks at the same resolution,

    x  →  φ(W * x + b)  →  [ x + V₂ * φ(V₁ * φ(x) + a₁) + a₂ ]  × blocks,

and a linear layer reads the last stage, flattened. V₂ and a₂ start at 0, so that every block starts as the identity
and depth needs no normalisation (Zhang, Dauphin and Ma 2019, "Fixup initialization").
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics import _checks
from sgdynamics._types import PRNGKey

KERNEL = 3


class ResidualBlock(eqx.Module):
    """x + V₂ * φ(V₁ * φ(x) + a₁) + a₂, of as many channels out as in; V₂ and a₂ start at 0."""

    first: eqx.nn.Conv2d
    second: eqx.nn.Conv2d
    activation: Callable = eqx.field(static=True)

    def __init__(self, channels: int, activation: Callable, *, key: PRNGKey):
        one, two = jax.random.split(key)
        self.first = eqx.nn.Conv2d(channels, channels, KERNEL, padding=KERNEL // 2, key=one)
        second = eqx.nn.Conv2d(channels, channels, KERNEL, padding=KERNEL // 2, key=two)
        self.second = jax.tree.map(lambda leaf: jnp.zeros_like(leaf) if eqx.is_inexact_array(leaf) else leaf, second)
        self.activation = activation

    def __call__(self, x: Float[Array, "channels height width"]) -> Float[Array, "channels height width"]:
        return x + self.second(self.activation(self.first(self.activation(x))))


class ConvNet(eqx.Module):
    """3 × 3 convolutions, each halving the image unless told, and a linear layer.

    Arguments
    - channels: of each stage. θ holds the stages' convolutions in order, then the blocks', then the linear layer.
    - outputs: how many.
    - image: (channels, height, width) of an input, which is given flat: [channels · height · width]. Unless told,
      the one of the 8 × 8 digits (`data.digits(pixels="all")`).
    - activation: φ, between layers.
    - blocks: residual blocks in each stage; with 0 the network is a plain one.
    - stride: of each stage's convolution; 2 halves height and width, rounded up.
    """

    stages: tuple[eqx.nn.Conv2d, ...]
    blocks: tuple[tuple[ResidualBlock, ...], ...]
    readout: eqx.nn.Linear
    image: tuple[int, int, int] = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)

    def __init__(
        self,
        channels: Sequence[int],
        outputs: int,
        *,
        key: PRNGKey,
        image: Sequence[int] = (1, 8, 8),
        activation: Callable = jax.nn.tanh,
        blocks: int = 0,
        stride: int = 2,
    ):
        if not isinstance(channels, Sequence):
            raise ValueError(f"channels = {channels}, but it must be a sequence, one number for each stage.")
        if len(channels) == 0 or len(image) != 3:
            raise ValueError(
                f"channels = {tuple(channels)} and image = {tuple(image)}, but channels must name at least one stage "
                "and image must be (channels, height, width)."
            )
        widths = tuple(_checks.count("channels", c) for c in channels)
        colours, height, width = (_checks.count("image", size) for size in image)
        self.image = (colours, height, width)
        blocks, stride = _checks.count("blocks", blocks, least=0), _checks.count("stride", stride)
        keys = jax.random.split(key, len(widths) + 1)
        pairs = zip(pairwise((self.image[0], *widths)), keys, strict=False)
        self.stages = tuple(
            eqx.nn.Conv2d(before, after, KERNEL, stride=stride, padding=KERNEL // 2, key=k)
            for (before, after), k in pairs
        )
        self.blocks = tuple(
            _chain(c, blocks, activation, jax.random.fold_in(k, 1)) for c, k in zip(widths, keys, strict=False)
        )
        pixels = _after(self.image[1], stride, len(widths)) * _after(self.image[2], stride, len(widths))
        self.readout = eqx.nn.Linear(widths[-1] * pixels, _checks.count("outputs", outputs), key=keys[-1])
        self.activation = activation

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        if x.shape != (self.image[0] * self.image[1] * self.image[2],):
            raise TypeError(f"the image is {self.image}, so that a flat input must have as many pixels, not {x.shape}")
        x = x.reshape(self.image)
        for stage, blocks in zip(self.stages, self.blocks, strict=True):
            x = self.activation(stage(x))
            for block in blocks:
                x = block(x)
        return self.readout(x.reshape(-1))


def _chain(channels: int, blocks: int, activation: Callable, key: PRNGKey) -> tuple[ResidualBlock, ...]:
    # a key apart from the stage's convolution, whose key this is
    keys = [jax.random.fold_in(key, 1 + i) for i in range(blocks)]
    return tuple(ResidualBlock(channels, activation, key=k) for k in keys)


def _after(size: int, stride: int, stages: int) -> int:
    """Pixels along one side after so many strided convolutions, rounded up."""
    for _ in range(stages):
        size = -(-size // stride)
    return size
