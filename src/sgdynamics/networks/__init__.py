"""Networks, as Equinox modules."""

from sgdynamics.networks._convolutional import ConvNet as ConvNet
from sgdynamics.networks._deep_linear import AbstractLinearMap as AbstractLinearMap
from sgdynamics.networks._deep_linear import DeepLinear as DeepLinear
from sgdynamics.networks._networks import MLP as MLP
from sgdynamics.networks._networks import Linear as Linear
