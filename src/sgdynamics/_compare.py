"""Estimates against predictions, with as many tests as are made accounted for.

A mean is tested along the expected eigenvectors of the covariance; a covariance by its variances along the
*expected* eigenvectors, which are linear in it and unbiased (the ordered eigenvalues of a sampled covariance
are biased: with 4,096 replicas and 100 modes by up to 5 standard errors). With G groups of replicas every
direction has a Student t of G − 1 degrees of freedom; Bonferroni corrects for their number. A group's variance
is skew where it holds few independent samples, and then low values seem too sure of themselves: p-values are
those of t with its skewness removed (Hall 1992), which is measured between groups and averaged over directions.

The whole matrix, off-diagonal entries included, is tested by the norm of Λ^{−½} Uᵀ (measured − expected) U
Λ^{−½} (of autocovariances: over all lags at once) against the same norm with the signs of the groups'
deviations D_g flipped at random: if the expectation is right the D_g scatter symmetrically about 0. With the
Gram matrix K_gh = ⟨D_g, D_h⟩ a flip s costs sᵀ K s.

`level` is the probability of a false alarm of the whole comparison.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from scipy import stats

from sgdynamics._predict import Prediction
from sgdynamics.ensemble import Ensemble
from sgdynamics.statistics import Estimate, format_with_error
from sgdynamics.theory.epochs import HarmonicEpochs

MANY_EPOCHS = 100  # after which a part of one more changes an average by less than 1 %
# after this many relaxation times of the slowest mode a cold start has decayed to 0.7 %, its square to 5e-5
RELAXATION_TIMES = 5.0
ROUNDING = 1e-9
EXPANSIONS = ("frozen", "second order")  # how the forms of laws begin that are right at small learning rates only
# a level below about 50 in as many is out of the sign flips' reach: they then never reject
MOST_FLIPS = 1_000_000


@dataclass(frozen=True)
class Test:
    """One family of comparisons: measured, standard_error and expected have the same shape; `t` is their
    difference in standard errors, `p_value` that of the family, corrected for its size."""

    quantity: str
    how: str
    measured: np.ndarray
    standard_error: np.ndarray
    expected: np.ndarray
    t: np.ndarray
    p_value: float

    def row(self) -> tuple[str, ...]:
        """quantity, how, worst measured ± error, expected there, t, p: as printed."""
        worst = np.unravel_index(np.argmax(np.abs(self.t)), self.t.shape)
        measured = format_with_error(self.measured[worst], self.standard_error[worst])
        cells = (self.quantity, self.how, measured, f"{self.expected[worst]:.6g}")
        return (*cells, f"{self.t[worst]:+.2f}", f"{self.p_value:.2g}")


@dataclass(frozen=True)
class Comparison:
    """The outcome of `compare`: `verdict` is "agrees", "differs" or "undecided"; `print` shows a table."""

    tests: tuple[Test, ...]
    level: float
    relaxed: bool = True
    notes: tuple[str, ...] = field(default=())

    @property
    def p_value(self) -> float:
        """Of the whole comparison, corrected for the number of tests."""
        return min(1.0, len(self.tests) * min(test.p_value for test in self.tests))

    @property
    def agrees(self) -> bool:
        """Whether nothing speaks against the expectation at this level."""
        return self.p_value >= self.level

    @property
    def verdict(self) -> str:
        if self.agrees:
            return "agrees"
        return "differs" if self.relaxed else "undecided"

    def __str__(self) -> str:
        header = ("quantity", "test", "measured (worst)", "expected", "t", "p")
        rows = [header, *(test.row() for test in self.tests)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        summary = f"{self.verdict}: p = {self.p_value:.2g} of {len(self.tests)} tests, level {self.level:g}"
        return "\n".join([*lines, summary, *self.notes])


def compare(measured: Any, expected: Any, *, level: float = 1e-3) -> Comparison:
    """Whether a measurement agrees with an expectation, within its errors.

    Arguments
    - measured: an `Ensemble`, an `Estimate`, or a tree of estimates.
    - expected: a `Prediction`, an array of the estimate's shape, or a tree of those, one for each estimate.
      Of a Prediction, "mean", "covariance" and "variance" of position or velocity and "autocovariance" of the
      position are known; other estimates are named in the notes and not tested.
    - level: the probability of a false alarm.

    A run that started elsewhere than in its law, and had less than 5 relaxation times of the slowest mode to
    forget it, is reported as such: where it then differs, the verdict is "undecided". So is one whose records are no
    average over whole epochs, where the law is one.
    Raises `ValueError` where shapes do not fit, or nothing can be compared.
    """
    if not 0 < level < 1:
        raise ValueError(f"level = {level}, but it must be between 0 and 1.")
    estimates = measured.estimates if isinstance(measured, Ensemble) else measured
    pairs, notes = _paired(estimates, expected)
    tests = tuple(test for name, estimate, value in pairs for test in _tests(name, estimate, value, level, len(pairs)))
    if not tests:
        raise ValueError("; ".join(notes) or "measured holds no estimate.")
    relaxed, more = _relaxation(measured, expected)
    whole, most = _whole_epochs(measured, expected)
    found = Comparison(tests, level, relaxed and whole, tuple(notes + more + most))
    return found if found.verdict != "differs" else replace(found, notes=(*found.notes, *_orders(expected)))


# --- what is compared with what -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Matrix:
    """An expected covariance (or autocovariance, or mean), the orthonormal directions along which it is tested,
    and the variances along them, in whose units the whole matrix is."""

    value: np.ndarray
    directions: np.ndarray
    variances: np.ndarray


def _is_estimate(x: Any) -> bool:
    return hasattr(x, "standard_error") and hasattr(x, "value")


def _is_prediction(x: Any) -> bool:
    return isinstance(x, Prediction)


def _plain(x: Any) -> Any:
    """The `Estimate` behind `x.value`: of `Halves` that of the whole, of paths the mean, of histograms …"""
    parts = ("whole", "mean", "density")
    while not isinstance(x, Estimate) and any(hasattr(x, part) for part in parts):
        x = next(getattr(x, part) for part in parts if hasattr(x, part))
    return x


def _paired(estimates: PyTree, expected: Any) -> tuple[list[tuple[str, Estimate, Any]], list[str]]:
    """(name, estimate, what is expected of it), and notes on those of which nothing is."""
    leaves = jax.tree_util.tree_leaves_with_path(estimates, is_leaf=_is_estimate)
    leaves = [(path, _plain(estimate)) for path, estimate in leaves]
    if not leaves or not all(isinstance(estimate, Estimate) for _, estimate in leaves):
        raise ValueError("measured holds something that is no estimate. Give an Ensemble, or its estimates.")
    named = [(_name(path, estimate), estimate) for path, estimate in leaves]
    values = jax.tree.leaves(expected, is_leaf=_is_prediction)
    if _is_prediction(expected):
        values = [expected] * len(named)
    if len(values) != len(named):
        raise ValueError(f"expected holds {len(values)} arrays, but measured holds {len(named)} estimates.")
    pairs = [
        (name, estimate, _of_prediction(estimate, value) if _is_prediction(value) else value)
        for (name, estimate), value in zip(named, values, strict=True)
    ]
    unknown = [name for name, _, value in pairs if value is None]
    notes = [f"not compared: {name} (a Prediction says nothing of it; give an array)" for name in unknown]
    known = [(name, e, _fitting(name, e, value)) for name, e, value in pairs if value is not None]
    return known, notes


def _name(path: tuple, estimate: Any) -> str:
    quantity = getattr(estimate, "quantity", type(estimate).__name__)
    of = getattr(estimate, "of", None)
    return jax.tree_util.keystr(path) + (" " if path else "") + quantity + (f" of {of}" if of else "")


def _of_prediction(estimate: Any, prediction: Prediction) -> Any:
    quantity, of = getattr(estimate, "quantity", None), getattr(estimate, "of", None)
    velocity = of == "velocity"
    if of not in (None, "position", "velocity") or (velocity and prediction.phase_covariance is None):
        return None
    covariance = np.asarray(prediction.velocity_covariance if velocity else prediction.covariance)
    variances, directions = np.linalg.eigh(covariance)
    if quantity == "mean":
        if estimate.value.shape != (len(covariance),):
            return None  # of snapshots, say: a stationary law knows no steps
        mean = np.zeros(len(covariance)) if velocity else np.asarray(prediction.mean)
        return _Matrix(mean, directions, variances)
    if quantity == "variance":
        return np.diag(covariance)
    if quantity == "covariance":
        return _Matrix(covariance, directions, variances)
    if quantity == "autocovariance" and not velocity:
        return _Matrix(np.asarray(prediction.autocovariance(estimate.lags)), directions, variances)
    return None


def _fitting(name: str, estimate: Any, expected: Any) -> Any:
    """`expected`, with directions where it is a covariance; an error where its shape does not fit."""
    value = np.asarray(expected.value if isinstance(expected, _Matrix) else expected, float)
    if value.shape != estimate.value.shape:
        sizes = sorted(shape[-1] if shape else 0 for shape in (value.shape, estimate.value.shape))
        twice = sizes[0] > 0 and 2 * sizes[0] == sizes[1]
        hint = " One is of θ, the other of (θ, v): compare the same quantity." if twice else ""
        raise ValueError(f"expected has shape {value.shape}, but {name} has shape {estimate.value.shape}.{hint}")
    if not np.all(np.isfinite(value)):
        raise ValueError(f"expected has entries that are not finite, for {name}. Compare with finite numbers.")
    if isinstance(expected, _Matrix):
        return expected
    if estimate.quantity == "covariance" and value.ndim == 2:
        variances, directions = np.linalg.eigh((value + value.T) / 2)
        return _Matrix(value, directions, variances)
    return value


# --- the tests ----------------------------------------------------------------------------------------------


def _tests(name: str, estimate: Any, expected: Any, level: float, families: int) -> list[Test]:
    if int(estimate.degrees_of_freedom) < 1:
        usable = int(np.sum(np.asarray(estimate.weights) > 0))  # degrees of freedom are 0 of none and of one
        if usable == 0:
            raise ValueError(
                f"{name} has no usable group of replicas: all replicas diverged, or one in every group did, or nothing "
                "was recorded. Lower the learning rate, or start nearer."
            )
        raise ValueError(f"{name} has {usable} usable group of replicas, but an error needs 2. Use more groups.")
    if not isinstance(expected, _Matrix):
        return [_students(name, "components", estimate, expected)]
    U = jnp.asarray(expected.directions)
    how = "expected directions"
    if expected.value.ndim == 1:
        return [_students(name, how, estimate.map(lambda x: U.T @ x), expected.directions.T @ expected.value)]

    def along(C):
        return jnp.einsum("ik,...ij,jk->...k", U, C, U)

    directions = _students(name, how, estimate.map(along), np.asarray(along(jnp.asarray(expected.value))))
    return [directions, _whole_matrix(name, estimate, expected, level / (2 * families))]


def _students(name: str, how: str, estimate: Any, expected: np.ndarray) -> Test:
    """Student's t for every entry; the smallest p, times the number of entries."""
    value, error = np.asarray(estimate.value), np.asarray(estimate.standard_error)
    # float32 sums agree with a float64 theory to rounding at best
    error = np.hypot(error, np.finfo(np.float32).eps * np.abs(expected).max(initial=0))
    t = np.divide(value - expected, error, out=np.zeros_like(value), where=(error > 0) | (value != expected))
    p = 2 * stats.t.sf(np.abs(_without_skewness(t, estimate)), int(estimate.degrees_of_freedom))
    return Test(name, how, value, error, np.broadcast_to(expected, value.shape), t, float(min(1, p.size * p.min())))


def _without_skewness(t: np.ndarray, estimate: Any) -> np.ndarray:
    """t + a t² + a² t³/3 + a/2, a = skewness/(3 √groups): rises with t, Student's to next order (Hall 1992)."""
    groups = np.asarray(estimate.groups)[np.asarray(estimate.weights) > 0]
    δ = groups - groups.mean(axis=0)
    cubed_scale = δ.std(axis=0, ddof=1) ** 3
    skewness = np.divide(np.mean(δ**3, axis=0), cubed_scale, out=np.zeros_like(t), where=cubed_scale > 0)
    # one value from few groups is too noisy to correct by: components of a kind share theirs
    skewness = skewness.mean(axis=-1, keepdims=True) if t.ndim else skewness
    a = skewness / (3 * np.sqrt(len(groups)))
    return t + a * t**2 + a**2 * t**3 / 3 + a / 2


def _whole_matrix(name: str, estimate: Any, expected: _Matrix, level: float) -> Test:
    """The norm of the whitened difference, against sign flips of the groups' deviations."""
    deviations, weights = _whitened_deviations(estimate, expected)
    gram = deviations @ deviations.T * np.outer(weights, weights)
    observed = gram.sum()
    flipped = _flipped(gram, min(max(2_000, int(50 / level)), MOST_FLIPS))
    # counting the observed one keeps the level exact
    p = (1 + np.sum(flipped >= observed * (1 - 1e-9))) / (1 + len(flipped))
    measured, null, scatter = np.sqrt(observed), np.sqrt(flipped).mean(), np.sqrt(flipped).std()
    t = np.asarray((measured - null) / max(scatter, np.finfo(float).tiny))
    return Test(name, "norm, sign flips", np.asarray(measured), np.asarray(scatter), np.asarray(null), t, float(p))


def _flipped(gram: np.ndarray, flips: int) -> np.ndarray:
    """sᵀ K s for as many random s of ±1."""
    rng = np.random.default_rng(0)
    out = []
    for start in range(0, flips, 50_000):
        bits = rng.integers(0, 2, size=(min(50_000, flips - start), len(gram)), dtype=np.int8)
        signs = 2.0 * bits - 1
        out.append(np.sum((signs @ gram) * signs, axis=1))
    return np.concatenate(out)


def _whitened_deviations(estimate: Any, expected: _Matrix) -> tuple[np.ndarray, np.ndarray]:
    usable = np.asarray(estimate.weights) > 0
    λ = expected.variances
    kept = λ > λ.max() * 1e-12
    root = expected.directions[:, kept] / np.sqrt(λ[kept])
    difference = np.asarray(estimate.groups)[usable] - expected.value
    whitened = np.einsum("ik,g...ij,jl->g...kl", root, difference, root, optimize=True)
    return whitened.reshape(len(whitened), -1), np.asarray(estimate.weights)[usable]


# --- had the run time to relax? -----------------------------------------------------------------------------


def _relaxation(measured: Any, expected: Any) -> tuple[bool, list[str]]:
    predictions = [x for x in jax.tree.leaves(expected, is_leaf=_is_prediction) if _is_prediction(x)]
    if not isinstance(measured, Ensemble) or not predictions or measured.provenance["initial_is_own_law"]:
        return True, []
    slowest = min(predictions, key=lambda prediction: float(prediction.slowest_rate))
    rate, time_step = float(slowest.slowest_rate), float(slowest.time_step)
    times = measured.provenance["burn_in_time"] * rate
    if times >= RELAXATION_TIMES * (1 - ROUNDING):
        return True, []
    steps = "no number of" if rate == 0 else f"{_rounded_up(RELAXATION_TIMES / (rate * time_step)):,}"
    return False, [
        f"burn_in is {times:.2g} relaxation times (burn_in · learning_rate · smallest rate) of the slowest mode, "
        f"less than {RELAXATION_TIMES:g}: {steps} steps would do, or start from this law (initial=prediction)."
    ]


def _orders(expected: Any) -> list[str]:
    """Of laws that are no exact ones: what a difference may come of."""
    forms = {x.form for x in jax.tree.leaves(expected, is_leaf=_is_prediction) if _is_prediction(x)}
    return [
        f"this law is an expansion in small noise ({form}): what it leaves out vanishes, beside what it has, with the "
        "learning rate. See whether they agree at a tenth of it."
        for form in sorted(forms)
        if form.startswith(EXPANSIONS)
    ]


def _whole_epochs(measured: Any, expected: Any) -> tuple[bool, list[str]]:
    """The law of shuffled epochs is an average over the position in the epoch; are the records one?"""
    predictions = [x for x in jax.tree.leaves(expected, is_leaf=_is_prediction) if _is_prediction(x)]
    lengths = {x.law.batches_per_epoch for x in predictions if isinstance(x.law, HarmonicEpochs)}
    if not isinstance(measured, Ensemble) or not lengths:
        return True, []
    every, steps = measured.provenance["every"], measured.provenance["steps"]
    for M in lengths:
        seen = M // math.gcd(every, M)  # positions that the records visit, one after the other
        records = steps // every
        if seen < M or (records % seen and records < MANY_EPOCHS * seen):
            return False, [
                f"{records:,} records, one every {every} steps, are no average over epochs of {M} batches: record "
                "every step (or with a stride that has no common factor with it), over whole epochs."
            ]
    return True, []


def _rounded_up(x: float) -> int:
    """The next whole number, but x itself where it is whole to rounding."""
    return int(np.ceil(x * (1 - ROUNDING)))
