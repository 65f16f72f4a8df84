"""Double descent, and what the fluctuations of SGD do there: which quantities peak at N = P, and which vanish.

P Gaussian samples, N inputs of variance σ_x² = 1/N, M the stationary covariance of the weights. For N < P all of the
following is independent of the teacher, and averages over data of M are those of (2.30):

    E tr M = (ησ²/2S) N (P−N)/(P+2)                 greatest at N = P/2, 0 at N = P
    E ½σ_x² tr M = (ησ²/4S) (P−N)/(P+2)             the fluctuations' part of the test loss: falls all the way
    E ½σ_x² |w*−u|² = ½σ² N/(P−N−1)                 the minimum's part: peaks at N = P (double descent)
    |Q|/|H M|, Q = H M − ηC/2                        circulation in that of the drift: how irreversible the motion is
    2 tr((ηC)⁻¹ Q M⁻¹ Qᵀ)                            entropy production [1/t], the same for all η, S and σ
    1/(η h)                                          relaxation of the softest mode that moves [steps]

So the fluctuations fade at the threshold, while what is left of them becomes slow and far from equilibrium. Beyond
it there is no noise at the minimum, and they die out (`_dying`).
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._dying import Dying, claims_of_dying, dying
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import each, over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._regression import Regression
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.statistics import Covariance, Estimate
from sgdynamics.theory import regression

OURS = "ours: Gaussian data, `theory.regression`"
QUANTITIES = {
    "total": ("total variance tr M", "ησ²/(2S)"),
    "largest": ("largest eigenvalue of M", "ησ²/(2S)"),
    "fluctuating": ("test loss, part of the fluctuations", "σ²"),
    "spatial": ("test loss, part of the minimum", "σ²"),
    "irreversibility": ("circulation in that of the drift, |Q|/|HM|", "1"),
    "circulation": ("circulation |Q|", "ησ²/(2S) · 1/t"),
    "entropy": ("entropy production", "1/t"),
    "relaxation": ("relaxation time of the softest mode", "step"),
}
AT_THRESHOLD = {"total": -1, "largest": -1, "fluctuating": -1, "circulation": -1,
                "spatial": 1, "irreversibility": 1, "entropy": 1, "relaxation": 1}  # fmt: skip
"""Whether a quantity falls (−1) or grows (1) from N = P/2 to the threshold."""


@dataclass(frozen=True)
class DoubleDescentConfig:
    """Fluctuations across the interpolation threshold."""

    samples: int = 48
    """P."""
    inputs: tuple[int, ...] = (4, 8, 12, 18, 24, 30, 36, 40, 44, 46)
    """Numbers of inputs N < P over whose data sets is averaged; P/2 must be among them."""
    simulated: tuple[int, ...] = (12, 24, 36, 44)
    """Those at which one data set is simulated."""
    overparameterised: int = 72
    """The number of inputs N > P that is simulated."""
    learning_rate: float = 0.1
    """Learning rate η; time t = η × step."""
    batch_size: int = 10
    """Minibatch size S, drawn with replacement."""
    label_noise_std: float = 0.5
    """Standard deviation σ of the label noise."""
    realisations: int = 200
    """Data sets at each N."""
    replicas: int = 1024
    """SGD replicas at each N < P."""
    steps: int = 2000
    """SGD steps at each N < P."""
    every: int = 40
    """Steps between two records."""
    displaced_replicas: int = 256
    """SGD replicas at N > P: half from w*, half from beside it."""
    displaced_steps: int = 4000
    """SGD steps at N > P."""
    displacement: float = 0.1
    """How far beside, along each mode that moves [weight]."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        counts = ("samples", "overparameterised", "batch_size", "replicas", "steps", "every", "displaced_steps")
        for name in counts:
            _checks.count(name, getattr(self, name))
        _checks.count("realisations", self.realisations, least=2)
        _checks.count("displaced_replicas", self.displaced_replicas, least=4)
        for name in ("learning_rate", "label_noise_std", "displacement"):
            _checks.positive(name, getattr(self, name))
        P, N = self.samples, self.overparameterised
        for name in ("inputs", "simulated"):
            for value in getattr(self, name):
                _checks.require(name, value, 2 <= value <= P - 2, allowed=f"2 to samples − 2 = {P - 2}")
        known = P % 2 == 0 and P // 2 in self.inputs and max(self.inputs) > P // 2 > min(self.inputs)
        _checks.require("inputs", self.inputs, known, allowed="P/2 and numbers on both sides of it")
        _checks.require("overparameterised", N, N > P, allowed=f"more than samples = {P}")
        least = 5 * self.every
        _checks.require("displaced_steps", self.displaced_steps, self.displaced_steps >= least, allowed=f"≥ {least}")

    @property
    def unit(self) -> float:
        """ησ²/(2S)."""
        return self.learning_rate * self.label_noise_std**2 / (2 * self.batch_size)


_teacher_student = once(sgd.data.teacher_student)


def drawn(config: DoubleDescentConfig, inputs: int, key: jax.Array) -> Regression:
    """One data set, of teacher 0: w* is then w* − u."""
    data = _teacher_student(
        key, samples=config.samples, inputs=inputs, label_noise_std=config.label_noise_std, teacher=jnp.zeros(inputs)
    )
    return Regression(data, config.learning_rate, config.batch_size)


def run(config: DoubleDescentConfig, progress: Progress) -> Result:
    """Averages over data at each N < P, one ensemble at some of them, and one beyond the threshold."""
    key = jax.random.key(config.seed)
    averages = {N: _averages(config, N, _ensembles.named(key, f"data sets, N = {N}")) for N in config.inputs}
    points = [_simulated(config, N, _ensembles.named(key, f"N = {N}"), progress) for N in config.simulated]
    beyond = _beyond(config, _ensembles.named(key, "beyond"), progress)
    claims = [claim for point in points for claim in _claims(config, point)]
    claims += [*_closed_averages(config, averages), *_shapes(config, averages)]
    claims += claims_of_dying(f"N = {config.overparameterised}", "Gross, Raulf and Räth (2024), Eq. 2.16", beyond)
    ensembles = {f"N = {point.inputs}": point.provenance for point in points}
    ensembles[f"N = {config.overparameterised}"] = beyond.provenance
    return Result(_data(config, averages, points, beyond), claims, ensembles)


# --- averages over data -------------------------------------------------------------------------------------


def _averages(config: DoubleDescentConfig, inputs: int, key: jax.Array) -> dict[str, np.ndarray]:
    """QUANTITIES of each data set, the noise frozen at the minimum."""
    keys = jax.random.split(key, config.realisations)
    values = each(lambda key: of_frozen_noise(config, drawn(config, inputs, key)), keys)
    return dict(zip(QUANTITIES, np.asarray(values).T, strict=True))


def of_frozen_noise(config: DoubleDescentConfig, case: Regression) -> Float[Array, " quantities"]:
    """In the order of QUANTITIES."""
    process = case.process
    M, Q = process.stationary_covariance(), process.circulation()
    variances, total = jnp.linalg.eigvalsh(M), jnp.trace(M)
    label_variance = config.label_noise_std**2
    return jnp.stack(
        [
            total / config.unit,
            variances[-1] / config.unit,
            total / case.inputs / (2 * label_variance),
            jnp.mean(process.mean**2) / (2 * label_variance),
            jnp.linalg.norm(Q) / jnp.linalg.norm(process.drift @ M),
            jnp.linalg.norm(Q) / config.unit,
            process.entropy_production(),
            1 / (config.learning_rate * jnp.linalg.eigvalsh(process.drift)[0]),
        ]
    )


def closed(config: DoubleDescentConfig, inputs: Any) -> dict[str, Any]:
    """The averages that are known in closed form."""
    P, N, σ = config.samples, np.asarray(inputs, float), config.label_noise_std
    total = regression.mean_total_variance(
        P, N, label_noise_std=σ, learning_rate=config.learning_rate, batch_size=config.batch_size
    )
    test = regression.mean_population_loss(P, N, label_noise_std=σ, teacher_std=0.0)
    return {
        "total": np.asarray(total) / config.unit,
        "fluctuating": np.asarray(total) / N / (2 * σ**2),
        "spatial": np.asarray(test) / σ**2 - 1 / 2,
    }


def _closed_averages(config: DoubleDescentConfig, averages: dict[int, dict[str, np.ndarray]]) -> list[Claim]:
    """Where their tails are not too heavy for Student's t: up to N = 3P/4."""
    claims = []
    for N in (N for N in config.inputs if config.samples <= 4 * N <= 3 * config.samples):
        expected = closed(config, N)
        for name in ("total", "spatial"):
            words, unit = QUANTITIES[name]
            estimate = over_realisations(averages[N][name])
            claims.append(
                Claim.equality(
                    f"N = {N}/data/{name}", OURS, f"average over data sets: {words} [{unit}]", **evidence(estimate),
                    expected=expected[name], resolution=expected[name] / 4,
                )
            )  # fmt: skip
    return claims


def _shapes(config: DoubleDescentConfig, averages: dict[int, dict[str, np.ndarray]]) -> list[Claim]:
    """Growth of each quantity's logarithm, whose tails are light, from N = P/2 to the largest N; tr M's maximum; and
    that its part of the test loss takes no part in double descent."""
    half, near = config.samples // 2, max(config.inputs)
    growth = {name: np.log(averages[near][name] / averages[half][name]) for name in QUANTITIES}
    claims = [
        Claim.bound(
            f"threshold/{name} {'grows' if sign > 0 else 'falls'}", OURS,
            f"{QUANTITIES[name][0]}: mean growth of its logarithm from N = {half} to N = {near}",
            **evidence(over_realisations(growth[name])), expected=0.0, side="at least" if sign > 0 else "at most",
        )
        for name, sign in AT_THRESHOLD.items()
    ]  # fmt: skip
    for side in (min(config.inputs), near):
        lower = over_realisations(averages[half]["total"] - averages[side]["total"])
        claims.append(
            Claim.bound(
                f"half/more than at N = {side}", OURS, f"tr M is greatest at N = P/2: less N = {side} [ησ²/(2S)]",
                **evidence(lower), expected=0.0, side="at least",
            )
        )  # fmt: skip
    expected = float(np.log(closed(config, near)["fluctuating"] / closed(config, half)["fluctuating"]))
    claims.append(
        Claim.rejection(
            "threshold/fluctuations share the peak/control", OURS,
            "the fluctuations' part of the test loss does not grow as the minimum's does (growth of the logarithm)",
            **evidence(over_realisations(growth["fluctuating"])), expected=expected,
            rejected=float(np.mean(growth["spatial"])),
        )
    )  # fmt: skip
    return claims


# --- simulations --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """One data set in its stationary state, measured and exact, in QUANTITIES' units."""

    inputs: int
    measured: dict[str, Estimate]
    exact: dict[str, float]
    provenance: dict


def _simulated(config: DoubleDescentConfig, inputs: int, key: jax.Array, progress: Progress) -> Point:
    case = drawn(config, inputs, key)
    ensemble = _ensembles.simulate(
        case.descent(), Covariance(), progress, f"N = {inputs}", key=key, replicas=config.replicas, steps=config.steps,
        every=config.every, initial=case.prediction,
    )  # fmt: skip
    variances, U = np.linalg.eigh(np.asarray(case.prediction.covariance))
    top = U[:, -1]
    test = 1 / (2 * inputs * config.label_noise_std**2)
    measured = {
        "total": ensemble.estimates.map(lambda M: jnp.trace(M) / config.unit),
        "largest": ensemble.estimates.map(lambda M: top @ M @ top / config.unit),
        "fluctuating": ensemble.estimates.map(lambda M: jnp.trace(M) * test),
    }
    exact = {
        "total": variances.sum() / config.unit,
        "largest": variances[-1] / config.unit,
        "fluctuating": variances.sum() * test,
    }
    return Point(inputs, measured, exact, ensemble.provenance)


def _claims(config: DoubleDescentConfig, point: Point) -> list[Claim]:
    """SGD has the exact law's total variance and largest eigenvalue, not those of isotropic fluctuations."""
    claims = [
        Claim.equality(
            f"N = {point.inputs}/{name}", "ours: exact discrete law", f"{QUANTITIES[name][0]}, SGD on one data set "
            f"[{QUANTITIES[name][1]}]", **evidence(point.measured[name]), expected=point.exact[name],
            resolution=point.exact[name] / 10,
        )
        for name in ("total", "largest")
    ]  # fmt: skip
    if 2 * point.inputs >= config.samples:
        claims.append(
            Claim.rejection(
                f"N = {point.inputs}/isotropic/control", "Gross, Raulf and Räth (2024), Eq. 2.34",
                "total variance is not N ησ²/(2S) [ησ²/(2S)]", **evidence(point.measured["total"]),
                expected=point.exact["total"], rejected=point.inputs,
            )
        )  # fmt: skip
    return claims


def _beyond(config: DoubleDescentConfig, key: jax.Array, progress: Progress) -> Dying:
    return dying(
        drawn(config, config.overparameterised, key), progress, f"N = {config.overparameterised}", key=key,
        displacement=config.displacement, replicas=config.displaced_replicas, steps=config.displaced_steps,
        every=config.every,
    )  # fmt: skip


# --- what is stored -----------------------------------------------------------------------------------------


def _data(config: DoubleDescentConfig, averages: dict[int, dict[str, np.ndarray]], points: list[Point], beyond: Dying):
    grid = np.arange(min(config.inputs), config.samples)
    known, variables = closed(config, grid), {}
    for name, (words, unit) in QUANTITIES.items():
        variables |= _over_data(name, words, unit, np.stack([averages[N][name] for N in config.inputs], axis=1))
        if name in known:
            variables[f"{name}_theory"] = variable("inputs_theory", known[name], f"{words}, Gaussian data", unit)
    for name in points[0].measured:
        variables |= _of_points(name, points)
    words = f"total variance of displaced weights, N = {config.overparameterised}"
    variables |= measurement("dying", "step", beyond.displaced, words, "weight²")
    variables["dying_exact"] = variable("step", beyond.exact, f"{words}, exact", "weight²")
    about = "number of inputs N"
    coordinates = {
        "inputs": variable("inputs", np.array(config.inputs), about),
        "inputs_theory": variable("inputs_theory", grid, about),
        "inputs_sgd": variable("inputs_sgd", np.array(config.simulated), about),
        "step": variable("step", beyond.steps, "SGD step", "step"),
        "samples": variable("", config.samples, "number of samples P"),
        "overparameterised": variable("", config.overparameterised, f"{about} beyond the threshold"),
    }
    return dataset(variables, coordinates)


def _over_data(name: str, words: str, unit: str, values: np.ndarray) -> dict[str, Variable]:
    """The mean over data sets, and the mean of the logarithm."""
    logarithm = over_realisations(np.log(values))
    return {
        **measurement(f"{name}_data", "inputs", over_realisations(values), f"{words}, average over data", unit),
        **measurement(f"{name}_log", "inputs", logarithm, f"natural logarithm of {words} in {unit}, average over data"),
    }


def _of_points(name: str, points: list[Point]) -> dict[str, Variable]:
    words, unit = QUANTITIES[name]
    estimates = [point.measured[name] for point in points]
    columns = {
        "sgd": ([estimate.value for estimate in estimates], "measured"),
        "sgd_error": ([estimate.standard_error for estimate in estimates], "standard error"),
        "exact": ([point.exact[name] for point in points], "exact law of the same data"),
    }
    return {
        f"{name}_{column}": variable("inputs_sgd", np.array(values, float), f"{words}, {which}", unit)
        for column, (values, which) in columns.items()
    }


DOUBLE_DESCENT = register(
    Experiment(
        name="beyond/double_descent",
        summary="which fluctuations peak, and which vanish, at the interpolation threshold",
        source="ours, on the model of Gross, Raulf and Räth (2024), Sec. II",
        config=DoubleDescentConfig,
        presets={
            "quick": DoubleDescentConfig(inputs=(6, 12, 24, 36, 44), simulated=(24, 44)),
            "paper": DoubleDescentConfig(realisations=2000, replicas=4096, steps=10_000),
        },
        run=run,
        figure="beyond/double_descent",
    )
)
