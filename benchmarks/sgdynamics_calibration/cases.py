"""Small problems whose law is known, and what the statistics must find in them.

process     an Ornstein-Uhlenbeck process of three components by its exact transitions; detailed balance is broken,
            and the third component is one of its own, x_3' = a x_3 + noise
sgd         linear regression with replacement: multiplicative noise, the law far from that of frozen noise
momentum    the same with momentum, in phase space
epochs      the same with shuffled epochs, six examples: exact by their 2⁶ subsets (`theory.epochs.regression_moments`)

A process starts from its law. Minibatch descent of a linear model maps first and second moments to themselves, so
started from normal states of the exact moments it is stationary in these moments from the first step, although its
law is not normal: only statistics of first and second moments are calibrated there.

Why z is Student's t: with 32 groups of 16 replicas and 48 records a value of a group is a mean of 16 to 200 independent
terms. The skewness that the mean of 32 groups is left with, at most √(8/512) = 0.13 for squares at one step, moves the
distribution of z by at most skewness/6 · φ(0) = 0.008, a twentieth of what 200 seeds can see after correction.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import sgdynamics as sgd
from sgdynamics import statistics, theory
from sgdynamics_calibration import exact

REPLICAS, GROUPS, STEPS = 512, 32, 48
KEY = jax.random.key(2027)
"""Of everything random: seed s of case c draws from it folded by the number of c, then by s."""


@dataclass(frozen=True)
class Row:
    """A statistic: how its estimate is read from those of the run, and what it should be (same shape)."""

    read: Callable[[dict], Any]
    expected: np.ndarray
    linear: bool = True


@dataclass(frozen=True)
class Case:
    """A problem: what is run, from where, with which statistics; rows by name; and what `compare` is given."""

    number: int
    dynamics: Any
    initial: Any
    statistics: dict[str, Any]
    rows: dict[str, Row]
    law: Any
    """A `Prediction`, or arrays by name of the statistic."""
    compared: tuple[str, ...] = ("mean", "covariance", "variance", "autocovariance")
    steps: int = STEPS
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        # one linear combination of all entries of each row, drawn once
        for i, (name, row) in enumerate(self.rows.items()):
            rng = np.random.default_rng((self.number, i))
            self.weights[name] = rng.normal(size=np.shape(row.expected))

    def run(self, seed: int) -> sgd.Ensemble:
        """The ensemble of one seed, as any user would make it."""
        key = jax.random.fold_in(jax.random.fold_in(KEY, self.number), seed)
        run = dict(replicas=REPLICAS, groups=GROUPS, steps=self.steps, initial=self.initial, key=key)
        return sgd.simulate(self.dynamics, self.statistics, **run)

    def z(self, ensemble: sgd.Ensemble) -> dict[str, float]:
        """(estimate − law)/standard error of the linear combination of every row."""
        estimates = {name: row.read(ensemble.estimates) for name, row in self.rows.items()}
        expected = {name: np.asarray(row.expected, float) for name, row in self.rows.items()}
        z, degrees_of_freedom = _z(estimates, self.weights, expected)
        assert all(int(df) == GROUPS - 1 for df in degrees_of_freedom.values())
        return {name: float(x) for name, x in z.items()}


@eqx.filter_jit
def _z(estimates: dict, weights: dict, expected: dict) -> tuple[dict, dict]:
    one = {name: combined(estimates[name], weights[name]) for name in weights}
    of_law = {name: jnp.vdot(weights[name], expected[name]) for name in weights}
    return {name: e.z(of_law[name]) for name, e in one.items()}, {name: e.degrees_of_freedom for name, e in one.items()}


def combined(estimate: statistics.Estimate, weights: Any) -> statistics.Estimate:
    """The estimate of Σ weights · value."""
    return estimate.map(lambda value: jnp.vdot(weights, value))


# --- the process --------------------------------------------------------------------------------------------

DRIFT = np.array([[0.5, 1.0, 0.3], [-1.0, 0.6, 0.0], [0.0, 0.0, 0.8]])
NOISE = np.array([[1.0, 0.3, 0.2], [0.3, 0.8, 0.0], [0.2, 0.0, 1.2]])
MEAN = np.array([1.0, -2.0, 0.5])
TIME_STEP = 0.3
PASSED = 2.0  # standard deviations of the third component
EDGES = np.array([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0])
SEGMENT = 16
LAGS, DISTANCES, ORIGINS = (0, 2, 8), (1, 2, 4, 8), (4, 16)


def third(state: Any) -> jax.Array:
    """The component that is a process of its own."""
    return state.position[2]


@cache
def process() -> Case:
    ou = theory.ou.OrnsteinUhlenbeck(DRIFT, NOISE, MEAN)
    dynamics = sgd.LinearProcess(DRIFT, NOISE, MEAN, time_step=TIME_STEP)
    M = np.asarray(ou.stationary_covariance())
    R = lambda lags: np.asarray(ou.autocovariance(TIME_STEP * np.asarray(lags, float)))
    apart = lambda steps: 2 * np.trace(M[None] - R(steps), axis1=1, axis2=2)
    decay, scale = float(np.exp(-DRIFT[2, 2] * TIME_STEP)), float(np.sqrt(M[2, 2]))
    level = MEAN[2] + PASSED * scale
    fraction, passage = exact.first_passage(decay, PASSED, STEPS)
    maximum = scale * exact.mean_maximum(decay, STEPS)
    lines = exact.spectrum(np.diagonal(R(np.arange(SEGMENT)), axis1=1, axis2=2))
    shares = _normal_shares(MEAN, np.sqrt(np.diag(M)))
    origin = MEAN + np.array([0.5, -1.0, 0.0])
    away = np.diag(M) + (MEAN - origin) ** 2
    exponent = np.polyfit(np.log(DISTANCES), np.log(apart(DISTANCES)), 1)[0]
    s = statistics
    made = {
        "mean": s.Mean(),
        "variance": s.Variance(),
        "covariance": s.Covariance(),
        "autocovariance": s.Autocovariance(LAGS),
        "about": s.Covariance(about=MEAN),
        "histogram": s.Histogram(EDGES),
        "displacement": s.Displacement(DISTANCES),
        "global": s.GlobalDisplacement(ORIGINS),
        "origin": s.GlobalDisplacement(ORIGINS, origin=origin, per_component=True),
        "spectrum": s.PowerSpectrum(SEGMENT),
        "spectrum about": s.PowerSpectrum(SEGMENT, about=MEAN),
        "snapshots": s.Snapshots((0, 5, STEPS)),
        "halves": s.Halves(s.Covariance()),
        "passage": s.FirstPassage(level, third),
        "extrema": s.Extrema(third),
        "kurtosis": s.Kurtosis(),
    }
    rows = {
        "Mean": Row(lambda e: e["mean"], MEAN),
        "Variance": Row(lambda e: e["variance"], np.diag(M)),
        "Covariance": Row(lambda e: e["covariance"], M),
        "Covariance(about)": Row(lambda e: e["about"], M),
        "Autocovariance": Row(lambda e: e["autocovariance"], R(LAGS)),
        "Histogram": Row(lambda e: e["histogram"].density, shares[:, 1:-1] / np.diff(EDGES)),
        "Histogram, underflow": Row(lambda e: e["histogram"].underflow, shares[:, 0]),
        "Histogram, overflow": Row(lambda e: e["histogram"].overflow, shares[:, -1]),
        "Displacement": Row(lambda e: e["displacement"], apart(DISTANCES)),
        "GlobalDisplacement": Row(lambda e: e["global"], apart(ORIGINS)),
        "GlobalDisplacement(origin)": Row(lambda e: e["origin"], np.stack([away] * len(ORIGINS))),
        "PowerSpectrum": Row(lambda e: e["spectrum"], lines),
        "PowerSpectrum(about)": Row(lambda e: e["spectrum about"], lines),
        "Snapshots": Row(lambda e: e["snapshots"].mean, np.stack([MEAN] * 3)),
        "Halves, change": Row(lambda e: e["halves"].change, np.zeros((3, 3))),
        "Halves, second": Row(lambda e: e["halves"].second, M),
        "FirstPassage, fraction": Row(lambda e: e["passage"].fraction, np.asarray(fraction)),
        "Extrema": Row(lambda e: e["extrema"].mean, np.array([MEAN[2] - maximum, MEAN[2] + maximum])),
        "Kurtosis": Row(lambda e: e["kurtosis"], np.zeros(3), linear=False),
        "FirstPassage, mean": Row(lambda e: e["passage"].mean, np.asarray(passage), linear=False),
        "power_law": Row(_exponent, np.asarray(exponent), linear=False),
    }
    law = sgd.predict(dynamics)
    return Case(0, dynamics, law, made, rows, law)


def _exponent(estimates: dict) -> statistics.Estimate:
    return statistics.power_law(estimates["displacement"], first=DISTANCES[0], last=DISTANCES[-1]).exponent


def _normal_shares(mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Of each component below, between and above the edges, [components, 1 + bins + 1]."""
    below = stats.norm.cdf(EDGES[None, :], mean[:, None], scale[:, None])
    whole = np.concatenate([np.zeros((len(mean), 1)), below, np.ones((len(mean), 1))], axis=1)
    return np.diff(whole, axis=1)


# --- regression ---------------------------------------------------------------------------------------------

LEARNING_RATE, BATCH_SIZE, MOMENTUM = 0.6, 2, 0.6


@cache
def problem(samples: int = 12) -> sgd.Problem:
    """Three inputs, label noise: the noise of the gradient is that of the residuals."""
    data = sgd.data.teacher_student(jax.random.key(0), samples=samples, inputs=3, label_noise_std=0.5)
    return sgd.Problem(sgd.networks.Linear(3, 1), data)


@cache
def descent() -> Case:
    dynamics = sgd.SGD(problem(), learning_rate=LEARNING_RATE, sampler=BATCH_SIZE)
    law = sgd.predict(dynamics)
    mean, M = np.asarray(law.mean), np.asarray(law.covariance)
    R = lambda lags: np.asarray(law.autocovariance(np.asarray(lags)))
    apart = lambda steps: 2 * np.trace(M[None] - R(steps), axis1=1, axis2=2)
    lines = exact.spectrum(np.diagonal(R(np.arange(SEGMENT)), axis1=1, axis2=2))
    s = statistics
    made = {
        "mean": s.Mean(),
        "variance": s.Variance(),
        "covariance": s.Covariance(),
        "autocovariance": s.Autocovariance(LAGS),
        "displacement": s.Displacement(DISTANCES),
        "global": s.GlobalDisplacement(ORIGINS),
        "spectrum": s.PowerSpectrum(SEGMENT),
        "snapshots": s.Snapshots((0, 5, STEPS)),
        "halves": s.Halves(s.Variance()),
        "loss": s.Loss(problem()),
    }
    rows = {
        "Mean": Row(lambda e: e["mean"], mean),
        "Variance": Row(lambda e: e["variance"], np.diag(M)),
        "Covariance": Row(lambda e: e["covariance"], M),
        "Autocovariance": Row(lambda e: e["autocovariance"], R(LAGS)),
        "Displacement": Row(lambda e: e["displacement"], apart(DISTANCES)),
        "GlobalDisplacement": Row(lambda e: e["global"], apart(ORIGINS)),
        "PowerSpectrum": Row(lambda e: e["spectrum"], lines),
        "Snapshots": Row(lambda e: e["snapshots"].mean, np.stack([mean] * 3)),
        "Halves, change": Row(lambda e: e["halves"].change, np.zeros(3)),
        "Loss": Row(lambda e: e["loss"], np.asarray(mean_loss(problem(), mean, M))),
    }
    return Case(1, dynamics, law, made, rows, law, compared=("mean", "covariance", "variance"))


@cache
def momentum() -> Case:
    dynamics = sgd.SGD(problem(), learning_rate=LEARNING_RATE / 2, sampler=BATCH_SIZE, momentum=MOMENTUM)
    law = sgd.predict(dynamics)
    mean, M, P = np.asarray(law.mean), np.asarray(law.covariance), np.asarray(law.phase_covariance)
    U = np.linalg.eigh(np.asarray(problem().hessian(law.mean)))[1]
    modes = np.kron(np.eye(2), U)
    along = lambda C: modes.T @ C @ modes
    R = lambda lag: np.asarray(law.law.autocovariance(lag))
    planes = [np.ix_([i, i + 3], [i, i + 3]) for i in range(3)]
    Σ, C = along(P), along(R(1))
    space = statistics.PhaseSpace(U, origin=mean)
    s = statistics
    made = {
        "mean": s.Mean(),
        "covariance": s.Covariance(),
        "velocity": s.Mean(s.velocity),
        "phase": s.Covariance(space),
        "phase lagged": s.Autocovariance(LAGS, space),
        "rotation": s.AngularVelocity(space),
        "loss": s.Loss(problem()),
    }
    rows = {
        "Mean": Row(lambda e: e["mean"], mean),
        "Mean(velocity)": Row(lambda e: e["velocity"], np.zeros(3)),
        "Covariance": Row(lambda e: e["covariance"], M),
        "Covariance(PhaseSpace)": Row(lambda e: e["phase"], Σ),
        "Autocovariance(PhaseSpace)": Row(lambda e: e["phase lagged"], np.stack([along(R(lag)) for lag in LAGS])),
        "Loss": Row(lambda e: e["loss"], np.asarray(mean_loss(problem(), mean, M))),
        "AngularVelocity": Row(
            lambda e: e["rotation"], np.array([exact.rotation(Σ[p], C[p]) for p in planes]), linear=False
        ),
    }
    return Case(2, dynamics, law, made, rows, law, compared=("mean", "covariance", "velocity"))


@cache
def epochs() -> Case:
    """Records at every position of the epoch, equally often; replicas start between two epochs."""
    small = problem(samples=6)
    setting = dict(learning_rate=LEARNING_RATE, batch_size=BATCH_SIZE)
    x, y = small.data.x, small.data.y.reshape(-1)
    means, covariances = map(np.asarray, theory.epochs.regression_moments(x, y, **setting))
    means, covariances = means[:, :3], covariances[:, :3, :3]
    minimum = np.asarray(theory.regression.minimum(x, y))
    mean = minimum + means.mean(axis=0)
    M = np.mean([C + np.outer(m, m) for m, C in zip(means - means.mean(axis=0), covariances, strict=True)], axis=0)
    start, root = jnp.asarray(minimum + means[0]), jnp.linalg.cholesky(covariances[0])
    draw = lambda key: start + root @ jax.random.normal(key, (3,))
    dynamics = sgd.SGD(small, learning_rate=LEARNING_RATE, sampler=sgd.samplers.Epochs(BATCH_SIZE))
    s = statistics
    made = {"mean": s.Mean(), "variance": s.Variance(), "covariance": s.Covariance(), "loss": s.Loss(small)}
    rows = {
        "Mean": Row(lambda e: e["mean"], mean),
        "Variance": Row(lambda e: e["variance"], np.diag(M)),
        "Covariance": Row(lambda e: e["covariance"], M),
        "Loss": Row(lambda e: e["loss"], np.asarray(mean_loss(small, mean, M))),
    }
    law = {"mean": mean, "variance": np.diag(M), "covariance": M}
    return Case(3, dynamics, draw, made, rows, law, compared=tuple(law))


def mean_loss(problem: sgd.Problem, mean: Any, covariance: Any) -> jax.Array:
    """E L = L(mean) + ½ tr(∇²L · covariance), for a linear model."""
    x, y = problem.data.x, problem.data.y.reshape(-1)
    return jnp.mean((y - x @ mean) ** 2) / 2 + jnp.sum((x.T @ x / len(x)) * covariance) / 2


CASES: dict[str, Callable[[], Case]] = {
    "process": process,
    "sgd": descent,
    "momentum": momentum,
    "epochs": epochs,
}
