"""Fig. 25: gradient descent with anti-correlated noise in a widening valley.

    Anti-PGD    θ_{k+1} = θ_k − η∇L(θ_k) + ξ_{k+1} − ξ_k         PGD    θ_{k+1} = θ_k − η∇L(θ_k) + ξ_{k+1}
    E[z_{k+1} | z_k] = z_k − η∇L̃(z_k),   z = θ − ξ,   L̃ = L + (σ²/2) tr H

The last line is exact here (L of degree 4), but E z does not follow −∇L̃: z has fluctuations of its own, of variance
σ²ηh/(2 − ηh) along a curvature h, that push as ξ does. In L = ½ v²|u|² (`_fig25_valley`) the push along the valley is
−v E|u|², whatever the noise: flattening is paid in excess loss, −d ln v/dt = 2 E L/v². Of equal σ, PGD is the hotter
one for ηv² < ½, and is the first in the flat part. What it cannot do is stay: it diffuses, v changes sign, and |u|²
grows by (d − 1)σ² a step along the floor v = 0 of the other valley, towards the edge of stability |u|² = 2/η. Anti-PGD
ends at tr H = 2dσ², in the flattest place there is.
"""

from typing import Any

import jax
import numpy as np

from sgdynamics._types import PRNGKey
from sgdynamics.dynamics import Descent
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.kuehn2025._fig25_case import (
    NAMES,
    U_1,
    V2,
    Fig25Config,
    Moments,
    V,
    descents,
    rate_of,
    simulate,
    trace,
)
from sgdynamics.experiments.kuehn2025._fig25_claims import LAWS, speed_claims, spread, trace_claims
from sgdynamics.experiments.kuehn2025._fig25_valley import anticorrelated, escaping, rate
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.statistics import Estimate, Snapshots


def run(config: Fig25Config, progress: Progress) -> Result:
    """Both descents: short runs from every start, and one long run each from the first."""
    key, variables, claims, ensembles, long = jax.random.key(config.seed), {}, [], {}, {}
    for name, descent in descents(config).items():
        short, rates = _speeds(name, descent, config, progress, key)
        long[name], path = _long(name, descent, config, progress, key)
        variables |= rates | path
        claims += [*speed_claims(name, short, config), spread(name, short, config)]
        ensembles[NAMES[name]] = long[name].provenance
    coordinates = {
        "start": variable("start", config.curvatures, "curvature across the valley at the start", "1/η"),
        "record": variable("record", config.records, "step"),
        "step": variable("step", np.arange(config.steps + 1), "step"),
    }
    finals = {name: ensemble.estimates.mean for name, ensemble in long.items()}
    data = dataset(variables | _theory(config), coordinates).assign_attrs(
        transverse=config.transverse, learning_rate=config.learning_rate, noise_std=config.noise_std,
        early=config.early, gradient_descent=config.transverse * config.start(config.curvatures[0]) ** 2,
    )  # fmt: skip
    return Result(data, claims + trace_claims(finals, config), ensembles)


def _speeds(
    name: str, descent: Descent, config: Fig25Config, progress: Progress, key: PRNGKey
) -> tuple[list[Estimate], dict[str, Variable]]:
    """Moments after the window from every start, and the speeds."""
    ends = [
        simulate(descent, Snapshots((config.window,), Moments()), config, x, progress,
                  f"{NAMES[name]} at ηv² = {x:g}", key, config.window).estimates.mean.map(lambda m: m[0])
        for x in config.curvatures
    ]  # fmt: skip
    measured = [rate_of(end, x, config) for end, x in zip(ends, config.curvatures, strict=True)]
    words = f"{NAMES[name]}: −d ln v/dt along the valley"
    columns = {
        f"{name}_rate": ([m.value for m in measured], "measured"),
        f"{name}_rate_error": ([m.standard_error for m in measured], "standard error"),
    }
    return ends, {k: variable("start", np.array(v), f"{words}, {kind}", "dσ²") for k, (v, kind) in columns.items()}


def _long(
    name: str, descent: Descent, config: Fig25Config, progress: Progress, key: PRNGKey
) -> tuple[Any, dict[str, Variable]]:
    x, words = config.curvatures[0], NAMES[name]
    ensemble = simulate(
        descent, Snapshots(config.records, Moments()), config, x, progress, f"{words}, long", key, config.steps
    )
    mean, single = ensemble.estimates.mean, np.asarray(ensemble.estimates.values)[:, 0]
    along = mean.map(lambda m: trace(m, config))
    variables = measurement(f"{name}_v2", "record", mean.map(lambda m: m[:, V2]), f"{words}: v²", "w²")
    variables |= measurement(f"{name}_trace", "record", along, f"{words}: tr H", "w²")
    variables[f"{name}_path_u"] = variable("record", single[:, U_1], f"{words}: u_1 of one replica", "w")
    variables[f"{name}_path_v"] = variable("record", single[:, V], f"{words}: v of one replica", "w")
    return ensemble, variables


def _theory(config: Fig25Config) -> dict[str, Variable]:
    """The laws: speeds on a fine grid of ηv², and tr H along the long runs."""
    d, σ2, v0 = config.transverse, config.noise_std**2, config.start(config.curvatures[0])
    v, s = anticorrelated(v0, config.steps, **config.valley)
    p, escaped = escaping(v0, config.steps, **config.valley)
    t = config.learning_rate * np.arange(config.steps + 1)
    x = np.geomspace(min(config.curvatures) / 2, max(config.curvatures), 41)
    speeds = {name: [rate(law(config.start(c), config.window, **config.valley)[0], **config.valley) for c in x]
              for name, law in LAWS.items()}  # fmt: skip
    return {
        "curvature": variable("grid", x, "curvature across the valley", "1/η"),
        "anti_pgd_rate_law": variable("grid", speeds["anti_pgd"], "Anti-PGD: −ln(v_K/v_0)/t, law", "dσ²"),
        "pgd_rate_law": variable("grid", speeds["pgd"], "PGD: −ln(v_K/v_0)/t, law", "dσ²"),
        "anti_pgd_trace_law": variable("step", d * (v**2 + σ2) + s + d * σ2, "Anti-PGD: tr H, law", "w²"),
        "pgd_trace_law": variable("step", d * p + escaped, "PGD: tr H, closed by hand", "w²"),
        "effective_loss": variable("step", d * (v0**2 * np.exp(-2 * d * σ2 * t) + 2 * σ2), "flow of L̃: tr H", "w²"),
    }


FIG25 = register(
    Experiment(
        name="kuehn2025/fig25",
        summary="perturbed gradient descent in a widening valley: uncorrelated and anti-correlated noise",
        source=source("Fig. 25 and the slides before it"),
        config=Fig25Config,
        presets={"quick": Fig25Config(replicas=2048, curvatures=(0.2, 0.5, 1.5)), "paper": Fig25Config()},
        run=run,
        figure="kuehn2025/fig25",
    )
)
