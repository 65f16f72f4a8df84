"""The parts of `kunin2023/multiplicative_noise`: averages over data, two runs that are not at rest, what is stored."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import each, over_realisations
from sgdynamics.experiments._variables import Variable, variable
from sgdynamics.experiments.kunin2023 import _multiplicative_law as law
from sgdynamics.experiments.kunin2023._multiplicative_case import (
    SLOPE,
    Case,
    MultiplicativeNoiseConfig,
    elliptical,
    gaussian,
    limit,
)
from sgdynamics.experiments.kunin2023._multiplicative_claims import MANY
from sgdynamics.statistics import Estimate, Variance
from sgdynamics.theory import regression
from sgdynamics.theory.harmonic import HarmonicDescent
from sgdynamics.theory.recursion import MinibatchMoments

LINE, LIMITS = 24, 24  # points of lines


# --- averages over data -------------------------------------------------------------------------------------


def slopes(config: MultiplicativeNoiseConfig, key: jax.Array) -> Estimate:
    """(tr Cov/frozen − 1)/ε at small ε of the exact law, over data sets, [2]: of Gaussian and of elliptical data."""
    β, S, samples = config.few_momentum, config.batch_size, config.slope_samples

    def slope(key: jax.Array, contrast: jax.Array) -> jax.Array:
        data = elliptical(config, key, samples, contrast)
        η = SLOPE * 2 * S * (1 - β) / (jnp.sum(data.x**2) / samples)
        exact, frozen = law.traces(data.x, data.y, η, jnp.asarray(β), S)
        return (exact / frozen - 1) / SLOPE

    contrasts = jnp.array([0.0, config.contrast])
    keys = jax.random.split(_ensembles.named(key, "slopes"), config.realisations)
    return over_realisations(each(lambda key: jax.lax.map(lambda a: slope(key, a), contrasts), keys))


def factors(config: MultiplicativeNoiseConfig, key: jax.Array) -> tuple[Estimate, Estimate]:
    """tr(H⁻¹ Σ)/(σ² d) over data sets: of few samples, and of many (over a twentieth of the data sets)."""

    def of(samples: int, keys: jax.Array) -> Estimate:
        def factor(key: jax.Array) -> jax.Array:
            data = gaussian(config, key, samples)
            return law.noise_factor(data.x, data.y, config.label_noise_std)

        return over_realisations(each(factor, keys, batch=500))

    keys = jax.random.split(_ensembles.named(key, "factors"), config.few_realisations)
    return of(config.few_samples, keys), of(MANY * config.inputs, keys[: max(2, len(keys) // 20)])


# --- runs that are not at rest ------------------------------------------------------------------------------


def growth(
    data: sgd.data.Dataset, config: MultiplicativeNoiseConfig, key: jax.Array, progress: Progress
) -> tuple[sgd.Ensemble, float, float]:
    """Beyond the limit of second moments, from the minimum at rest: (ensemble, tr Cov at its end: exact, frozen)."""
    β, S, steps = config.growth_momentum, config.batch_size, config.growth_steps
    η = config.growth * float(limit(data, config, β))
    moments = MinibatchMoments(data.x, data.y, learning_rate=η, sampling_factor=1 / S, momentum=β)
    descent = sgd.SGD(
        sgd.Problem(sgd.networks.Linear(config.inputs, 1), data), learning_rate=jnp.asarray(η), sampler=S,
        momentum=jnp.asarray(β),
    )  # fmt: skip
    ensemble = _ensembles.simulate(
        descent, Variance(), progress, "beyond the limit", key=key, replicas=config.replicas, steps=steps,
        every=steps, initial=moments.mean,
    )  # fmt: skip
    exact, frozen = once(_spread)(moments, steps)
    return ensemble, float(exact), float(frozen)


def _spread(moments: MinibatchMoments, steps: int) -> tuple[jax.Array, jax.Array]:
    x, d = moments.x, moments.x.shape[1]
    M = moments.after(steps, jnp.zeros(2 * d), jnp.zeros((2 * d, 2 * d)))[1]
    h, V = jnp.linalg.eigh(x.T @ x / len(x))
    C = V.T @ moments.noise @ V
    frozen = HarmonicDescent(h, C, learning_rate=moments.learning_rate, momentum=moments.momentum)
    return jnp.trace(M[:d, :d]), jnp.trace(frozen.covariance_after(steps)[:d, :d])


def no_response(
    config: MultiplicativeNoiseConfig, key: jax.Array, progress: Progress
) -> tuple[sgd.Ensemble, float, float]:
    """y = 0, one input, no momentum, from θ = 1: (ensemble, E θ² at its end: exact; that of OU with the noise at 1).

    In float64: the statistics count from where the ensemble starts, far from 0 where it ends.
    """
    x = jax.random.normal(_ensembles.named(key, "no response"), (config.few_samples, 1))
    m2, m4 = float(jnp.mean(x**2)), float(jnp.mean(x**4))
    η, S, steps = 0.5 / m2, config.batch_size, 20
    problem = sgd.Problem(sgd.networks.Linear(1, 1), sgd.data.Dataset(x, jnp.zeros(len(x))))
    ensemble = _ensembles.simulate(
        sgd.SGD(problem, learning_rate=jnp.asarray(η), sampler=S), Variance(), progress, "no response", key=key,
        replicas=config.replicas, steps=steps, every=steps, initial=jnp.ones(1), dtype=jnp.float64,
    )  # fmt: skip
    mean, variance = regression.geometric_moments_after(
        steps, 1.0, second_moment=m2, fourth_moment=m4, learning_rate=η, batch_size=S
    )
    constant = η * (m4 - m2**2) / (2 * S * m2)
    return ensemble, float(mean**2 + variance), constant


# --- what is stored -----------------------------------------------------------------------------------------


def line(config: MultiplicativeNoiseConfig) -> np.ndarray:
    """ε of lines."""
    return np.geomspace(config.strengths[0] / 2, 1.2 * config.strengths[-1], LINE)


def variables(
    config: MultiplicativeNoiseConfig, cases: Mapping[str, Case], runs: Mapping[str, sgd.Ensemble]
) -> dict[str, Variable]:
    """The excess of the large data, the ratio to Assumption 5 of the small, and the limits of the learning rate."""
    stored: dict[str, Variable] = {}
    for β in config.momenta:
        labels = [f"momentum = {β:g}, ε = {ε:g}" for ε in config.strengths]
        stored |= _excess(f"at_{β:g}", f"momentum {β:g}", cases[labels[0]], config, [runs[label] for label in labels],
                          [cases[label].traces[1] for label in labels])  # fmt: skip
    many, few = cases[labels[0]], cases["cancelling"]
    infinite = [Case(many.data, config, config.few_momentum, ε).gaussian_excess for ε in line(config)]
    stored["gaussian"] = variable("line", infinite, "tr Cov θ/frozen − 1, infinitely many Gaussian samples")
    return stored | _few(few, [cases[name] for name in ("weaker", "cancelling")],
                         [runs[name] for name in ("weaker", "cancelling")]) | _limits(few.data, config)  # fmt: skip


def _excess(at: str, words: str, case: Case, config: MultiplicativeNoiseConfig, runs: list, frozen: list) -> dict:
    measured = [run.estimates.map(jnp.sum) for run in runs]
    exact = [Case(case.data, config, case.β, ε).excess for ε in line(config)]
    scale = np.array(frozen)
    return {
        f"{at}_excess": variable("strength", np.array([float(m.value) for m in measured]) / scale - 1,
                                 f"tr Cov θ/frozen − 1, {words}, measured"),
        f"{at}_excess_error": variable("strength", np.array([float(m.standard_error) for m in measured]) / scale,
                                       f"tr Cov θ/frozen − 1, {words}, standard error"),
        f"{at}_exact": variable("line", np.array(exact), f"tr Cov θ/frozen − 1, {words}, exact law"),
    }  # fmt: skip


def _few(case: Case, few: list[Case], runs: list) -> dict[str, Variable]:
    """The small data set: exact, frozen and measured in units of Assumption 5."""
    config, β = case.config, case.β
    ε = np.geomspace(
        few[0].ε / 2, min(1.3 * few[1].ε, 0.97 * float(limit(case.data, config, β)) / case.η * case.ε), LINE
    )
    lines = [Case(case.data, config, β, float(e)) for e in ε]
    exact, frozen = (np.array([c.traces[i] / c.assumed for c in lines]) for i in (0, 1))
    measured = [run.estimates.map(lambda v, c=c: jnp.sum(v) / c.assumed) for c, run in zip(few, runs, strict=True)]
    words = "tr Cov θ of few samples in units of Assumption 5"
    return {
        "few_strength": variable("few_line", ε, "ε of lines, few samples"),
        "few_exact": variable("few_line", exact, f"{words}, exact"),
        "few_frozen": variable("few_line", frozen, f"{words}, frozen noise"),
        "few_measured_strength": variable("few_setting", [c.ε for c in few], "ε of ensembles, few samples"),
        "few_measured": variable("few_setting", [float(m.value) for m in measured], f"{words}, measured"),
        "few_measured_error": variable("few_setting", [float(m.standard_error) for m in measured],
                                       f"{words}, standard error"),
    }  # fmt: skip


def _limits(data: sgd.data.Dataset, config: MultiplicativeNoiseConfig) -> dict[str, Variable]:
    """Of the small data set, over momentum up to 0.999."""
    β = 1 - np.geomspace(1, 1e-3, LIMITS)
    largest = np.linalg.eigvalsh(np.asarray(data.x).T @ np.asarray(data.x) / len(data.x))[-1]
    trace = float(jnp.sum(data.x**2)) / len(data.x)
    limits = {
        "limit": ([float(limit(data, config, b)) for b in β], "largest learning rate of bounded second moments"),
        "limit_mean": (2 * (1 + β) / largest, "largest learning rate of a stable mean"),
        "limit_estimate": (2 * config.batch_size * (1 - β) / trace, "2S(1 − β)/tr H"),
    }
    stored = {name: variable("limit_line", values, words, "t") for name, (values, words) in limits.items()}
    return stored | {"limit_momentum": variable("limit_line", β, "momentum β")}
