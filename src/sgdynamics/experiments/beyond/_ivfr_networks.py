"""Small networks that tell the first handwritten digits apart, for the variance-flatness relation.

A relu network with weight decay ends on kinks: at each of sixteen minima that were tried five to sixteen
pre-activations are 0, and the gradient jumps there, so that it has no Hessian. SGD does not rest on the kinks: its
pre-activations z fluctuate by some s, over which it sees the average

    φ_s(z) = ⟨max(z + s ξ, 0)⟩ = z Φ(z/s) + s φ(z/s),      ξ normal, of density φ and distribution function Φ,

smooth, and relu as s → 0. The network with φ_s has a smooth minimum, and the law of SGD is linearised there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import sgdynamics as sgd
from sgdynamics._types import PRNGKey
from sgdynamics.data import Dataset, digits
from sgdynamics.experiments import _ensembles
from sgdynamics.networks import MLP, ConvNet

LOSSES: dict[str, Callable] = {"mse": sgd.squared_error, "cross-entropy": sgd.cross_entropy}
NETWORKS = ("linear", "tanh", "relu", "convolutional")


@dataclass(frozen=True)
class AveragedRelu:
    """⟨max(z + width ξ, 0)⟩ over normal ξ."""

    width: float

    def __call__(self, z: Float[Array, "*units"]) -> Float[Array, "*units"]:
        u = z / self.width
        return z * jax.scipy.special.ndtr(u) + self.width * jnp.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)


def first_digits(loss: str, *, samples: int, classes: int, scale: float) -> Dataset:
    """The first images of the digits 0 … classes − 1: one-hot targets with "mse", classes with "cross-entropy"."""
    every = digits("value", pixels="all")
    label = np.rint(np.asarray(every.y - every.y.min())).astype(int)
    chosen = np.flatnonzero(label < classes)[:samples]
    targets = label[chosen] if loss == "cross-entropy" else np.eye(classes)[label[chosen]]
    return Dataset(every.x[chosen] * scale, targets)


def problem(
    network: str, loss: str, data: Dataset, relu: Callable = jax.nn.relu, *, classes: int, hidden: int,
    channels: tuple[int, ...], key: PRNGKey,
) -> sgd.Problem:  # fmt: skip
    """The named network with the named loss. `relu` is the activation of the one called so."""
    key, inputs = _ensembles.named(key, network), data.x.shape[1]
    networks = {
        "linear": lambda: MLP((inputs, classes), key=key),
        "tanh": lambda: MLP((inputs, hidden, classes), key=key),
        "relu": lambda: MLP((inputs, hidden, classes), relu, key=key),
        "convolutional": lambda: ConvNet(channels, classes, key=key),
    }
    return sgd.Problem(networks[network](), data, LOSSES[loss])
