"""How far above its minimum does SGD keep the loss: a grid of learning rates and momenta, in one program.

On linear regression without weight decay the stationary mean is w*, and with the exact covariance M

    E L − L(w*) = ½ tr H M                                                          M: `theory.recursion`

where the noise of a minibatch grows with the distance from w*. Frozen at w*, as for the Ornstein-Uhlenbeck process of
Gross et al. (2024), it would be less, and the more so the larger η/(1 − β) is. Every combination of η and β is one
entry of a `sweep`: the pure run, mapped over them. Replicas begin in their stationary law, where they stay.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _regression
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._ensembles import named
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, variable
from sgdynamics.samplers import WithReplacement
from sgdynamics.statistics import Estimate

AT_ONCE = 4
"""Settings that are run together: their replicas' states fit into a processor's memory."""

RESOLUTION = 0.1
"""What a measurement must see of the excess loss, relative."""


@dataclass(frozen=True)
class SweepConfig:
    """A grid of learning rates and momenta on one regression."""

    learning_rates: tuple[float, ...] = (0.1, 0.3, 0.8, 1.5)
    """Learning rates η; with a momentum that makes one unstable, it is refused."""
    momenta: tuple[float, ...] = (0.0, 0.5, 0.8)
    """Momenta β, each with every learning rate."""
    batch_size: int = 8
    """Minibatch size b, with replacement."""
    samples: int = 100
    """Training examples P."""
    inputs: int = 5
    """Inputs N."""
    label_noise_std: float = 0.5
    """Standard deviation of the label noise."""
    replicas: int = 1024
    """SGD replicas of each combination."""
    steps: int = 400
    """Steps of each run."""
    every: int = 5
    """Steps between two records of the loss."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("batch_size", "inputs", "steps", "every"):
            _checks.count(name, getattr(self, name))
        _checks.count("samples", self.samples, least=self.inputs + 1)
        _checks.count("replicas", self.replicas, least=2)
        _checks.positive("label_noise_std", self.label_noise_std)
        _checks.positive("learning_rates", np.asarray(self.learning_rates))
        _checks.not_negative("momenta", np.asarray(self.momenta))


def run(config: SweepConfig, progress: Progress) -> Result:
    """One mapped run for all, and the laws."""
    key = jax.random.key(config.seed)
    case = _regression.teacher_student(
        named(key, "data"), samples=config.samples, inputs=config.inputs, label_noise_std=config.label_noise_std,
        learning_rate=config.learning_rates[0], batch_size=config.batch_size,
    )  # fmt: skip
    settings = [Setting(η, β) for β in config.momenta for η in config.learning_rates]
    descents = [setting.descent(case) for setting in settings]
    laws = [sgd.predict(descent) for descent in descents]
    exact = [_excess(case, law) for law in laws]
    frozen = [_excess(case, sgd.predict(descent, form="frozen")) for descent in descents]
    measured = _measured(config, case, settings, laws, progress, key)
    claims = [
        claim
        for numbers in zip(settings, measured, exact, frozen, strict=True)
        for claim in _claims(*numbers, hottest=max(config.learning_rates))
    ]
    return Result(dataset(_variables(config, measured, exact, frozen), _axes(config)), claims)


class Setting(NamedTuple):
    """A learning rate and a momentum."""

    learning_rate: Any
    momentum: Any

    @property
    def label(self) -> str:
        return f"η = {self.learning_rate:g}, β = {self.momentum:g}"

    def descent(self, case: _regression.Regression) -> sgd.SGD:
        return sgd.SGD(case.problem, sampler=WithReplacement(case.batch_size), **self._asdict())


def _excess(case: _regression.Regression, law: sgd.Prediction) -> float:
    """½ tr H M."""
    return float(jnp.sum(case.curvature * case.along_modes(law.covariance)) / 2)


def _measured(
    config: SweepConfig,
    case: _regression.Regression,
    settings: list[Setting],
    laws: list[sgd.Prediction],
    progress: Progress,
    key: jax.Array,
) -> list[Estimate]:
    """The excess loss of each setting."""
    progress.stage(f"{len(settings)} settings at once", config.steps)
    starts = [
        _start(law, named(key, setting.label), config.replicas) for setting, law in zip(settings, laws, strict=True)
    ]
    over = (Setting(*map(jnp.asarray, zip(*settings, strict=True))), jax.tree.map(lambda *x: jnp.stack(x), *starts))
    make = lambda one: (one[0].descent(case), one[1])
    loss = sgd.sweep(
        make, over, sgd.statistics.Loss(case.problem), replicas=config.replicas, steps=config.steps,
        every=config.every, key=named(key, "runs"), at_once=AT_ONCE,
    )  # fmt: skip
    progress.advance(config.steps)
    least = case.problem.loss(case.minimum)
    each = [jax.tree.map(lambda x, i=i: x[i], loss) for i in range(len(settings))]
    return [estimate.map(lambda L: L - least, quantity="excess loss") for estimate in each]


def _start(law: sgd.Prediction, key: jax.Array, replicas: int) -> sgd.State:
    """States of the stationary law, all of one structure: without momentum the velocity is forgotten at once."""
    states = jax.vmap(law.draw)(jax.random.split(key, replicas))
    velocity = jnp.zeros_like(states.position) if states.velocity is None else states.velocity
    return sgd.State(states.position, velocity)


def _claims(setting: Setting, measured: Estimate, exact: float, frozen: float, *, hottest: float) -> list[Claim]:
    relative = evidence(measured.map(lambda excess: excess / exact))
    found = [
        Claim.equality(
            f"{setting.label}/excess loss", "exact discrete law", "excess loss, over ½ tr H M", **relative,
            expected=1.0, resolution=RESOLUTION,
        )
    ]  # fmt: skip
    if setting.learning_rate == hottest:
        found.append(
            Claim.rejection(
                f"{setting.label}/frozen noise/control", "Gross et al. (2024), App. A",
                "the excess loss is not that of noise frozen at the minimum", **relative, expected=1.0,
                rejected=frozen / exact,
            )
        )  # fmt: skip
    return found


def _axes(config: SweepConfig) -> dict[str, Variable]:
    return {
        "momentum": variable("momentum", config.momenta, "momentum β"),
        "learning_rate": variable("learning_rate", config.learning_rates, "learning rate η"),
    }


def _variables(
    config: SweepConfig, measured: list[Estimate], exact: list[float], frozen: list[float]
) -> dict[str, Variable]:
    """[momentum, learning_rate]."""
    axes, shape = ("momentum", "learning_rate"), (len(config.momenta), len(config.learning_rates))
    grid = lambda values: np.reshape(np.asarray(values, float), shape)
    values = {
        "excess_loss": ([m.value for m in measured], "stationary excess loss, measured"),
        "excess_loss_error": ([m.standard_error for m in measured], "stationary excess loss, standard error"),
        "exact": (exact, "stationary excess loss, ½ tr H M"),
        "frozen": (frozen, "stationary excess loss with the noise at the minimum"),
    }
    return {name: variable(axes, grid(numbers), words, "L") for name, (numbers, words) in values.items()}


SWEEP = register(
    Experiment(
        name="beyond/sweep",
        summary="the stationary excess loss over a grid of learning rates and momenta, run in one program",
        source="ours; laws of Gross et al. (2024), App. A, made exact",
        config=SweepConfig,
        presets={
            "quick": SweepConfig(),
            "paper": SweepConfig(
                learning_rates=(0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5), momenta=(0.0, 0.3, 0.5, 0.8), steps=2000
            ),
        },
        run=run,
        figure="beyond/sweep",
    )
)
"""The pure core, mapped over hyperparameters."""
