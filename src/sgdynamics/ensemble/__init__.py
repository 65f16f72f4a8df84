"""The replicas' loop: a pure core, batched kernels, and the driver."""

from sgdynamics.ensemble._core import Replicas as Replicas
from sgdynamics.ensemble._core import advance as advance
from sgdynamics.ensemble._core import evolve as evolve
from sgdynamics.ensemble._core import reference_kernel as reference_kernel
from sgdynamics.ensemble._core import replicate as replicate
from sgdynamics.ensemble._deep_linear import DeepLinearKernel as DeepLinearKernel
from sgdynamics.ensemble._deep_linear_langevin import DeepLinearLangevinKernel as DeepLinearLangevinKernel
from sgdynamics.ensemble._kernels import choose as choose
from sgdynamics.ensemble._pallas_deep_linear import PallasDeepLinearKernel as PallasDeepLinearKernel
from sgdynamics.ensemble._pallas_regression import PallasRegressionKernel as PallasRegressionKernel
from sgdynamics.ensemble._provenance import fingerprint as fingerprint
from sgdynamics.ensemble._regression_counts import CountsKernel as CountsKernel
from sgdynamics.ensemble._regression_parameters import ParametersKernel as ParametersKernel
from sgdynamics.ensemble._regression_residual import ResidualKernel as ResidualKernel
from sgdynamics.ensemble._simulate import Ensemble as Ensemble
from sgdynamics.ensemble._simulate import cast as cast
from sgdynamics.ensemble._simulate import simulate as simulate
