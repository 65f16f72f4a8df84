"""Fig. 4: relaxation of the weight modes and of the loss, close to the interpolation threshold.

    E z_k = z*_k + (1 − ηω_k)ⁿ (z_k(0) − z*_k)       SGD, exact with its state-dependent noise; (2.27) has e^{−ω_k t}
    E L = L* + ½ Σ_k ω_k [(E z_k − z*_k)² + Var z_k]  the mean of (2.26); Var z_k from `theory.regression`
    E L → L* + ½ tr(H M)                             not L*, which the figure draws as the final loss
    ω_0 → σ_x² (1 − √(N/P))²                         printed: σ_x² (√(P/N) − 1)², P/N times larger

One run, as in the paper, beside the mean of an ensemble from the same start, w = 0. The ensemble runs in float64:
in float32 the softest mode, which keeps what rounding does to it for 10⁵ steps, is off by ten standard errors.
"""

from dataclasses import dataclass
from functools import cached_property
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
from sgdynamics.experiments._realisations import each, over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._regression import Regression
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Estimate, Loss, Projection, Snapshots
from sgdynamics.theory import regression

EARLY, LATER = 0.01, 0.1  # times in units of 1/ω_0 that we take for "t ≪ 1/ω_0"
SETTLED = 0.1  # relative distance from L* from which on we call the loss settled
DEVIATION = 0.01  # least relative deviation that we would call "minor" rather than none
MEAN_OF_TRACY_WIDOM = -1.2065335745820  # of real matrices


@dataclass(frozen=True)
class Fig4Config:
    """Relaxation from w = 0 just above the interpolation threshold."""

    inputs: int = 50
    """N."""
    samples: int = 52
    """P."""
    learning_rate: float = 0.1
    """Learning rate η; time t = η × step."""
    batch_size: int = 10
    """Minibatch size S, drawn with replacement."""
    label_noise_std: float = 0.1
    """Standard deviation σ of the label noise."""
    modes: tuple[int, ...] = (1, 5, 25)
    """Modes of the Hessian that are followed, 1 the softest."""
    replicas: int = 1024
    """SGD replicas, of the relaxing ensemble and of the one that starts from the stationary law."""
    steps: int = 100_000
    """SGD steps."""
    every: int = 50
    """Steps between two records."""
    final_steps: int = 500
    """SGD steps of the ensemble that starts from the stationary law."""
    realisations: int = 100
    """Data sets of the same size."""
    edge_inputs: int = 200
    """N of the data sets for the slowest rate."""
    edge_ratio: float = 4.0
    """Their P/N: near 1 the two formulas for the slowest rate agree too closely."""
    edge_realisations: int = 20
    """How many of them."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        counts = ("inputs", "batch_size", "replicas", "steps", "every", "final_steps", "edge_inputs")
        for name in counts:
            _checks.count(name, getattr(self, name))
        _checks.count("samples", self.samples, least=self.inputs + 1, remedy="Underparameterised data are needed.")
        for name in ("realisations", "edge_realisations"):
            _checks.count(name, getattr(self, name), least=2)
        for name in ("learning_rate", "label_noise_std"):
            _checks.positive(name, getattr(self, name))
        for mode in self.modes:
            _checks.require("modes", mode, 1 <= mode <= self.inputs, allowed=f"1 to {self.inputs}")
        _checks.require("modes", self.modes, 1 in self.modes, allowed="with mode 1, the slowest, among them")
        _checks.require("edge_ratio", self.edge_ratio, self.edge_ratio > 1, allowed="above 1")
        _checks.require("steps", self.steps, self.steps >= 10 * self.every, allowed=f"≥ 10 × every = {10 * self.every}")

    def data(self, key: jax.Array) -> Regression:
        """One data set."""
        return _regression.teacher_student(
            key, samples=self.samples, inputs=self.inputs, label_noise_std=self.label_noise_std,
            learning_rate=self.learning_rate, batch_size=self.batch_size,
        )  # fmt: skip


@dataclass(frozen=True)
class Relaxation:
    """One data set with the exact moments of its modes from w = 0."""

    config: Fig4Config
    case: Regression

    @cached_property
    def target(self) -> np.ndarray:
        """z* = Vᵀ w*."""
        return np.asarray(self.case.modes).T @ np.asarray(self.case.minimum)

    @cached_property
    def floor(self) -> float:
        """L*."""
        return float(once(regression.final_loss)(self.case.data.x, self.case.data.y))

    @cached_property
    def final(self) -> float:
        """L* + ½ tr(H M)."""
        return self.floor + float(self.case.curvature @ self.case.along_modes(self.case.prediction.covariance)) / 2

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of z − z* at each record, that at step 0 included, [records, modes]."""
        mean, variance = once(regression.mode_moments_after)(
            self.case.data.x, self.case.data.y, self.case.modes, -self.target, np.zeros(self.config.inputs),
            learning_rate=self.config.learning_rate, batch_size=self.config.batch_size, every=self.config.every,
            records=self.config.steps // self.config.every,
        )  # fmt: skip
        return np.asarray(mean), np.asarray(variance)

    def loss(self, fluctuations: bool = True) -> np.ndarray:
        """E L at each record; without fluctuations, L of the mean."""
        mean, variance = self.moments
        return self.floor + (mean**2 + fluctuations * variance) @ np.asarray(self.case.curvature) / 2

    def record(self, time: float) -> int:
        """The record nearest to a time, within the run."""
        nearest = round(time / (self.config.learning_rate * self.config.every))
        return int(np.clip(nearest, 1, self.config.steps // self.config.every))

    def fallen(self, mode: int) -> int:
        """The record at which mode `mode` = 1, 2, … has fallen to about 1/e."""
        return self.record(1 / float(self.case.curvature[mode - 1]))

    def within(self, fraction: float) -> int:
        """The record at `fraction` of the slowest mode's relaxation time."""
        return self.record(fraction / float(self.case.curvature[0]))

    @cached_property
    def records(self) -> np.ndarray:
        """Those that are measured: spread evenly in the logarithm, and those that claims are about."""
        last = self.config.steps // self.config.every
        spread = np.round(np.geomspace(1, last, 30)).astype(int)
        special = [self.fallen(mode) for mode in self.config.modes] + [self.within(EARLY), self.within(LATER)]
        return np.unique([*spread, *special])


def run(config: Fig4Config, progress: Progress) -> Result:
    """The relaxing ensemble, the stationary one, and two sets of data realisations."""
    key = jax.random.key(config.seed)
    relaxation = Relaxation(config, config.data(_ensembles.named(key, "data")))
    relaxing = _relaxing(relaxation, progress, key)
    stationary = _ensembles.simulate(
        relaxation.case.descent(), Loss(relaxation.case.problem), progress, "from the stationary law", key=key,
        replicas=config.replicas, steps=config.final_steps, every=config.every, dtype=jnp.float64,
        initial=relaxation.case.prediction,
    )  # fmt: skip
    measured = Measured(relaxation, relaxing.estimates["modes"], relaxing.estimates["loss"])
    claims = [claim for mode in config.modes for claim in _mode(measured, mode)]
    claims += [*_loss(measured), *_settling(measured, config, key), *_final(relaxation, stationary.estimates)]
    claims += _slowest_rate(config, key)
    ensembles = {"relaxing": relaxing.provenance, "stationary": stationary.provenance}
    return Result(_data(measured, stationary.estimates), claims, ensembles)


def _relaxing(relaxation: Relaxation, progress: Progress, key: jax.Array) -> sgd.Ensemble:
    config, case = relaxation.config, relaxation.case
    steps = tuple(int(record) * config.every for record in relaxation.records)
    modes = np.asarray(case.modes)[:, [mode - 1 for mode in config.modes]]
    statistics = {
        "modes": Snapshots(steps, of=Projection(modes)),
        "loss": Snapshots(steps, of=Loss(case.problem).of),
    }
    return _ensembles.simulate(
        case.descent(), statistics, progress, "from w = 0", key=key, replicas=config.replicas, steps=config.steps,
        every=config.every, dtype=jnp.float64, initial=np.zeros(config.inputs),
    )  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """The snapshots of the relaxing ensemble, addressed by record and mode."""

    relaxation: Relaxation
    modes: Any
    loss: Any

    def position(self, record: int) -> int:
        return int(np.searchsorted(self.relaxation.records, record))

    def mode_values(self, record: int, mode: int) -> np.ndarray:
        """z_k − z*_k of every replica."""
        column = self.relaxation.config.modes.index(mode)
        return np.asarray(self.modes.values[self.position(record), :, column]) - self.relaxation.target[mode - 1]

    def retained(self, record: int, mode: int) -> Estimate:
        """The part of its first displacement from z* that the mean of a mode still has."""
        return over_realisations(self.mode_values(record, mode) / -self.relaxation.target[mode - 1])

    def loss_at(self, record: int) -> Estimate:
        return over_realisations(np.asarray(self.loss.values[self.position(record)]))


def _mode(measured: Measured, mode: int) -> list[Claim]:
    """The mean decays geometrically, whatever the noise; a run strays from it as the exact variance says."""
    relaxation = measured.relaxation
    record, (mean, variance) = relaxation.fallen(mode), relaxation.moments
    time = record * relaxation.config.every * relaxation.config.learning_rate
    retained, expected = measured.retained(record, mode), float(mean[record, mode - 1] / mean[0, mode - 1])
    scatter = over_realisations((measured.mode_values(record, mode) - mean[record, mode - 1]) ** 2)
    exact = float(variance[record, mode - 1])
    claims = [
        Claim.equality(
            f"mode {mode}/mean", source("Eq. 2.27, in discrete time"),
            f"part of its displacement that the mean keeps at t = {time:.4g}", **evidence(retained), expected=expected,
            resolution=min(expected, 1 - expected) / 10,
        ),
        Claim.equality(
            f"mode {mode}/variance", "ours: exact second moments in the transient",
            f"scatter of single runs about the mean at t = {time:.4g} [weight²]", **evidence(scatter), expected=exact,
            resolution=exact / 2,
        ),
    ]  # fmt: skip
    is_soft = mode <= relaxation.config.inputs / 4
    other = _deviation(mode, retained, expected) if is_soft else _frozen(measured, mode, scatter, exact, time)
    return [*claims, other]


def _deviation(mode: int, retained: Estimate, expected: float) -> Claim:
    return Claim.bound(
        f"mode {mode}/exponential", "ours: what strays from (2.27) near the threshold is the single run",
        f"the mean's deviation from exponential relaxation is below {DEVIATION:g} of it",
        **evidence(retained.map(lambda c: jnp.abs(c / expected - 1))), expected=DEVIATION, side="at most",
    )  # fmt: skip


def _frozen(measured: Measured, mode: int, scatter: Estimate, exact: float, time: float) -> Claim:
    """The negative control: on the way, the noise is not that at the minimum."""
    case, v = measured.relaxation.case, np.asarray(measured.relaxation.case.modes)[:, mode - 1]
    noise = case.learning_rate * float(v @ np.asarray(case.noise_covariance()) @ v)
    frozen = float(once(regression.mode_variance)(time, float(case.curvature[mode - 1]), noise))
    return Claim.rejection(
        f"mode {mode}/additive noise/control", source("Eq. 2.27, additive noise"),
        "the scatter is not that of noise frozen at the minimum [weight²]", **evidence(scatter), expected=exact,
        rejected=frozen,
    )  # fmt: skip


def _loss(measured: Measured) -> list[Claim]:
    """The mean loss on the way, and that it is not the loss of the mean."""
    relaxation = measured.relaxation
    record = relaxation.within(EARLY)
    exact, of_mean = float(relaxation.loss()[record]), float(relaxation.loss(fluctuations=False)[record])
    loss = evidence(measured.loss_at(record))
    return [
        Claim.equality(
            "loss/on the way", source("Eq. 2.26, exact moments"), f"mean loss at t = {EARLY:g}/ω_0", **loss,
            expected=exact, resolution=exact - of_mean,
        ),
        Claim.rejection(
            "loss/of the mean/control", source("Eq. 2.26 with (2.27) averaged"),
            f"not the loss of the mean weights at t = {EARLY:g}/ω_0", **loss, expected=exact, rejected=of_mean,
        ),
    ]  # fmt: skip


def _settling(measured: Measured, config: Fig4Config, key: jax.Array) -> list[Claim]:
    """How far loss and slowest mode have come at a tenth of the slowest mode's relaxation time."""
    relaxation = measured.relaxation
    record, floor, place = relaxation.within(LATER), relaxation.floor, source("text after Eq. 2.27, inset of Fig. 4")
    loss, first = measured.loss_at(record), float(relaxation.loss()[0])
    above = each(
        lambda key: _above(config, key), jax.random.split(_ensembles.named(key, "data sets"), config.realisations)
    )
    return [
        Claim.bound(
            "settling/slowest mode", place, f"at t = {LATER:g}/ω_0 the slowest mode keeps most of its displacement",
            **evidence(measured.retained(record, 1)), expected=0.8, side="at least",
        ),
        Claim.bound(
            "settling/loss", place, f"at t = {LATER:g}/ω_0 the loss keeps little of its excess over L*",
            **evidence(loss.map(lambda L: (L - floor) / (first - floor))), expected=1e-3, side="at most",
        ),
        Claim.bound(
            "settling/above L*", "ours: how early the loss settles",
            f"at {LATER:g}/ω_0 the loss is still more than {SETTLED:g} of L* above it",
            **evidence(loss.map(lambda L: L / floor - 1)), expected=SETTLED, side="at least",
        ),
        Claim.bound(
            "settling/most data sets", "ours: how early the loss settles",
            f"share of data sets whose loss at {LATER:g}/ω_0 is still more than {SETTLED:g} above L*",
            **evidence(over_realisations(np.asarray(above > SETTLED, float))), expected=0.5, side="at least",
        ),
    ]  # fmt: skip


def _above(config: Fig4Config, key: jax.Array) -> jax.Array:
    """Excess over L*, in L*, of the mean weights' loss at LATER/ω_0."""
    case = config.data(key)
    h, target = case.curvature, case.modes.T @ case.minimum
    excess = jnp.sum(h * (target * jnp.exp(-LATER * h / h[0])) ** 2) / 2
    return excess / regression.final_loss(case.data.x, case.data.y)


def _final(relaxation: Relaxation, loss: Estimate) -> list[Claim]:
    """L* + ½ tr(H M), against the L* that the figure draws."""
    floor, final = relaxation.floor, relaxation.final
    excess, expected = evidence(loss.map(lambda L: L / floor - 1)), final / floor - 1
    return [
        Claim.equality(
            "final loss", source("Eq. 2.26, stationary mean"), "excess of the final loss over L*, in L*: ½ tr(H M)/L*",
            **excess, expected=expected, resolution=expected / 4,
        ),
        Claim.equality(
            "final loss/published", source("Fig. 4, grey line"), "the final loss is L*: excess over L*, in L*",
            **excess, expected=0.0, resolution=expected / 4,
        ),
    ]  # fmt: skip


def _slowest_rate(config: Fig4Config, key: jax.Array) -> list[Claim]:
    """The smallest eigenvalue of H over data sets, in σ_x², against both edges.

    For N inputs it lies above the edge by E = −1.2065 times the Tracy-Widom scale (Johnstone 2001; for the lower
    edge Feldheim and Sodin 2010), with corrections smaller than that scale."""
    N, P = config.edge_inputs, round(config.edge_ratio * config.edge_inputs)
    keys = jax.random.split(_ensembles.named(key, "edge"), config.edge_realisations)
    smallest = each(lambda key: N * jnp.linalg.eigvalsh(_hessian(key, P, N))[0], keys)
    gap = np.sqrt(P) - np.sqrt(N)
    scale = gap * (N**-0.5 - P**-0.5) ** (1 / 3) / P
    edge, printed = gap**2 / P, gap**2 / N
    measured, about = evidence(over_realisations(smallest)), f"slowest rate over σ_x² at P/N = {config.edge_ratio:g}"
    return [
        Claim.equality(
            "slowest rate", "Marčenko and Pastur (1967); Tracy-Widom mean at finite N", f"{about}: (1 − √(N/P))²",
            **measured, expected=edge - MEAN_OF_TRACY_WIDOM * scale, tolerance=scale, resolution=edge / 4,
        ),
        Claim.equality(
            "slowest rate/published", source("text after Eq. 2.27"), f"{about}: (√(P/N) − 1)²", **measured,
            expected=printed, tolerance=4 * scale * P / N, resolution=printed / 4,
            note="The scan of this formula is hard to read.",
        ),
    ]  # fmt: skip


def _hessian(key: jax.Array, samples: int, inputs: int) -> jax.Array:
    return regression.hessian(jax.random.normal(key, (samples, inputs)) / np.sqrt(inputs))


def _data(measured: Measured, final: Estimate) -> Any:
    """Means with errors, one run, and the exact curves."""
    relaxation, config = measured.relaxation, measured.relaxation.config
    h, unit, dims = np.asarray(relaxation.case.curvature), config.every * config.learning_rate, ("time", "mode")
    columns = [mode - 1 for mode in config.modes]
    fine = np.unique(np.round(np.geomspace(1, config.steps // config.every, 200)).astype(int))
    exact = relaxation.moments[0][fine][:, columns] + relaxation.target[columns]
    mode, loss = "mode of the weights", "training loss"
    variables: dict[str, Variable] = {
        **measurement("mode_mean", dims, measured.modes.mean, f"mean of a {mode}", "weight"),
        "mode_run": variable(dims, measured.modes.values[:, 0], f"{mode}, one run", "weight"),
        "mode_exact": variable(("time_exact", "mode"), exact, f"mean of a {mode}, exact", "weight"),
        "mode_target": variable("mode", relaxation.target[columns], f"{mode} at the minimum", "weight"),
        "relaxation_time": variable("mode", 1 / h[columns], "relaxation time of the mode", "t"),
        **measurement("loss_mean", "time", measured.loss.mean, f"mean {loss}", "output²"),
        "loss_run": variable("time", measured.loss.values[:, 0], f"{loss}, one run", "output²"),
        "loss_exact": variable("time_exact", relaxation.loss()[fine], f"mean {loss}, exact", "output²"),
        "loss_floor": variable("", relaxation.floor, f"{loss} at the minimum, L*", "output²"),
        "loss_final": variable("", relaxation.final, f"mean {loss} in the end, exact", "output²"),
        **measurement("final_loss", "", final, f"mean {loss} from the stationary law", "output²"),
        "settling_time": variable("", _settled(relaxation), f"time when the {loss} is {SETTLED:g} above L*", "t"),
    }
    coordinates = {
        "time": variable("time", relaxation.records * unit, "time", "t"),
        "time_exact": variable("time_exact", fine * unit, "time", "t"),
        "mode": variable("mode", np.array(config.modes), "number of the mode, 1 the softest"),
    }
    return dataset(variables, coordinates)


def _settled(relaxation: Relaxation) -> float:
    """When the mean weights' loss is SETTLED above L*, in t; beyond the run's end too."""
    h, z = np.asarray(relaxation.case.curvature), relaxation.target
    times = np.geomspace(1e-3, 10, 2000) / h[0]
    excess = np.exp(-2 * times[:, None] * h[None, :]) @ (h * z**2) / (2 * relaxation.floor)
    return float(times[np.argmax(excess <= SETTLED)])


FIG4 = register(
    Experiment(
        name="gross2024/fig4",
        summary="relaxation of the modes and of the loss near the interpolation threshold",
        source=source("Fig. 4"),
        config=Fig4Config,
        presets={"quick": Fig4Config(replicas=256), "paper": Fig4Config(realisations=1000, edge_realisations=100)},
        run=run,
        figure="gross2024/fig4",
    )
)
