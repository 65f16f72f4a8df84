"""The matrix of Fig. 8(a): what it is, against linear response, (3.30) and (3.34)."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float

import sgdynamics as sgd
from sgdynamics.experiments._between import between
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._two_layer import TwoLayer
from sgdynamics.experiments._variables import Variable, measurement, variable
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Estimate
from sgdynamics.theory import two_layer

UNITS = "ησ_e²/(2S)"


def variables(case: TwoLayer, measured: Estimate, expected: np.ndarray) -> dict[str, Variable]:
    second = case.second_layer
    white = case.covariance("wick", discrete=False) / case.unit
    words = "covariance of the transformed weights z"
    diagonal = mapped(measured, lambda M: np.diagonal(M, axis1=-2, axis2=-1)[:, second])
    D1, D2 = case.first_strengths, case.second_strengths
    return (
        measurement("sgd", ("row", "column"), measured, words, UNITS)
        | {"exact": variable(("row", "column"), expected, f"{words}, linear response", UNITS)}
        | {"white": variable(("row", "column"), white, f"{words}, (3.30)", UNITS)}
        | measurement("second_sgd", "rank", diagonal, "variance of z₂", UNITS)
        | {"second_exact": variable("rank", np.diagonal(expected)[second], "variance of z₂, linear response", UNITS)}
        | {"second_white": variable("rank", D1 / (D1 + D2), "variance of z₂, (3.34)", UNITS)}
    )


def relaxed(case: TwoLayer, steps: int) -> np.ndarray:
    """Linear response after `steps` from (3.30): M + Tⁿ (M_0 − M) Tⁿ with T = 1 − η H."""
    M, start = np.asarray(case.covariance()), np.asarray(case.covariance("wick"))
    T = np.linalg.matrix_power(np.eye(len(M)) - case.learning_rate * np.asarray(case.hessian), steps)
    return M + T @ (start - M) @ T


def claims(case: TwoLayer, measured: Estimate, expected: np.ndarray) -> list[Claim]:
    """Linear response holds; Wick's noise, independent layers and a diagonal M₂₂ do not."""
    V = case.modes()[1]
    second, inside = case.second_layer, lambda M: V.T @ M @ V
    white = np.asarray(case.covariance("wick")) / case.unit
    blocks = mapped(measured, lambda M: M[:, second, second])
    ranges = mapped(measured, inside)
    position = lambda M, wrong, right: evidence(between(M, wrong=wrong, right=right))
    fully = evidence(mapped(blocks, lambda M: off_diagonal(M, expected[second, second])))
    range_ = position(ranges, inside(white), inside(expected))
    uncoupled = position(blocks, np.eye(case.hidden), expected[second, second])
    traces = mapped(measured, lambda M: np.stack([np.trace(A, axis1=1, axis2=2) for A in (inside(M), M)], axis=1))
    share = evidence(traces.map(lambda trace: 1 - trace[0] / trace[1]))
    line = "on the line from {} (0) to linear response (1)"
    return [
        Claim.bound(
            "matrix/whole", source("Eq. 3.29, exact noise"), "M on the range of H is linear response's (p-value)",
            sgd.compare(ranges, inside(expected), level=LEVEL).p_value, 0.0, LEVEL, side="at least",
        ),
        Claim.equality("matrix/linear response", source("Eq. 3.29, exact noise"), f"M {line.format('(3.30)')}",
                       **range_, expected=1.0, resolution=0.2),
        Claim.rejection("matrix/white/control", source("Eq. 3.30"), f"not (3.30): M {line.format('(3.30)')}",
                        **range_, expected=1.0, rejected=0.0),
        Claim.rejection("second layer/uncoupled/control", source("Sec. III C 2, remark 1"),
                        f"not isotropic: M₂₂ {line.format('no coupling')}", **uncoupled, expected=1.0, rejected=0.0),
        Claim.equality("second layer/fully diagonal/published", source("Fig. 8(a), caption"),
                       "correlations within M₂₂ are 0, in units of linear response's", **fully, expected=0.0,
                       resolution=0.5),
        Claim.equality("second layer/correlations", source("Fig. 8(a); exact noise"),
                       "correlations within M₂₂, in units of linear response's", **fully, expected=1.0, resolution=0.5),
        Claim.bound("matrix/rank", source("text after Eq. 3.32"),
                    "part of tr M along the N_h directions where H is 0", **share, expected=0.01, side="at most"),
    ]  # fmt: skip


def off_diagonal(M: Float[np.ndarray, "*groups n n"], expected: Float[np.ndarray, "n n"]) -> np.ndarray:
    """Least squares of the entries of M off the diagonal by the expected ones, each over √(M_ii M_jj) as expected."""
    scales = np.sqrt(np.diagonal(expected))
    weight = (1 - np.eye(len(expected))) / (scales[:, None] * scales[None, :]) ** 2
    return np.asarray(np.sum(weight * expected * M, axis=(-2, -1)) / np.sum(weight * expected**2))


def mapped(measured: Estimate, function: Callable[[np.ndarray], np.ndarray]) -> Estimate:
    """`measured.map` for what is linear: the function of all groups at once."""
    return over_realisations(function(np.asarray(measured.groups)), measured.quantity)


# --- white inputs ---------------------------------------------------------------------------------------------


def white_inputs(case: TwoLayer) -> TwoLayer:
    """The same layers and inputs that are exactly white, with residuals without correlation to them."""
    x = np.asarray(case.data.x)
    x = x @ np.linalg.inv(np.linalg.cholesky(x.T @ x / len(x))).T * np.sqrt(case.input_variance)
    y = np.asarray(case.data.y)
    residuals = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    first, second = (np.asarray(W) for W in case.layers)
    return replace(case, data=sgd.data.Dataset(x, x @ (second @ first).T + residuals))


def spectrum_claims(white: TwoLayer) -> list[Claim]:
    """(3.28) and (3.34), evaluated: with Wick's noise they hold to rounding."""
    M = np.asarray(white.covariance("wick", discrete=False)) / white.unit
    D1, D2 = white.first_strengths, white.second_strengths
    rates = two_layer.relaxation_rates(*white.layers, input_variance=white.input_variance)
    eigenvalues = np.linalg.eigvalsh(white.hessian)[::-1]
    projector = np.arange(len(M)) < white.widths[0]
    second = M[white.second_layer, white.second_layer]
    evaluated = {
        "white/rates": ("Eq. 3.28", "relaxation rates, over the largest", abs(eigenvalues - rates).max() / rates[0]),
        "white/spectrum": ("Eq. 3.32", "eigenvalues of M: N_i of them 1, N_h of them 0",
                           abs(np.linalg.eigvalsh(M)[::-1] - projector).max()),
        "white/second layer": ("Eq. 3.34", "M₂₂, diagonal and rest", abs(second - np.diag(D1 / (D1 + D2))).max()),
    }  # fmt: skip
    return [
        Claim.bound(id, source(equation), f"largest deviation of the {words}", deviation, 0.0, 1e-10, side="at most")
        for id, (equation, words, deviation) in evaluated.items()
    ]
