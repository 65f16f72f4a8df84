"""Fig. 2: saddle to saddle in a network of six layers, by gradient descent, SGD, and Langevin dynamics of two kinds.

    gradient descent      θ ← θ − η ∇L                        SGD       θ ← θ − η g_B(θ)
    anisotropic           dθ = −∇L dt + √(η Σ_b(θ)) dW        isotropic dθ = −∇L dt + √η dW            (1), App. H.3

Learning goes from plateau to plateau: each singular value of W = W_6 … W_1 waits, and then rises in a fraction of the
time that it has waited. The singular values of W are ordered by definition; amplitudes u_αᵀ W v_α need not cross in the
order of the s_α, because small weights are not aligned. Noise that does not vanish with the gradient, as the isotropic
one, lets all weights wander by √(η t): the last plateau is never left.

Every replica has a start of its own, the same in all four dynamics, so that ratios of times are paired.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy.stats import kendalltau

from sgdynamics import _checks
from sgdynamics.data import Teacher
from sgdynamics.experiments import _students
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._ensembles import named
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._students import Paths, Student, Weights, crossing_times
from sgdynamics.experiments._variables import dataset, measurement, variable
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.networks import DeepLinear

RISE = (0.1, 0.9)  # of its teacher's: while a singular value of W is between these, the rank increases
ONE_LAYER = float(np.log(9) / np.log(2))  # of `rise`, for w = s (1 − e^−t): no saddles
ABRUPT = 1.0  # of `rise`: a mode that takes no longer to be learned than it waits
KEPT = 0.9  # share of the runs: less than nearly all
SAME = 0.1  # relative difference of learning times that we would not call another time scale
ORDERLY = 0.3  # of Kendall's rank correlation: two of three pairs of modes in order


@dataclass(frozen=True)
class Fig2Config:
    """Loss and modes of a deep linear network under four dynamics."""

    singular_values: tuple[float, ...] = (1.0, 0.85, 0.7, 0.55, 0.4)
    """Of the teacher, descending; the paper has five and does not name them."""
    width: int = 12
    """Of inputs, outputs and hidden layers."""
    depth: int = 6
    """Layers L."""
    exponent: float = 1.5
    """γ: initial weights have variance width^−γ; six layers with the paper's 3 would take longer than anybody waits."""
    isotropic_variance: float = 0.25
    """Of the isotropic noise: covariance rate η times this, for every weight (the paper: 1, under which some replicas
    wander off to where the learning rate is too large before the others have learned the last mode)."""
    learning_rate: float = 0.005
    """Learning rate η; time t = η × step."""
    batch_size: int = 1
    """Minibatch size b."""
    substeps: int = 2
    """Of Euler-Maruyama, a learning rate."""
    replicas: int = 16
    """Of each dynamics, each from small weights of its own."""
    time: float = 250.0
    """Length of the run, in units of t."""
    records: int = 500
    """Equidistant times at which the weights are kept."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("width", "batch_size", "substeps"):
            _checks.count(name, getattr(self, name))
        for name, least in (("depth", 2), ("replicas", 2), ("records", 10)):
            _checks.count(name, getattr(self, name), least=least)
        for name in ("learning_rate", "time", "isotropic_variance", "singular_values"):
            _checks.positive(name, np.asarray(getattr(self, name)))


def run(config: Fig2Config, progress: Progress) -> Result:
    """The four dynamics from the same starts."""
    paths = _simulated(config, progress)
    spectra = {name: singular_values(path) for name, path in paths.items()}
    claims = _claims(paths, spectra)
    return Result(_data(paths, spectra), claims, {name: path.provenance for name, path in paths.items()})


def _simulated(config: Fig2Config, progress: Progress) -> dict[str, Paths]:
    key = jax.random.key(config.seed)
    teacher = Teacher.of_singular_values(
        config.singular_values, key=named(key, "teacher"), inputs=config.width, outputs=config.width
    )
    student = Student(teacher, (config.width,) * (config.depth + 1), config.learning_rate, config.batch_size)
    start = student.starts(
        lambda key: DeepLinear.small(student.widths, key=key, exponent=config.exponent), named(key, "start"),
        config.replicas,
    )  # fmt: skip
    dynamics = {
        "gradient descent": student.full_batch(),
        "SGD": student.descent(),
        "anisotropic": student.langevin(config.substeps),
        "isotropic": student.langevin(config.substeps, student.isotropic(config.isotropic_variance)),
    }
    options = {"key": key, "replicas": config.replicas, "time": config.time, "records": config.records}
    return {
        name: _students.run(student, process, progress, name, initial=start, **options)
        for name, process in dynamics.items()
    }


def singular_values(paths: Paths) -> np.ndarray:
    """Of W, descending [records, replicas, width]."""
    return paths.map(_spectrum)


def _spectrum(W: Weights) -> jax.Array:
    return jnp.linalg.svd(DeepLinear.of(W).matrix(), compute_uv=False)


def learned(paths: Paths, spectra: np.ndarray, share: float = 0.5) -> np.ndarray:
    """When the singular values of W first reach `share` of the teacher's [replicas, modes]."""
    s = paths.student.singular_values
    return crossing_times(paths.times, spectra[..., : len(s)], share * s)


def rise(paths: Paths, spectra: np.ndarray) -> np.ndarray:
    """How long singular values of W take from 10 % to 90 % of the teacher's, over when they reach half of it; the mean
    over those that do [replicas]. Small where they leave a saddle, 3.2 for the exponential approach of one layer."""
    begun, half, done = (learned(paths, spectra, share) for share in (RISE[0], 0.5, RISE[1]))
    return np.nanmean((done - begun) / half, axis=1)


def _data(paths: dict[str, Paths], spectra: dict[str, np.ndarray]) -> xr.Dataset:
    first = next(iter(paths.values()))
    every = max(1, len(first.times) // 500)
    variables = {}
    for name, path in paths.items():
        label = name.replace(" ", "_")
        loss = over_realisations(path.loss[::every].T)
        variables |= measurement(f"loss_{label}", "time", loss, f"population loss, {name}", "y²")
        # of one replica, as the paper shows it: the mean over starts would blur the steps
        variables[f"one_loss_{label}"] = variable("time", path.loss[::every, 0], f"loss, replica 0, {name}", "y²")
        modes = path.amplitudes[::every, 0]
        variables[f"one_modes_{label}"] = variable(("time", "mode"), modes, f"amplitudes, replica 0, {name}", "w")
    coordinates = {
        "time": variable("time", first.times[::every], "time, learning rate × step", "t"),
        "mode": variable("mode", first.student.singular_values, "singular value of the mode", "w"),
    }
    return dataset(variables, coordinates)


def _claims(paths: dict[str, Paths], spectra: dict[str, np.ndarray]) -> list[Claim]:
    claims = [claim for name in ("gradient descent", "SGD", "anisotropic") for claim in _staged(name, paths, spectra)]
    flow = learned(paths["gradient descent"], spectra["gradient descent"])
    for name in ("SGD", "anisotropic"):
        ratio = over_realisations((_finite(name, learned(paths[name], spectra[name])) / flow).mean(axis=1))
        claims.append(
            Claim.equality(
                f"{name}/time scale", source("Fig. 2(d), which has SGD slower; ours"),
                f"noise changes the times to learn by less than {SAME:.0%}: over gradient descent's, mean over modes",
                **evidence(ratio), expected=1.0, resolution=SAME, tolerance=SAME,
            )
        )  # fmt: skip
    return [
        *claims,
        Claim.rejection(
            "isotropic/all is learned/control", source("Fig. 2(b)"),
            "under isotropic noise the loss does not go to 0: at the end, mean over replicas",
            **evidence(over_realisations(paths["isotropic"].loss[-1])), rejected=0.0, resolution=0.02,
        ),
    ]  # fmt: skip


def _staged(name: str, paths: dict[str, Paths], spectra: dict[str, np.ndarray]) -> list[Claim]:
    path, spectrum = paths[name], spectra[name]
    crossed = _finite(name, crossing_times(path.times, path.amplitudes, 0.5 * path.student.singular_values))
    ordered = (np.diff(crossed, axis=1) > 0).all(axis=1).astype(float)
    correlation = np.array([kendalltau(np.arange(len(times)), times).statistic for times in crossed])
    return [
        Claim.bound(
            f"{name}/from saddle to saddle", source("Fig. 2"),
            "singular values of W wait, then rise at once: time from 10 % to 90 % over the time to one half, mean over "
            f"modes, at most {ABRUPT:g}",
            **evidence(over_realisations(rise(path, spectrum))), expected=ABRUPT, side="at most",
        ),
        Claim.rejection(
            f"{name}/as one layer/control", source("Fig. 2"), "not as the exponential approach of one layer has it",
            **evidence(over_realisations(rise(path, spectrum))), rejected=ONE_LAYER, resolution=1.0,
        ),
        Claim.bound(
            f"{name}/order", source("Fig. 2(c), (d)"),
            f"modes are learned in the order of their singular values by and large: Kendall's τ, at least {ORDERLY:g}",
            **evidence(over_realisations(correlation)), expected=ORDERLY, side="at least",
        ),
        Claim.bound(
            f"{name}/not in every run", source("Fig. 2(c), (d); ours"),
            "but weights are not aligned, and their amplitudes do not reach s/2 in that order in every run: share, at "
            f"most {KEPT:g}",
            **evidence(over_realisations(ordered)), expected=KEPT, side="at most",
        ),
    ]  # fmt: skip


def _finite(name: str, times: np.ndarray) -> np.ndarray:
    if np.isnan(times).any():
        raise ValueError(
            f"{int(np.isnan(times).sum())} modes of {name} were not learned within the run. Give it more time."
        )
    return times


FIG2 = register(
    Experiment(
        name="corlouer2026/fig2",
        summary="saddle to saddle in six layers: gradient descent, SGD, and two kinds of Langevin dynamics",
        source=source("Fig. 2"),
        config=Fig2Config,
        presets={"quick": Fig2Config(), "paper": Fig2Config(replicas=128)},
        run=run,
        figure="corlouer2026/fig2",
    )
)
