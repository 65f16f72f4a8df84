"""Fig. 12: variance of the first mode's amplitude against the time step τ of the Euler-Maruyama scheme of (1).

    V(t) = p_1(t) − ⟨δ_1⟩²,     ⟨δ_1⟩ ∝ (1 − τh)^{t/τ},     p by the linear map of `_collapse`              (ours)
    d ln V/dτ < 0:  an explicit step brings deviations down faster than exp(−hτ) does, finer steps more slowly
    V at a fixed time tends to a number above 0 as τ → 0, with an error of order τ; V at late times to 0 at every τ

The temperature β = η/b stays while τ changes: τ = rη has batches of rb, or 1/r substeps where r < 1. A second ensemble
starts from small weights, and is looked at while the first mode is learned and at the end. The paper's own step is
10⁻⁴ (App. H.3), finer than any here: what changes from there on is the linear map's to say.
"""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from sgdynamics import _checks
from sgdynamics.dynamics import Langevin
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._students import Student
from sgdynamics.experiments._variables import dataset, measurement, variable
from sgdynamics.experiments.corlouer2026 import _collapse
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.statistics import Estimate

POINT = 1e-4  # narrower than this, a histogram like the paper's shows a point
WIDE = 1e-2  # wider than this, it shows a width


@dataclass(frozen=True)
class Fig12Config:
    """Variance of the first mode against the fineness of the simulation."""

    singular_values: tuple[float, ...] = (1.0, 0.7, 0.4)
    """Of the teacher, descending."""
    width: int = 12
    """Of all layers."""
    depth: int = 2
    """Layers L."""
    exponent: float = 3.0
    """γ: initial weights have variance width^−γ."""
    displacement: float = 1e-3
    """Of the starts near the minimum: w = (1 − displacement) s."""
    learning_rate: float = 0.005
    """Learning rate η; the noise has the temperature η/b."""
    batch_size: int = 1
    """Minibatch size b."""
    coarse: tuple[int, ...] = (32, 16, 8, 4, 2, 1)
    """Time steps of η and more, in units of η."""
    fine: tuple[int, ...] = (2,)
    """Time steps of less than η: how many of them make η."""
    replicas: int = 96
    """From small starts."""
    near_replicas: int = 512
    """From near the minimum."""
    compared: float = 2.4
    """When those near the minimum are held against the linear map, in units of t."""
    early: float = 3.2
    """When the first mode is being learned from small starts, in units of t."""
    time: float = 12.0
    """Length of the run from small starts, in units of t."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        _checks.count("batch_size", self.batch_size)
        for name in ("replicas", "near_replicas"):
            _checks.count(name, getattr(self, name), least=2)
        for name in ("coarse", "fine"):
            for ratio in getattr(self, name):
                _checks.count(name, ratio)
        _checks.count("width", self.width, least=len(self.singular_values))
        _checks.count("depth", self.depth, least=2)
        for name in ("exponent", "displacement", "learning_rate", "compared", "early", "time"):
            _checks.positive(name, getattr(self, name))
        _checks.positive("singular_values", np.asarray(self.singular_values))
        longest = self.time_steps.max()
        for name in ("compared", "early", "time"):
            if not math.isclose(np.round(getattr(self, name) / longest) * longest, getattr(self, name)):
                raise ValueError(f"{name} = {getattr(self, name)}, but it must be a multiple of all time steps.")
        if self.time <= self.early:
            raise ValueError(f"time = {self.time}, but it must be later than early = {self.early}.")
        if len(self.coarse) + len(self.fine) < 3:
            raise ValueError("coarse and fine make fewer than three time steps: there is no trend to see.")

    @property
    def time_steps(self) -> np.ndarray:
        """τ, in the order of the runs."""
        return self.learning_rate * np.array([*self.coarse, *(1 / n for n in self.fine)])


@dataclass(frozen=True)
class Fineness:
    """First amplitudes less s [time steps, replicas]: near the minimum; from small starts, early and at the end."""

    config: Fig12Config
    κ: np.ndarray
    s: float
    near: np.ndarray
    early: np.ndarray
    end: np.ndarray

    def mapped(self, time_step: float) -> float:
        """V near the minimum by the linear map."""
        config, steps = self.config, np.round(self.config.compared / time_step)
        start, β = (config.displacement * self.s) ** 2, config.learning_rate / config.batch_size
        square = _collapse.mean_squares(self.κ, start, β, time_step, np.array([steps]))[0, 0]
        return square - start * (1 - time_step * self.κ[0]) ** (2 * steps)

    def slope(self, logs):
        """Of the straight line in τ through values at each of the time steps, the last axis."""
        τ = self.config.time_steps
        return logs @ ((τ - τ.mean()) / np.sum((τ - τ.mean()) ** 2))

    def trend(self, values: np.ndarray) -> Estimate:
        """d ln V/dτ of `values` [time steps, replicas]; a replica has one start at all time steps, and so one group."""
        return over_realisations(_collapse.spread(values).T).map(lambda V: self.slope(jnp.log(V)))


def run(config: Fig12Config, progress: Progress) -> Result:
    """(1) at every time step, small starts and those near the minimum at once."""
    fineness, provenance = simulated(config, progress)
    return Result(described(fineness), claims(fineness), provenance)


def simulated(config: Fig12Config, progress: Progress) -> tuple[Fineness, dict]:
    """Three stages at each time step; the last goes on where the second stopped."""
    student = _student(config, 1)
    small = _collapse.small(student, config.exponent, config.seed, config.replicas)
    near = _collapse.near(student, config.displacement, config.seed, config.near_replicas)
    stages, provenance = [], {}
    for τ, (student, dynamics) in zip(config.time_steps, _schemes(config), strict=True):
        go = partial(_collapse.ending, student, dynamics, progress, key=jax.random.key(config.seed))
        close = go(f"near, time step {τ:g}", initial=near, time=config.compared)
        early = go(f"early, time step {τ:g}", initial=small, time=config.early)
        end = go(f"end, time step {τ:g}", initial=jnp.asarray(early.positions[0]), time=config.time - config.early)
        stages.append([_collapse.first_row(paths)[0, :, 0] for paths in (close, early, end)])
        provenance |= {f"near {τ:g}": close.provenance, f"early {τ:g}": early.provenance, f"end {τ:g}": end.provenance}
    amplitudes = [np.stack(values) for values in zip(*stages, strict=True)]
    student = _student(config, 1)
    return Fineness(config, _collapse.rates(student), float(student.singular_values[0]), *amplitudes), provenance


def _student(config: Fig12Config, ratio: int) -> Student:
    """Learning rate and batch size `ratio` times as large: the same temperature."""
    rate, batch = ratio * config.learning_rate, ratio * config.batch_size
    return _collapse.student(config.singular_values, config.width, config.depth, rate, batch, config.seed)


def _schemes(config: Fig12Config) -> list[tuple[Student, Langevin]]:
    coarse = [(student, student.langevin(1)) for student in (_student(config, ratio) for ratio in config.coarse)]
    return coarse + [(_student(config, 1), _student(config, 1).langevin(n)) for n in config.fine]


def described(fineness: Fineness) -> xr.Dataset:
    """Variances with errors, and the linear map's at many time steps."""
    config = fineness.config
    τ = np.geomspace(config.time_steps.min() / 4, config.time_steps.max(), 40)
    τ = np.unique(config.compared / np.round(config.compared / τ))
    stages = {
        "near": f"near the minimum, t = {config.compared:g}",
        "early": f"small starts, t = {config.early:g}",
        "end": f"small starts, t = {config.time:g}",
    }
    variables = {
        "mapped": variable("fineness", [fineness.mapped(τ) for τ in τ], "variance by the linear map, near", "w²")
    }
    for name, words in stages.items():
        V = over_realisations(_collapse.spread(getattr(fineness, name)).T, "variance")
        variables |= measurement(name, "time_step", V, f"variance of the first amplitude, {words}", "w²")
    coordinates = {
        "time_step": variable("time_step", config.time_steps, "time step of the Euler-Maruyama scheme", "t"),
        "fineness": variable("fineness", τ, "time step of the linear map", "t"),
    }
    return dataset(variables, coordinates).assign_attrs(
        labels=list(stages.values()), learning_rate=config.learning_rate
    )


def claims(fineness: Fineness) -> list[Claim]:
    """The trend near the minimum, while learning, and what is left at the end."""
    return [*_near(fineness), *_small(fineness)]


def _near(fineness: Fineness) -> list[Claim]:
    config, τ = fineness.config, fineness.config.time_steps
    trend = evidence(fineness.trend(fineness.near))
    mapped = float(fineness.slope(np.log([fineness.mapped(step) for step in τ])))
    limit, finest = fineness.mapped(τ.min() / 64), fineness.mapped(τ.min())
    ratio = evidence(_collapse.variance(fineness.near[np.argmin(τ)]).map(lambda V: V / limit))
    left_out, words = 4 * config.displacement, f"near the minimum, at t = {config.compared:g}"
    return [
        Claim.bound("near/finer is narrower/published", source("Fig. 12"),
                    f"{words}: finer time steps τ have a lower variance: d ln V/dτ", **trend, expected=0.0,
                    side="at least"),
        Claim.equality("near/trend", "ours", f"{words}: d ln V/dτ is the linear map's", **trend, expected=mapped,
                       resolution=abs(mapped), tolerance=left_out * abs(mapped)),
        Claim.rejection("near/no trend/control", "ours", f"{words}: d ln V/dτ is not 0", **trend, expected=mapped,
                        rejected=0.0),
        Claim.equality("near/limit", "ours", f"{words}: V at τ = {τ.min():g} over the linear map's as τ → 0", **ratio,
                       expected=1.0, resolution=0.4, tolerance=left_out + abs(finest / limit - 1)),
    ]  # fmt: skip


def _small(fineness: Fineness) -> list[Claim]:
    config, τ = fineness.config, fineness.config.time_steps
    early, end = ([evidence(_collapse.variance(row).map(jnp.sqrt)) for row in rows]
                  for rows in (fineness.early, fineness.end))  # fmt: skip
    return [
        Claim.bound("stopped early/finest is wide", "ours",
                    f"small starts, at t = {config.early:g}, while the first mode is learned: with τ = {τ.min():g} the "
                    f"standard deviation is above {WIDE:g}", **early[np.argmin(τ)], expected=WIDE, side="at least"),
        *(Claim.bound(f"end/τ = {step:g}/a point", source("Prop. 5.2 (i)"),
                      f"small starts, at t = {config.time:g}: standard deviation below {POINT:g}", **std,
                      expected=POINT, side="at most") for step, std in zip(τ, end, strict=True)),
        Claim.bound("end/coarsest is wide/published", source("App. K"),
                    f"discretisation makes a width: at the end, with τ = {τ.max():g}, it is above {POINT:g}",
                    **end[np.argmax(τ)], expected=POINT, side="at least"),
    ]  # fmt: skip


FIG12 = register(
    Experiment(
        name="corlouer2026/fig12",
        summary="the end-of-training variance against the time step: no width at any, and the published trend reversed",
        source=source("Fig. 12"),
        config=Fig12Config,
        presets={
            "quick": Fig12Config(),
            "paper": Fig12Config(fine=(2, 4, 8), replicas=512, near_replicas=1024),
        },
        run=run,
        figure="corlouer2026/fig12",
    )
)
