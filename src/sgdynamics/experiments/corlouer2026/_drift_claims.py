"""What single steps say about the formulas of one network: the claims of `_drift`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.corlouer2026._drift_steps import Case, Steps
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.statistics import Estimate
from sgdynamics.theory import deep_linear

SEEN = 0.15  # relative difference an ensemble must see: (6) and (14) are off by far more
ROUNDING = 1e-9


@dataclass(frozen=True)
class Measured:
    """One network: its cases by label noise and state, ½ tr(Σ Hess w) of each [cases, modes], and one step."""

    widths: tuple[int, ...]
    cases: list[Case]
    definition: np.ndarray
    steps: Steps

    @property
    def name(self) -> str:
        return "-".join(map(str, self.widths))

    def of(self, function: Callable[[Case], Any]) -> np.ndarray:
        """`function` of every case, stacked."""
        return np.stack([function(case) for case in self.cases])


def slope(values: np.ndarray, form: np.ndarray) -> Estimate:
    """c of the fit values = c · form, weighted by the variances: 1 where the form is right. One c for each replica.

    `values` are [cases, replicas, modes], `form` [cases, modes]. Where the form is wrong, c is a ratio of sizes.
    """
    weights = form / np.var(values, axis=1)
    return over_realisations(np.einsum("crm,cm->r", values, weights) / np.sum(weights * form))


def _projected(values: np.ndarray, right: np.ndarray, form: np.ndarray) -> float:
    """What `slope` gives on average if `right` is right."""
    weights = form / np.var(values, axis=1)
    return float(np.sum(weights * right) / np.sum(weights * form))


def claims_of(network: Measured) -> list[Claim]:
    """All claims of one network."""
    exact, name = network.of(Case.ito), network.name
    apart = np.max(np.abs(exact / network.definition - 1))
    claims = [
        Claim.equality(
            f"{name}/Itô drift/definition", source("Prop. 3.5, corrected"),
            "largest relative difference from ½ tr(Σ Hess w) by automatic derivatives, over states and modes",
            apart, 0.0, 0.0, resolution=ROUNDING, tolerance=ROUNDING,
        )
    ]  # fmt: skip
    noises = network.of(lambda case: case.settings["label_noise_std"])
    for σ in np.unique(noises):
        claims += _ito(f"{name}/σ = {σ:g}", float(σ), network, noises == σ)
    return claims + _sign(network) + _decoupling(network) + _alignment(network)


def _ito(place: str, σ: float, network: Measured, cases: np.ndarray) -> list[Claim]:
    """The drift of one label noise, in units of each form of it."""
    sde, sgd = network.steps.sde[cases], network.steps.sgd[cases]
    forms = {form: network.of(lambda case, form=form: case.ito(form))[cases] for form in deep_linear.MODEWISE_FORMS}
    exact, alone = forms["exact"], network.of(Case.uncoupled)[cases]
    discrete = exact + network.of(Case.finite_steps)[cases]
    one = {"expected": 1.0, "resolution": SEEN}
    claims = [
        Claim.equality(
            f"{place}/Itô drift", source("Prop. 3.5, corrected"),
            "Itô drift of the SDE's steps over the exact one, fitted to all states and modes",
            **evidence(slope(sde, exact)), **one,
        ),
        Claim.equality(
            f"{place}/SGD's step", source("Prop. 3.5, corrected"),
            "second-order drift of SGD's steps over exact Itô drift and drift of finite steps, fitted likewise",
            **evidence(slope(sgd, discrete)), **one,
        ),
        Claim.rejection(
            f"{place}/no Itô drift/control", source("Prop. 3.4, Remark"),
            "the drift is not 0, as it would be with isotropic noise",
            **evidence(slope(sde, exact)), expected=1.0, rejected=0.0,
        ),
        Claim.rejection(
            f"{place}/modes alone/control", source("Prop. 3.5"), "not the exact drift without what couples the modes",
            **evidence(slope(sde, alone)), expected=_projected(sde, exact, alone), rejected=1.0,
        ),
    ]  # fmt: skip
    printed = {"(6)": "published_6", "(14)": "published_14"} if σ else {"(6), (14)": "published_6"}
    return claims + [
        Claim.equality(
            f"{place}/{number}/published", source(f"Eq. {number}"),
            f"Itô drift of the SDE's steps over that of {number}, fitted likewise",
            **evidence(slope(sde, forms[form])), **one,
        )
        for number, form in printed.items()
    ]  # fmt: skip


def _sign(network: Measured) -> list[Claim]:
    """μ_grad by SGD's own first-order steps −aᵀg."""
    gradient = network.of(_gradient_drift)
    words = "mean first-order step of SGD over (v ⊗ u)ᵀ Σ K_l δ, fitted to all states and modes"
    measured = evidence(slope(network.steps.linear, gradient))
    return [
        Claim.equality(
            f"{network.name}/sign of the gradient", source("Prop. 3.4, corrected"), words,
            **measured, expected=1.0, resolution=SEEN,
        ),
        Claim.equality(
            f"{network.name}/sign of the gradient/published", source("Prop. 3.4"), words,
            **measured, expected=-1.0, resolution=SEEN,
        ),
    ]  # fmt: skip


def _gradient_drift(case: Case) -> np.ndarray:
    student = case.student
    drift = deep_linear.mode_drift(student.weights(case.θ), student.teacher.matrix, **student.hyperparameters)[0]
    return np.asarray(drift)[: student.modes]


def _decoupling(network: Measured) -> list[Claim]:
    """The drift of the last mode in two states that differ in the others; the replicas' draws are the same."""
    exact = network.of(Case.ito)[:2, -1]
    change = over_realisations((network.steps.sde[1, :, -1] - network.steps.sde[0, :, -1]) / exact[0])
    words = "change of the last mode's Itô drift, in units of itself, when only the other amplitudes change"
    about = {"resolution": abs(exact[1] / exact[0] - 1) / 2}
    return [
        Claim.equality(
            f"{network.name}/coupling", source("Prop. 3.5, corrected"), words,
            **evidence(change), expected=exact[1] / exact[0] - 1, **about,
        ),
        Claim.equality(
            f"{network.name}/exact decoupling/published", source("Prop. 3.5"), f"{words}: none",
            **evidence(change), expected=0.0, **about,
        ),
    ]  # fmt: skip


def _alignment(network: Measured) -> list[Claim]:
    """Diffusion of u_0ᵀ W v_1, 0 of which would keep the modes aligned, in the second state."""
    case = network.cases[1]
    D = deep_linear.modewise_cross_diffusion(
        np.asarray(case.amplitudes), case.student.singular_values, **case.settings
    )[0]  # fmt: skip
    share = over_realisations(network.steps.crossed[1, :, 1] / float(D[0]))
    words = "diffusion of the amplitude u_0ᵀ W v_1 that crosses two modes, in units of that of mode 0"
    expected = float(D[1] / D[0])
    return [
        Claim.equality(
            f"{network.name}/crossed amplitudes", source("Prop. 3.5, corrected"), words,
            **evidence(share), expected=expected, resolution=SEEN * expected,
        ),
        Claim.equality(
            f"{network.name}/stays aligned/published", source("Assumption A2"), f"{words}: 0",
            **evidence(share), expected=0.0, resolution=SEEN * expected,
        ),
    ]  # fmt: skip
