"""Fig. 5(a): the fluctuations of the weights, and double descent, against the number of inputs.

P samples, N inputs of variance σ_x² = 1/N, teacher u of unit variance, M the exact covariance of SGD's weights:

    temporal variance     tr M / N                      (2.30) averaged over data: (ησ²/2S) (P−N)/(P+2), 0 for N ≥ P
    spatial variance      Var_i w*_i + tr M/N − 1ᵀM1/N²  data: (1 − 1/N) E|w*|²/N, infinite at N = P
    training loss         L* + ½ tr(H M)                 data: ½σ² (1 − N/P)
    test loss             ½(σ² + σ_x²|w*−u|² + σ_x² tr M)  data: ½σ² (1 + N/(P−N−1)) for N < P

(2.34), ησ²/(2S), is reached for N ≪ P only. Relaxation takes 1/(ηh) steps, longer than any run near N = P: each
ensemble with N < P starts from its exact law. With N > P there is no noise at the minimum, and what fluctuates on
the way dies out (`_dying`).
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._dying import Dying, claims_of_dying, dying, kept_records
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import each, over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._regression import Regression
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Estimate, Mean, Variance
from sgdynamics.theory import regression

QUANTITIES = {
    "temporal": ("temporal variance of the weights", "weight²"),
    "spatial": ("spatial variance of the weights", "weight²"),
    "train": ("training loss", "output²"),
    "test": ("test loss", "output²"),
}
SAME = 0.05  # relative difference that a claim about the same thing must be able to see


@dataclass(frozen=True)
class Fig5aConfig:
    """Weights' fluctuations and losses on both sides of the interpolation threshold."""

    samples: int = 200
    """P."""
    underparameterised: tuple[int, ...] = (10, 20, 40, 60, 80, 100, 120, 140, 160, 180, 190)
    """Numbers of inputs N < P."""
    overparameterised: tuple[int, ...] = (250, 400)
    """Numbers of inputs N > P + 3 (the losses vary too much nearer to P for their average to have an error)."""
    learning_rate: float = 0.1
    """Learning rate η; time t = η × step."""
    batch_size: int = 10
    """Minibatch size S, drawn with replacement."""
    label_noise_std: float = 0.5
    """Standard deviation σ of the label noise."""
    replicas: int = 1024
    """SGD replicas at each N < P."""
    steps: int = 2000
    """SGD steps at each N < P."""
    every: int = 50
    """Steps between two records."""
    displaced_replicas: int = 128
    """SGD replicas at each N > P: half from w*, half from beside it."""
    displaced_steps: int = 2000
    """SGD steps at each N > P."""
    displacement: float = 0.1
    """How far beside, along each mode that moves [weight]."""
    realisations: int = 100
    """Data sets over which the loss and the spatial variance are averaged at each N."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        counts = ("samples", "batch_size", "replicas", "steps", "every", "displaced_steps")
        for name in counts:
            _checks.count(name, getattr(self, name))
        _checks.count("displaced_replicas", self.displaced_replicas, least=4)
        _checks.count("realisations", self.realisations, least=2)
        for name in ("learning_rate", "label_noise_std", "displacement"):
            _checks.positive(name, getattr(self, name))
        for name in ("underparameterised", "overparameterised"):
            _checks.require(name, len(getattr(self, name)), len(getattr(self, name)) > 0, allowed="one number or more")
        P = self.samples
        for N in self.underparameterised:
            _checks.require("underparameterised", N, 1 <= N < P - 3, allowed=f"1 to samples − 4 = {P - 4}")
        for N in self.overparameterised:
            _checks.require("overparameterised", N, N > P + 3, allowed=f"more than samples + 3 = {P + 3}")
        least = 5 * self.every
        _checks.require("displaced_steps", self.displaced_steps, self.displaced_steps >= least, allowed=f"≥ {least}")

    @property
    def isotropic(self) -> float:
        """(2.34): ησ²/(2S)."""
        return self.learning_rate * self.label_noise_std**2 / (2 * self.batch_size)


@dataclass(frozen=True)
class Taught:
    """A data set with the teacher that made it."""

    case: Regression
    teacher: Float[Array, " inputs"]


_teacher_student = once(sgd.data.teacher_student)


def taught(config: Fig5aConfig, inputs: int, key: jax.Array) -> Taught:
    """One data set of `inputs` inputs, with a new teacher."""
    teacher = jax.random.normal(_ensembles.named(key, "teacher"), (inputs,))
    data = _teacher_student(
        key, samples=config.samples, inputs=inputs, label_noise_std=config.label_noise_std, teacher=teacher
    )
    return Taught(Regression(data, config.learning_rate, config.batch_size), teacher)


class Levels(eqx.Module):
    """An observable: spatial variance of the weights, training loss, test loss of the population."""

    x: Float[Array, "samples inputs"]
    y: Float[Array, " samples"]
    teacher: Float[Array, " inputs"]
    label_variance: Float[Array, ""]
    name: str = eqx.field(static=True, default="levels")

    def __call__(self, state: Any) -> Float[Array, " levels"]:
        w = state.position
        test = (self.label_variance + jnp.mean((w - self.teacher) ** 2)) / 2
        return jnp.stack([jnp.var(w), jnp.mean((self.x @ w - self.y) ** 2) / 2, test])


def run(config: Fig5aConfig, progress: Progress) -> Result:
    """An ensemble at each N, and averages over data sets."""
    key = jax.random.key(config.seed)
    keys = {N: _ensembles.named(key, f"N = {N}") for N in (*config.underparameterised, *config.overparameterised)}
    stationary = [_stationary(config, N, keys[N], progress) for N in config.underparameterised]
    beyond = {N: _dying(config, N, keys[N], progress) for N in config.overparameterised}
    averages = {N: _averages(config, N, key) for N, key in keys.items()}
    claims = [claim for point in stationary for claim in _claims(config, point)]
    claims += [c for N, point in beyond.items() for c in claims_of_dying(f"N = {N}", source("Eq. 2.16"), point)]
    claims += _claims_of_averages(config, averages)
    variables = _measured(stationary) | _decay(beyond) | _over_data(averages) | _theory(config)
    ensembles = {f"N = {point.inputs}": point.provenance for point in stationary}
    ensembles |= {f"N = {N}": point.provenance for N, point in beyond.items()}
    data = dataset(variables, _coordinates(config, averages)).assign_attrs(isotropic=config.isotropic)
    return Result(data, claims, ensembles)


# --- fewer inputs than samples ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stationary:
    """What was measured in the stationary state of one data set, and its exact values."""

    inputs: int
    measured: dict[str, Estimate]
    exact: dict[str, float]
    relaxation_steps: float
    provenance: dict


def _stationary(config: Fig5aConfig, inputs: int, key: jax.Array, progress: Progress) -> Stationary:
    data = taught(config, inputs, key)
    case, variance = data.case, jnp.asarray(config.label_noise_std**2)
    levels = Levels(case.data.x, case.data.y, data.teacher, variance)
    ensemble = _ensembles.simulate(
        case.descent(), {"weights": Variance(), "levels": Mean(of=levels)}, progress, f"N = {inputs}", key=key,
        replicas=config.replicas, steps=config.steps, every=config.every, initial=case.prediction,
    )  # fmt: skip
    weights, rest = ensemble.estimates["weights"], ensemble.estimates["levels"]
    measured = {"temporal": weights.map(jnp.mean)}
    measured |= {name: rest.map(lambda x, i=i: x[i]) for i, name in enumerate(("spatial", "train", "test"))}
    time = 1 / (config.learning_rate * float(case.curvature[0]))
    return Stationary(inputs, measured, _exact(config, data), time, ensemble.provenance)


def _exact(config: Fig5aConfig, data: Taught) -> dict[str, float]:
    """Means in the exact law of one data set."""
    case, u = data.case, np.asarray(data.teacher)
    w, M, x = np.asarray(case.minimum), np.asarray(case.prediction.covariance), np.asarray(case.data.x)
    residuals = x @ w - np.asarray(case.data.y)
    return {
        "temporal": np.trace(M) / len(w),
        "spatial": np.var(w) + np.trace(M) / len(w) - np.mean(M),
        "train": (np.mean(residuals**2) + np.sum((x @ M) * x) / len(x)) / 2,
        "test": (config.label_noise_std**2 + np.mean((w - u) ** 2) + np.trace(M) / len(w)) / 2,
    }


def _claims(config: Fig5aConfig, point: Stationary) -> list[Claim]:
    """All four means are those of the exact law; the temporal variance is not the isotropic one."""
    claims = [
        Claim.equality(
            f"N = {point.inputs}/{name}", source("Fig. 5(a); exact discrete law"), f"{words} [{unit}]",
            **evidence(point.measured[name]), expected=point.exact[name], resolution=SAME * point.exact[name],
        )
        for name, (words, unit) in QUANTITIES.items()
    ]  # fmt: skip
    if 2 * point.inputs >= config.samples:
        claims.append(
            Claim.rejection(
                f"N = {point.inputs}/isotropic/control", source("Eq. 2.34"), "temporal variance is not ησ²/(2S)",
                **evidence(point.measured["temporal"]), expected=point.exact["temporal"], rejected=config.isotropic,
            )
        )  # fmt: skip
    return claims


def _dying(config: Fig5aConfig, inputs: int, key: jax.Array, progress: Progress) -> Dying:
    return dying(
        taught(config, inputs, key).case, progress, f"N = {inputs}", key=key, displacement=config.displacement,
        replicas=config.displaced_replicas, steps=config.displaced_steps, every=config.every,
    )  # fmt: skip


# --- averages over data -------------------------------------------------------------------------------------


def _averages(config: Fig5aConfig, inputs: int, key: jax.Array) -> dict[str, np.ndarray]:
    """Of each data set: (2.30)'s temporal variance, and the minimum's spatial variance and losses."""
    keys = jax.random.split(_ensembles.named(key, "data sets"), config.realisations)
    values = each(lambda key: _of_minimum(config, taught(config, inputs, key)), keys)
    return dict(zip(QUANTITIES, np.asarray(values).T, strict=True))


def _of_minimum(config: Fig5aConfig, data: Taught) -> Float[Array, " quantities"]:
    """In the order of QUANTITIES; (2.30)'s tr M is (η/2S) Σ_μ r_μ² Π_μμ, with the leverages Π_μμ."""
    x, y, u = data.case.data.x, data.case.data.y, data.teacher
    few = x.shape[1] <= x.shape[0]
    inverse = jnp.linalg.inv(x.T @ x) @ x.T if few else x.T @ jnp.linalg.inv(x @ x.T)
    w, leverages = inverse @ y, jnp.sum(inverse.T * x, axis=1)
    squares = (x @ w - y) ** 2
    temporal = config.learning_rate / (2 * config.batch_size) * (squares @ leverages) / len(u)
    test = (config.label_noise_std**2 + jnp.mean((w - u) ** 2)) / 2
    return jnp.stack([temporal, jnp.var(w), jnp.mean(squares) / 2, test])


def _claims_of_averages(config: Fig5aConfig, averages: dict[int, dict[str, np.ndarray]]) -> list[Claim]:
    """The closed averages hold, and test loss and spatial variance peak at the threshold."""
    claims = []
    for N, values in averages.items():
        closed = _closed(config, N)
        if abs(N - config.samples) >= config.samples / 5:  # nearer, the tails are too heavy for Student's t
            claims += [
                Claim.equality(
                    f"N = {N}/data/{name}", "ours: Gaussian data, `theory.regression`",
                    f"average over data sets: {words} [{unit}]", **evidence(over_realisations(values[name])),
                    expected=closed[name], resolution=closed[name] / 4,
                )
                for name, (words, unit) in QUANTITIES.items()
                if closed[name] > 0
            ]  # fmt: skip
    return [*claims, *_peaks(config, averages)]


def _peaks(config: Fig5aConfig, averages: dict[int, dict[str, np.ndarray]]) -> list[Claim]:
    """The number of inputs below P and nearest to it, against the outermost on either side."""
    near, claims = max(config.underparameterised), []
    for side, far in (("below", min(config.underparameterised)), ("above", max(config.overparameterised))):
        for name in ("spatial", "test") if far != near else ():
            words, unit = QUANTITIES[name]
            claims.append(
                Claim.bound(
                    f"peak/{name}, {side}", source("Fig. 5(a)"),
                    f"{words} peaks at N = P: average at N = {near} less that at N = {far} [{unit}]",
                    **evidence(over_realisations(averages[near][name] - averages[far][name])), expected=0.0,
                    side="at least",
                )
            )  # fmt: skip
    return claims


def _closed(config: Fig5aConfig, inputs: Any) -> dict[str, Any]:
    """Averages over Gaussian data of (2.30)'s temporal variance and of the minimum."""
    P, N, σ = config.samples, np.asarray(inputs, float), config.label_noise_std
    total = regression.mean_total_variance(
        P, N, label_noise_std=σ, learning_rate=config.learning_rate, batch_size=config.batch_size
    )
    return {
        "temporal": np.asarray(total) / N,
        "spatial": (1 - 1 / N) * np.asarray(regression.mean_square_weight(P, N, label_noise_std=σ)),
        "train": np.asarray(regression.mean_final_loss(P, N, label_noise_std=σ)),
        "test": np.asarray(regression.mean_population_loss(P, N, label_noise_std=σ)),
    }


# --- what is stored -----------------------------------------------------------------------------------------


def _measured(points: list[Stationary]) -> dict[str, Variable]:
    variables: dict[str, Variable] = {}
    for name, (words, unit) in QUANTITIES.items():
        measured = [point.measured[name] for point in points]
        columns = {
            "sgd": ([estimate.value for estimate in measured], "measured"),
            "sgd_error": ([estimate.standard_error for estimate in measured], "standard error"),
            "exact": ([point.exact[name] for point in points], "exact law of the same data"),
        }
        variables |= {
            f"{name}_{column}": variable("inputs", np.array(values, float), f"{words}, {which}", unit)
            for column, (values, which) in columns.items()
        }
    steps = [point.relaxation_steps for point in points]
    return variables | {"relaxation": variable("inputs", steps, "relaxation time of the softest mode", "step")}


def _decay(points: dict[int, Dying]) -> dict[str, Variable]:
    variables: dict[str, Variable] = {}
    for N, point in points.items():
        words = f"total variance of displaced weights, N = {N}"
        variables |= measurement(f"dying_{N}", "step", point.displaced, words, "weight²")
        variables[f"dying_{N}_exact"] = variable("step", point.exact, f"{words}, exact", "weight²")
    return variables


def _over_data(averages: dict[int, dict[str, np.ndarray]]) -> dict[str, Variable]:
    variables: dict[str, Variable] = {}
    for name, (words, unit) in QUANTITIES.items():
        estimate = over_realisations(np.stack([values[name] for values in averages.values()], axis=1))
        variables |= measurement(f"{name}_data", "inputs_data", estimate, f"{words}, average over data sets", unit)
    return variables


def _theory(config: Fig5aConfig) -> dict[str, Variable]:
    closed = _closed(config, _grid(config))
    return {
        f"{name}_theory": variable("inputs_theory", closed[name], f"{words}, average over Gaussian data", unit)
        for name, (words, unit) in QUANTITIES.items()
    }


def _coordinates(config: Fig5aConfig, averages: dict[int, Any]) -> dict[str, Variable]:
    steps = kept_records(config.displaced_steps, config.every) * config.every
    words = "number of inputs N"
    return {
        "inputs": variable("inputs", np.array(config.underparameterised), words),
        "inputs_data": variable("inputs_data", np.array(list(averages)), words),
        "inputs_theory": variable("inputs_theory", _grid(config), words),
        "step": variable("step", steps, "SGD step", "step"),
        "samples": variable("", config.samples, "number of samples P"),
    }


def _grid(config: Fig5aConfig) -> np.ndarray:
    most = max(*config.overparameterised, config.samples)
    return np.arange(min(config.underparameterised), most + 1)


FIG5A = register(
    Experiment(
        name="gross2024/fig5a",
        summary="temporal and spatial variance of the weights, and losses, across the interpolation threshold",
        source=source("Fig. 5(a)"),
        config=Fig5aConfig,
        presets={
            "quick": Fig5aConfig(underparameterised=(40, 100, 180), overparameterised=(400,)),
            "paper": Fig5aConfig(replicas=4096, steps=20_000, displaced_steps=5000, realisations=400),
        },
        run=run,
        figure="gross2024/fig5a",
    )
)
