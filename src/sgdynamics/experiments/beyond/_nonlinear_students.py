"""What of the linear theory survives in a two-layer tanh or relu network (future work of Corlouer et al., Sec. 6).

Three students of one linear teacher, alike but for their activation (`_two_layer`: amplitudes of the function, and
diffusion from per-example gradients), start from small weights, other weights for every replica:

    identity    the check: D_α must be that of `theory.deep_linear`, and vanish in the end
    tanh        makes the teacher's linear map nearly, never exactly: what is left of the error keeps D_α up
    relu        can make it, by pairs of units; it makes the pairs exact slowly

For two layers the linear theory (9), from balanced and aligned weights, has D_α highest at w = s/2. A mode counts as
learned at 95 % of its plateau, the mean amplitude over the last tenth of the run.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from sgdynamics import _checks
from sgdynamics.data import Teacher
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._ensembles import named
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._students import peak_times
from sgdynamics.experiments._variables import dataset, measurement, variable
from sgdynamics.experiments.beyond import _two_layer_paths
from sgdynamics.experiments.beyond._two_layer import ACTIVATIONS, Student, small_weights
from sgdynamics.experiments.beyond._two_layer_paths import (
    HALF,
    LEVELS,
    Paths,
    learning_times,
    peak_fractions,
    plateaus,
    profiles,
    rank_correlation,
    remaining,
    tenth,
)
from sgdynamics.statistics import Estimate

WITHIN = 0.05  # of a mode: how near to (9), derived for aligned weights, the diffusion must peak from small ones
FUTURE = "beyond Corlouer et al. (2026), Sec. 6"


@dataclass(frozen=True)
class NonlinearStudentsConfig:
    """Modes and their diffusion in two-layer networks with and without nonlinearity, under online SGD."""

    singular_values: tuple[float, ...] = (1.0, 0.7, 0.4)
    """Of the teacher, descending."""
    width: int = 12
    """Of inputs and outputs."""
    hidden: int = 24
    """Units of the hidden layer; relu needs two for each mode."""
    exponent: float = 3.0
    """γ: initial weights have variance width^−γ."""
    learning_rate: float = 0.01
    """Learning rate η; time t = η × step."""
    batch_size: int = 1
    """Minibatch size b."""
    replicas: int = 24
    """SGD replicas of each student."""
    time: float = 40.0
    """Length of the run, in units of t."""
    records: int = 100
    """Equidistant times at which the weights are kept."""
    examples: int = 500
    """Of each replica's sample, over which the variance of per-example gradients is taken."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("width", "hidden", "batch_size"):
            _checks.count(name, getattr(self, name))
        _checks.count("replicas", self.replicas, least=4)
        _checks.count("records", self.records, least=20)
        _checks.count("examples", self.examples, least=100)
        for name in ("learning_rate", "time"):
            _checks.positive(name, getattr(self, name))
        _checks.finite("exponent", np.asarray(self.exponent))
        s = _checks.positive("singular_values", np.asarray(self.singular_values))
        if len(s) < 2 or np.any(np.diff(s) >= 0):
            raise ValueError(f"singular_values = {self.singular_values}, but it must be two or more, descending.")
        if self.hidden < 2 * len(s):
            raise ValueError(f"hidden = {self.hidden}, but relu needs two units for each of the {len(s)} modes.")


def run(config: NonlinearStudentsConfig, progress: Progress) -> Result:
    """The three students, from the same starts."""
    key = jax.random.key(config.seed)
    teacher = Teacher.of_singular_values(
        config.singular_values, key=named(key, "teacher"), inputs=config.width, outputs=config.width
    )
    initial = small_weights(teacher, config.hidden, config.exponent, named(key, "starts"), config.replicas)
    paths = {
        activation: _two_layer_paths.run(
            Student(teacher, config.hidden, activation, config.learning_rate, config.batch_size), progress, key=key,
            replicas=config.replicas, time=config.time, records=config.records, examples=config.examples,
            initial=initial,
        )
        for activation in ACTIVATIONS
    }  # fmt: skip
    claims = [claim for activation, path in paths.items() for claim in _common(activation, path)]
    claims += _identity(paths["identity"]) + _residuals(paths["tanh"], paths["relu"])
    ensembles = {f"SGD, {activation}": path.provenance for activation, path in paths.items()}
    return Result(_data(paths), claims, ensembles)


# --- claims ---------------------------------------------------------------------------------------------------


def _common(activation: str, paths: Paths) -> list[Claim]:
    """What holds for all students."""
    learned, peaks = learning_times(paths), peak_times(paths.times, paths.diffusion)
    gap, lead = over_realisations(np.diff(learned, axis=1)), over_realisations(learned - peaks)
    reached = over_realisations(plateaus(paths) / paths.student.singular_values)
    fraction = evidence(over_realisations(peak_fractions(paths).mean(axis=1)))
    return [
        Claim.bound(
            f"{activation}/teacher learned", FUTURE, "all of each mode is learned: plateau over s, in the worst mode",
            **evidence(reached.map(lambda ratio: ratio[int(np.argmin(reached.value))])), expected=0.9, side="at least",
        ),
        Claim.bound(
            f"{activation}/one after the other", FUTURE,
            "modes are learned in the order of singular values: the shortest of the times between two",
            **evidence(gap.map(lambda gaps: gaps[int(np.argmin(gap.value))])), expected=0.0, side="at least",
        ),
        Claim.bound(
            f"{activation}/peak before learned", FUTURE,
            "the diffusion along a mode peaks before the mode is learned: the shortest lead, in units of t",
            **evidence(lead.map(lambda times: times[int(np.argmin(lead.value))])), expected=0.0, side="at least",
        ),
        Claim.equality(
            f"{activation}/amplitude at the peak", FUTURE,
            f"amplitude at the peak over the plateau, mean over modes, within {WITHIN:g} of (9) for two layers",
            **fraction, expected=0.5, resolution=WITHIN, tolerance=WITHIN,
        ),
        Claim.rejection(
            f"{activation}/amplitude at the peak of eight layers/control", FUTURE,
            "not where (9) puts the peak for eight layers, 2 (L − 1)/(3 L − 2)",
            **fraction, expected=0.5, rejected=7 / 11,
        ),
        Claim.bound(
            f"{activation}/peak tells learning", FUTURE,
            "rank correlation over starts of peak time and learning time, mean over modes",
            **evidence(rank_correlation(peaks, learned)), expected=0.0, side="at least",
        ),
    ]  # fmt: skip


def _identity(paths: Paths) -> list[Claim]:
    """The check of the method: the linear network, whose diffusion is known."""
    ratio = evidence(over_realisations((paths.diffusion.sum(axis=0) / paths.linear_diffusion.sum(axis=0)).mean(axis=1)))
    return [
        Claim.equality(
            "identity/per-example gradients", "Prop. 3.3",
            "diffusion from per-example gradients over the closed form at the same weights, summed over the run",
            **ratio, expected=1.0, resolution=0.1,
        ),
        Claim.rejection(
            "identity/half the data term/control", "Prop. 3.2",
            "not half of it, as it would be for aligned weights without the commutation matrix in the noise",
            **ratio, expected=1.0, rejected=0.5,
        ),
        Claim.bound(
            "identity/nothing left", "Prop. 3.3", "diffusion in the end over its peak, in the worst mode",
            **evidence(over_realisations(remaining(paths).max(axis=1))), expected=1e-3, side="at most",
        ),
    ]  # fmt: skip


def _residuals(tanh: Paths, relu: Paths) -> list[Claim]:
    """What the error that a nonlinear student keeps does to the diffusion."""
    claims = []
    for paths, least in ((tanh, 0.02), (relu, 0.002)):
        left = over_realisations(remaining(paths))
        claims.append(
            Claim.bound(
                f"{paths.student.activation}/diffusion left", FUTURE,
                f"not all of the teacher can be, or has been, learned: diffusion in the end at least {least:g} of its "
                "peak, in the mode where it is least",
                **evidence(left.map(lambda ratio, left=left: ratio[int(np.argmin(left.value))])),
                expected=least, side="at least",
            )
        )  # fmt: skip
    independent = over_realisations(tanh.label_noise_factor.mean(axis=1))
    height = over_realisations(profiles(relu)[:, HALF].mean(axis=1))
    falling = over_realisations(tenth(relu, 1.0) / tenth(relu, 0.5))
    return [
        *claims,
        Claim.bound(
            "relu/still falling", FUTURE,
            "the pairs are made exact slowly: diffusion in the end over that at half the time, in the slowest mode",
            **evidence(falling.map(lambda ratio: ratio[int(np.argmax(falling.value))])), expected=0.8, side="at most",
        ),
        Claim.rejection(
            "tanh/residual as label noise/control", FUTURE,
            "the residual depends on the input: it makes more diffusion in the end than label noise of its "
            "covariance would, here over there, mean over modes",
            **evidence(independent), rejected=1.0, resolution=0.5,
        ),
        Claim.bound(
            "relu/less than a quarter", "Eq. 7, pairs of relu units",
            "diffusion at w = s/2 over that of (7) for the linear network, mean over modes: the quarter of equal pairs "
            "at most",
            **evidence(height), expected=0.25, side="at most",
        ),
    ]  # fmt: skip


# --- data -----------------------------------------------------------------------------------------------------


def _data(paths: dict[str, Paths]):
    first = paths["identity"]
    s, every = first.student.singular_values, lambda function: _stacked(paths, function)
    axes, path = ("student", "mode"), ("student", "time", "mode")
    by_replica = lambda array: np.moveaxis(array, 1, 0)
    learned, lead = "time when the mode is learned", "time from the peak to then"
    x = np.linspace(0, 1, 101)
    variables = (
        measurement("amplitudes", path, every(lambda p: by_replica(p.amplitudes)), "amplitude of the mode", "w")
        | measurement("diffusion", path, every(lambda p: by_replica(p.diffusion)), "diffusion along the mode", "w²/t")
        | measurement("profile", ("student", "level", "mode"), every(profiles), "diffusion over the peak of (7)")
        | measurement("plateau", axes, every(plateaus), "amplitude in the end", "w")
        | measurement("learning_time", axes, every(learning_times), learned, "t")
        | measurement("lead", axes, every(lambda p: learning_times(p) - peak_times(p.times, p.diffusion)), lead, "t")
        | measurement("peak_fraction", axes, every(peak_fractions), "amplitude at the peak over the plateau")
        | measurement("remaining", axes, every(remaining), "diffusion in the end over its peak")
        | measurement("label_noise_factor", axes, every(lambda p: p.label_noise_factor),
                      "diffusion in the end over that of independent residuals")
        | {
            "closed_form": variable(("time", "mode"), first.linear_diffusion.mean(axis=1),
                                    "closed form at the identity's weights, mean", "w²/t"),
            "formula": variable("fraction", 16 * x**2 * (1 - x) ** 2, "(7) over its peak"),
        }
    )  # fmt: skip
    coordinates = {
        "student": variable("student", list(paths), "activation"),
        "time": variable("time", first.times, "time, learning rate × step", "t"),
        "mode": variable("mode", s, "singular value of the mode", "w"),
        "level": variable("level", LEVELS, "amplitude over the singular value, of the measured profile"),
        "fraction": variable("fraction", x, "amplitude over the singular value"),
    }
    return dataset(variables, coordinates)


def _stacked(paths: dict[str, Paths], function: Callable[[Paths], np.ndarray]) -> Estimate:
    """The mean over replicas for every student, [students, ...]; replicas of students are paired."""
    return over_realisations(np.stack([function(one) for one in paths.values()], axis=1))


NONLINEAR_STUDENTS = register(
    Experiment(
        name="beyond/nonlinear_students",
        summary="tanh and relu students of a linear teacher: stages, peaks of the diffusion, and what is left of it",
        source=FUTURE,
        config=NonlinearStudentsConfig,
        presets={
            "quick": NonlinearStudentsConfig(),
            "paper": NonlinearStudentsConfig(replicas=128, records=200, learning_rate=0.005, examples=1000),
        },
        run=run,
        figure="beyond/nonlinear_students",
    )
)
