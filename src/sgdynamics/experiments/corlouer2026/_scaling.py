"""How high the diffusion along each mode rises, at several learning rates and batch sizes: Figs. 9 and 10.

On the balanced and aligned manifold the peak of (7) is proportional to β = η/b. From small weights, which are neither,
the definition of Prop. 3.3 has the same factor β in front, and paths that come nearer to gradient descent the smaller β
is: the height over β tends to what it is along gradient descent from the same start, and the exponent of β to 1.

    exponent = Σ_i c_i log D_i,     c_i = (x_i − x̄)/Σ_j (x_j − x̄)²,  x = log β;      error² = Σ_i c_i² (error_i/D_i)²
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics import _checks
from sgdynamics.data import Teacher
from sgdynamics.experiments import _students
from sgdynamics.experiments._claims import Claim
from sgdynamics.experiments._ensembles import named
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Result
from sgdynamics.experiments._students import Student
from sgdynamics.experiments._variables import dataset, variable
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.networks import DeepLinear
from sgdynamics.statistics import Estimate

NEARLY = 0.05  # in an exponent: the paths at the largest β are a few per cent off those at the smallest


@dataclass(frozen=True)
class ScalingConfig:
    """The highest diffusion along each mode at several learning rates or batch sizes."""

    learning_rates: tuple[float, ...] = (0.005,)
    """Learning rates η; time t = η × step. One for each batch size, or a single one."""
    batch_sizes: tuple[int, ...] = (1,)
    """Minibatch sizes b. One for each learning rate, or a single one."""
    singular_values: tuple[float, ...] = (1.0, 0.7, 0.4)
    """Of the teacher, descending."""
    width: int = 12
    """Of inputs, outputs and hidden layers."""
    depth: int = 4
    """Layers L."""
    exponent: float = 2.0
    """γ: initial weights have variance width^−γ."""
    replicas: int = 32
    """SGD replicas, all from the same small weights."""
    time: float = 40.0
    """Length of the run, in units of t."""
    records: int = 400
    """Equidistant times at which the weights are kept."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        _checks.count("width", self.width)
        for name, least in (("depth", 2), ("replicas", 2), ("records", 10)):
            _checks.count(name, getattr(self, name), least=least)
        for size in self.batch_sizes:
            _checks.count("batch_sizes", size)
        for name in ("learning_rates", "time", "singular_values"):
            _checks.positive(name, np.asarray(getattr(self, name)))
        points = {len(self.learning_rates), len(self.batch_sizes)} - {1}
        _checks.require("batch_sizes", self.batch_sizes, len(points) == 1, allowed="as many as learning_rates, or one",
                        remedy="Give at least two values of one of them.")  # fmt: skip

    @property
    def points(self) -> list[tuple[float, int]]:
        """(learning rate, batch size) of each ensemble."""
        n = max(len(self.learning_rates), len(self.batch_sizes))
        spread = lambda values: values * n if len(values) == 1 else values
        return list(zip(spread(self.learning_rates), spread(self.batch_sizes), strict=True))


def heights(config: ScalingConfig, progress: Progress) -> tuple[list[Estimate], np.ndarray, dict]:
    """At each point the mean of max_t D_α [modes]; along gradient descent, that over β [modes]; provenances."""
    key = jax.random.key(config.seed)
    teacher = Teacher.of_singular_values(
        config.singular_values, key=named(key, "teacher"), inputs=config.width, outputs=config.width
    )
    widths = (config.width,) * (config.depth + 1)
    start = DeepLinear.small(widths, key=named(key, "start"), exponent=config.exponent)
    initial = jnp.concatenate([W.reshape(-1) for W in start.weights])
    options = {"key": key, "time": config.time, "records": config.records, "initial": initial}
    found, provenances = [], {}
    for η, b in config.points:
        student, label = Student(teacher, widths, η, b), f"η = {η:g}, b = {b}"
        paths = _students.run(student, student.descent(), progress, label, replicas=config.replicas, **options)
        found.append(over_realisations(paths.diffusion.max(axis=0)))
        provenances[label] = paths.provenance
    finest = Student(teacher, widths, min(config.learning_rates), 1)
    flow = _students.run(finest, finest.full_batch(), progress, "gradient descent", replicas=1, **options)
    return found, flow.diffusion[:, 0].max(axis=0) / finest.temperature, provenances


def exponent(temperatures: np.ndarray, heights: list[Estimate], mode: int) -> tuple[float, float]:
    """The exponent of β in the height along a mode, by least squares in logarithms, and its standard error."""
    x = np.log(temperatures) - np.mean(np.log(temperatures))
    D, error = (np.array([getattr(h, of)[mode] for h in heights]) for of in ("value", "standard_error"))
    c = x / np.sum(x**2)
    return float(c @ np.log(D)), float(np.sqrt(np.sum((c * error / D) ** 2)))


def run(config: ScalingConfig, progress: Progress, *, figure: str, words: str) -> Result:
    """Ensembles at every point, and one claim with a control for every mode."""
    found, limit, provenances = heights(config, progress)
    temperatures = np.array([η / b for η, b in config.points])
    claims = []
    for α, s in enumerate(config.singular_values):
        measured, error = exponent(temperatures, found, α)
        claims += [
            Claim.equality(
                f"s = {s:g}/{words}", source(f"{figure}; Eq. 7"),
                f"the highest diffusion along the mode is proportional to η/b: its exponent, within {NEARLY:g}",
                measured, error, 1.0, resolution=NEARLY, tolerance=NEARLY,
            ),
            Claim.rejection(
                f"s = {s:g}/square root/control", source(figure), "not to its square root, as a step's size is",
                measured, error, 1.0, rejected=0.5,
            ),
        ]  # fmt: skip
    stacked = {of: np.stack([np.asarray(getattr(h, of)) for h in found]) for of in ("value", "standard_error")}
    variables = {
        "height": variable(("point", "mode"), stacked["value"], "highest diffusion along the mode, measured", "w²/t"),
        "height_error": variable(("point", "mode"), stacked["standard_error"], "its standard error", "w²/t"),
        "limit": variable("mode", limit, "highest diffusion along gradient descent, over η/b", "w²"),
        "temperature": variable("point", temperatures, "η/b", "t"),
    }
    coordinates = {"mode": variable("mode", config.singular_values, "singular value of the mode", "w")}
    return Result(dataset(variables, coordinates), claims, provenances)
