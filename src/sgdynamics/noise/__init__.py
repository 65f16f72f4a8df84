"""The covariance of the gradient noise at θ, and sampling from it."""

from sgdynamics.noise._noise import AbstractGradientNoise as AbstractGradientNoise
from sgdynamics.noise._noise import AbstractNoise as AbstractNoise
from sgdynamics.noise._noise import Constant as Constant
from sgdynamics.noise._noise import FiniteSample as FiniteSample
from sgdynamics.noise._noise import Frozen as Frozen
from sgdynamics.noise._noise import Isotropic as Isotropic
from sgdynamics.noise._noise import LabelNoise as LabelNoise
from sgdynamics.noise._noise import OnlineLinear as OnlineLinear
from sgdynamics.noise._noise import Sum as Sum
from sgdynamics.noise._noise import frozen as frozen
from sgdynamics.noise._noise import hessian_proportional as hessian_proportional
from sgdynamics.noise._noise import isotropic as isotropic
from sgdynamics.noise._noise import minibatch as minibatch
from sgdynamics.noise._noise import normals as normals
