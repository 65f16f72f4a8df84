"""App. D.2: the explicit decomposition of the drift, applied to SGD with momentum, whose drift is not symmetric.

    A = (D + Q) U,   Q = −Qᵀ,   U = Uᵀ > 0                  (22)   and B = U⁻¹ of A B + B Aᵀ = 2D (19)
    A D − D A = Q A + A Q                                   (23)   as printed: it takes A = Aᵀ
    A D − D Aᵀ = A Q + Q Aᵀ                                        what (22) implies, for any A
    Q from (23) in the eigenvectors of A,  U = (D + Q)⁻¹ A  (24), (25)

App. D takes A = Aᵀ > 0 and D > 0. For SGD, (42), which obeys neither, the paper gives Q and U explicitly, (43), which
is right for H Σ = Σ H. With A and D of (42) the recipe (24), (25) has a solution, but its Q is not skew, its U not
symmetric, and κ⁻¹ U⁻¹ has negative variances. Nor has A a potential: −A (x − μ) = −∇Φ (7), (38) asks for A = Aᵀ, and
the quadratic form ½ xᵀA x itself is indefinite unless c₀ (h + λ) = 1 for every curvature h.

Two ensembles, both begun in their own law: (4) with the noise of the minimum, by exact transitions; and minibatch
SGD, against its exact discrete law with multiplicative noise. Each also against κ⁻¹ U⁻¹ of the recipe, and against a
law that is nearly right: the symmetric part of (8), which is for H C = C H, as they do not commute on a small data
set; for SGD the law of (4). The rotation is measured as the skew part of the autocovariance after one step, absent
under the paper's detailed balance (θ and v both even).
"""

from dataclasses import dataclass

import jax
import numpy as np
import xarray as xr

import sgdynamics as sgd
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._between import between
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._regression import along
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.kunin2023._decomposition_laws import DecompositionConfig, Laws, laws
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import Autocovariance, Estimate, PhaseSpace

ROUNDING = 1e-12
VISIBLE = 1e-3  # relative residual that is none of rounding
ASSUMED = "App. D takes A = Aᵀ > 0 and D > 0, which (42) does not obey; for it the paper has the explicit (43)"
UNITS = "w², v in w/t"

_process = once(sgd.LinearProcess)
_predict = once(sgd.predict)


@dataclass(frozen=True)
class Case:
    """An ensemble with the law that it should have: covariance and autocovariance after one step, over (θ, v); and
    the control, a law that it should not have: id, what it is, covariance."""

    name: str
    key: str
    words: str
    covariance: np.ndarray
    lagged: np.ndarray
    control: tuple[str, str, np.ndarray]
    measured: Estimate

    @property
    def measured_covariance(self) -> Estimate:
        return self.measured.map(lambda R: R[0], "covariance")


def run(config: DecompositionConfig, progress: Progress) -> Result:
    """The recipe's algebra, and two ensembles against what it says."""
    theory = laws(config)
    cases, ensembles = [], {}
    for simulate in (_equation, _descent):
        case, ensembles[case.name] = simulate(config, theory, progress)
        cases.append(case)
    claims = _algebra(theory)
    for case in cases:
        claims += _covariance_claims(theory, case) + _rotation_claims(case)
    return Result(_data(theory, cases), claims, ensembles)


def _equation(config: DecompositionConfig, theory: Laws, progress: Progress) -> tuple[Case, dict]:
    """(4) with frozen noise, by exact transitions of one learning rate."""
    process = _process(theory.process.drift, theory.process.noise, time_step=config.learning_rate)
    ensemble = _ensembles.simulate(
        process, Autocovariance((0, 1)), progress, "equation", key=jax.random.key(config.seed),
        replicas=config.replicas, steps=config.steps, initial=_predict(process),
    )  # fmt: skip
    M, control = theory.covariance, ("commuting noise", "(8), the law for H C = C H", theory.commuting)
    case = Case("SDE", "sde", "the SDE (4)", M, np.asarray(process.decay) @ M, control, ensemble.estimates)
    return case, ensemble.provenance


def _descent(config: DecompositionConfig, theory: Laws, progress: Progress) -> tuple[Case, dict]:
    """SGD on the data."""
    dynamics = sgd.SGD(
        theory.case.problem, learning_rate=config.learning_rate, momentum=config.momentum, sampler=config.batch_size
    )
    prediction = _predict(dynamics)
    observed = PhaseSpace(np.eye(config.inputs), origin=prediction.mean)
    ensemble = _ensembles.simulate(
        dynamics, Autocovariance((0, 1), observed), progress, "descent", key=jax.random.key(config.seed),
        replicas=config.replicas, steps=config.steps, initial=prediction,
    )  # fmt: skip
    M, control = np.asarray(prediction.phase_covariance), ("SDE", "the law of (4), frozen noise", theory.covariance)
    lagged = np.asarray(prediction.law.transition) @ M
    case = Case("SGD", "sgd", "SGD", M, lagged, control, ensemble.estimates)
    return case, ensemble.provenance


def _algebra(theory: Laws) -> list[Claim]:
    """Exact evaluations: what the paper says is 0, and what is."""
    r = theory.residuals
    right = {
        "identity with transpose": ("Eq. 23", "A D − D Aᵀ = A Q + Q Aᵀ: relative residual", r["(23) with Aᵀ"]),
        "decomposition": ("Eq. 22", "A = (D + Q) U with U = B⁻¹, Q = A B − D: relative residual", r["A − (D + Q) U"]),
        "skew": ("Eq. 22", "Q = A B − D is skew: |Q + Qᵀ|/|Q|", r["Q + Qᵀ, Q = A B − D"]),
        "(43)": ("Eq. 43", "A = (D + Q) U with the paper's Q and U for H Σ = Σ H: relative residual", theory.explicit),
    }
    wrong = {
        "recipe is not symmetric": ("Eq. 25", "U of the recipe: |U − Uᵀ|/|U| is not 0", r["U − Uᵀ, recipe"]),
        "identity": ("Eq. 23", "A D − D A = Q A + A Q takes A = Aᵀ: residual is not 0", r["(23) as printed"]),
        "no potential": ("Eqs. 7, 38", "the drift is no gradient: |A − Aᵀ|/|A| is not 0", r["A − Aᵀ, (7)"]),
    }
    exact = lambda id, place, statement, value, note="": Claim.equality(
        f"algebra/{id}", source(place), statement, value, 0.0, 0.0, resolution=ROUNDING, tolerance=ROUNDING, note=note
    )
    excluded = lambda id, place, statement, value: Claim.rejection(
        f"algebra/{id}/control", source(place), statement, value, 0.0, rejected=0.0, resolution=VISIBLE,
        tolerance=VISIBLE,
    )  # fmt: skip
    return [
        exact(
            "recipe/published", "Eqs. 22, 24, 25",
            "App. D's recipe (24), (25) decomposes the drift of SGD: |Q + Qᵀ|/|Q|", r["Q + Qᵀ, recipe"], ASSUMED,
        ),
        *(exact(name, *values) for name, values in right.items()),
        *(excluded(name, *values) for name, values in wrong.items()),
        Claim.bound(
            "algebra/no well", source("App. E, Eq. 38"),
            "Φ = ½ (x − μ)ᵀ A (x − μ) is negative somewhere: least eigenvalue of (A + Aᵀ)/2", theory.lowest, 0.0, 0.0,
            side="at most",
        ),
    ]  # fmt: skip


def _covariance_claims(theory: Laws, case: Case) -> list[Claim]:
    measured = case.measured_covariance
    line = between(measured, wrong=theory.recipe, right=case.covariance)
    statement = "on the line from κ⁻¹ U⁻¹ of the recipe (0) to the law of App. D.1 (1)"
    (least, v), (control, words, wrong) = theory.most_negative, case.control
    return [
        Claim.bound(
            f"{case.name}/covariance", source("Eq. 19"), f"phase-space covariance of {case.words} (p-value)",
            sgd.compare(measured, case.covariance, level=LEVEL).p_value, 0.0, LEVEL, side="at least",
        ),
        Claim.rejection(
            f"{case.name}/covariance of the recipe/control", source("Eqs. 25, 27"), f"not the recipe's: {statement}",
            **evidence(line), expected=1.0, rejected=0.0,
        ),
        Claim.equality(
            f"{case.name}/covariance on that line", source("Eqs. 19, 27"), f"{case.words}: {statement}",
            **evidence(line), expected=1.0, resolution=0.05,
        ),
        Claim.rejection(
            f"{case.name}/negative variance of the recipe/control", source("Eqs. 25, 27"),
            "variance along the eigenvector of the recipe's most negative one: not that one",
            **evidence(measured.map(lambda M: v @ M @ v)), expected=v @ case.covariance @ v, rejected=least,
        ),
        Claim.rejection(
            f"{case.name}/{control}/control", source("Eqs. 4, 8"),
            f"not {words}: on the line from it (0) to the right one (1)",
            **evidence(between(measured, wrong=wrong, right=case.covariance)), expected=1.0, rejected=0.0,
        ),
    ]  # fmt: skip


def _rotation_claims(case: Case) -> list[Claim]:
    """The skew part of the autocovariance after one step, in units of the expected one."""
    skew = case.lagged - case.lagged.T
    measured = case.measured.map(lambda R: (R[1] * skew).sum() * 2 / (skew * skew).sum(), "rotation")
    return [
        Claim.equality(
            f"{case.name}/circulation", source("Eq. 22"),
            "skew part of the autocovariance after one step, in units of theory's",
            **evidence(measured), expected=1.0, resolution=0.05,
        ),
        Claim.rejection(
            f"{case.name}/detailed balance/control", source("App. E, detailed balance"),
            "(θ, v) turns: the autocovariance after one step is not symmetric",
            **evidence(measured), expected=1.0, rejected=0.0,
        ),
    ]  # fmt: skip


def _data(theory: Laws, cases: list[Case]) -> xr.Dataset:
    """Variances along the axes of each case's law, and the residuals."""
    variables: dict[str, Variable] = {
        "residual": variable("statement", list(theory.residuals.values()), "relative residual"),
    }
    for case in cases:
        _, axes = np.linalg.eigh(case.covariance)
        laws = {"exact": case.covariance, "recipe": theory.recipe, "control": case.control[2]}
        words = f"variance of {case.words} along an axis of its law"
        measured = case.measured_covariance.map(lambda M, axes=axes: along(axes, M))
        variables |= measurement(case.key, "axis", measured, words, UNITS)
        variables |= {f"{case.key}_{name}": variable("axis", along(axes, law), f"{words}, {name}", UNITS)
                      for name, law in laws.items()}  # fmt: skip
    coordinates = {
        "statement": variable("statement", list(theory.residuals), "what should be 0"),
        "axis": variable("axis", np.arange(1, len(theory.covariance) + 1), "axis of the law, narrowest first"),
    }
    return dataset(variables, coordinates)


DECOMPOSITION = register(
    Experiment(
        name="kunin2023/decomposition",
        summary="the explicit decomposition of App. D on SGD's drift, which is not symmetric",
        source=source("App. D.2"),
        config=DecompositionConfig,
        presets={"quick": DecompositionConfig(), "paper": DecompositionConfig(replicas=8192, steps=4000)},
        run=run,
        figure="kunin2023/decomposition",
    )
)
