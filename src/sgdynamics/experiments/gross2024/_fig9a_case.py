"""What Fig. 9(a) is made of: one data set with its measurement, and linear response's ψ over data sets.

A route is a set of directions v_k along which curvature v_kᵀ H v_k and variance v_kᵀ M₂₂ v_k are read off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sgdynamics.experiments._flatness import along, exponent, mapped
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._two_layer import TwoLayer
from sgdynamics.experiments._variables import Variable, measurement, variable
from sgdynamics.experiments.gross2024._principal import Principal
from sgdynamics.statistics import Estimate


@dataclass(frozen=True)
class Route:
    """Curvatures [modes], measured variances [modes], and variances of linear response along the same directions."""

    curvatures: np.ndarray
    variances: Estimate
    response: np.ndarray

    @cached_property
    def measured(self) -> Estimate:
        """ψ, fit over all modes."""
        return mapped(self.variances, lambda v: exponent(v, self.curvatures), "exponent")

    @cached_property
    def expected(self) -> float:
        """ψ of linear response, fit in the same way."""
        return exponent(self.response, self.curvatures)


@dataclass(frozen=True)
class Case:
    """What was measured at one number of samples. The coordinates of the covariance are the singular basis a_k."""

    problem: TwoLayer
    principal: Principal
    covariance: Estimate
    drifted: float
    """Mean time of a record over the balance time."""

    @cached_property
    def hessian(self) -> np.ndarray:
        """Of the second layer."""
        return second(self.problem, self.problem.hessian)

    @cached_property
    def response(self) -> np.ndarray:
        """M₂₂ of linear response."""
        return second(self.problem, self.problem.covariance())

    @cached_property
    def singular(self) -> Route:
        """Along a_k."""
        return Route(np.diag(self.hessian), mapped(self.covariance, np.diag, "variance"), np.diag(self.response))

    @cached_property
    def measured(self) -> Route:
        """Along the measured principal directions, as in the paper."""
        V = self.principal.directions
        return Route(along(V, self.hessian), self.principal.variances, along(V, self.response))

    @property
    def strengths(self) -> np.ndarray:
        """D₁ over D₂."""
        return _strengths(self.problem)

    @property
    def stiffness(self) -> float:
        """σ_x² D₂, in units of which a curvature is D₁/D₂."""
        return self.problem.input_variance * self.problem.second_strengths[0]


@dataclass(frozen=True)
class Exponents:
    """ψ of linear response for each of several data sets [data_sets]: directions and noise, or the closed form."""

    singular: np.ndarray
    principal: np.ndarray
    wick: np.ndarray
    """Along the eigenvectors of M₂₂, with Wick's noise."""
    closed: np.ndarray
    """Of white inputs and Wick's noise: (3.34) and the first form of (3.37)."""

    @staticmethod
    def of(problems: Sequence[TwoLayer]) -> "Exponents":
        return Exponents(*np.array([_exponents(problem) for problem in problems]).T)


def _exponents(problem: TwoLayer) -> tuple[float, ...]:
    H, M, wick = (second(problem, X) for X in (problem.hessian, problem.covariance(), problem.covariance("wick")))
    d = _strengths(problem)
    return exponent(np.diag(M), np.diag(H)), own_exponent(M, H), own_exponent(wick, H), exponent(d / (1 + d), d)


def own_exponent(covariance: np.ndarray, hessian: np.ndarray) -> float:
    """ψ along the covariance's eigenvectors: what principal directions of any number of replicas tend to."""
    variances, vectors = np.linalg.eigh(covariance)
    return exponent(variances, along(vectors, hessian))


def second(problem: TwoLayer, matrix) -> np.ndarray:
    """The second layer's block."""
    return np.asarray(matrix)[problem.second_layer, problem.second_layer]


def _strengths(problem: TwoLayer) -> np.ndarray:
    return problem.first_strengths / problem.second_strengths[0]


# --- the data -------------------------------------------------------------------------------------------------


def variables(case: Case, others: Exponents, amplitude: float) -> dict[str, Variable]:
    """Of one number of samples."""
    at, P = f"at_{case.problem.samples}", f"P = {case.problem.samples}"
    parts = _losses(case, amplitude) | _variances(case) | _psi(case) | _psi_of(others)
    described = lambda entry: (*entry[:2], entry[2] | {"long_name": f"{entry[2]['long_name']}, {P}"})
    return {f"{at}_{name}": described(entry) for name, entry in parts.items()}


def _losses(case: Case, amplitude: float) -> dict[str, Variable]:
    """At θ."""
    half, m = amplitude**2 / 2, case.strengths / (1 + case.strengths)
    vectors = np.linalg.eigh(case.response)[1][:, ::-1]
    rows = {
        "loss": (half * case.measured.curvatures, "measured principal directions"),
        "loss_response": (half * along(vectors, case.hessian), "linear response"),
        "loss_first": (half * case.stiffness * case.strengths, "first form of (3.37)"),
        "loss_second": (half * case.stiffness * m, "second form of (3.37)"),
    }
    return {name: variable("mode", loss, f"loss along the mode, {words}") for name, (loss, words) in rows.items()}


def _variances(case: Case) -> dict[str, Variable]:
    """In units of κ, against D₁/D₂: the exact relation is one curve for all P."""
    unit, route = case.problem.unit, case.singular
    scaled = mapped(route.variances, lambda v: v / unit)
    return {
        "stiffness": variable("mode", route.curvatures / case.stiffness, "curvature along a_k over σ_x² D₂"),
        "exponent": variable("mode", 2 / (1 + case.strengths), "local exponent ψ"),
        "response": variable("mode", route.response / unit, "variance along a_k, linear response", "κ"),
    } | measurement("variance", "mode", scaled, "variance along a_k", "κ")


def _psi(case: Case) -> dict[str, Variable]:
    """Of the measured data set."""
    variables = {
        "psi_own": variable("", own_exponent(case.response, case.hessian), "ψ, eigenvectors of M₂₂, linear response")
    }
    for name, route, words in (
        ("singular", case.singular, "a_k"),
        ("principal", case.measured, "principal directions"),
    ):
        variables |= measurement(f"psi_{name}", "", route.measured, f"ψ along {words}")
        variables[f"psi_{name}_response"] = variable("", route.expected, f"ψ along the same {words}, linear response")
    return variables


def _psi_of(others: Exponents) -> dict[str, Variable]:
    """Of data sets, and the error of their means."""
    words = {
        "singular": "a_k", "principal": "eigenvectors of M₂₂", "wick": "eigenvectors of M₂₂ with Wick's noise",
        "closed": "a_k, white inputs and Wick's noise",
    }  # fmt: skip
    variables = {}
    for name, directions in words.items():
        values, text = getattr(others, name), f"ψ along {directions}, linear response of a data set"
        mean = over_realisations(values)
        variables[f"psi_{name}_sets"] = variable("data_set", values, text)
        variables[f"psi_{name}_mean"] = variable("", mean.value, f"{text}, mean")
        variables[f"psi_{name}_mean_error"] = variable("", mean.standard_error, f"{text}, standard error of the mean")
    return variables
