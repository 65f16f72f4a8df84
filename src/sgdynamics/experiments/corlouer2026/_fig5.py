"""Fig. 5: the first mode at the end of training with label noise, SGD against three laws.

    V      = (βL/2) σ² s^{2−2/L}                                      variance                               (18)
    ⟨w⟩    = s + `mean_shift`                                         mean in the network, below s           (ours)
    p(w)   ∝ D⁻¹ exp ∫ 2μ/D                                           one mode alone                         (16)
    w*     = s + (β/2) (L−1) s^{−2/L} σ_q                             printed centre, "slightly above s"     (17)

Replicas start balanced and aligned near the minimum, and are recorded when many relaxation times 1/(L s^{2−2/L}) have
passed. Noise moves the balance of the layers slowly (`theory.deep_linear.balance_drift`), so that this state is
quasi-stationary: halves of the record are compared. (18) and the mean shift hold to leading order; what they leave
out is of the relative size ε of `_fig5_ending`. Errors are over replicas, whose records are averaged first.
"""

from dataclasses import dataclass
from itertools import pairwise

import jax
import numpy as np
import xarray as xr

from sgdynamics import _checks
from sgdynamics.data import Teacher
from sgdynamics.experiments import _students
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._ensembles import named
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._students import Paths, Student
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.corlouer2026._fig5_ending import Ending
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.networks import DeepLinear
from sgdynamics.theory import deep_linear

POINT = 1e-4  # narrower than this, a histogram like the paper's shows a point
BINS = np.linspace(-4, 4, 33)  # in standard deviations of (18)
CURVE = np.linspace(-4.5, 4.5, 181)
NORMAL = 0.3  # skewness and excess kurtosis up to which we would call a law approximately normal


@dataclass(frozen=True)
class Fig5Config:
    """The first mode's amplitude at the end of training, with label noise."""

    singular_values: tuple[float, ...] = (1.0, 0.7, 0.4)
    """Of the teacher, descending."""
    width: int = 12
    """Of inputs, outputs and hidden layers."""
    depths: tuple[int, ...] = (2, 4)
    """Layers L."""
    label_noise_variance: float = 0.1
    """σ²."""
    learning_rate: float = 0.005
    """Learning rate η; time t = η × step."""
    batch_size: int = 1
    """Minibatch size b."""
    start: float = 0.9
    """Amplitudes at the start, in units of their singular values."""
    settling: float = 12.0
    """Time before the first record that counts, in units of t."""
    time: float = 36.0
    """Length of the run, in units of t."""
    records: int = 36
    """Equidistant times at which the weights are kept."""
    replicas: int = 768
    """SGD replicas with label noise."""
    silent_replicas: int = 32
    """SGD replicas without."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("width", "batch_size"):
            _checks.count(name, getattr(self, name))
        for name in ("replicas", "silent_replicas"):
            _checks.count(name, getattr(self, name), least=2)
        _checks.count("records", self.records, least=4)
        for depth in self.depths:
            _checks.count("depths", depth, least=2)
        for name in ("label_noise_variance", "learning_rate", "start", "settling", "time", "singular_values"):
            _checks.positive(name, np.asarray(getattr(self, name)))
        if self.settling > self.time * (1 - 4 / self.records):
            raise ValueError(
                f"settling = {self.settling}, but it must leave four records or more of time = {self.time}."
            )


def run(config: Fig5Config, progress: Progress) -> Result:
    """Two ensembles at each depth: with label noise, and without."""
    endings, provenance = {}, {}
    for depth in config.depths:
        noisy, silent = (simulated(config, depth, noise, progress) for noise in (True, False))
        endings[depth] = _ending(config, noisy, silent)
        provenance |= {f"L{depth}": noisy.provenance, f"L{depth}_silent": silent.provenance}
    claims = [claim for ending in endings.values() for claim in _claims(ending)]
    return Result(described(endings), claims, provenance)


def simulated(config: Fig5Config, depth: int, noisy: bool, progress: Progress) -> Paths:
    """SGD at one depth, with label noise or without, from aligned weights near the minimum."""
    key = jax.random.key(config.seed)
    noise = np.sqrt(config.label_noise_variance) if noisy else 0.0
    teacher = Teacher.of_singular_values(
        config.singular_values, key=named(key, "teacher"), inputs=config.width, outputs=config.width,
        label_noise_std=noise,
    )  # fmt: skip
    student = Student(teacher, (config.width,) * (depth + 1), config.learning_rate, config.batch_size)
    amplitudes = config.start * student.singular_values
    aligned = DeepLinear.aligned(teacher.matrix, amplitudes, student.widths, key=named(key, f"bases {depth}"))
    return _students.run(
        student, student.descent(), progress, f"L = {depth}, {'with' if noisy else 'no'} label noise", key=key,
        replicas=config.replicas if noisy else config.silent_replicas, time=config.time, records=config.records,
        initial=student.starts(lambda _: aligned, key, 1)[0],
    )  # fmt: skip


def _ending(config: Fig5Config, noisy: Paths, silent: Paths) -> Ending:
    settled = noisy.times >= config.settling
    imbalance = noisy.map(lambda W: deep_linear.imbalance(W).max())[-1]
    return Ending(noisy.student, noisy.amplitudes[settled, :, 0].T, silent.amplitudes[-1, :, 0], imbalance)


def described(endings: dict[int, Ending]) -> xr.Dataset:
    """Histograms and laws in z = (w − s)/√V, densities per unit of z."""
    variables: dict[str, Variable] = {}
    for depth, ending in endings.items():
        variables |= _laws(f"L{depth}", ending)
    coordinates = {
        "bin": variable("bin", (BINS[1:] + BINS[:-1]) / 2, "(amplitude − s) / √V, centre of the bin", "1"),
        "z": variable("z", CURVE, "(amplitude − s) / √V", "1"),
    }
    return dataset(variables, coordinates).assign_attrs(depths=list(endings))


def _laws(label: str, ending: Ending) -> dict[str, Variable]:
    s, scale = ending.singular_value, np.sqrt(ending.variance)
    z = (ending.values - s) / scale
    inside = np.stack([(z >= a) & (z < b) for a, b in pairwise(BINS)], axis=-1)
    share = ending.over_replicas(inside / np.diff(BINS))
    centre = ending.over_replicas(ending.values - s).value
    normal = lambda mean: np.exp(-((CURVE - mean / scale) ** 2) / 2) / np.sqrt(2 * np.pi)
    return measurement(f"density_{label}", "bin", share, f"density of the first mode, L = {label[1:]}", "1") | {
        f"normal_{label}": variable("z", normal(ending.shift), "normal law, mean of the network, variance (18)"),
        f"published_{label}": variable("z", normal(ending.published), "normal law centred at (17) as printed"),
        f"one_mode_{label}": variable("z", _alone(ending), "(16), one mode alone"),
        f"mean_{label}": variable("", centre, "measured mean − s", "w"),
        f"scale_{label}": variable("", scale, "square root of (18)", "w"),
        f"silent_std_{label}": variable("", ending.silent.std(), "standard deviation without label noise", "w"),
        f"imbalance_{label}": variable("", ending.imbalance.mean(), "imbalance r_l at the end, largest over l"),
    }


def _alone(ending: Ending) -> np.ndarray:
    """The density of (16) on the curve, between its nodes by straight lines of the logarithm."""
    law, scale = ending.mode.stationary(), np.sqrt(ending.variance)
    at = ending.singular_value + scale * CURVE
    return scale * np.exp(np.interp(at, np.asarray(law.points), np.asarray(law.log_density)))


def _claims(ending: Ending) -> list[Claim]:
    return [*_of_the_mean(ending), *_of_the_width(ending), *_of_the_shape(ending)]


def _of_the_mean(ending: Ending) -> list[Claim]:
    head, s, shift = f"L = {ending.student.depth}", ending.singular_value, ending.shift
    mean = evidence(ending.over_replicas(ending.values - s))
    alone = float(deep_linear.stationary_moments(s, **ending.mode.settings)[0]) - s
    error = ending.left_out * abs(shift)
    return [
        Claim.bound(f"{head}/mean below s", source("Prop. 5.2"), "mean − s is negative", **mean, expected=0.0,
                    side="at most"),
        Claim.bound(f"{head}/mean above s/published", source("Prop. 5.2"), "mean slightly above s: mean − s",
                    **mean, expected=0.0, side="at least"),
        Claim.equality(f"{head}/mean/published", source("Eq. 17"), "the law is centred at (17) as printed: mean − s",
                       **mean, expected=ending.published, resolution=abs(ending.published - shift) / 3),
        Claim.equality(f"{head}/mean", "ours", f"mean − s is the network's mean shift, up to ε = {ending.left_out:.1%}",
                       **mean, expected=shift, resolution=abs(shift) / 3, tolerance=error, published=ending.published),
        Claim.rejection(f"{head}/mean of one mode alone/control", source("Eq. 16"),
                        "not the mean of (16), which leaves out all other directions: mean − s",
                        **mean, expected=shift, rejected=alone),
    ]  # fmt: skip


def _of_the_width(ending: Ending) -> list[Claim]:
    head, V, ε = f"L = {ending.student.depth}", ending.variance, ending.left_out
    squares = ending.deviations**2 / V
    first, second = np.array_split(squares, 2, axis=1)
    drift = over_realisations(second.mean(axis=1) - first.mean(axis=1))
    width = evidence(ending.over_replicas(squares))
    return [
        Claim.equality(f"{head}/variance", source("Eq. 18"), f"variance over (18) is 1, up to ε = {ε:.1%}",
                       **width, expected=1.0, resolution=0.05, tolerance=ε),
        Claim.rejection(f"{head}/variance, σ_q the variance/control", source("Eq. 18"),
                        "not (18) with the variance of the labels read as their standard deviation",
                        **width, expected=1.0, rejected=float(ending.student.teacher.label_noise_std) ** 2),
        Claim.equality(f"{head}/quasi-stationary", source("Prop. 5.2"),
                       "the variance stays: second half of the record less the first, over (18)",
                       **evidence(drift), expected=0.0, resolution=0.1),
        Claim.bound(f"{head}/no label noise/a point", source("Prop. 5.2 (i)"),
                    f"without label noise SGD ends in a point: standard deviation below {POINT:g}",
                    measured=ending.silent.std(), standard_error=0.0, expected=POINT, side="at most"),
    ]  # fmt: skip


def _of_the_shape(ending: Ending) -> list[Claim]:
    head = f"L = {ending.student.depth}"
    moments = {"skewness": ending.standardised(3), "excess kurtosis": ending.standardised(4).map(lambda m: m - 3)}
    return [
        Claim.equality(f"{head}/{name}", source("Prop. 5.2"), f"approximately normal: {name} 0, within {NORMAL:g}",
                       **evidence(moment), expected=0.0, resolution=NORMAL, tolerance=NORMAL)
        for name, moment in moments.items()
    ]  # fmt: skip


FIG5 = register(
    Experiment(
        name="corlouer2026/fig5",
        summary="with label noise the first mode ends below its singular value, with the width of (18)",
        source=source("Fig. 5"),
        config=Fig5Config,
        presets={"quick": Fig5Config(), "paper": Fig5Config(replicas=2048, time=84.0, records=84)},
        run=run,
        figure="corlouer2026/fig5",
    )
)
