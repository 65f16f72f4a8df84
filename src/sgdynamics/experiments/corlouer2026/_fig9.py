"""Fig. 9: the highest diffusion along each mode against the learning rate (`_scaling`)."""

from functools import partial

from sgdynamics.experiments._registry import Experiment, register
from sgdynamics.experiments.corlouer2026._scaling import ScalingConfig, run
from sgdynamics.experiments.corlouer2026._source import source

FIG9 = register(
    Experiment(
        name="corlouer2026/fig9",
        summary="the highest diffusion along each mode against the learning rate",
        source=source("Fig. 9"),
        config=ScalingConfig,
        presets={
            "quick": ScalingConfig(learning_rates=(0.00125, 0.0025, 0.005, 0.01)),
            "paper": ScalingConfig(learning_rates=(0.000625, 0.00125, 0.0025, 0.005, 0.01), replicas=256),
        },
        run=partial(run, figure="Fig. 9", words="linear in the learning rate"),
        figure="corlouer2026/fig9",
    )
)
