"""Training from small, balanced and aligned weights, at two depths: the runs that Figs. 6, 7 and 8 look at.

Every replica starts from weights of its own: normal entries of variance width^−γ; exactly balanced weights with the
same product W; or balanced weights that are aligned with the teacher, with hidden bases of their own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import numpy as np

from sgdynamics import _checks
from sgdynamics._types import PRNGKey
from sgdynamics.data import Teacher
from sgdynamics.experiments import _students
from sgdynamics.experiments._ensembles import named
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._students import Paths, Student
from sgdynamics.experiments._variables import Variable, measurement, variable
from sgdynamics.networks import DeepLinear
from sgdynamics.theory import deep_linear

STARTS = ("small", "balanced")
KEPT = 100  # times that a picture needs


@dataclass(frozen=True)
class TrainingConfig:
    """Training of deep linear networks of two depths, from small and from balanced weights."""

    singular_values: tuple[float, ...] = (1.0, 0.7, 0.4)
    """Of the teacher, descending."""
    width: int = 12
    """Of inputs, outputs and hidden layers."""
    depths: tuple[int, ...] = (2, 4)
    """Layers L."""
    times: tuple[float, ...] = (40.0, 900.0)
    """Length of the run at each depth, in units of t; aligned weights are quicker and run as long as they need."""
    exponent: float = 3.0
    """γ: small weights have variance width^−γ."""
    amplitude: float = 0.01
    """Of every mode in aligned weights, at the start."""
    learning_rate: float = 0.005
    """Learning rate η; time t = η × step."""
    batch_size: int = 1
    """Minibatch size b."""
    replicas: int = 64
    """SGD replicas of each kind."""
    records: int = 800
    """Equidistant times at which the weights are kept."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("width", "batch_size"):
            _checks.count(name, getattr(self, name))
        for name, least in (("replicas", 2), ("records", 10)):
            _checks.count(name, getattr(self, name), least=least)
        for depth in self.depths:
            _checks.count("depths", depth, least=2)
        _checks.require("times", self.times, len(self.times) == len(self.depths), allowed="one for each of the depths")
        for name in ("learning_rate", "times", "singular_values", "amplitude"):
            _checks.positive(name, np.asarray(getattr(self, name)))


def student(config: TrainingConfig, depth: int) -> Student:
    """A network of this depth, with the teacher that all share."""
    key = named(jax.random.key(config.seed), "teacher")
    teacher = Teacher.of_singular_values(config.singular_values, key=key, inputs=config.width, outputs=config.width)
    return Student(teacher, (config.width,) * (depth + 1), config.learning_rate, config.batch_size)


def train(config: TrainingConfig, depth: int, start: str, progress: Progress) -> Paths:
    """SGD at this depth, from "small", "balanced" or "aligned" weights."""
    learner, time = student(config, depth), config.times[config.depths.index(depth)]
    if start == "aligned":  # no plateaus: three times as long as gradient flow takes to learn the last mode
        s = learner.singular_values
        time = 3 * float(np.max(deep_linear.learning_time(0.95 * s, config.amplitude, s, depth=depth)))
    key = named(jax.random.key(config.seed), f"depth {depth}")
    return _students.run(
        learner, learner.descent(), progress, f"depth {depth}, {start} weights", key=key, replicas=config.replicas,
        time=time, records=config.records,
        initial=learner.starts(_network(config, learner, start), named(key, "start"), config.replicas),
    )  # fmt: skip


def _network(config: TrainingConfig, learner: Student, start: str) -> Callable[[PRNGKey], DeepLinear]:
    if start == "aligned":
        amplitudes = [config.amplitude] * learner.modes
        return lambda key: DeepLinear.aligned(learner.teacher.matrix, amplitudes, learner.widths, key=key)
    make = {"small": DeepLinear.small, "balanced": DeepLinear.balanced}[start]
    return lambda key: make(learner.widths, key=key, exponent=config.exponent)


def train_all(config: TrainingConfig, progress: Progress, starts: tuple[str, ...] = STARTS) -> dict[str, Paths]:
    """By "L = depth, start"."""
    return {
        f"L = {depth}, {start}": train(config, depth, start, progress) for depth in config.depths for start in starts
    }


def along_time(
    ensembles: Mapping[str, Paths], quantities: Mapping[str, tuple[Callable[[Paths], np.ndarray], str, str]]
) -> tuple[dict[str, Variable], dict[str, Variable]]:
    """Means over replicas along time, as variables `quantity_L4_small`, and their times.

    A quantity is (function of the paths [records, replicas, ...], words, units); other axes are averaged over.
    """
    variables, coordinates = {}, {}
    for name, paths in ensembles.items():
        label = slug(name)
        every = max(1, len(paths.times) // KEPT)
        time = f"time_{label}"
        coordinates[time] = variable(time, paths.times[::every], "time, learning rate × step", "t")
        for quantity, (function, words, units) in quantities.items():
            values = function(paths)[::every]
            mean = over_realisations(np.moveaxis(values.reshape(*values.shape[:2], -1).mean(axis=-1), 1, 0))
            variables |= measurement(f"{quantity}_{label}", time, mean, f"{words}, {name}", units)
    return variables, coordinates


def slug(name: str) -> str:
    """`L = 4, small` as the name of a variable: `L4_small`."""
    return name.replace(" = ", "").replace(", ", "_")
