"""Figs. 22, 23: variances and correlation time of a residual network, as `_fig17` and `_fig18` have a ConvNet's."""

from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import dataset
from sgdynamics.experiments.kuehn2025 import _late_asymptotes, _late_claims
from sgdynamics.experiments.kuehn2025._late_study import QUANTITIES, LateConfig, attributes, study, variables
from sgdynamics.experiments.kuehn2025._source import source


def run(config: LateConfig, progress: Progress) -> Result:
    """Both samplings, all three quantities."""
    found, quantities = study(config, progress), tuple(QUANTITIES)
    claims = [
        *_late_claims.agreement(found, ("weights", "times")), *_late_claims.velocities(found),
        *_late_claims.controls(found, "weights"),
        *_late_claims.controls(found, "times"), *_late_asymptotes.exponents(found), *_late_asymptotes.times(found),
        *_late_asymptotes.hessian_noise(found),
    ]  # fmt: skip
    data = dataset(variables(found, quantities)).assign_attrs(attributes(found))
    return Result(data, claims, {name: sampled.measured.ensemble.provenance for name, sampled in found.of.items()})


FIG22_23 = register(
    Experiment(
        name="kuehn2025/fig22_23",
        summary="a residual network's variances and correlation time against the Hessian's eigenvalue",
        source=source("Figs. 22, 23"),
        config=LateConfig,
        presets={
            "quick": LateConfig(network="residual", crossover=2.0, replicas=48, burn_in=20, epochs=20),
            "paper": LateConfig(
                network="residual", size="full", batch_size=3, replicas=48, burn_in=40, epochs=40, modes=160
            ),
        },
        run=run,
        figure="kuehn2025/fig22_23",
    )
)
