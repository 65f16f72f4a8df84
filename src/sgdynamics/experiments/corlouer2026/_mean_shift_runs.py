"""Ensembles around the balanced minimum of a deep linear network with label noise, and their limit of small steps.

    y(η) = (⟨w_α⟩ − s_α)/(β σ²)         and         Var w_α / V_α,    V_α = (β L/2) σ² s_α^{2−2/L},

averages over a window of fixed length in t, have corrections of relative order η: of the formulas, of SGD's finite
steps, of what the flat directions do within the window. A straight line in η leads to the limit; the error of y is
that of a mean of correlated amplitudes, ∝ √β/β, so that values weigh as η.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgdynamics.data import Teacher
from sgdynamics.dynamics import ItoProcess
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._students import Student
from sgdynamics.networks import DeepLinear
from sgdynamics.statistics import Estimate, Mean, Variance
from sgdynamics.theory import deep_linear

EVERY = 5  # steps between records: few against a relaxation time


@dataclass(frozen=True)
class Window:
    """From where to where averages are taken, in units of t, and over how many replicas."""

    burn_in: float
    length: float
    replicas: int
    groups: int


@dataclass(frozen=True)
class Measured:
    """What one ensemble shows: mean and variance of the amplitudes, and r_l (33) at the end."""

    student: Student
    mean: Estimate
    variance: Estimate
    imbalance: Estimate
    provenance: dict[str, Any]

    @property
    def shift(self) -> Estimate:
        """(⟨w_α⟩ − s_α)/(β σ²), the mean over the modes."""
        student = self.student
        scale = student.temperature * float(student.teacher.label_noise_std) ** 2
        return self.mean.map(lambda w: jnp.mean(w - student.singular_values) / scale)

    @property
    def spread(self) -> Estimate:
        """Var w_α / V_α, the mean over the modes."""
        student = self.student
        law = deep_linear.stationary_expansion(
            student.singular_values, depth=student.depth, **student.hyperparameters
        )  # fmt: skip
        return self.variance.map(lambda v: jnp.mean(v / law.variance))


class Amplitudes(eqx.Module):
    """The observable w_α = u_αᵀ W v_α, of the modes there are to learn."""

    problem: Any
    left: Float[Array, "outputs modes"]
    right: Float[Array, "inputs modes"]

    @staticmethod
    def of(student: Student) -> "Amplitudes":
        U, _, Vt = np.linalg.svd(np.asarray(student.teacher.matrix))
        return Amplitudes(student.problem, jnp.asarray(U[:, : student.modes]), jnp.asarray(Vt[: student.modes].T))

    def __call__(self, state: Any) -> Float[Array, " modes"]:
        W = self.problem.unflatten(state.position).matrix()
        return jnp.sum(self.left * (W @ self.right), axis=0)


def student(s: tuple[float, ...], width: int, depth: int, label_noise_std: float, step: float, key) -> Student:
    """A square network, its learning rate in units of 1/(L s_1^{2−2/L} (d + 2)), half that at which SGD diverges."""
    teacher = Teacher.of_singular_values(s, key=key, inputs=width, outputs=width, label_noise_std=label_noise_std)
    return Student(teacher, (width,) * (depth + 1), step / (depth * max(s) ** (2 - 2 / depth) * (width + 2)))


def network(student: Student, dynamics: Any, window: Window, progress: Progress, label: str, key) -> Measured:
    """All replicas start at the same balanced minimum."""
    of, η = Amplitudes.of(student), student.learning_rate
    aligned = DeepLinear.aligned(student.teacher.matrix, student.singular_values, student.widths, key=key)
    ensemble = _ensembles.simulate(
        dynamics, {"mean": Mean(of=of), "variance": Variance(of=of)}, progress, label, key=key,
        replicas=window.replicas, groups=window.groups, burn_in=round(window.burn_in / η),
        steps=EVERY * round(window.length / η / EVERY), every=EVERY,
        initial=np.concatenate([np.ravel(W) for W in aligned.weights]),
    )  # fmt: skip
    return Measured(
        student, **_estimates(ensemble, label), imbalance=largest_imbalance(student, ensemble.state.position)
    )


def one_mode(student: Student, substeps: int, window: Window, progress: Progress, label: str, key) -> Measured:
    """The one-mode SDE of every mode, each without the others; in float64, as the theory's formulas are."""
    s, settings = student.singular_values, {"depth": student.depth, **student.hyperparameters}
    alone = lambda function, w: function(w[:, None], s[:, None], **settings)[:, 0]
    process = ItoProcess(
        lambda _, w: alone(deep_linear.modewise_drift, w),
        lambda _, w: jnp.sqrt(alone(deep_linear.modewise_diffusion, w)),
        initial=s, time_step=student.learning_rate, substeps=substeps,
    )  # fmt: skip
    ensemble = _ensembles.simulate(
        process, {"mean": Mean(), "variance": Variance()}, progress, label, key=key, dtype=jnp.float64,
        replicas=window.replicas, groups=window.groups, burn_in=round(window.burn_in / student.learning_rate),
        steps=EVERY * round(window.length / student.learning_rate / EVERY), every=EVERY,
    )  # fmt: skip
    return Measured(student, **_estimates(ensemble, label), imbalance=over_realisations(np.zeros(2)))


def _estimates(ensemble: Any, label: str) -> dict[str, Any]:
    if ensemble.diverged:
        raise ValueError(f"{ensemble.diverged} replicas of {label} diverged: lower steps.")
    return {**ensemble.estimates, "provenance": ensemble.provenance}


def largest_imbalance(student: Student, positions: Array) -> Estimate:
    """The largest r_l of (33), the mean over replicas; in NumPy, with nothing to compile."""
    layers = np.split(np.asarray(positions, float), np.cumsum(_sizes(student.widths))[:-1], axis=1)
    W = [W.reshape(-1, b, a) for W, (a, b) in zip(layers, pairwise(student.widths), strict=True)]
    grams = [(A @ A.swapaxes(1, 2), B.swapaxes(1, 2) @ B) for A, B in pairwise(W)]
    norm = lambda M: np.linalg.norm(M, axis=(1, 2))
    each = np.stack([norm(P - Q) / (norm(P) + norm(Q)) for P, Q in grams])
    return over_realisations(each[np.argmax(each.mean(axis=1))])


def _sizes(widths: tuple[int, ...]) -> list[int]:
    return [a * b for a, b in pairwise(widths)]


def limit(x: np.ndarray, estimates: list[Estimate]) -> tuple[Estimate, Estimate]:
    """(value at x → 0, slope) of the straight line through independent estimates, which weigh as x.

    The groups of the estimates, as many for each, are independent draws: each makes a line of its own.
    """
    lines = _intercept_and_slope(x) @ np.stack([np.asarray(estimate.groups) for estimate in estimates])
    value, slope = (over_realisations(line) for line in lines)
    return value, slope


def bend(x: np.ndarray, estimates: list[Estimate]) -> Estimate:
    """By how much the value at x → 0 would change were it a parabola, through three estimates."""
    parabola = np.linalg.inv(np.vander(x, 3, increasing=True))[0]
    groups = np.stack([np.asarray(estimate.groups) for estimate in estimates])
    return over_realisations((parabola - _intercept_and_slope(x)[0]) @ groups)


def _intercept_and_slope(x: np.ndarray) -> np.ndarray:
    """The two rows with which the values are multiplied [2, values]."""
    design = np.vander(x, 2, increasing=True)
    return np.linalg.solve(design.T * x @ design, design.T * x)
