"""Where the continuous theory with frozen noise leaves SGD: its error in tr M over learning rate and batch size.

    ε = tr M_(2.30) / tr M_exact − 1 = −η (tr D + tr K)/tr M₁ + O(η²)        `regression.continuum_corrections`

D comes from discrete time, whatever the batch size; K from multiplicative noise, ∝ 1/S, tr K/tr M₁ ≈ tr H/(2S).
For an eigenvalue of M₁ with eigenvector u, tr becomes uᵀ·u. The paper (App. D) has σ_x²/S for the second, without the
number of inputs. ε has no value beyond the largest stable learning rate, where no stationary covariance exists.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments import _ensembles, _regression
from sgdynamics.experiments._between import between
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import each, over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._regression import Regression
from sgdynamics.experiments._variables import Variable, dataset, variable
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Covariance, Estimate
from sgdynamics.theory import regression

WELL = 0.1  # relative error of tr M up to which we would say that results "agree well"
LARGE = 0.5  # of the largest stable learning rate: "rather large"
SAFE = 0.95  # of it: as far as laws are evaluated
ORDER = 3.0  # an estimate of an order of magnitude should not be off by more
PARTS = ("exact", "multiplicative", "additive")


@dataclass(frozen=True)
class LearningRateConfig:
    """The continuous theory's error over learning rates and batch sizes."""

    inputs: int = 10
    """N."""
    samples: int = 30
    """P."""
    learning_rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
    """Learning rates η of the map, ascending."""
    batch_sizes: tuple[int, ...] = (1, 2, 3, 5, 10, 20, 40, 100)
    """Minibatch sizes S of the map, drawn with replacement."""
    label_noise_std: float = 0.5
    """Standard deviation σ of the label noise."""
    realisations: int = 20
    """Data sets over which errors are averaged."""
    ensemble_rates: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0)
    """Learning rates of the SGD ensembles."""
    ensemble_batches: tuple[int, ...] = (1, 1, 10, 10)
    """Their minibatch sizes."""
    replicas: int = 4096
    """SGD replicas of each."""
    steps: int = 4000
    """SGD steps."""
    every: int = 20
    """Steps between two records."""
    paper_inputs: int = 100
    """N at the paper's point."""
    paper_samples: int = 200
    """P there."""
    paper_rate: float = 0.1
    """η there."""
    paper_batch: int = 10
    """S there."""
    paper_realisations: int = 6
    """Data sets there."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("inputs", "replicas", "steps", "every", "paper_inputs", "paper_batch"):
            _checks.count(name, getattr(self, name))
        _checks.count("samples", self.samples, least=self.inputs + 2)
        _checks.count("paper_samples", self.paper_samples, least=self.paper_inputs + 2)
        for name in ("realisations", "paper_realisations"):
            _checks.count(name, getattr(self, name), least=2)
        for name in ("batch_sizes", "ensemble_batches"):
            for size in getattr(self, name):
                _checks.count(name, size)
        for name in ("learning_rates", "ensemble_rates"):
            for rate in getattr(self, name):
                _checks.positive(name, rate)
        for name in ("label_noise_std", "paper_rate"):
            _checks.positive(name, getattr(self, name))
        for name in ("learning_rates", "batch_sizes"):
            values = list(getattr(self, name))
            several = len(values) > 1 and values == sorted(set(values))
            _checks.require(name, values, several, allowed="ascending, and at least two")
        known = set(self.ensemble_batches) <= set(self.batch_sizes)
        _checks.require("ensemble_batches", self.ensemble_batches, known, allowed="among batch_sizes")
        paired = len(self.ensemble_rates) == len(self.ensemble_batches)
        _checks.require("ensemble_batches", self.ensemble_batches, paired, allowed="one for each of ensemble_rates")


def run(config: LearningRateConfig, progress: Progress) -> Result:
    """The map and its slopes over data; ensembles on one data set; the paper's point."""
    key = jax.random.key(config.seed)
    keys = jax.random.split(_ensembles.named(key, "realisations"), config.realisations)
    maps = {name: np.asarray(x) for name, x in each(lambda key: _map(config, key), keys).items()}
    parts = [_measured(config, i, progress, key) for i in range(len(config.ensemble_rates))]
    claims = [claim for part in parts for claim in part[1]] + _map_claims(config, maps) + _paper(config, key)
    coordinates = {
        "learning_rate": variable("learning_rate", np.array(config.learning_rates), "learning rate η"),
        "batch_size": variable("batch_size", np.array(config.batch_sizes), "batch size S"),
    }
    ensembles = {part[0]: part[2] for part in parts}
    return Result(dataset(_lines(config, maps) | _points(config, parts), coordinates), claims, ensembles)


def _case(config: LearningRateConfig, key: jax.Array, learning_rate: Any, batch_size: Any) -> Regression:
    return _regression.teacher_student(
        key, samples=config.samples, inputs=config.inputs, label_noise_std=config.label_noise_std,
        learning_rate=learning_rate, batch_size=batch_size,
    )  # fmt: skip


def _map(config: LearningRateConfig, key: jax.Array) -> dict[str, jax.Array]:
    """Of one data set: errors [learning rates, batch sizes], NaN where unstable; slopes and limits [batch sizes]."""
    case, rates = _case(config, key, 1.0, 1), jnp.asarray(config.learning_rates)
    at = lambda S: _column(case, rates, S)
    columns = jax.lax.map(at, jnp.asarray(config.batch_sizes, dtype=rates.dtype))
    return {name: values.T if values.ndim == 2 else values for name, values in columns.items()}


def _column(case: Regression, rates: jax.Array, S: Any) -> dict[str, jax.Array]:
    x, y = case.data.x, case.data.y
    M, D, K = regression.continuum_corrections(x, y, batch_size=S)
    u = jnp.linalg.eigh(M)[1][:, 0]
    limit = regression.largest_stable_learning_rate(x, batch_size=S)
    laws = lambda η, form: regression.stationary_covariance(x, y, learning_rate=η, batch_size=S, form=form)
    errors = {}
    for form in PARTS:
        largest = regression.largest_stable_learning_rate(x, batch_size=S, form=form)
        exact = jax.lax.map(lambda η, form=form, top=SAFE * largest: laws(jnp.minimum(η, top), form), rates)
        stable = rates < SAFE * largest
        trace = jnp.trace(exact, axis1=1, axis2=2)
        errors[form] = jnp.where(stable, rates * jnp.trace(M) / trace - 1, jnp.nan)
        if form == "exact":
            softest = jnp.linalg.eigvalsh(exact)[:, 0]
            errors["softest"] = jnp.where(stable, rates * (u @ M @ u) / softest - 1, jnp.nan)
    return errors | {
        "limit": limit, "discreteness": jnp.trace(D) / jnp.trace(M), "noise": jnp.trace(K) / jnp.trace(M),
        "softest_slope": (u @ (D + K) @ u) / (u @ M @ u), "half_trace": S * 0 + jnp.sum(x**2) / (2 * len(x)),
    }  # fmt: skip


def _measured(config: LearningRateConfig, i: int, progress: Progress, key: jax.Array):
    """An ensemble, its claims, and tr M relative to (2.30): ε = 1/ratio − 1."""
    η, S = config.ensemble_rates[i], config.ensemble_batches[i]
    label = f"η = {η:g}, S = {S}"
    case = _case(config, jax.random.split(_ensembles.named(key, "realisations"), config.realisations)[0], η, S)
    ensemble = _ensembles.simulate(
        case.descent(), Covariance(), progress, label, key=key, replicas=config.replicas,
        steps=config.steps, every=config.every, initial=case.prediction,
    )  # fmt: skip
    exact, frozen = case.prediction.covariance, case.law("lyapunov")
    error = lambda M: float(np.trace(frozen) / np.trace(M) - 1)
    measured = ensemble.estimates.map(lambda M: jnp.trace(frozen) / jnp.trace(M) - 1, "error of the continuum")
    claims = [
        Claim.equality(
            f"{label}/exact", "exact discrete law", "relative error of (2.30) in tr M, against SGD",
            **evidence(measured), expected=error(exact), resolution=abs(error(exact)) / 2,
        ),
        Claim.rejection(
            f"{label}/continuum/control", source("Eq. 2.30"),
            "not frozen noise in continuous time: on the line from that law (0) to the exact one (1)",
            **evidence(between(ensemble.estimates, wrong=frozen, right=exact)), expected=1.0, rejected=0.0,
        ),
    ]  # fmt: skip
    return label, claims, ensemble.provenance, measured


def _map_claims(config: LearningRateConfig, maps: dict[str, np.ndarray]) -> list[Claim]:
    """The error law on all data sets, at the smallest and the largest batch."""
    η, batches = np.array(config.learning_rates[:2]), (0, len(config.batch_sizes) - 1)
    claims = []
    for j in batches:
        slope = maps["discreteness"][:, j] + maps["noise"][:, j]
        for name, errors, first in (
            ("tr M", maps["exact"], slope),
            ("softest", maps["softest"], maps["softest_slope"][:, j]),
        ):
            e = errors[:, :2, j]
            # ε/η is linear in η: its intercept is the slope at 0, up to O(η²)
            intercept = (e[:, 0] * η[1] / η[0] - e[:, 1] * η[0] / η[1]) / (η[1] - η[0])
            claims.append(
                Claim.equality(
                    f"S = {config.batch_sizes[j]}/first order, {name}", "derived, Lyapunov equations for D and K",
                    f"slope of the error of (2.30) at η → 0 over the derived one, {name}",
                    **evidence(over_realisations(-intercept / first)), expected=1.0, resolution=0.02,
                    tolerance=float(np.mean(first)) ** 2 * η[0] * η[1],
                )
            )  # fmt: skip
    j = batches[0]
    remainder = np.abs(maps["exact"][:, :2, j] + η[None, :] * (maps["discreteness"] + maps["noise"])[:, None, j])
    power = np.log(remainder[:, 1] / remainder[:, 0]) / np.log(η[1] / η[0])
    coefficient = (maps["noise"] / maps["half_trace"])[:, j] * config.batch_sizes[j]
    share = maps["noise"][:, j] * config.batch_sizes[j] * config.inputs
    return [
        *claims,
        Claim.equality(
            f"S = {config.batch_sizes[j]}/remainder", "derived", "power of η in what remains beyond first order",
            **evidence(over_realisations(power)), expected=2.0, resolution=0.1, tolerance=5 * η[1],
        ),
        Claim.rejection(
            "smallest eigenvalue errs as the trace/control", "ours",
            "the smallest eigenvalue does not err as tr M: ratio",
            **evidence(over_realisations(maps["softest_slope"][:, j] / (maps["discreteness"] + maps["noise"])[:, j])),
            rejected=1.0, resolution=0.5,
        ),
        Claim.equality(
            "multiplicative noise", "derived, to O(N/P)", "its share of tr M is (η/2S) tr H, measured in that unit",
            **evidence(over_realisations(coefficient)), expected=1.0, resolution=0.2,
            tolerance=config.inputs / config.samples,
        ),
        Claim.bound(
            "multiplicative noise without N/published", source("App. D"),
            f"its share of tr M is of order ησ_x²/S, at most {ORDER:g} times that",
            **evidence(over_realisations(share)), expected=ORDER, side="at most",
        ),
    ]  # fmt: skip


def _paper(config: LearningRateConfig, key: jax.Array) -> list[Claim]:
    """ "The results … agree well even for rather large learning rates": of (2.13), whose noise depends on the weights,
    at the paper's rate and at half the limit of SGD. With its noise frozen (2.30) it errs more."""
    N, P, S = config.paper_inputs, config.paper_samples, config.paper_batch

    def errors(key: jax.Array) -> jax.Array:
        case = _regression.teacher_student(
            key, samples=P, inputs=N, label_noise_std=config.label_noise_std, learning_rate=1.0, batch_size=S
        )
        limit = regression.largest_stable_learning_rate(case.data.x, batch_size=S)
        rates = jnp.stack([jnp.asarray(config.paper_rate), LARGE * limit])
        trace = lambda form: jax.lax.map(lambda η: jnp.trace(Regression(case.data, η, S).law(form)), rates)
        exact = trace("exact")
        return jnp.append(jnp.abs(jnp.stack([trace("multiplicative"), trace("lyapunov")]) / exact[None] - 1), limit)

    values = np.asarray(each(errors, jax.random.split(_ensembles.named(key, "paper"), config.paper_realisations)))
    limit = float(values[:, -1].mean())
    of = f"N = {N}, P = {P}, S = {S}, largest stable η = {limit:.3g}: |relative error of tr M|"
    place, numbers = source("text after Eq. 2.13"), [evidence(over_realisations(values[:, i])) for i in range(4)]
    return [
        Claim.bound(
            "agrees well/the paper's learning rate", place, f"(2.13) agrees well at η = {config.paper_rate:g}; {of}",
            **numbers[0], expected=WELL, side="at most",
        ),
        Claim.bound(
            f"agrees well/{LARGE:g} of the limit/published", place,
            f"(2.13) agrees well even for rather large learning rates, η = {LARGE * limit:.3g}; {of}",
            **numbers[1], expected=WELL, side="at most",
        ),
        Claim.bound(
            "frozen noise/the paper's learning rate", source("Eq. 2.30"), f"(2.30) too at {config.paper_rate:g}; {of}",
            **numbers[2], expected=WELL, side="at most",
        ),
        Claim.bound(
            f"frozen noise/{LARGE:g} of the limit", source("Eq. 2.30"),
            f"(2.30) errs more at {LARGE * limit:.3g}; {of}",
            **numbers[3], expected=WELL, side="at least",
        ),
    ]  # fmt: skip


def _lines(config: LearningRateConfig, maps: dict[str, np.ndarray]) -> dict[str, Variable]:
    """The first data set's map: that of the ensembles."""
    grid, words = ("learning_rate", "batch_size"), "relative error of (2.30) in tr M against"
    text = {
        "exact": f"{words} SGD's exact law, none where unstable",
        "multiplicative": f"{words} the SDE with multiplicative noise, none where unstable",
        "additive": f"{words} discrete time with frozen noise, none where unstable",
        "softest": "relative error of (2.30) in the smallest eigenvalue, none where unstable",
    }
    variables = {f"error_{name}": variable(grid, maps[name][0], long_name) for name, long_name in text.items()}
    slopes = {
        "limit": "largest stable learning rate", "discreteness": "error per learning rate from discrete time",
        "noise": "error per learning rate from multiplicative noise",
    }  # fmt: skip
    return variables | {name: variable("batch_size", maps[name][0], words) for name, words in slopes.items()}


def _points(config: LearningRateConfig, parts: list[tuple[str, list[Claim], dict, Estimate]]) -> dict[str, Variable]:
    rows = {
        "sgd_rate": (np.array(config.ensemble_rates), "learning rate of an ensemble"),
        "sgd_batch": (np.array(config.ensemble_batches), "batch size of an ensemble"),
        "sgd": (np.array([float(part[3].value) for part in parts]), "relative error of (2.30), against SGD"),
        "sgd_error": (np.array([float(part[3].standard_error) for part in parts]), "standard error of it"),
    }
    return {name: variable("ensemble", values, words) for name, (values, words) in rows.items()}


LEARNING_RATE = register(
    Experiment(
        name="beyond/learning_rate",
        summary="where continuous time and frozen noise fail, over learning rate and batch size",
        source="Gross, Raulf and Räth (2024), text after Eq. 2.13 and App. D; error law derived",
        config=LearningRateConfig,
        presets={
            "quick": LearningRateConfig(
                replicas=1024, steps=1000, paper_inputs=50, paper_samples=100
            ),
            "paper": LearningRateConfig(
                learning_rates=(0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0),
                batch_sizes=(1, 2, 3, 5, 7, 10, 20, 30, 50, 100), realisations=100, replicas=16384, steps=20_000,
                paper_realisations=20,
            ),
        },
        run=run,
        figure="beyond/learning_rate",
    )
)  # fmt: skip
