"""Is the stationary law normal? Excess kurtosis, tails, and the multiplicative noise that makes them.

For one input all moments of SGD are known (`theory.regression.scalar_moments`), for several the fourth ones
(`excess_kurtosis`): both exact. At batch size 1 P(|δ| > t) falls as t^{−α}, E|1 − ηx²|^α = 1, where some ηx² > 2.
A measured kurtosis has a finite error only below the learning rate at which the eighth moment diverges, and that error
can itself be estimated only below the one of the sixteenth: learning rates are given in units of the latter.

Without label noise only the multiplicative noise is left [(2.24): one input, κ = ⟨x⁴⟩ − ⟨x²⟩²]: in each step ⟨w̃²⟩ is
multiplied by (1 − η⟨x²⟩)² + η²κ/S. Above (2.24) κ = 2⟨x²⟩² is printed for "arbitrary finite P", but the average of
κ/(2⟨x²⟩²) over Gaussian samples is (P−1)/(P+2); and decay for η⟨x²⟩ < S, where η(⟨x²⟩² + κ/S) < 2⟨x²⟩ is needed.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles, _regression
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._regression import Regression
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Estimate, Histogram, Kurtosis, Mean, Projection
from sgdynamics.theory import regression

OURS = "ours: exact moments of SGD"
ORDER = 16  # the moment that must exist for the error of a kurtosis to be estimated
TAIL = (4.0, 8.0, 16.0)  # standard deviations between which the tail is measured
FAR = (256.0, 512.0, 1024.0)  # and where the exact law is held against its power
EDGES = np.concatenate(
    [-(2.0 ** np.arange(6, 1.9, -0.25)), np.linspace(-4, 4, 33)[1:-1], 2.0 ** np.arange(2, 6.1, 0.25)]
)


@dataclass(frozen=True)
class GaussianityConfig:
    """One input, ten, and the paper's hundred."""

    samples: int = 30
    """P with one and with `inputs` inputs."""
    batch_sizes: tuple[int, ...] = (1, 10)
    """Minibatch sizes S, with replacement."""
    fractions: tuple[float, ...] = (0.3, 0.6, 0.95)
    """Learning rates with one input, in units of the one at which the 16th moment diverges."""
    tail_exponent: float = 3.0
    """α of the tail that is looked at, above 2."""
    inputs: int = 10
    """N of the modes whose kurtosis is looked at, at most 16."""
    learning_rate: float = 0.5
    """Learning rate η for those, at batch size 1."""
    wide_inputs: int = 100
    """The paper's N."""
    wide_samples: int = 200
    """The paper's P."""
    wide_learning_rate: float = 0.1
    """The paper's η."""
    wide_modes: int = 20
    """How many of its stiffest modes are looked at."""
    growth_samples: int = 10
    """P of the data without label noise."""
    growth_steps: int = 3
    """SGD steps over which their second moment is followed."""
    growth_rate: float = 1.8
    """η⟨x²⟩ there."""
    growth_replicas: int = 65536
    """SGD replicas there."""
    label_noise_std: float = 0.5
    """Standard deviation σ of the label noise."""
    replicas: int = 2048
    """SGD replicas of each other ensemble."""
    burn_in: int = 1500
    """SGD steps before the first record: kurtosis has to be found, the start is normal."""
    steps: int = 3000
    """SGD steps that are recorded."""
    every: int = 10
    """Steps between two records."""
    realisations: int = 400
    """Data sets over which κ is averaged."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        counts = ("samples", "wide_inputs", "wide_samples", "wide_modes", "growth_samples", "growth_steps", "burn_in")
        for name in (*counts, "inputs", "steps", "every"):
            _checks.count(name, getattr(self, name))
        for name in ("replicas", "growth_replicas", "realisations"):
            _checks.count(name, getattr(self, name), least=2)
        for name in ("learning_rate", "wide_learning_rate", "growth_rate", "label_noise_std"):
            _checks.positive(name, getattr(self, name))
        for S in self.batch_sizes:
            _checks.count("batch_sizes", S)
        for f in self.fractions:
            _checks.require("fractions", f, 0 < f < 1, allowed="between 0 and 1")
        _checks.require("tail_exponent", self.tail_exponent, self.tail_exponent > 2, allowed="above 2")
        _checks.require("inputs", self.inputs, self.inputs <= min(16, self.samples - 1), allowed="≤ 16, below samples")
        fits = self.wide_modes <= self.wide_inputs < self.wide_samples
        _checks.require(
            "wide_modes", self.wide_modes, fits, allowed="at most wide_inputs, and these below wide_samples"
        )


def run(config: GaussianityConfig, progress: Progress) -> Result:
    """One input at each batch size, its tail, several inputs, many, and no label noise."""
    parts = [_scalar(config, S, progress) for S in config.batch_sizes]
    parts += [_tail(config, progress), _modes(config, progress)]
    parts += [_wide(config, S, progress) for S in config.batch_sizes]
    parts += [_growth(config, progress), _realisations(config)]
    variables = {name: value for part in parts for name, value in part.variables.items()}
    ensembles = {name: value for part in parts for name, value in part.ensembles.items()}
    data = dataset(variables).assign_attrs(batch_sizes=list(config.batch_sizes), tail_exponent=config.tail_exponent)
    return Result(data, [claim for part in parts for claim in part.claims], ensembles)


@dataclass(frozen=True)
class Part:
    """What one part of the experiment adds."""

    claims: list[Claim]
    variables: Mapping[str, Variable]
    ensembles: Mapping[str, Any]


def _data(config: GaussianityConfig, samples: int, inputs: int, label_noise_std: float) -> sgd.data.Dataset:
    key = _ensembles.named(jax.random.key(config.seed), f"P = {samples}, N = {inputs}")
    return _regression.teacher_student(
        key, samples=samples, inputs=inputs, label_noise_std=label_noise_std, learning_rate=1.0, batch_size=1
    ).data


def _simulate(config: GaussianityConfig, case: Regression, statistic: Any, progress: Progress, label: str, start):
    return _ensembles.simulate(
        case.descent(), statistic, progress, label, key=jax.random.key(config.seed), replicas=config.replicas,
        steps=config.steps, every=config.every, burn_in=config.burn_in, initial=start,
    )  # fmt: skip


def _normal(case: Regression, covariance: Any, config: GaussianityConfig, label: str) -> np.ndarray:
    """Normal draws about w*, [replicas, inputs]."""
    values, U = np.linalg.eigh(covariance)
    key = _ensembles.named(jax.random.key(config.seed), f"{label}, start")
    ξ = np.asarray(jax.random.normal(key, (config.replicas, len(values))))
    return np.asarray(case.minimum) + ξ @ (U * np.sqrt(np.maximum(values, 0))).T


# --- one input ----------------------------------------------------------------------------------------------


@once
def _line(x, y, rates, batch_size, order):
    """E aⁿ and E δⁿ at each learning rate, [rates, order + 1] each."""

    def at(η):
        settings = {"learning_rate": η, "batch_size": batch_size, "order": order}
        return regression.scalar_joint_moments(x, y, **settings)[:, 0], regression.scalar_moments(x, y, **settings)

    return jax.lax.map(at, rates)


def largest_rate(x: np.ndarray, batch_size: int, order: int) -> float:
    """The learning rate below which E aⁿ < 1, n = `order`, even: E aⁿ is convex in η and 1 at η = 0."""
    low, high = 0.0, 2 / float(np.mean(x**2))
    for _ in range(30):
        middle = (low + high) / 2
        power = _line(jnp.asarray(x), jnp.asarray(x[:, 0]), jnp.asarray([middle]), batch_size, order)[0][0, order]
        low, high = (middle, high) if float(power) < 1 else (low, middle)
    return low


def _scalar(config: GaussianityConfig, S: int, progress: Progress) -> Part:
    """Kurtosis against the learning rate, one input."""
    data = _data(config, config.samples, 1, config.label_noise_std)
    x = np.asarray(data.x)
    rates = largest_rate(x, S, ORDER) * np.array(config.fractions)
    exact = _kurtosis(data, S, rates)
    claims, ensembles, estimates = [], {}, []
    for η, expected in zip(rates, exact, strict=True):
        case, label = Regression(data, float(η), S), f"N = 1, S = {S}, η = {η:.3g}"
        variance = np.atleast_2d(_moments(data, S, [η])[0, 2])
        ensemble = _simulate(config, case, Kurtosis(), progress, label, _normal(case, variance, config, label))
        estimate = ensemble.estimates.map(lambda k: k[0])
        estimates.append(estimate)
        claims.append(
            Claim.equality(
                f"{label}/kurtosis", OURS, "excess kurtosis of the weight", **evidence(estimate), expected=expected,
                resolution=0.1,
            )
        )  # fmt: skip
        ensembles[label] = ensemble.provenance
    fine = largest_rate(x, S, 4) * np.linspace(0.02, 0.97, 60)
    words = f"excess kurtosis, one input, S = {S}"
    variables = {
        f"scalar_{S}": variable(f"rate_{S}", [float(e.value) for e in estimates], f"{words}, measured"),
        f"scalar_{S}_error": variable(f"rate_{S}", [float(e.standard_error) for e in estimates], f"{words}, error"),
        f"scalar_{S}_theory": variable(f"fine_{S}", _kurtosis(data, S, fine), f"{words}, exact"),
        f"learning_rate_{S}": variable(f"rate_{S}", rates * np.mean(x**2), "η⟨x²⟩"),
        f"learning_rate_fine_{S}": variable(f"fine_{S}", fine * np.mean(x**2), "η⟨x²⟩"),
    }
    return Part(claims, variables, ensembles)


def _moments(data: sgd.data.Dataset, S: int, rates: Any) -> np.ndarray:
    return np.asarray(_line(data.x, data.y, jnp.asarray(np.asarray(rates, float)), S, 4)[1])


def _kurtosis(data: sgd.data.Dataset, S: int, rates: Any) -> np.ndarray:
    m = _moments(data, S, rates)
    return m[:, 4] / m[:, 2] ** 2 - 3


def _tail(config: GaussianityConfig, progress: Progress) -> Part:
    """The tail at batch size 1: a power, not a normal law."""
    data = _data(config, config.samples, 1, config.label_noise_std)
    η = _rate_of_tail(np.asarray(data.x), config.tail_exponent)
    α = float(regression.tail_exponent(data.x, learning_rate=η))
    case, label = Regression(data, η, 1), f"N = 1, S = 1, tail, η = {η:.3g}"
    variance = _moments(data, 1, [η])[0, 2]
    units = Histogram(EDGES, of=Projection(np.ones(1) / np.sqrt(variance), case.minimum))
    start = _normal(case, np.atleast_2d(variance), config, label)
    ensemble = _simulate(config, case, units, progress, label, start)
    density = ensemble.estimates.density
    near, far = (_share(density, a, b) for a, b in itertools.pairwise(TAIL))
    exact = _exact_shares(data, η, np.sqrt(variance))
    slope = lambda near, far: jnp.log(near / far) / np.log(2)
    claims = [
        Claim.equality(
            f"N = 1, S = 1/share {low:g} to {high:g}", "ours: exact distribution, one input",
            f"share of weights {low:g} to {high:g} standard deviations off w*", **evidence(density.map(share)),
            expected=exact(low, high), resolution=exact(low, high) / 2,
        )
        for (low, high), share in zip(itertools.pairwise(TAIL), (near, far), strict=True)
    ]  # fmt: skip
    claims += [
        Claim.equality(
            "N = 1, S = 1/tail exponent", "ours: Kesten (1973)",
            f"local exponent of the exact law between {FAR[0]:g} and {FAR[2]:g} standard deviations",
            float(slope(exact(*FAR[:2]), exact(*FAR[1:]))), 0.0, α, resolution=0.05 * α, tolerance=0.05 * α,
            note="exact evaluation; tolerance: approach to the power law, of the order of 1/t",
        ),
        Claim.equality(
            "N = 1, S = 1/local exponent", "ours: exact distribution, one input",
            f"local exponent between {TAIL[0]:g} and {TAIL[2]:g} standard deviations, not yet α = {α:.3g}",
            **evidence(density.map(lambda d: slope(near(d), far(d)))),
            expected=float(slope(exact(*TAIL[:2]), exact(*TAIL[1:]))), resolution=0.5,
        ),
        Claim.rejection(
            "N = 1, S = 1/normal tail/control", source("Eq. 2.13"),
            f"share of weights {TAIL[0]:g} to {TAIL[1]:g} standard deviations off w*: not the 10⁻¹⁵ of a normal law",
            **evidence(density.map(near)), rejected=0.0, resolution=1e-4,
        ),
    ]  # fmt: skip
    centres = (EDGES[1:] + EDGES[:-1]) / 2
    words = "density of the weight, one input, S = 1"
    variables = measurement("density", "bin", density, words, "1/standard deviation") | {
        "deviation": variable("bin", centres, "deviation of the weight from w*", "standard deviation")
    }
    return Part(claims, variables, {label: ensemble.provenance})


def _exact_shares(data: sgd.data.Dataset, η: float, std: float):
    """(low, high) ↦ the share of the exact law with |δ| between them, in standard deviations."""
    edges = np.concatenate([TAIL, FAR])
    points = std * np.concatenate([-edges, edges])
    F = np.asarray(once(regression.scalar_distribution)(points, data.x, data.y, learning_rate=η))
    outside = dict(zip(edges.tolist(), F[: len(edges)] + 1 - F[len(edges) :], strict=True))
    return lambda low, high: float(outside[low] - outside[high])


def _share(density: Estimate, low: float, high: float):
    """The share of weights with |δ| between two edges, from a density."""
    centres, widths = np.abs(EDGES[1:] + EDGES[:-1]) / 2, np.diff(EDGES)
    weights = jnp.asarray(np.where((centres > low) & (centres < high), widths, 0))
    return lambda values: jnp.sum(values * weights)


def _rate_of_tail(x: np.ndarray, exponent: float) -> float:
    """The learning rate at which E|1 − ηx²|^α = 1: the largest with less than 1 below it."""
    grid = np.linspace(0, 2 / np.mean(x**2), 20_001)[1:]
    powers = np.mean(np.abs(1 - grid[:, None] * x.ravel() ** 2) ** exponent, axis=1)
    return float(grid[np.argmax(powers >= 1) - 1])


# --- several inputs -----------------------------------------------------------------------------------------


def _modes(config: GaussianityConfig, progress: Progress) -> Part:
    """Every mode at batch size 1, against exact fourth moments; the one that is farthest from normal is claimed."""
    case = Regression(_data(config, config.samples, config.inputs, config.label_noise_std), config.learning_rate, 1)
    label = f"N = {config.inputs}, S = 1, η = {config.learning_rate:g}"
    exact = np.asarray(
        regression.excess_kurtosis(case.data.x, case.data.y, learning_rate=config.learning_rate, batch_size=1)
    )
    farthest = int(np.argmax(np.abs(exact)))
    of = Projection(case.modes, case.minimum)
    ensemble = _simulate(config, case, Kurtosis(of=of), progress, label, case.prediction)
    one = evidence(ensemble.estimates.map(lambda k: k[farthest]))
    statement = f"excess kurtosis of mode {farthest + 1}, the farthest from normal"
    claims = [
        Claim.equality(
            f"{label}/farthest mode", OURS, statement, **one, expected=exact[farthest],
            resolution=abs(exact[farthest]) / 2,
        ),
        Claim.rejection(
            f"{label}/normal/control", source("Eq. 2.25"), f"{statement}: not zero", **one, expected=exact[farthest],
            rejected=0.0,
        ),
        Claim.equality(
            f"{label}/all modes", OURS, "mean over modes of the excess kurtosis",
            **evidence(ensemble.estimates.map(jnp.mean)), expected=exact.mean(), resolution=0.03,
        ),
    ]  # fmt: skip
    words = f"excess kurtosis of a mode, N = {config.inputs}, S = 1"
    variables = measurement("modes", "curvature", ensemble.estimates, words) | {
        "modes_theory": variable("curvature", exact, f"{words}, exact"),
        "curvature": variable("curvature", case.curvature, "curvature h", "output²/weight²"),
    }
    return Part(claims, variables, {label: ensemble.provenance})


def _wide(config: GaussianityConfig, S: int, progress: Progress) -> Part:
    """The paper's parameters: how far from normal are the stiff modes, which forget their start?"""
    data = _data(config, config.wide_samples, config.wide_inputs, config.label_noise_std)
    case, label = Regression(data, config.wide_learning_rate, S), f"N = {config.wide_inputs}, S = {S}"
    of = Projection(np.asarray(case.modes)[:, -config.wide_modes :], case.minimum)
    ensemble = _simulate(config, case, Kurtosis(of=of), progress, label, case.prediction)
    mean = ensemble.estimates.map(jnp.mean)
    claim = Claim.equality(
        f"{label}/normal", source("Eq. 2.25"),
        f"mean excess kurtosis of the {config.wide_modes} stiffest modes: normal to within 0.05",
        **evidence(mean), expected=0.0, resolution=0.05, tolerance=0.05,
    )  # fmt: skip
    return Part(
        [claim], measurement(f"wide_{S}", "", mean, f"mean excess kurtosis, {label}"), {label: ensemble.provenance}
    )


# --- no label noise -----------------------------------------------------------------------------------------


def _growth(config: GaussianityConfig, progress: Progress) -> Part:
    """E w̃² after a few steps without label noise, from w̃ = 1: the sample's own moments decide."""
    k, S = config.growth_steps, max(config.batch_sizes)
    x = np.asarray(_data(config, config.growth_samples, 1, 0.0).x)
    m2, m4 = float(np.mean(x**2)), float(np.mean(x**4))
    η = config.growth_rate / m2
    case, label = Regression(sgd.data.Dataset(x, 0 * x[:, 0]), η, S), "no label noise"
    ensemble = _ensembles.simulate(
        case.descent(), Mean(), progress, label, key=jax.random.key(config.seed), replicas=config.growth_replicas,
        steps=k, every=k, initial=np.ones(1),
    )  # fmt: skip
    measured = evidence(over_realisations(np.asarray(ensemble.state.position, np.float64)[:, 0] ** 2))
    second = lambda fourth: ((1 - η * m2) ** 2 + η**2 * (fourth - m2**2) / S) ** k
    statement = f"E w̃² after {k} steps from w̃ = 1, η⟨x²⟩ = {config.growth_rate:g}, S = {S}, P = {config.growth_samples}"
    claims = [
        Claim.equality(
            f"{label}/second moment", OURS, statement, **measured, expected=second(m4), published=second(3 * m2**2),
            resolution=abs(second(m4) - second(3 * m2**2)) / 2,
        ),
        Claim.equality(
            f"{label}/κ = 2⟨x²⟩²/published", source("text above Eq. 2.24"), f"{statement}: κ = 2⟨x²⟩² at finite P",
            **measured, expected=second(3 * m2**2), resolution=abs(second(m4) - second(3 * m2**2)) / 2,
        ),
        Claim.bound(
            f"{label}/decay/published", source("text below Eq. 2.24"), f"{statement}: it decays, as η⟨x²⟩ < S",
            **measured, expected=1.0, side="at most",
        ),
    ]  # fmt: skip
    return Part(claims, {}, {label: ensemble.provenance})


def _realisations(config: GaussianityConfig) -> Part:
    """κ/(2⟨x²⟩²) over samples of a Gaussian input: (P−1)/(P+2), because E ⟨x⁴⟩/⟨x²⟩² = 3P/(P+2)."""
    P = config.growth_samples
    key = _ensembles.named(jax.random.key(config.seed), "realisations")
    x = np.asarray(jax.random.normal(key, (config.realisations, P)))
    ratio = over_realisations((np.mean(x**4, axis=1) / np.mean(x**2, axis=1) ** 2 - 1) / 2)
    expected, statement = (P - 1) / (P + 2), f"average of (⟨x⁴⟩ − ⟨x²⟩²)/(2⟨x²⟩²) over samples of P = {P}"
    resolution = (1 - expected) / 2
    claims = [
        Claim.equality(
            "finite P/κ", "ours: Gaussian samples", statement, **evidence(ratio), expected=expected, published=1.0,
            resolution=resolution,
        ),
        Claim.equality(
            "finite P/κ/published", source("text above Eq. 2.24"), f"{statement}: 1 for arbitrary finite P",
            **evidence(ratio), expected=1.0, resolution=resolution,
        ),
    ]  # fmt: skip
    return Part(claims, measurement("kappa", "", ratio, "κ/(2⟨x²⟩²)"), {})


GAUSSIANITY = register(
    Experiment(
        name="beyond/gaussianity",
        summary="kurtosis and tails of the stationary weights, and the multiplicative noise behind them",
        source="ours; " + source("Eqs. 2.24, 2.25"),
        config=GaussianityConfig,
        presets={
            "quick": GaussianityConfig(burn_in=1000, steps=2000),
            "paper": GaussianityConfig(
                fractions=(0.2, 0.4, 0.6, 0.8, 0.95), replicas=4096, steps=20_000, growth_replicas=1_000_000,
                realisations=4000,
            ),
        },
        run=run,
        figure="beyond/gaussianity",
    )
)  # fmt: skip
