"""App. B, Assumption 5: how much noise that depends on θ adds to the covariance of SGD with momentum.

    ε = η tr H/(2S(1 − β)),      tr Cov θ / (the same with the noise of the minimum, discrete time) − 1

is ε to leading order for Gaussian data of many inputs, ε (1 + 1/d) for d, more for heavy-tailed examples
(`_multiplicative_law`), and not small where momentum is large: at 1/(1 − β) times the size without. Second moments are
bounded up to ε of about 1, that is for η up to about 2S(1 − β)/tr H, though the mean is stable up to 2 (1 + β)/h_max.

Assumption 5, Σ ≈ σ² H, gives tr Cov θ = η σ² d/(2S(1 − β)). Of N samples Σ is smaller, by (N − d)/(N + 2) on average:
it holds for N ≫ d. Of few samples, multiplicative noise makes the covariance larger, and at one learning rate the two
errors cancel.

Ensembles at rest start from the law of SGD (Gaussian with its exact second moments); the others say where they start.
"""

import jax
import numpy as np

import sgdynamics as sgd
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import dataset, variable
from sgdynamics.experiments.kunin2023 import _multiplicative_claims as claims
from sgdynamics.experiments.kunin2023 import _multiplicative_parts as parts
from sgdynamics.experiments.kunin2023._multiplicative_case import (
    Case,
    MultiplicativeNoiseConfig,
    cancellation,
    elliptical,
    gaussian,
)
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import Variance

_predict = once(sgd.predict)


def run(config: MultiplicativeNoiseConfig, progress: Progress) -> Result:
    """The large data set over momentum and ε, an elliptical one, the small one, beyond the limit, no response."""
    key = jax.random.key(config.seed)
    many = gaussian(config, _ensembles.named(key, "many"), config.samples)
    few = gaussian(config, _ensembles.named(key, "few"), config.few_samples)
    outlying = elliptical(config, _ensembles.named(key, "elliptical"), config.samples, config.contrast)
    β, crossing = config.few_momentum, cancellation(few, config)
    cases = {f"momentum = {β:g}, ε = {ε:g}": Case(many, config, β, ε) for β in config.momenta for ε in config.strengths}
    cases |= {"elliptical": Case(outlying, config, β, config.strengths[-1])}
    cases |= {"cancelling": Case(few, config, β, crossing), "weaker": Case(few, config, β, crossing / 10)}
    runs = {label: _at_rest(label, case, key, progress) for label, case in cases.items()}
    growth, nothing = parts.growth(few, config, key, progress), parts.no_response(config, key, progress)
    variables = parts.variables(config, cases, runs)
    coordinates = {
        "momentum": variable("momentum", np.array(config.momenta), "momentum β"),
        "strength": variable("strength", np.array(config.strengths), "ε = η tr H/(2S(1 − β))"),
        "line": variable("line", parts.line(config), "ε of lines"),
    }
    data = dataset(variables, coordinates).assign_attrs(inputs=config.inputs, few_momentum=config.few_momentum)
    found = [claim for label in runs for claim in claims.at_rest(label, cases[label], runs[label].estimates)]
    found += claims.slopes(config, parts.slopes(config, key))
    found += claims.assumption(config, *parts.factors(config, key))
    found += claims.growth(config, *growth) + claims.limits(data) + claims.no_response(*nothing)
    runs |= {"beyond the limit": growth[0], "no response": nothing[0]}
    return Result(data, found, {label: run.provenance for label, run in runs.items()})


def _at_rest(label: str, case: Case, key: jax.Array, progress: Progress) -> sgd.Ensemble:
    c = case.config
    return _ensembles.simulate(
        case.descent, Variance(), progress, label, key=key, replicas=c.replicas, steps=c.steps, every=c.every,
        initial=_predict(case.descent),
    )  # fmt: skip


MULTIPLICATIVE_NOISE = register(
    Experiment(
        name="kunin2023/multiplicative_noise",
        summary="what noise that depends on the weights adds to their covariance, over momentum and learning rate",
        source=source("App. B, Assumption 5"),
        config=MultiplicativeNoiseConfig,
        presets={
            "quick": MultiplicativeNoiseConfig(),
            "paper": MultiplicativeNoiseConfig(
                inputs=20, samples=1000, few_samples=60, strengths=(0.03, 0.1, 0.2, 0.3, 0.4), replicas=4096,
                steps=5000, every=20, realisations=200, few_realisations=100_000,
                momenta=(0.0, 0.5, 0.9, 0.95, 0.99),
            ),
        },
        run=run,
        figure="kunin2023/multiplicative_noise",
    )
)  # fmt: skip
