"""Fig. 4: the first mode at the end of training without label noise, for SGD, its SDE and isotropic Langevin dynamics.

    p_γ ← ((1 − τκ_γ)² + τβκ_γ²) p_γ + τβκ_γ² Σ p      mean squares in SGD and in (1): collapse     (`_collapse`)
    Var w = η ε / 2                                    with isotropic noise of variance ε            (ours)

The second: near a minimum Δ = M − W obeys dΔ = −K Δ dt − √(ηε) K^{1/2} dB, K = J Jᵀ with J = ∂W/∂θ, as the same
Jacobian carries gradient and noise; so every amplitude has the variance ηε/2, whatever the widths and depth, up to
relative terms of order ηε/s² and the time step's ηh/2. The paper's isotropic dynamics has ε = 1.

The paper's histogram of (1) is broad. Three ways to get a width are tried: to stop early; to add ε to the diagonal of
Σ, as a Cholesky root of the singular Σ needs; an eigendecomposition in 32 bits. The first two give one. From
small weights and run on to t = 20, a residue of some 1e-7 stays in 64 bits too; we take it for the noise of absent
modes, whose small weights hardly decay, as starts near the minimum, which have none, show no residue.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from sgdynamics import _checks
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._students import Paths, Student
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.corlouer2026 import _collapse
from sgdynamics.experiments.corlouer2026._fig4_claims import claims
from sgdynamics.experiments.corlouer2026._fig4_endings import Endings
from sgdynamics.experiments.corlouer2026._matrix_root import EigenRoot
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.noise import OnlineLinear, Sum
from sgdynamics.samplers import Online

DECADES = np.linspace(-14, 0, 57)  # bins of log10 |w − s|
COARSE = 4  # time step of the dense root, in learning rates


@dataclass(frozen=True)
class Fig4Config:
    """The first mode's amplitude at the end of training, no label noise."""

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
    """Learning rate η; time t = η × step."""
    batch_size: int = 1
    """Minibatch size b."""
    substeps: int = 2
    """Euler-Maruyama steps of (1) in one learning rate."""
    replicas: int = 128
    """From small starts, and as many from near the minimum."""
    time: float = 12.0
    """Length of the run, in units of t."""
    records: int = 30
    """Equidistant times at which the weights are kept."""
    early: float = 3.2
    """A time at which the first mode is being learned, in units of t."""
    compared: float = 3.2
    """Until when mean squares are held against the linear map, in units of t; at twice that, one mode alone is."""
    jitters: tuple[float, ...] = (1e-2, 1e-4)
    """ε added to the diagonal of Σ."""
    jitter_replicas: int = 32
    """With ε added; not more than replicas."""
    root_width: int = 4
    """Of the network whose Σ is decomposed at every step."""
    root_replicas: int = 24
    """Of it."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("batch_size", "substeps"):
            _checks.count(name, getattr(self, name))
        for name in ("replicas", "jitter_replicas", "root_replicas"):
            _checks.count(name, getattr(self, name), least=2)
        for name in ("width", "root_width"):
            _checks.count(name, getattr(self, name), least=len(self.singular_values))
        _checks.count("depth", self.depth, least=2)
        _checks.count("records", self.records, least=10)
        for name in ("exponent", "displacement", "learning_rate", "time", "early", "compared"):
            _checks.positive(name, getattr(self, name))
        for name in ("singular_values", "jitters"):
            _checks.positive(name, np.asarray(getattr(self, name)))
        if self.early > self.time or 2 * self.compared > self.time:
            raise ValueError(f"time = {self.time}, but it must reach early = {self.early} and 2 compared.")
        if self.jitter_replicas > self.replicas:
            raise ValueError(f"jitter_replicas = {self.jitter_replicas}, but it must be ≤ replicas = {self.replicas}.")


def run(config: Fig4Config, progress: Progress) -> Result:
    """SGD, (1), isotropic noise, (1) with a little isotropic noise, and (1) with a dense root in 32 bits."""
    endings, provenance = simulated(config, progress)
    return Result(described(endings), claims(endings), provenance)


def simulated(config: Fig4Config, progress: Progress) -> tuple[Endings, dict]:
    """All ensembles; SGD and (1) run small starts and those near the minimum at once."""
    student = _student(config, config.width, config.learning_rate, config.batch_size)
    go = partial(_collapse.run, key=jax.random.key(config.seed), time=config.time, records=config.records)
    paths = {
        name: go(student, dynamics, progress, name, initial=initial)
        for name, (dynamics, initial) in _cases(config, student).items()
    }
    rows = {name: _collapse.first_row(path) for name, path in paths.items()}
    root = _rooted(config, progress)
    endings = Endings(
        student, config.substeps, config.displacement, config.early, config.compared, config.jitters,
        times=paths["SGD"].times, small={name: row[:, : config.replicas] for name, row in rows.items()},
        near={name: rows[name][:, config.replicas :] for name in ("SGD", "SDE")},
        root=_collapse.first_row(root)[-1, :, 0],
    )  # fmt: skip
    return endings, {name: path.provenance for name, path in paths.items()} | {"root": root.provenance}


def _cases(config: Fig4Config, student: Student) -> dict:
    """Dynamics and starts."""
    start = _collapse.small(student, config.exponent, config.seed, config.replicas)
    both = jnp.concatenate([start, _collapse.near(student, config.displacement, config.seed, config.replicas)])
    exact = OnlineLinear(student.problem, Online(config.batch_size))
    jittered = lambda ε: student.langevin(1, Sum((exact, student.isotropic(ε))))
    return {
        "SGD": (student.descent(), both),
        "SDE": (student.langevin(config.substeps), both),
        "isotropic": (student.langevin(1, student.isotropic(1.0)), start),
    } | {f"SDE + {ε:g}": (jittered(ε), start[: config.jitter_replicas]) for ε in config.jitters}


def _student(config: Fig4Config, width: int, rate: float, batch: int) -> Student:
    return _collapse.student(config.singular_values, width, config.depth, rate, batch, config.seed)


def _rooted(config: Fig4Config, progress: Progress) -> Paths:
    """(1) through an eigendecomposition in 32 bits, in a narrow network, coarse time steps, the same temperature."""
    batch = COARSE * config.batch_size
    student = _student(config, config.root_width, COARSE * config.learning_rate, batch)
    noise = EigenRoot(OnlineLinear(student.problem, Online(batch)))
    start = _collapse.near(student, 0.1, config.seed, config.root_replicas)
    return _collapse.run(
        student, student.langevin(1, noise), progress, "dense root", key=jax.random.key(config.seed), initial=start,
        time=config.time, records=4, dtype=jnp.float32,
    )  # fmt: skip


def described(endings: Endings) -> xr.Dataset:
    """Histograms of log10 |w − s| at the end, and widths against time."""
    ends = {name: row[-1, :, 0] for name, row in endings.small.items()}
    ends |= {f"{name}, near": row[-1, :, 0] for name, row in endings.near.items()}
    ends["SDE, 32-bit eigenvectors, near"] = endings.root
    widths = [np.sqrt(_collapse.spread(row[..., 0]).mean(axis=-1)) for row in endings.small.values()]
    alone = np.sqrt(endings.mapped("SGD")[0, 0] * np.exp(-endings.lone_rate * endings.times))
    variables: dict[str, Variable] = {
        "share": variable(("ensemble", "bin"), list(map(_per_decade, ends.values())), "share of replicas per decade"),
        "std": variable(("case", "time"), widths, "standard deviation, small starts", "w"),
        "alone": variable("time", alone, "root mean square of one mode alone", "w"),
        "floor": variable("noise", np.sqrt(list(endings.floors.values())), "√(ηε/2)", "w"),
    }  # fmt: skip
    for name, row in endings.near.items():
        rms = over_realisations(np.moveaxis(row[..., 0] ** 2, 1, 0)).map(jnp.sqrt)
        variables |= measurement(f"rms_{name}", "time", rms, "root mean square of w − s near the minimum", "w")
        variables[f"mapped_{name}"] = variable("time", np.sqrt(endings.mapped(name)[:, 0]), "by the linear map", "w")
    return dataset(variables, {
        "ensemble": variable("ensemble", list(ends), "ensemble"),
        "case": variable("case", list(endings.small), "ensemble from small starts"),
        "noise": variable("noise", list(endings.floors), "ensemble with isotropic noise of variance ε"),
        "bin": variable("bin", (DECADES[1:] + DECADES[:-1]) / 2, "log10 |w − s|, centre of the bin"),
        "time": variable("time", endings.times, "time, learning rate × step", "t"),
    })  # fmt: skip


def _per_decade(values: np.ndarray) -> np.ndarray:
    logs = np.log10(np.clip(np.abs(values), 10 ** DECADES[0], 1.0))
    return np.histogram(logs, DECADES)[0] / len(values) / np.diff(DECADES)


FIG4 = register(
    Experiment(
        name="corlouer2026/fig4",
        summary="without label noise SGD and its SDE collapse onto the singular value, isotropic noise does not",
        source=source("Fig. 4"),
        config=Fig4Config,
        presets={
            "quick": Fig4Config(),
            "paper": Fig4Config(replicas=1024, substeps=4, jitter_replicas=128, root_replicas=64),
        },
        run=run,
        figure="corlouer2026/fig4",
    )
)
