"""Fig. 18: correlation time τ = 2σ_θ²/σ_v² of a small ConvNet (the slides: a LeNet) in its late phase, against the
Hessian's eigenvalue.

    τ = (1 + β)/(ηλ)  with replacement, whatever the noise;  with epochs for λ ≫ λ_cross
    τ_SGD = (M/3) (1 + β)/(1 − β)  for λ ≪ λ_cross, M (1 − β) ≫ 1, and noise that does not depend on θ

Near λ_cross τ is about half of either. Far below it, noise that does not cancel over an epoch makes τ grow as 1/λ
again (`_late_noise`): τ_SGD is no plateau on few examples.
"""

from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import dataset
from sgdynamics.experiments.kuehn2025 import _late_asymptotes, _late_claims
from sgdynamics.experiments.kuehn2025._late_study import LateConfig, attributes, study, variables
from sgdynamics.experiments.kuehn2025._source import source

QUANTITIES = ("times",)


def run(config: LateConfig, progress: Progress) -> Result:
    """The ensembles of Fig. 17."""
    found = study(config, progress)
    claims = [
        *_late_claims.agreement(found, QUANTITIES), *_late_claims.controls(found, "times"),
        *_late_asymptotes.times(found),
    ]  # fmt: skip
    data = dataset(variables(found, QUANTITIES)).assign_attrs(attributes(found))
    return Result(data, claims, {name: sampled.measured.ensemble.provenance for name, sampled in found.of.items()})


FIG18 = register(
    Experiment(
        name="kuehn2025/fig18",
        summary="a small ConvNet's correlation time against the Hessian's eigenvalue",
        source=source("Fig. 18"),
        config=LateConfig,
        presets={
            "quick": LateConfig(),
            "paper": LateConfig(size="full", batch_size=3, replicas=64, burn_in=60, epochs=60, modes=160),
        },
        run=run,
        figure="kuehn2025/fig18",
    )
)
