"""The replicas' loop, in layers.

loop       `_core`: one record after another, pure; `_pieces` compiles it (`_compiled`) for one device or, by
           `_layout` and `_devices`, for many; `_run` makes it chunk after chunk
run        `_simulate`; `_starts` begins; between chunks look `_progress`, `_divergence`, `_checkpoints` (what a run
           is: `_configuration`; how it is doing: `_journal`; whether to stop: `_signals`) and `_trajectories` (their
           file: `_trajectory_store`); whether it fits is asked first (`_memory`); `_provenance` tells how it was made,
           `_results` keeps it
           `_measure`: the same run as one pure function, for derivatives and sweeps
choice     `_kernels`, with `_regression_cost`: which form of the steps between two records
kernels    one file each, named after what they are for; all make the reference step's paths. What they share:
           `_fence` against recomputation, `_normals` and `_stacks` with replicas in the last axis, `_replicas_last`
           for any network's gradient so, `_pallas_draws` and `_pallas_launch` on GPUs
"""

from sgdynamics.ensemble._checkpoints import Checkpoint as Checkpoint
from sgdynamics.ensemble._checkpoints import checkpointing as checkpointing
from sgdynamics.ensemble._core import Replicas as Replicas
from sgdynamics.ensemble._core import advance as advance
from sgdynamics.ensemble._core import evolve as evolve
from sgdynamics.ensemble._core import reference_kernel as reference_kernel
from sgdynamics.ensemble._core import replicate as replicate
from sgdynamics.ensemble._deep_linear import DeepLinearKernel as DeepLinearKernel
from sgdynamics.ensemble._deep_linear_langevin import DeepLinearLangevinKernel as DeepLinearLangevinKernel
from sgdynamics.ensemble._devices import any_process as any_process
from sgdynamics.ensemble._divergence import DivergenceError as DivergenceError
from sgdynamics.ensemble._generic import GenericKernel as GenericKernel
from sgdynamics.ensemble._kernels import choose as choose
from sgdynamics.ensemble._linear import LinearModesKernel as LinearModesKernel
from sgdynamics.ensemble._linear import LinearProcessKernel as LinearProcessKernel
from sgdynamics.ensemble._measure import measure as measure
from sgdynamics.ensemble._memory import Memory as Memory
from sgdynamics.ensemble._memory import memory as memory
from sgdynamics.ensemble._network import NetworkKernel as NetworkKernel
from sgdynamics.ensemble._pallas_deep_linear import PallasDeepLinearKernel as PallasDeepLinearKernel
from sgdynamics.ensemble._pallas_regression import PallasRegressionKernel as PallasRegressionKernel
from sgdynamics.ensemble._provenance import fingerprint as fingerprint
from sgdynamics.ensemble._quadratic import QuadraticKernel as QuadraticKernel
from sgdynamics.ensemble._regression_counts import CountsKernel as CountsKernel
from sgdynamics.ensemble._regression_parameters import ParametersKernel as ParametersKernel
from sgdynamics.ensemble._regression_residual import ResidualKernel as ResidualKernel
from sgdynamics.ensemble._run import Refused as Refused
from sgdynamics.ensemble._signals import Interrupted as Interrupted
from sgdynamics.ensemble._simulate import Ensemble as Ensemble
from sgdynamics.ensemble._simulate import cast as cast
from sgdynamics.ensemble._simulate import simulate as simulate
from sgdynamics.ensemble._trajectories import Trajectories as Trajectories
