"""Fig. 10: the highest diffusion along each mode against the batch size (`_scaling`)."""

from functools import partial

from sgdynamics.experiments._registry import Experiment, register
from sgdynamics.experiments.corlouer2026._scaling import ScalingConfig, run
from sgdynamics.experiments.corlouer2026._source import source

FIG10 = register(
    Experiment(
        name="corlouer2026/fig10",
        summary="the highest diffusion along each mode against the batch size",
        source=source("Fig. 10"),
        config=ScalingConfig,
        presets={
            "quick": ScalingConfig(batch_sizes=(1, 2, 4, 8)),
            "paper": ScalingConfig(batch_sizes=(1, 2, 4, 8, 16), replicas=256),
        },
        run=partial(run, figure="Fig. 10", words="inverse to the batch size"),
        figure="corlouer2026/fig10",
    )
)
