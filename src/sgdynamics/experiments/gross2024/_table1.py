"""Table I: what becomes of weights, final loss and fluctuations, with and without label noise σ, N < P and N > P.

With δ = w − w* and r = y − X w*, SGD on linear regression is δ ← (1 − ηH_B) δ + η X_Bᵀ r_B/S. For given inputs r is
proportional to the label noise, and so, for N < P, are w* − u and the whole process δ, however minibatches are drawn:

    w* − u ∝ σ,     L* = |r|²/(2P) ∝ σ²,     M = Cov w ∝ σ²                                (N < P)
    w* − u → −(1 − X⁺X) u from w = 0, L* = 0, M = 0, as r = 0, whatever σ is               (N > P)

"Independent of the sampling method" holds for these statements; it does not hold for the fluctuations themselves:
without replacement they are about (P−S)/(P−1) of those with replacement, with epochs smaller by another factor.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles, _samplings
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._regression import Regression
from sgdynamics.experiments._samplings import KINDS, SAMPLERS, WORDS, Kind, Law
from sgdynamics.experiments._variables import Variable, dataset, variable
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Covariance, Estimate, Loss, Mean
from sgdynamics.theory import regression

TABLE = source("Table I")
VANISHED = 1e-6  # relatively: what a run of finite length may leave of what vanishes
RATIO = 0.1  # relative difference between two total variances that must be seen


@dataclass(frozen=True)
class Table1Config:
    """A few levels of label noise, three ways of sampling, both sides of the interpolation threshold."""

    inputs: int = 10
    """N of the underparameterised network."""
    samples: int = 30
    """P."""
    overparameterised: int = 120
    """N of the overparameterised network."""
    learning_rate: float = 0.1
    """Learning rate η; time t = η × step."""
    batch_size: int = 10
    """Minibatch size S, a divisor of P and less than it."""
    label_noise_stds: tuple[float, ...] = (0.1, 0.3, 1.0)
    """Standard deviations σ of the label noise, ascending."""
    replicas: int = 512
    """SGD replicas at each σ and way of sampling."""
    records: int = 150
    """Records of each."""
    spacing: int = 10
    """Least number of steps between two records."""
    relaxation: float = 16.0
    """Length of the runs from w = 0, in relaxation times 1/(ηh) of the softest mode that moves."""
    late_replicas: int = 32
    """SGD replicas of those."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("inputs", "samples", "overparameterised", "batch_size", "records", "spacing"):
            _checks.count(name, getattr(self, name))
        for name in ("replicas", "late_replicas"):
            _checks.count(name, getattr(self, name), least=2)
        for name in ("learning_rate", "relaxation"):
            _checks.positive(name, getattr(self, name))
        N, P, S, σ = self.inputs, self.samples, self.batch_size, np.array(self.label_noise_stds)
        _checks.require("inputs", N, N < P, allowed=f"below samples = {P}")
        _checks.require("overparameterised", self.overparameterised, self.overparameterised > P, allowed=f"above {P}")
        _checks.require("batch_size", S, S < P and P % S == 0, allowed=f"a divisor of samples = {P}, and less")
        ascending = len(σ) >= 2 and σ[0] > 0 and bool(np.all(np.diff(σ) > 0))
        _checks.require("label_noise_stds", self.label_noise_stds, ascending, allowed="two or more, > 0, ascending")


@dataclass(frozen=True)
class Stationary:
    """One ensemble in its stationary state, beside its law."""

    law: Law
    distance: Estimate
    loss: Estimate
    variance: Estimate
    exact_distance: float
    floor: float
    excess: float
    provenance: Mapping[str, Any]

    @property
    def exact_loss(self) -> float:
        """L* + ½ tr H E δδᵀ."""
        return self.floor + self.excess


@dataclass(frozen=True)
class Late:
    """What is left of a run from w = 0, over the replicas: mean |w − u|² and loss, total variance."""

    distance: float
    loss: float
    variance: float
    provenance: Mapping[str, Any]


_teacher_student = once(sgd.data.teacher_student)


def taught(config: Table1Config, inputs: int, label_noise_std: float) -> tuple[Regression, np.ndarray]:
    """The same inputs, teacher and draws of the noise for every σ; and the teacher u."""
    key = _ensembles.named(jax.random.key(config.seed), f"N = {inputs}")
    teacher = jax.random.normal(_ensembles.named(key, "teacher"), (inputs,))
    σ = jnp.asarray(label_noise_std, jnp.float64)
    data = _teacher_student(key, samples=config.samples, inputs=inputs, label_noise_std=σ, teacher=teacher)
    return Regression(data, config.learning_rate, config.batch_size), np.asarray(teacher)


def _σ(config: Table1Config) -> tuple[float, ...]:
    return config.label_noise_stds


def run(config: Table1Config, progress: Progress) -> Result:
    """Stationary ensembles for N < P; runs from w = 0 on both sides."""
    cells = {(kind, σ): _stationary(config, kind, σ, progress) for kind in KINDS for σ in _σ(config)}
    loudest = config.label_noise_stds[-1]
    clean = _late(config, config.inputs, 0.0, progress)
    late = {σ: _late(config, config.overparameterised, σ, progress) for σ in (0.0, loudest)}
    claims = [*_of_weights(config, cells, clean, late), *_of_loss(config, cells, late[loudest])]
    claims += [*_of_fluctuations(config, cells, late[loudest]), *_of_sampling(config, cells)]
    ensembles = {f"{WORDS[kind]}, σ = {σ:g}": cell.provenance for (kind, σ), cell in cells.items()}
    ensembles |= {f"N > P, σ = {σ:g}": run.provenance for σ, run in late.items()}
    ensembles |= {"N < P, σ = 0": clean.provenance}
    return Result(_stored(config, cells, late), claims, ensembles)


# --- the runs -----------------------------------------------------------------------------------------------


def _stationary(config: Table1Config, kind: Kind, σ: float, progress: Progress) -> Stationary:
    case, u = taught(config, config.inputs, σ)
    law, label = _samplings.law(case, kind), f"{WORDS[kind]}, σ = {σ:g}"
    key = _ensembles.named(jax.random.key(config.seed), label)
    batches = config.samples // config.batch_size
    every = _samplings.spacing(batches, config.spacing)
    records = -(-config.records // batches) * batches
    ensemble = _ensembles.simulate(
        case.descent(SAMPLERS[kind](config.batch_size)),
        {"weights": Covariance(), "mean": Mean(), "loss": Loss(case.problem)}, progress, label, key=key,
        replicas=config.replicas, steps=records * every, every=every,
        initial=law.start(case, _ensembles.named(key, "start"), config.replicas),
    )  # fmt: skip
    measured = ensemble.estimates
    w, second = np.asarray(case.minimum), law.covariance + np.outer(law.shift, law.shift)
    return Stationary(
        law, measured["mean"].map(lambda m: jnp.linalg.norm(m - u)), measured["loss"],
        measured["weights"].map(jnp.trace), float(np.linalg.norm(w + law.shift - u)),
        float(_loss(case.data.x, case.data.y)), float(_excess(case.data.x, second)), ensemble.provenance,
    )  # fmt: skip


_loss = once(lambda x, y: regression.final_loss(x, y))
_excess = once(lambda x, second_moment: jnp.sum(regression.hessian(x) * second_moment) / 2)


def _late(config: Table1Config, inputs: int, σ: float, progress: Progress) -> Late:
    case, u = taught(config, inputs, σ)
    h = np.asarray(case.curvature)
    softest = h[h > 1e-10 * h[-1]][0]
    steps = math.ceil(config.relaxation / (config.learning_rate * softest))
    label = f"N = {inputs} from w = 0, σ = {σ:g}"
    ensemble = _ensembles.simulate(
        case.descent(), Mean(), progress, label, key=jax.random.key(config.seed), replicas=config.late_replicas,
        steps=steps, every=steps, initial=np.zeros(inputs), dtype=jnp.float64,
    )  # fmt: skip
    w = np.asarray(ensemble.state.position)
    distance = float(np.mean(np.sum((w - u) ** 2, axis=1)))
    loss = np.mean((w @ np.asarray(case.data.x).T - np.asarray(case.data.y)) ** 2) / 2
    return Late(distance, float(loss), float(np.sum(np.var(w, axis=0, ddof=1))), ensemble.provenance)


# --- the claims ---------------------------------------------------------------------------------------------

Cells = Mapping[tuple[Kind, float], Stationary]


def _of_weights(config: Table1Config, cells: Cells, clean: Late, late: Mapping[float, Late]) -> list[Claim]:
    """The first column: near the teacher for N < P, elsewhere for N > P."""
    case, u = taught(config, config.overparameterised, 0.0)
    missed = float(np.sum((u - np.linalg.pinv(case.data.x) @ (np.asarray(case.data.x) @ u)) ** 2))
    claims = [
        _exponent(config, f"N < P/weights/{WORDS[kind]}", "|E w − u|", 1, [cells[kind, σ].distance for σ in _σ(config)])
        for kind in KINDS
    ]
    tiny = VANISHED * float(u @ u)
    return [
        *claims,
        Claim.bound(
            "N < P/weights/σ = 0", TABLE, "trained without label noise, the student is the teacher: |w − u|² [weight²]",
            clean.distance, 0.0, tiny, side="at most",
        ),
        Claim.equality(
            "N > P/weights/σ = 0", "ours: minimum of least norm", "trained without label noise from w = 0, the student "
            "differs from the teacher by what no sample shows: |E w − u|² [weight²]",
            late[0.0].distance, 0.0, missed, resolution=missed / 100, tolerance=tiny,
        ),
        Claim.rejection(
            "N > P/weights/teacher/control", TABLE, "that difference is not zero [weight²]",
            late[0.0].distance, 0.0, missed, rejected=0.0, tolerance=tiny,
        ),
    ]  # fmt: skip


def _of_loss(config: Table1Config, cells: Cells, late: Late) -> list[Claim]:
    """The second column: proportional to σ² for N < P, zero for N > P."""
    loudest, claims = config.label_noise_stds[-1], []
    for kind in KINDS:
        cell, name = cells[kind, loudest], f"N < P/loss/{WORDS[kind]}"
        claims += [
            _exponent(config, name, "E L", 2, [cells[kind, σ].loss for σ in _σ(config)]),
            Claim.equality(
                f"{name}, σ = {loudest:g}", source("Eq. 2.26"), "E L = L* + ½ tr H E δδᵀ [output²]",
                **evidence(cell.loss), expected=cell.exact_loss, resolution=cell.exact_loss / 50,
                tolerance=cell.law.accuracy * cell.excess,
            ),
        ]  # fmt: skip
    return [
        *claims,
        Claim.rejection(
            "N < P/loss/vanishing/control", TABLE, "for N < P the loss does not vanish [output²]",
            **evidence(cells["with", loudest].loss), expected=cells["with", loudest].exact_loss, rejected=0.0,
        ),
        Claim.bound(
            f"N > P/loss/σ = {loudest:g}", TABLE, "the final loss vanishes in spite of label noise: in units of σ²",
            late.loss / loudest**2, 0.0, VANISHED, side="at most",
        ),
    ]  # fmt: skip


def _of_fluctuations(config: Table1Config, cells: Cells, late: Late) -> list[Claim]:
    """The third column: proportional to σ² for N < P, zero for N > P."""
    loudest, claims = config.label_noise_stds[-1], []
    for kind in KINDS:
        cell, name = cells[kind, loudest], f"N < P/fluctuations/{WORDS[kind]}"
        total = float(np.trace(cell.law.covariance))
        claims += [
            _exponent(config, name, "tr Cov w", 2, [cells[kind, σ].variance for σ in _σ(config)]),
            Claim.equality(
                f"{name}, σ = {loudest:g}", "ours: " + ("epochs to first order" if kind == "epochs" else "exact law"),
                "tr Cov w [weight²]", **evidence(cell.variance), expected=total, resolution=RATIO * total,
                tolerance=cell.law.accuracy * total,
                note="tolerance: second order of the multiplicative noise" if kind == "epochs" else "",
            ),
        ]  # fmt: skip
    isotropic = config.overparameterised * config.learning_rate * loudest**2 / (2 * config.batch_size)
    return [
        *claims,
        Claim.rejection(
            "N < P/fluctuations/vanishing/control", TABLE, "for N < P the fluctuations do not vanish [weight²]",
            **evidence(cells["with", loudest].variance), expected=np.trace(cells["with", loudest].law.covariance),
            rejected=0.0,
        ),
        Claim.bound(
            f"N > P/fluctuations/σ = {loudest:g}", source("Table I; Eq. 2.16"),
            "total variance over replicas vanishes in spite of label noise: in units of (2.34)",
            late.variance / isotropic, 0.0, VANISHED, side="at most",
        ),
    ]  # fmt: skip


def _of_sampling(config: Table1Config, cells: Cells) -> list[Claim]:
    """The caption: independent of the sampling method? Not the size of the fluctuations."""
    loudest = config.label_noise_stds[-1]
    reference = cells["with", loudest]
    claims = []
    for kind in ("without", "epochs"):
        cell = cells[kind, loudest]
        right = float(np.trace(cell.law.covariance) / np.trace(reference.law.covariance))
        ratio = _ratio(cell.variance, reference.variance)
        statement = f"tr Cov w, {WORDS[kind]}, in that with replacement"
        claims += [
            Claim.equality(
                f"sampling/{WORDS[kind]}/published", source("Table I, caption"), f"{statement}: no matter how",
                **ratio, expected=1.0, resolution=RATIO,
            ),
            Claim.equality(
                f"sampling/{WORDS[kind]}", source("App. C") if kind == "without" else "ours: epochs to first order",
                statement, **ratio, expected=right, published=1.0, resolution=RATIO * right,
                tolerance=cell.law.accuracy * right,
            ),
        ]  # fmt: skip
    return claims


def _exponent(config: Table1Config, id: str, name: str, exponent: int, values: list[Estimate]) -> Claim:
    """The slope of ln(quantity) against ln σ, from the smallest to the largest σ."""
    σ = _σ(config)
    ratio = _ratio(values[-1], values[0])
    measured, span = float(ratio["measured"]), math.log(σ[-1] / σ[0])
    return Claim.equality(
        f"{id}/exponent", TABLE, f"{name} ∝ σ{'²' if exponent == 2 else ''}: exponent from σ = {σ[0]:g} to {σ[-1]:g}",
        math.log(measured) / span, float(ratio["standard_error"]) / measured / span, exponent, resolution=0.1,
        degrees_of_freedom=ratio["degrees_of_freedom"],
    )  # fmt: skip


def _ratio(a: Estimate, b: Estimate) -> dict[str, Any]:
    """a/b of two independent ensembles, to first order in their errors."""
    ratio = float(a.value / b.value)
    error = abs(ratio) * math.hypot(*(float(e.standard_error / e.value) for e in (a, b)))
    freedom = min(int(a.degrees_of_freedom), int(b.degrees_of_freedom))
    return {"measured": ratio, "standard_error": error, "degrees_of_freedom": freedom}


# --- what is stored -----------------------------------------------------------------------------------------


def _stored(config: Table1Config, cells: Cells, late: Mapping[float, Late]) -> xr.Dataset:
    parts = (
        _column(config, cells, "distance", "distance of the mean weights from the teacher", "weight",
                lambda cell: cell.exact_distance),
        _column(config, cells, "loss", "final loss", "output²", lambda cell: cell.exact_loss),
        _column(config, cells, "variance", "total variance of the weights", "weight²",
                lambda cell: np.trace(cell.law.covariance)),
    )  # fmt: skip
    beyond = {
        "distance_over": ("distance of the weights from the teacher", "weight", lambda run: run.distance**0.5),
        "loss_over": ("final loss", "output²", lambda run: run.loss),
        "variance_over": ("total variance of the weights", "weight²", lambda run: run.variance),
    }
    variables = {name: value for part in parts for name, value in part.items()} | {
        name: variable("label_noise_over", [float(of(run)) for run in late.values()], f"{words}, N > P", unit)
        for name, (words, unit, of) in beyond.items()
    }
    coordinates = {
        "sampling": variable("sampling", [WORDS[kind] for kind in KINDS], "way of sampling"),
        "label_noise_std": variable("label_noise_std", _σ(config), "label noise σ", "output"),
        "label_noise_over": variable("label_noise_over", list(late), "label noise σ, N > P", "output"),
    }
    return dataset(variables, coordinates)


def _column(
    config: Table1Config, cells: Cells, name: str, words: str, unit: str, exact: Callable[[Stationary], float]
) -> dict[str, Variable]:
    """One column of the table for N < P: measured, its error, and by theory, [sampling, label_noise_std]."""
    over = lambda f: np.array([[float(f(cells[kind, σ])) for σ in _σ(config)] for kind in KINDS])
    dims = ("sampling", "label_noise_std")
    return {
        name: variable(dims, over(lambda cell: getattr(cell, name).value), f"{words}, measured", unit),
        f"{name}_error": variable(
            dims, over(lambda cell: getattr(cell, name).standard_error), f"{words}, standard error", unit
        ),
        f"{name}_theory": variable(dims, over(exact), f"{words}, law of the same data", unit),
    }


TABLE1 = register(
    Experiment(
        name="gross2024/table1",
        summary="weights, final loss and fluctuations with label noise, and whether sampling matters",
        source=TABLE,
        config=Table1Config,
        presets={"quick": Table1Config(), "paper": Table1Config(replicas=4096, records=600)},
        run=run,
        figure="gross2024/table1",
    )
)
