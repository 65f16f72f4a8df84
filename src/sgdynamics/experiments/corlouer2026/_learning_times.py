"""When modes are learned: SGD, its SDE, and the SDEs of the modes with the exact and with the printed Itô drift.

All start balanced and aligned with the teacher, every mode at the same small amplitude. A mode is learned when it
first reaches a share of its singular value. Gradient flow needs the time of `theory.deep_linear.learning_time`; with

    dw_α = (μ_α^grad + μ_α^Itô) dt + √D_α dB_α                                                        (Prop. 3.5)

the printed μ^Itô (6), linear in s − w and of a lower power of w, would bring small modes up too early by several per
cent. SGD's own learning times exclude it.

What SGD has and the SDE of the modes has not: crossed amplitudes u_αᵀ W v_γ, which diffuse from the first moment on
and take a share of the signal (about 1 % of the time, later), and finite steps. The second is in the chain

    w_α ← w_α + η (μ_α^grad + μ_α^Itô + μ_α^step) + √(η D_α) z,       μ_α^step = (η/2) L(L−1) w^{3−4/L} (s − w)²,

SGD mode by mode. Learning times are first passages, seen every few steps; all ensembles are looked at equally often.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgdynamics import _checks
from sgdynamics.data import Teacher
from sgdynamics.dynamics import ItoProcess
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import Claim
from sgdynamics.experiments._ensembles import named
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._students import Student
from sgdynamics.experiments._variables import Variable, dataset, variable
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.networks import DeepLinear
from sgdynamics.statistics import Estimate, FirstPassage
from sgdynamics.theory import deep_linear

CROSSED = 0.025  # of the time: what the SDE of the modes may miss, as it leaves crossed amplitudes out
CONVERGED = 0.005  # of the time: growth at the rate r is slower by r/2 × a step of Euler-Maruyama, which is less
MODELS = ("SGD", "SDE", "SGD mode by mode", "SDE of the modes", "coarser SDE of the modes", "printed (6)")


@dataclass(frozen=True)
class LearningTimesConfig:
    """First passages of mode amplitudes, from balanced and aligned weights."""

    depths: tuple[int, ...] = (2, 4)
    """Numbers of layers L."""
    singular_values: tuple[float, ...] = (1.0, 0.7, 0.4)
    """Of the teacher, descending."""
    width: int = 12
    """Of inputs, outputs and hidden layers."""
    amplitude: float = 0.01
    """Of every mode at the start."""
    share: float = 0.5
    """Of its singular value, at which a mode counts as learned."""
    learning_rate: float = 0.005
    """Learning rate η; time t = η × step."""
    batch_size: int = 1
    """Minibatch size b."""
    replicas: int = 512
    """Of SGD and of each SDE of the modes."""
    sde_replicas: int = 64
    """Of the SDE of the whole network."""
    substeps: int = 2
    """Euler-Maruyama steps in one learning rate; the SDE of the modes also with twice as many."""
    every: int = 4
    """Steps between two looks at the amplitudes."""
    longer: float = 1.6
    """Length of a run, in units of gradient flow's time for the slowest mode."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        _checks.require("singular_values", self.singular_values, len(self.singular_values) > 0, allowed="at least one")
        _checks.positive("singular_values", np.asarray(self.singular_values))
        for name in ("amplitude", "learning_rate"):
            _checks.positive(name, getattr(self, name))
        for name in ("width", "batch_size", "substeps", "every"):
            _checks.count(name, getattr(self, name))
        for name in ("replicas", "sde_replicas"):
            _checks.count(name, getattr(self, name), least=2)
        for depth in self.depths:
            _checks.count("depths", depth, least=2)
        if not self.amplitude / min(self.singular_values) < self.share < 1:
            raise ValueError(f"share = {self.share}, but it must lie between the start, amplitude / s, and 1.")
        if not self.longer > 1:
            raise ValueError(f"longer = {self.longer}, but it must be > 1, or no replica learns the slowest mode.")


class Amplitudes(eqx.Module):
    """w_α of the modes there are to learn, of one replica: an observable that never forms W."""

    outputs: Float[Array, "outputs modes"]
    inputs: Float[Array, "inputs modes"]
    widths: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, state: Any) -> Float[Array, " modes"]:
        θ, x, start = state.position, self.inputs.astype(state.position.dtype), 0
        for before, after in zip(self.widths[:-1], self.widths[1:], strict=True):
            x = jnp.matmul(θ[start : start + after * before].reshape(after, before), x, precision="highest")
            start += after * before
        return jnp.sum(self.outputs.astype(x.dtype) * x, axis=0)


@dataclass(frozen=True)
class Race:
    """One depth: its student, gradient flow's times [modes], and the other models' [replicas, modes]."""

    student: Student
    flow: np.ndarray
    times: dict[str, np.ndarray]
    provenance: dict[str, Any]

    def mean(self, model: str) -> Estimate:
        """Mean learning times [modes]."""
        return over_realisations(self.times[model])

    def later(self, model: str, reference: str, mode: int) -> dict[str, Any]:
        """Mean learning time in units of the reference's, −1, as evidence; the ensembles are independent."""
        a, b = (self.mean(name).map(lambda time: time[mode]) for name in (model, reference))
        error = np.hypot(a.standard_error / b.value, a.value * b.standard_error / b.value**2)
        least = min(float(a.degrees_of_freedom), float(b.degrees_of_freedom))
        return {"measured": a.value / b.value - 1, "standard_error": error, "degrees_of_freedom": least}


def run(config: LearningTimesConfig, progress: Progress) -> Result:
    """All models at every depth."""
    races = {depth: _race(config, depth, progress) for depth in config.depths}
    claims = [claim for depth, race in races.items() for claim in _claims(depth, race)]
    ensembles = {f"L = {L}, {name}": record for L, race in races.items() for name, record in race.provenance.items()}
    return Result(_data(config, races), claims, ensembles)


def _race(config: LearningTimesConfig, depth: int, progress: Progress) -> Race:
    key = named(jax.random.key(config.seed), f"L = {depth}")
    student, initial = _student(config, depth, key)
    s, level = student.singular_values, config.share * student.singular_values
    flow = np.asarray(deep_linear.learning_time(level, config.amplitude, s, depth=depth))
    steps = round(config.longer * flow.max() / config.learning_rate / config.every) * config.every
    times, records = {}, {}
    for name, (dynamics, replicas) in _models(config, student).items():
        network = isinstance(dynamics, ItoProcess)
        of = None if network else _amplitudes(student)
        ensemble = _ensembles.simulate(
            dynamics, FirstPassage(level, of), progress, f"L = {depth}, {name}", key=key, replicas=replicas,
            steps=steps, every=config.every, initial=None if network else initial,
            dtype=jnp.float64 if network else None,
        )  # fmt: skip
        times[name] = _first_passages(ensemble, config, name)
        records[name] = ensemble.provenance
    return Race(student, flow, times, records)


def _student(config: LearningTimesConfig, depth: int, key: jax.Array) -> tuple[Student, jax.Array]:
    width, widths = config.width, (config.width,) * (depth + 1)
    teacher = Teacher.of_singular_values(config.singular_values, key=named(key, "teacher"), inputs=width, outputs=width)
    student = Student(teacher, widths, config.learning_rate, config.batch_size)
    start = DeepLinear.aligned(teacher.matrix, [config.amplitude] * student.modes, widths, key=named(key, "start"))
    return student, student.starts(lambda _: start, key, 1)[0]


def _amplitudes(student: Student) -> Amplitudes:
    modes = deep_linear.singular_triplets(student.teacher.matrix)
    return Amplitudes(modes.outputs[:, : student.modes], modes.inputs[:, : student.modes], student.widths)


def _models(config: LearningTimesConfig, student: Student) -> dict[str, tuple[Any, int]]:
    """Each model's dynamics, and its number of replicas."""
    exact, printed = (_drift(student, form) for form in ("exact", "published_6"))
    step = lambda w: deep_linear.modewise_discretisation_drift(
        w, student.singular_values, depth=student.depth, learning_rate=student.learning_rate
    )
    modes = lambda drift, substeps: _modewise(student, drift, config.amplitude, substeps)
    fine = 2 * config.substeps
    dynamics = (
        (student.descent(), config.replicas),
        (student.langevin(config.substeps), config.sde_replicas),
        (modes(lambda w: exact(w) + step(w), 1), config.replicas),
        (modes(exact, fine), config.replicas),
        (modes(exact, config.substeps), config.replicas),
        (modes(printed, fine), config.replicas),
    )
    return dict(zip(MODELS, dynamics, strict=True))


def _drift(student: Student, form: str) -> Callable[[Array], Array]:
    settings = {"depth": student.depth, **student.hyperparameters}
    return lambda w: deep_linear.modewise_drift(w, student.singular_values, form=form, **settings)


def _modewise(student: Student, drift: Callable[[Array], Array], amplitude: float, substeps: int) -> ItoProcess:
    """Prop. 3.5 with this drift."""
    settings = {"depth": student.depth, **student.hyperparameters}
    root = lambda w: jnp.sqrt(deep_linear.modewise_diffusion(w, student.singular_values, **settings))
    return ItoProcess(
        lambda t, w: drift(w), lambda t, w: root(w), initial=jnp.full(student.modes, amplitude),
        time_step=student.learning_rate, substeps=substeps,
    )  # fmt: skip


def _first_passages(ensemble: Any, config: LearningTimesConfig, name: str) -> np.ndarray:
    """In units of t, half a record earlier than seen [replicas, modes]; all must have passed."""
    steps = np.asarray(ensemble.estimates.times)
    if ensemble.diverged or not np.isfinite(steps).all():
        missing = int((~np.isfinite(steps)).any(axis=-1).sum())
        raise ValueError(f"{missing} replicas of {name} have not learned every mode: raise longer.")
    return (steps - config.every / 2) * config.learning_rate


# --- what is stored and claimed --------------------------------------------------------------------------------


def _data(config: LearningTimesConfig, races: dict[int, Race]):
    means = [[race.mean(model) for model in MODELS] for race in races.values()]
    stacked = lambda part: np.stack([[getattr(mean, part) for mean in of_depth] for of_depth in means])
    dims = ("depth", "model", "mode")
    variables: dict[str, Variable] = {
        "time": variable(dims, stacked("value"), "mean learning time", "t"),
        "time_error": variable(dims, stacked("standard_error"), "mean learning time, standard error", "t"),
        "flow": variable(("depth", "mode"), [race.flow for race in races.values()], "time of gradient flow", "t"),
    }
    coordinates = {
        "depth": variable("depth", list(races), "layers"),
        "model": variable("model", list(MODELS), "model"),
        "mode": variable("mode", np.sort(config.singular_values)[::-1], "singular value of the mode", "w"),
    }
    return dataset(variables, coordinates)


def _claims(depth: int, race: Race) -> list[Claim]:
    claims = []
    for α, s in enumerate(race.student.singular_values):
        claims += _of_mode(f"L = {depth}/s = {s:g}", race, α)
    return claims


def _of_mode(place: str, race: Race, α: int) -> list[Claim]:
    later = lambda model, reference: race.later(model, reference, α)
    early = float(later("printed (6)", "SDE of the modes")["measured"])
    exact, printed = later("SGD", "SDE of the modes"), later("SGD", "printed (6)")
    within = {"expected": 0.0, "resolution": CROSSED, "tolerance": CROSSED}
    return [
        Claim.equality(
            f"{place}/SDE of the modes/converged", source("Eq. 4"),
            f"relative change of the learning time when Euler-Maruyama steps are twice as long, within {CONVERGED:.1%}",
            **later("coarser SDE of the modes", "SDE of the modes"), expected=0.0, resolution=CROSSED,
            tolerance=CONVERGED,
        ),
        Claim.equality(
            f"{place}/SGD is its SDE", source("Eq. 1"),
            "SGD learns later than its SDE, relatively: no more than finite steps do, mode by mode",
            **later("SGD", "SDE"), expected=later("SGD mode by mode", "SDE of the modes")["measured"],
            resolution=2 * CROSSED, tolerance=CONVERGED,
        ),
        Claim.equality(
            f"{place}/exact drift", source("Prop. 3.5, corrected"),
            f"SGD learns later than the SDE of the modes, relatively: crossed amplitudes, within {CROSSED:.1%}",
            **exact, **within,
        ),
        Claim.equality(
            f"{place}/drift (6)/published", source("Eq. 6"),
            f"SGD learns later than the SDE of the modes with (6), relatively, within {CROSSED:.1%}",
            **printed, **within, note=f"(6) learns {-early:.1%} earlier than the exact drift",
        ),
        Claim.rejection(
            f"{place}/drift (6)/control", source("Eq. 6"),
            "SGD's learning time over that of the exact drift, −1, is not that of (6)",
            **exact, expected=0.0, rejected=early, tolerance=CROSSED,
        ),
    ]  # fmt: skip


LEARNING_TIMES = register(
    Experiment(
        name="corlouer2026/learning_times",
        summary="learning times of SGD exclude the printed drift of the modes",
        source=source("Prop. 3.5, Eqs. 4-7"),
        config=LearningTimesConfig,
        presets={"quick": LearningTimesConfig(), "paper": LearningTimesConfig(replicas=8192, sde_replicas=1024)},
        run=run,
        figure="corlouer2026/learning_times",
    )
)
