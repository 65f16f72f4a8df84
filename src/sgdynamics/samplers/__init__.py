"""How minibatches are drawn."""

from sgdynamics.samplers._samplers import AbstractIndexSampler as AbstractIndexSampler
from sgdynamics.samplers._samplers import AbstractSampler as AbstractSampler
from sgdynamics.samplers._samplers import Epochs as Epochs
from sgdynamics.samplers._samplers import FullBatch as FullBatch
from sgdynamics.samplers._samplers import Online as Online
from sgdynamics.samplers._samplers import WithoutReplacement as WithoutReplacement
from sgdynamics.samplers._samplers import WithReplacement as WithReplacement
from sgdynamics.samplers._samplers import as_sampler as as_sampler
