"""Finite data sets against the online theory, where the paper's J.3 breaks off: App. G.

(a) The covariance of batches without replacement: `_finite_population`.
(b) Without label noise the minimum is the teacher, for any N ≥ inputs; what differs is the way: learning times and
    diffusion deviate by the fluctuations of the data, of order 1/√N, over many data sets (`_finite_sets`).
(c) SGD on one data set of each size, batches with and without replacement and in epochs; the diffusion is that of the
    data's own gradients, η c(N, b) Var_i(a_α·g_i), with c = 1/b or (N − b)/(b (N − 1)), against Prop. 3.3 online.
(d) With label noise σ the minimum is the data's, not the teacher's: a network of r modes ends at the least-squares map
    of rank r (started aligned, it has no others), where

        E (w_α − s_α)² ≈ σ²/(N − d − 1),    excess loss ≈ σ² r (2d − r)/(2N),
        D_α ≈ η c σ² L² s^{4(L−1)/L} (1 − (d + 2)/N).

    (The first is exact for the least-squares map of all ranks, as E (XᵀX)⁻¹ = 1/(N − d − 1); the others hold to first
    order in d/N.)
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.data import Dataset, Teacher
from sgdynamics.experiments import _students
from sgdynamics.experiments._ensembles import named
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._samplings import SAMPLERS
from sgdynamics.experiments._students import Paths, Student
from sgdynamics.experiments._variables import dataset, measurement, variable
from sgdynamics.experiments.corlouer2026 import _finite_claims, _finite_population
from sgdynamics.experiments.corlouer2026._finite_sets import Descent, Sets, example_variance, matrix, tangents
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.networks import DeepLinear

EVERY = 3  # steps of gradient descent between two looks
FEW = 8  # replicas whose diffusion is asked for: with 10⁴ examples that is the dearest number here


@dataclass(frozen=True)
class FiniteDataConfig:
    """A deep linear network on 10², 10³, 10⁴ examples of a teacher."""

    sizes: tuple[int, ...] = (100, 1_000, 10_000)
    """Numbers of examples N, ascending."""
    singular_values: tuple[float, ...] = (1.0, 0.7, 0.4)
    """Of the teacher, descending."""
    width: int = 12
    """Of inputs and outputs."""
    hidden: int = 12
    """Width of the hidden layers."""
    depth: int = 2
    """Layers L."""
    exponent: float = 3.0
    """γ: initial weights have variance width^−γ."""
    amplitude: float = 0.01
    """Of every mode at the start of aligned weights."""
    label_noise_std: float = 0.1
    """Standard deviation σ of the label noise, where there is some."""
    learning_rate: float = 0.01
    """Learning rate η of SGD; time t = η × step."""
    batch_size: int = 4
    """Minibatch size b."""
    large_batch: int = 50
    """A batch that is a large part of the smallest set, where replacement matters."""
    replicas: int = 16
    """SGD replicas on one data set."""
    time: float = 35.0
    """Length of an SGD run, in units of t."""
    records: int = 70
    """Equidistant times at which SGD's weights are kept."""
    data_sets: int = 48
    """Data sets of each size for gradient descent."""
    flow_rate: float = 0.05
    """Learning rate of gradient descent on them."""
    flow_records: int = 250
    """Times at which it is looked at, every third step."""
    learned: float = 0.95
    """Share of its singular value at which a mode counts as learned."""
    population: int = 6
    """N of App. G.1's count of all batches."""
    population_batch: int = 3
    """B of that count."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        _checks.require("singular_values", self.singular_values, len(self.singular_values) > 0, allowed="at least one")
        _checks.positive("singular_values", np.asarray(self.singular_values))
        for name in ("width", "hidden", "batch_size", "large_batch"):
            _checks.count(name, getattr(self, name))
        for name in ("depth", "replicas", "data_sets", "population_batch"):
            _checks.count(name, getattr(self, name), least=2)
        for name in ("records", "flow_records"):
            _checks.count(name, getattr(self, name), least=10)
        for name in ("amplitude", "label_noise_std", "learning_rate", "time", "flow_rate"):
            _checks.positive(name, getattr(self, name))
        _checks.count("population", self.population, least=self.population_batch + 1)
        if len(self.sizes) < 2 or list(self.sizes) != sorted(set(self.sizes)):
            raise ValueError(f"sizes = {self.sizes}, but they must be two or more, ascending.")
        if not self.sizes[0] > max(self.width + 1, self.batch_size, self.large_batch):
            raise ValueError(f"sizes = {self.sizes}, but the smallest must exceed width + 1 and the batches.")
        if not max(self.amplitude / s for s in self.singular_values) < self.learned < 1:
            raise ValueError(f"learned = {self.learned}, but it must lie between the start, amplitude / s, and 1.")


@dataclass(frozen=True)
class Run:
    """SGD on one data set, with the factor c of its batches; amplitudes [records, replicas, modes]."""

    data: Dataset
    paths: Paths
    factor: float
    amplitudes: np.ndarray

    def diffusion(self, replicas: int) -> np.ndarray:
        """D_α = η c Var_i(a_α·g_i) of the first few replicas [records, replicas, modes]."""
        student = self.paths.student
        few = replace(self.paths, positions=self.paths.positions[:, :replicas])
        moved = lambda weights: (matrix(weights), tangents(weights, student.teacher, student.modes))
        variance = few.map(lambda weights: example_variance(*moved(weights), self.data))
        return student.learning_rate * self.factor * variance


def run(config: FiniteDataConfig, progress: Progress) -> Result:
    """The count of batches, many data sets under gradient descent, one of each size under SGD."""
    key = jax.random.key(config.seed)
    student = _student(config, key)
    plan = _descent(config, student, key)
    progress.stage("gradient descent on many data sets", len(config.sizes))
    sets = []
    for N in config.sizes:
        sets.append(plan.sets(jax.random.split(named(key, f"sets of {N}"), config.data_sets), N))
        progress.advance(1)
    runs = _with_amplitudes(_sgd(config, plan, key, progress))
    noisy = _with_amplitudes(_noisy(config, plan, key, progress))
    own = [runs[f"{N}, without"] for N in config.sizes]
    diffusion = np.stack([run.diffusion(FEW) for run in own])
    g = _finite_population.example_gradients(named(key, "population"), config.population, (3, 2, 2))
    claims = _finite_population.claims(g, config.population_batch)
    claims += _finite_claims.claims(plan, sets, runs, noisy, diffusion[-1], config.large_batch)
    ensembles = {f"{label}{name}": r.paths.provenance for label, group in (("", runs), ("label noise, ", noisy))
                 for name, r in group.items()}  # fmt: skip
    return Result(_described(config, plan, sets, own, diffusion), claims, ensembles)


def _student(config: FiniteDataConfig, key: jax.Array) -> Student:
    teacher = Teacher.of_singular_values(
        config.singular_values, key=named(key, "teacher"), inputs=config.width, outputs=config.width
    )
    widths = (config.width, *(config.hidden,) * (config.depth - 1), config.width)
    return Student(teacher, widths, config.learning_rate, config.batch_size)


def _descent(config: FiniteDataConfig, student: Student, key: jax.Array) -> Descent:
    M, widths = student.teacher.matrix, student.widths
    networks = {
        "small": DeepLinear.small(widths, key=named(key, "start"), exponent=config.exponent),
        "aligned": DeepLinear.aligned(M, [config.amplitude] * student.modes, widths, key=key),
    }
    starts = {name: tuple(jnp.asarray(W, float) for W in network.weights) for name, network in networks.items()}
    noisy = Teacher(M, config.label_noise_std)
    return Descent(student, noisy, starts, config.flow_rate, EVERY, config.flow_records, config.learned)


def _dynamics(student: Student, data: Dataset, kind: str, batch: int) -> sgd.SGD:
    problem = sgd.Problem(DeepLinear(student.widths, key=jax.random.key(0)), data)
    return sgd.SGD(problem, learning_rate=student.learning_rate, sampler=SAMPLERS[kind](batch))


def _follow(
    config: FiniteDataConfig, plan: Descent, data: Dataset, kind: str, batch: int, start: str, label: str,
    key: jax.Array, progress: Progress,
) -> Run:  # fmt: skip
    dynamics = _dynamics(plan.student, data, kind, batch)
    initial = jnp.concatenate([W.reshape(-1) for W in plan.starts[start]])
    paths = _students.run(
        plan.student, dynamics, progress, label, key=key, replicas=config.replicas, time=config.time,
        records=config.records, initial=initial,
    )  # fmt: skip
    return Run(data, paths, float(dynamics.sampler.covariance_factor(data)), np.empty(0))


def _sgd(config: FiniteDataConfig, plan: Descent, key: jax.Array, progress: Progress) -> dict[str, Run]:
    """Without label noise, from small weights: "N, kind"; epochs with the smallest set alone."""
    runs = {}
    for N in config.sizes:
        data = plan.student.teacher.sample(named(key, f"data, {N}"), N)
        for kind in ("with", "without", "epochs") if N == config.sizes[0] else ("with", "without"):
            label = f"{N}, {kind}"
            runs[label] = _follow(config, plan, data, kind, config.batch_size, "small", label, key, progress)
    return runs


def _noisy(config: FiniteDataConfig, plan: Descent, key: jax.Array, progress: Progress) -> dict[str, Run]:
    """With label noise, from aligned weights, on the smallest set: "kind, batch size"."""
    data = plan.noisy.sample(named(key, "noisy data"), config.sizes[0])
    cases = [(kind, config.batch_size) for kind in SAMPLERS]
    cases += [("with", config.large_batch), ("without", config.large_batch), ("without", config.sizes[0])]
    follow = partial(_follow, config, plan, data, start="aligned", key=key, progress=progress)
    return {f"{kind}, {b}": follow(kind=kind, batch=b, label=f"label noise, {kind}, {b}") for kind, b in cases}


def _with_amplitudes(runs: dict[str, Run]) -> dict[str, Run]:
    """Amplitudes of all runs at once, which are alike in all but their data: one program."""
    first = next(iter(runs.values())).paths
    together = replace(first, positions=np.concatenate([run.paths.positions for run in runs.values()], axis=1))
    parts = np.split(together.amplitudes, len(runs), axis=1)
    return {name: replace(run, amplitudes=part) for (name, run), part in zip(runs.items(), parts, strict=True)}


def _described(
    config: FiniteDataConfig, plan: Descent, sets: list[Sets], own: list[Run], diffusion: np.ndarray
) -> xr.Dataset:
    """Diffusion along SGD and along gradient descent on the population loss; what the data sets changed."""
    student, at, modes = plan.student, ("size", "time", "mode"), plan.student.modes
    amplitudes = np.stack([run.amplitudes for run in own])
    online = student.temperature * plan.population_path("small")
    variables: dict[str, Any] = {
        "online_diffusion": variable(("flow_time", "mode"), online, "diffusion online", "w²/t"),
        "online_amplitudes": variable(
            ("flow_time", "mode"), plan.amplitudes_on(plan.population), "amplitude online", "w"
        ),
        "kurtosis": variable(("size", "mode"), [s.kurtosis for s in sets], "excess kurtosis of a·g at the peak"),
    }
    mean = over_realisations(np.moveaxis(diffusion, 2, 0))
    variables |= measurement("diffusion", at, mean, "diffusion by the data's own gradients", "w²/t")
    mean = over_realisations(np.moveaxis(amplitudes, 2, 0))
    variables |= measurement("amplitudes", at, mean, "amplitude of the mode", "w")
    for name, values, words in (
        ("time_deviation", [s.deviations[0] for s in sets], "learning time over the population's, −1, rms"),
        ("aligned_time_deviation", [s.deviations[1] for s in sets], "the same from aligned weights"),
        ("diffusion_deviation", [s.diffusion - 1 for s in sets], "diffusion over the population's, −1, rms"),
    ):
        rms = over_realisations(np.moveaxis(np.stack(values) ** 2, 1, 0)).map(jnp.sqrt)
        variables |= measurement(name, ("size", "mode"), rms, words)
    for name, words in (("excess", "population loss above the teacher's"), ("full_excess", "the same, all ranks")):
        mean = over_realisations(np.stack([getattr(s, name) for s in sets], axis=1))
        variables |= measurement(name, "size", mean, words, "w²")
    d, N, σ = config.width, np.asarray(config.sizes), config.label_noise_std
    variables |= {
        "excess_law": variable("size", σ**2 * modes * (2 * d - modes) / (2 * N), "σ² r (2d − r)/(2N)", "w²"),
        "full_excess_law": variable("size", σ**2 * d**2 / (2 * (N - d - 1)), "σ² d²/(2 (N − d − 1))", "w²"),
    }
    coordinates = {
        "time": variable("time", own[0].paths.times, "time, learning rate × step", "t"),
        "flow_time": variable("flow_time", plan.times, "time of gradient descent", "t"),
        "mode": variable("mode", student.singular_values, "singular value of the mode", "w"),
        "size": variable("size", N, "examples in the data set"),
    }
    return dataset(variables, coordinates)


FINITE_DATA = register(
    Experiment(
        name="corlouer2026/finite_data",
        summary="10², 10³, 10⁴ examples, with and without replacement, against the online theory",
        source=source("App. G and J.3"),
        config=FiniteDataConfig,
        presets={
            "quick": FiniteDataConfig(),
            "paper": FiniteDataConfig(
                depth=4, exponent=2.0, amplitude=0.02, learning_rate=0.005, time=60.0, records=120, flow_records=400,
                data_sets=256, replicas=32,
            ),
        },
        run=run,
        figure="corlouer2026/finite_data",
    )
)  # fmt: skip
"""App. G and J.3: finite data sets against the online theory."""
