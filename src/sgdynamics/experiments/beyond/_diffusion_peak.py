"""Does the peak of the diffusion predict when a mode is learned, and better than the mode's amplitude does?

Along a mode α the diffusion D_α(θ) = β a_αᵀ Σ(θ) a_α (Prop. 3.3) is, for balanced and aligned weights,

    D_α(w) = β L² w^a (2 (s_α − w)² + σ²),    a = 4(L−1)/L                                                (7)

with a maximum at w* (9) if σ² < 2s²/(a(a+2)) (10). Gradient flow takes from there to 95 % of s, the *lead*, the time
∫ dw / (L w^{2−2/L} (s − w)), without label noise a number of the depth alone in units of 1/(L s^{2−2/L}).

Two things may go wrong with "the maximal diffusion precedes learning". With label noise D stays at the plateau
D(s) > 0, which is the higher one for σ² above 0.72 … 0.70 of (10) (`dominant_peak_fraction`), and for less once SGD
fluctuates there. And where weights are not aligned, D is highest at the start or while a stronger mode is learned in
some of the replicas. Besides, D is known to who knows the teacher, who can watch the amplitude instead: does D tell
more? Where it is a function of w it cannot.

Replicas have examples of their own, and weights: small ones (independent layers), balanced layers with the very same
products W, and aligned modes. γ is such that entries of W are of the size that the aligned modes start from. The
Spearman correlation over replicas has the error of the jackknife; a mode not learned within the run ranks last there,
while leads are over the replicas that learn; the share of the others is kept.
SGD's relative second-order corrections are βL(d+2)/2 (that of the decay of |s − W|² by examples of d inputs).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np
import xarray as xr

from sgdynamics import _checks
from sgdynamics.data import Teacher
from sgdynamics.experiments import _students
from sgdynamics.experiments._ensembles import named
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._students import Paths, Student
from sgdynamics.experiments._variables import dataset, variable
from sgdynamics.experiments.beyond._peaks import LEARNED, PREDICTORS, STARTS, Seen, observe, over_learned
from sgdynamics.experiments.beyond._peaks_claims import claims
from sgdynamics.networks import DeepLinear


@dataclass(frozen=True)
class DiffusionPeakConfig:
    """The diffusion's peak as a predictor of learning."""

    singular_values: tuple[float, ...] = (1.0, 0.5)
    """Of the teacher, descending."""
    width: int = 6
    """Of inputs, outputs and hidden layers."""
    depths: tuple[int, ...] = (2, 3, 4, 6)
    """Layers L."""
    label_noise_stds: tuple[float, ...] = (0.0, 0.24)
    """Standard deviations σ of the label noise."""
    amplitude: float = 0.02
    """Of the aligned modes at the start, and of the entries of W elsewhere."""
    learning_rate: float = 0.002
    """Learning rate η; time t = η × step."""
    batch_size: int = 1
    """Minibatch size b."""
    replicas: int = 96
    """SGD replicas for each start, depth and label noise."""
    time: float = 40.0
    """Length of the runs, in units of t."""
    records: int = 400
    """Equidistant times at which the weights are kept."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("width", "batch_size"):
            _checks.count(name, getattr(self, name))
        for depth in self.depths:
            _checks.count("depths", depth, least=2)
        _checks.count("replicas", self.replicas, least=4)
        _checks.count("records", self.records, least=10)
        for name in ("learning_rate", "time", "amplitude"):
            _checks.positive(name, getattr(self, name))
        _checks.positive("singular_values", np.asarray(self.singular_values))
        _checks.not_negative("label_noise_stds", np.asarray(self.label_noise_stds))


def run(config: DiffusionPeakConfig, progress: Progress) -> Result:
    """One ensemble of SGD for each depth and label noise, a third of it from each start."""
    seen, ensembles = [], {}
    for depth in config.depths:
        for label, paths in _runs(config, depth, progress):
            seen.append(observe(paths))
            ensembles[label] = paths.provenance
    correction = config.learning_rate / config.batch_size * (config.width + 2) / 2
    return Result(_data(config, seen), claims(seen, correction), ensembles)


def _runs(config: DiffusionPeakConfig, depth: int, progress: Progress) -> Iterator[tuple[str, Paths]]:
    key = jax.random.key(config.seed)
    teachers = [
        Teacher.of_singular_values(
            config.singular_values, key=named(key, "teacher"), inputs=config.width, outputs=config.width,
            label_noise_std=σ,
        )
        for σ in config.label_noise_stds
    ]  # fmt: skip
    widths = (config.width,) * (depth + 1)
    students = [Student(teacher, widths, config.learning_rate, config.batch_size) for teacher in teachers]
    initial = _starts(config, students[0], named(key, f"L = {depth}"))
    for σ, student in zip(config.label_noise_stds, students, strict=True):
        label = f"L = {depth}, σ = {σ:g}"
        yield label, _students.run(
            student, student.descent(), progress, label, key=key, replicas=len(STARTS) * config.replicas,
            time=config.time, records=config.records, initial=initial,
        )  # fmt: skip


def _starts(config: DiffusionPeakConfig, student: Student, key: jax.Array) -> jax.Array:
    """Small, balanced, aligned [3 · replicas, parameters]; the second with the products W of the first."""
    γ = exponent(config.amplitude, width=config.width, depth=student.depth)
    amplitudes = [config.amplitude] * student.modes
    networks = (
        lambda key: DeepLinear.small(student.widths, key=key, exponent=γ),
        lambda key: DeepLinear.balanced(student.widths, key=key, exponent=γ),
        lambda key: DeepLinear.aligned(student.teacher.matrix, amplitudes, student.widths, key=key),
    )
    all_three = lambda key: DeepLinear.of([W for network in networks for W in network(key).weights])
    flat = student.starts(all_three, key, config.replicas).reshape(config.replicas, len(STARTS), -1)
    return flat.swapaxes(0, 1).reshape(len(STARTS) * config.replicas, -1)


def exponent(amplitude: float, *, width: int, depth: int) -> float:
    """γ for which entries of W have the standard deviation `amplitude`: d^{(L−1)/2 − γL/2}."""
    return (depth - 1) / depth - 2 * np.log(amplitude) / (depth * np.log(width))


EACH = ("start", "mode")
REPLICAS = ("start", "replica", "mode")
DESCRIBED = {
    "learning_time": (REPLICAS, f"time at which {LEARNED:.0%} of the mode are reached", "t"),
    "peak_time": (REPLICAS, PREDICTORS["diffusion"], "t"),
    "amplitude_time": (REPLICAS, PREDICTORS["amplitude"], "t"),
    "lead": (EACH, "from the maximal diffusion to learned, mean over replicas that learn", "t"),
    "lead_error": (EACH, "from the maximal diffusion to learned, standard error", "t"),
    "predicted_lead": ("mode", "gradient flow from (9) to learned", "t"),
    "time_scale": ("mode", "the mode's own time, 1/(L s^(2−2/L))", "t"),
    "threshold": ("mode", "σ² in that of (10)", "1"),
    "height": ("mode", "peak of the diffusion over its plateau, by (7)", "1"),
    "rank": (("predictor", *EACH), "rank correlation with the learning time", "1"),
    "rank_error": (("predictor", *EACH), "rank correlation with the learning time, standard error", "1"),
    "scatter": (("predictor", *EACH), "standard deviation of the learning time minus the predictor", "t"),
    "unlearned": (EACH, "share of replicas in which the mode is not learned", "1"),
    "late": (EACH, "share of replicas with maximal diffusion after the mode is learned", "1"),
    "premature": (EACH, "share of replicas with maximal diffusion before the mode begins", "1"),
}
"""Axes behind depth and noise, words and units of all that is stored."""


def _data(config: DiffusionPeakConfig, seen: list[Seen]) -> xr.Dataset:
    numbers, grid = [_numbers(one) for one in seen], (len(config.depths), len(config.label_noise_stds))
    variables = {}
    for name, (axes, words, units) in DESCRIBED.items():
        values = np.stack([number[name] for number in numbers])
        axes = (axes,) if isinstance(axes, str) else axes
        variables[name] = variable(("depth", "noise", *axes), values.reshape(*grid, *values.shape[1:]), words, units)
    coordinates = {
        "depth": variable("depth", config.depths, "layers L"),
        "noise": variable("noise", config.label_noise_stds, "standard deviation of the label noise", "y"),
        "start": variable("start", list(STARTS), "initial weights"),
        "mode": variable("mode", seen[0].s, "singular value of the mode", "w"),
        "predictor": variable("predictor", list(PREDICTORS), "what predicts the learning time"),
    }
    return dataset(variables, coordinates)


def _numbers(one: Seen) -> dict[str, np.ndarray]:
    """What `DESCRIBED` describes, of one ensemble."""
    modes = range(len(one.s))
    leads = [[over_learned(one.leads[i, :, α]) for α in modes] for i in range(len(STARTS))]
    ranks = one.ranks.values()
    return {
        "learning_time": one.learned,
        "peak_time": one.predictors["diffusion"],
        "amplitude_time": one.predictors["amplitude"],
        "lead": np.array([[float(lead.value) for lead in row] for row in leads]),
        "lead_error": np.array([[float(lead.standard_error) for lead in row] for row in leads]),
        "predicted_lead": one.predicted,
        "time_scale": 1 / (one.depth * one.s ** (2 - 2 / one.depth)),
        "threshold": one.threshold,
        "height": one.height,
        "rank": np.stack([np.asarray(rank.value) for rank in ranks]),
        "rank_error": np.stack([np.asarray(rank.standard_error) for rank in ranks]),
        "scatter": np.stack([one.scatter(name) for name in PREDICTORS]),
        "unlearned": np.isnan(one.learned).mean(axis=1),
        "late": one.late.mean(axis=1),
        "premature": one.premature.mean(axis=1),
    }


DIFFUSION_PEAK = register(
    Experiment(
        name="beyond/diffusion_peak",
        summary="whether the peak of the diffusion predicts when a mode is learned, and better than its amplitude",
        source="ours, on Corlouer et al. (2026), Sec. 4",
        config=DiffusionPeakConfig,
        presets={
            "quick": DiffusionPeakConfig(depths=(2, 4, 6)),
            "paper": DiffusionPeakConfig(replicas=384),
        },
        run=run,
        figure="beyond/diffusion_peak",
    )
)
