"""Deep linear networks that learn a teacher: what the figures of Corlouer et al. share (App. H).

A run keeps the weights of every replica at equidistant times (`Paths`); what is asked of them, mode amplitudes,
diffusion, balance, is computed afterwards, in 64 bits, by `theory.deep_linear`. Replicas are independent, so that
numbers taken from each path have honest errors (`_realisations.over_realisations`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics._types import PRNGKey
from sgdynamics.data import Teacher
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.networks import DeepLinear
from sgdynamics.noise import AbstractNoise
from sgdynamics.samplers import FullBatch, Online
from sgdynamics.statistics import Snapshots
from sgdynamics.theory import deep_linear

Weights = tuple[jax.Array, ...]


@dataclass(frozen=True)
class Student:
    """A network of `widths` that learns a teacher online, with learning rate η and batch size b."""

    teacher: Teacher
    widths: tuple[int, ...]
    learning_rate: float
    batch_size: int = 1

    @property
    def depth(self) -> int:
        return len(self.widths) - 1

    @property
    def modes(self) -> int:
        """How many there are to learn."""
        return len(self.singular_values)

    @property
    def temperature(self) -> float:
        """β = η/b."""
        return self.learning_rate / self.batch_size

    @cached_property
    def singular_values(self) -> np.ndarray:
        """Of the modes there are to learn, descending [modes]; zeros left out."""
        s = np.linalg.svd(np.asarray(self.teacher.matrix), compute_uv=False)
        return s[s > 1e-9 * s[0]]

    @cached_property
    def problem(self) -> sgd.Problem:
        return sgd.Problem(DeepLinear(self.widths, key=jax.random.key(0)), self.teacher)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """As the functions of `theory.deep_linear` take them."""
        noise = float(self.teacher.label_noise_std)
        return {"learning_rate": self.learning_rate, "batch_size": self.batch_size, "label_noise_std": noise}

    def descent(self) -> sgd.SGD:
        """Online SGD."""
        return sgd.SGD(self.problem, learning_rate=self.learning_rate, sampler=Online(self.batch_size))

    def full_batch(self) -> sgd.SGD:
        """Gradient descent on the population loss."""
        return sgd.SGD(self.problem, learning_rate=self.learning_rate, sampler=FullBatch())

    def langevin(self, substeps: int, noise: AbstractNoise | None = None) -> sgd.Langevin:
        """The SDE (1), with the exact state-dependent noise unless told."""
        return sgd.Langevin(
            self.problem, learning_rate=self.learning_rate, sampler=Online(self.batch_size), substeps=substeps,
            noise=noise,
        )  # fmt: skip

    def isotropic(self, variance: float) -> AbstractNoise:
        """C = variance · 1: plain Langevin dynamics."""
        return sgd.noise.Isotropic(self.problem.parameters.shape[0], variance)

    def starts(self, network: Callable[[PRNGKey], DeepLinear], key: PRNGKey, replicas: int) -> jax.Array:
        """θ [replicas, parameters] of independently drawn networks: `network(key)`, as `DeepLinear.small` draws."""
        one = lambda key: jnp.concatenate([W.reshape(-1) for W in network(key).weights])
        return once(jax.vmap(one))(jax.random.split(key, replicas))

    def weights(self, θ: jax.Array) -> Weights:
        """The layers of one flat parameter vector."""
        return self.problem.unflatten(θ).weights


@dataclass(frozen=True)
class Paths:
    """The replicas of one ensemble at `times` [records], in units of t; `positions` [records, replicas, parameters]."""

    student: Student
    times: np.ndarray
    positions: np.ndarray
    provenance: dict[str, Any]

    def map(self, function: Callable[..., jax.Array], *arguments: Any) -> np.ndarray:
        """`function(layers, *arguments)` at every record of every replica [records, replicas, ...].

        A function that is defined once, and not anew for each call, is compiled once for all paths of the same shape.
        """
        return np.asarray(_mapped(function, self.student.problem, arguments, jnp.asarray(self.positions)))

    @cached_property
    def amplitudes(self) -> np.ndarray:
        """w_α of the modes there are to learn [records, replicas, modes]."""
        return np.diagonal(self.cross_amplitudes, axis1=-2, axis2=-1)[..., : self.student.modes]

    @cached_property
    def cross_amplitudes(self) -> np.ndarray:
        """u_αᵀ W v_γ of all pairs, absent modes included [records, replicas, modes, modes]."""
        return self.map(deep_linear.cross_mode_amplitudes, self.student.teacher.matrix)

    @cached_property
    def diffusion(self) -> np.ndarray:
        """D_α by its definition (Prop. 3.3), off the balanced manifold too [records, replicas, modes]."""
        every = self.map(_diffusion, self.student.teacher, *map(jnp.asarray, self.student.hyperparameters.values()))
        return every[..., : self.student.modes]

    @cached_property
    def loss(self) -> np.ndarray:
        """The population loss [records, replicas]."""
        return self.map(_loss, self.student.teacher)


@once
def _mapped(
    function: Callable[..., jax.Array], problem: sgd.Problem, arguments: tuple[Any, ...], positions: jax.Array
) -> jax.Array:
    one = lambda θ: function(problem.unflatten(θ.astype(float)).weights, *arguments)
    return jax.lax.map(jax.vmap(one), positions)


def _diffusion(W: Weights, teacher: Teacher, η: jax.Array, b: jax.Array, σ: jax.Array) -> jax.Array:
    D = deep_linear.mode_diffusion(W, teacher.matrix, learning_rate=η, batch_size=b, label_noise_std=σ)
    return jnp.diagonal(D)


def _loss(W: Weights, teacher: Teacher) -> jax.Array:
    return teacher.population_loss(DeepLinear.of(W).matrix())


def run(
    student: Student, dynamics: Any, progress: Progress, label: str, *, key: PRNGKey, replicas: int, time: float,
    records: int, initial: Any, dtype: Any = None,
) -> Paths:  # fmt: skip
    """`replicas` of a dynamics for about `time` units of t, kept at the start and at `records` later times."""
    every = max(1, round(time / student.learning_rate / records))
    steps = every * np.arange(records + 1)
    ensemble = _ensembles.simulate(
        dynamics, Snapshots(tuple(steps.tolist()), allow_large=True), progress, label, key=key, replicas=replicas,
        steps=every * records, every=every, initial=initial, dtype=dtype,
    )  # fmt: skip
    positions = np.asarray(ensemble.estimates.values)
    if ensemble.diverged:
        raise ValueError(f"{ensemble.diverged} replicas of {label} diverged: lower learning_rate.")
    return Paths(student, steps * student.learning_rate, positions, ensemble.provenance)


def crossing_times(times: np.ndarray, values: np.ndarray, level: np.ndarray | float) -> np.ndarray:
    """When each path first reaches `level`, between records by a straight line [replicas, ...]; nan where never.

    `values` are [records, replicas, ...], `level` broadcasts against their last axes.
    """
    beyond = values >= level
    first = np.argmax(beyond, axis=0)
    after = np.take_along_axis(values, first[None], axis=0)[0]
    before = np.take_along_axis(values, np.maximum(first - 1, 0)[None], axis=0)[0]
    rise = np.where(after > before, after - before, 1.0)
    share = np.where(first > 0, (level - before) / rise, 1.0)
    reached = times[np.maximum(first - 1, 0)] + share * (times[first] - times[np.maximum(first - 1, 0)])
    return np.where(beyond.any(axis=0), reached, np.nan)


def peak_times(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """When each path is highest, by a parabola through the highest record and its neighbours [replicas, ...].

    `times` are equidistant; a maximum at an end is that end.
    """
    top = np.argmax(values, axis=0)
    inside = np.clip(top, 1, len(times) - 2)
    before, at, after = (np.take_along_axis(values, (inside + j)[None], axis=0)[0] for j in (-1, 0, 1))
    curvature = before - 2 * at + after
    shift = np.where(curvature < 0, (before - after) / np.where(curvature < 0, 2 * curvature, 1.0), 0.0)
    return np.where(top == inside, times[inside] + shift * (times[1] - times[0]), times[top])
