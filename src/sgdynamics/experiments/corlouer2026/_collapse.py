"""How the first mode's amplitude collapses onto its singular value when labels carry no noise.

Near minima that are balanced and aligned, the first row of δ = W − M, δ_γ = u_1ᵀ (W − M) v_γ, follows a closed linear
recursion with multiplicative noise, because a step of SGD changes it by −η δ x xᵀ κ,

    κ_γ = Σ_l s_1^{2(L−l)/L} s_γ^{2(l−1)/L},        κ_1 = L s_1^{2−2/L} = h,

γ over all inputs, absent modes (s_γ = 0, κ_γ = s_1^{2−2/L}) included. For x ~ N(0, 1), E[x xᵀ P x xᵀ] = 2 P + tr P, so
that the mean squares p_γ = E[δ_γ²] are mapped exactly, with β = η/b, by

    p_γ ← ((1 − τ κ_γ)² + τ β κ_γ²) p_γ + τ β κ_γ² Σ_γ' p_γ'                                               (ours)

τ = η is SGD with batches of b, and any τ the Euler-Maruyama scheme of (1) with time step τ: δ x xᵀ has the covariance
of δ (G + Gᵀ)/√2. One mode alone falls as exp(−2ht + …), but it feeds the crossed amplitudes with absent modes, which
fall L times more slowly and in the end drive it: the late rate is 2 s_1^{2−2/L} − O(β), not 2h.

What is followed runs in 64 bits: 32 bits round amplitudes of size 1 at about 1e-7.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics._types import PRNGKey
from sgdynamics.data import Teacher
from sgdynamics.experiments import _ensembles, _students
from sgdynamics.experiments._ensembles import named
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._students import Paths, Student
from sgdynamics.experiments.corlouer2026._fig5_ending import coupling_rates
from sgdynamics.networks import DeepLinear
from sgdynamics.statistics import Estimate, Mean


def mean_squares(κ: np.ndarray, first: float, temperature: float, time_step: float, steps: np.ndarray) -> np.ndarray:
    """p after so many `steps` [times, inputs], from δ_1² = `first` and nothing else."""
    noise = time_step * temperature * κ**2
    T = np.diag((1 - time_step * κ) ** 2 + noise) + noise[:, None]
    start = first * np.eye(len(κ))[0]
    return np.stack([np.linalg.matrix_power(T, int(k)) @ start for k in steps])


def student(singular_values: tuple[float, ...], width: int, depth: int, rate: float, batch: int, seed: int) -> Student:
    """All layers of one width."""
    key = named(jax.random.key(seed), "teacher")
    teacher = Teacher.of_singular_values(singular_values, key=key, inputs=width, outputs=width)
    return Student(teacher, (width,) * (depth + 1), rate, batch)


def rates(student: Student) -> np.ndarray:
    """κ_γ [inputs]."""
    return coupling_rates(student.singular_values, student.depth, student.widths[0])


def small(student: Student, exponent: float, seed: int, replicas: int) -> jax.Array:
    """Starts of their own for each replica, variance width^−γ."""
    key = named(jax.random.key(seed), "small starts")
    return student.starts(lambda key: DeepLinear.small(student.widths, key=key, exponent=exponent), key, replicas)


def near(student: Student, displacement: float, seed: int, replicas: int) -> jax.Array:
    """All replicas balanced and aligned, w_α = (1 − displacement) s_α."""
    key = named(jax.random.key(seed), "bases")
    amplitudes = (1 - displacement) * student.singular_values
    network = DeepLinear.aligned(student.teacher.matrix, amplitudes, student.widths, key=key)
    return jnp.broadcast_to(student.starts(lambda _: network, key, 1), (replicas, student.problem.parameters.shape[0]))


def run(
    student: Student, dynamics, progress: Progress, label: str, *, key: PRNGKey, initial: jax.Array, time: float,
    records: int, dtype=jnp.float64,
) -> Paths:  # fmt: skip
    """As `_students.run`, in 64 bits unless told; one replica for each row of `initial`."""
    return _students.run(
        student, dynamics, progress, label, key=key, replicas=len(initial), time=time, records=records,
        initial=initial, dtype=dtype,
    )  # fmt: skip


def ending(
    student: Student, dynamics, progress: Progress, label: str, *, key: PRNGKey, initial: jax.Array, time: float
) -> Paths:
    """As `run`, but the last weights alone: one program for dynamics of one form, whatever their time steps."""
    steps = round(time / student.learning_rate)
    ensemble = _ensembles.simulate(
        dynamics, Mean(), progress, label, key=key, replicas=len(initial), steps=steps, every=steps, initial=initial,
        dtype=jnp.float64,
    )  # fmt: skip
    if ensemble.diverged:
        raise ValueError(f"{ensemble.diverged} replicas of {label} diverged: lower the time step.")
    last = np.asarray(ensemble.state.position)[None]
    return Paths(student, np.array([steps * student.learning_rate]), last, ensemble.provenance)


def first_row(paths: Paths) -> np.ndarray:
    """δ_γ [records, replicas, inputs], in NumPy: nothing to compile for each shape."""
    M, widths = np.asarray(paths.student.teacher.matrix), paths.student.widths
    U, s, Vt = np.linalg.svd(M)
    ends = np.cumsum([d * e for d, e in pairwise(widths)])
    layers = np.split(np.asarray(paths.positions, float), ends[:-1], axis=-1)
    row = U[:, 0]
    for θ, d, e in reversed(list(zip(layers, widths, widths[1:], strict=False))):
        row = np.einsum("...i,...ij->...j", row, θ.reshape(*θ.shape[:-1], e, d))
    return row @ Vt.T - s[0] * np.eye(len(Vt))[0]


def spread(values: np.ndarray) -> np.ndarray:
    """Squares of deviations from the mean over replicas, whose mean is the unbiased variance [..., replicas]."""
    n = values.shape[-1]
    return (values - values.mean(axis=-1, keepdims=True)) ** 2 * n / (n - 1)


def variance(values: np.ndarray) -> Estimate:
    """Over replicas, the last axis; records, where there are, are averaged before [..., replicas] -> []."""
    squares = spread(values)
    return over_realisations(squares.reshape(-1, squares.shape[-1]).mean(axis=0), "variance")
