"""Paths of two-layer students under SGD, and what is taken from each of them.

A mode counts as learned at 95 % of its plateau, the mean amplitude over
the last tenth of the run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.stats import spearmanr

import sgdynamics as sgd
from sgdynamics._types import PRNGKey
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._ensembles import named
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._students import crossing_times
from sgdynamics.experiments.beyond._two_layer import Student
from sgdynamics.samplers import Online
from sgdynamics.statistics import Estimate, Snapshots

LEARNED = 0.95  # of its plateau: a mode counts as learned
LEVELS = np.linspace(0.05, 0.9, 18)  # of the singular value, at which the diffusion is compared
HALF = 9  # the level ½


@dataclass(frozen=True)
class Paths:
    """Replicas at `times` [records], in units of t; `positions` [records, replicas, parameters].

    Variances over examples are taken over `examples` of them, drawn anew for every replica: their sampling error is
    in the scatter of the replicas.
    """

    student: Student
    times: np.ndarray
    positions: np.ndarray
    examples: int
    key: PRNGKey
    provenance: dict[str, Any]

    @property
    def amplitudes(self) -> np.ndarray:
        """w_α [records, replicas, modes]."""
        return self._observed[0]

    @property
    def diffusion(self) -> np.ndarray:
        """D_α from per-example gradients [records, replicas, modes]."""
        return self._observed[1]

    @property
    def label_noise_factor(self) -> np.ndarray:
        """D_α at the end, over what it were if residuals were independent of inputs [replicas, modes]."""
        return self.diffusion[-1] / self._observed[2][0]

    @cached_property
    def linear_diffusion(self) -> np.ndarray:
        """D_α of `theory.deep_linear` at the same weights [records, replicas, modes]."""
        return self._of_replicas(lambda θ, key: jax.vmap(self.student.linear_diffusion)(θ))

    @cached_property
    def _observed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Amplitudes, diffusion, and at the end the diffusion of independent residuals; one program."""

        def one(θ: Float[Array, "records parameters"], key: PRNGKey) -> tuple[Array, Array, Array]:
            examples, student = self.student.teacher.sample(key, self.examples), self.student
            diffusion = jax.lax.map(lambda θ: student.diffusion(θ, examples), θ)
            return jax.vmap(student.amplitudes)(θ), diffusion, student.independent_diffusion(θ[-1], examples)[None]

        return self._of_replicas(one)

    def _of_replicas(self, function: Callable) -> Any:
        """Arrays that `function` makes of each replica's path and key [records, replicas, ...]."""
        positions = jnp.moveaxis(jnp.asarray(self.positions, float), 1, 0)
        keys = jax.random.split(named(self.key, "examples"), len(positions))
        values = once(lambda θ, keys: jax.lax.map(lambda pair: function(*pair), (θ, keys)))(positions, keys)
        return jax.tree.map(lambda array: np.moveaxis(np.asarray(array), 0, 1), values)


def run(
    student: Student, progress: Progress, *, key: PRNGKey, replicas: int, time: float, records: int, examples: int,
    initial: Float[Array, "replicas parameters"],
) -> Paths:  # fmt: skip
    """SGD from given weights, kept at the start and at `records` later times."""
    every = max(1, round(time / student.learning_rate / records))
    steps = every * np.arange(records + 1)
    descent = sgd.SGD(student.problem, learning_rate=student.learning_rate, sampler=Online(student.batch_size))
    ensemble = _ensembles.simulate(
        descent, Snapshots(tuple(steps.tolist()), allow_large=True), progress, f"SGD, {student.activation}", key=key,
        replicas=replicas, steps=every * records, every=every,
        initial=initial,
    )  # fmt: skip
    if ensemble.diverged:
        raise ValueError(f"{ensemble.diverged} replicas of {student.activation} diverged: lower learning_rate.")
    positions = np.asarray(ensemble.estimates.values)
    return Paths(student, steps * student.learning_rate, positions, examples, key, ensemble.provenance)


# --- what is taken from each path -----------------------------------------------------------------------------


def plateaus(paths: Paths) -> np.ndarray:
    """Amplitudes over the last tenth of the run [replicas, modes]."""
    return paths.amplitudes[-(len(paths.times) // 10) :].mean(axis=0)


def learning_times(paths: Paths) -> np.ndarray:
    """When each mode is learned [replicas, modes]."""
    times = crossing_times(paths.times, paths.amplitudes, LEARNED * plateaus(paths).mean(axis=0))
    if np.isnan(times).any():
        raise ValueError(f"{paths.student.activation}: {np.isnan(times).sum()} modes were not learned: raise time.")
    return times


def peak_fractions(paths: Paths) -> np.ndarray:
    """Amplitude at the peak of each path's diffusion, over its plateau [replicas, modes]."""
    top = np.argmax(paths.diffusion, axis=0)
    return np.take_along_axis(paths.amplitudes, top[None], axis=0)[0] / plateaus(paths).mean(axis=0)


def remaining(paths: Paths) -> np.ndarray:
    """Diffusion over the last tenth of the run, over its peak [replicas, modes]."""
    return tenth(paths, 1.0) / paths.diffusion.max(axis=0)


def profiles(paths: Paths) -> np.ndarray:
    """D_α where a path first reaches the LEVELS of s_α, over the peak of (7), β s_α⁴/2 [replicas, levels, modes]."""
    s = paths.student.singular_values
    at = np.stack([crossing_times(paths.times, paths.amplitudes, level * s) for level in LEVELS], axis=1)
    if np.isnan(at).any():
        raise ValueError(f"{paths.student.activation}: a mode does not reach {LEVELS[-1]:g} of s: raise time.")
    peak = paths.student.temperature * s**4 / 2
    values = np.empty_like(at)
    for replica, mode in np.ndindex(at.shape[0], at.shape[2]):
        D = paths.diffusion[:, replica, mode] / peak[mode]
        values[replica, :, mode] = np.interp(at[replica, :, mode], paths.times, D)
    return values


def rank_correlation(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Spearman's, over replicas, mean over modes; jackknife. `first` and `second` are [replicas, modes]."""
    everyone = np.arange(len(first))
    of = lambda kept: float(np.mean([_spearman(first[kept, α], second[kept, α]) for α in range(first.shape[1])]))
    without = np.array([of(np.delete(everyone, r)) for r in everyone])
    return over_realisations(len(first) * of(everyone) - (len(first) - 1) * without)


def tenth(paths: Paths, end: float) -> np.ndarray:
    """Diffusion over the tenth of the run that ends at the fraction `end` of it [replicas, modes]."""
    last = round(end * len(paths.times))
    return paths.diffusion[last - len(paths.times) // 10 : last].mean(axis=0)


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    result: Any = spearmanr(first, second)  # SciPy's annotations do not know its attributes
    return float(result.statistic)
