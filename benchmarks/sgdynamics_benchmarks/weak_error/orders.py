"""Orders of errors e(η) ~ c η^p: of exact ones from their last ratios, of sampled ones by a weighted fit.

Weak errors are sums of whole powers, e = a η + b η² + …, so that over a few halvings of η two of them may well look
like one with an exponent between. A fitted p is *measured* only where

    χ² has p > 0.01,      the fit without the largest η agrees,      its error is at most 0.2,      it is whole,

all within two standard errors; otherwise it is a local slope, or undecided. Errors that change sign on the way have
no order there, but a linear part: the a of e = a η + b η² (+ c η³ where there are five), 0 for a model of order 2.

Errors against one common estimate share its error s: their covariance is diag(σ²) + s² 11ᵀ.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import least_squares
from scipy.stats import chi2

ROUNDING = 1e-9  # exact errors below it are zero
LARGEST_DRIFT = 0.05  # of a local order of exact errors
RESOLVED = 3.0  # standard errors from 0
LEAST_POINTS = 3
LARGEST_ERROR = 0.2  # of an order that is called measured; of that without the largest η twice this
AGREEMENT = 2.0  # standard errors
LEAST_P = 0.01  # of χ², below which a fit is refused
LOCAL = "local slope, not asymptotic"


def exact_order(parameter: Sequence[float], errors: Sequence[float]) -> dict[str, Any]:
    """The order in a parameter that falls by a constant factor: the last local one extrapolated linearly, and by how
    much that moved it, as its error. From the first error that has reached rounding on, errors have no order."""
    h, e = np.asarray(parameter, float), np.abs(np.asarray(errors, float))
    above = len(e) if np.all(e >= ROUNDING) else int(np.argmax(e < ROUNDING))
    if above < LEAST_POINTS:
        verdict = "zero to rounding" if e.max() < ROUNDING else f"undecided: {above} errors above rounding"
        return {"order": None, "error": None, "verdict": verdict}
    h, e = h[:above], e[:above]
    local = np.diff(np.log(e)) / np.diff(np.log(h))
    # the correction of a local order is proportional to h
    factor = h[-1] / h[-2]
    extrapolated = local[-1] + (local[-1] - local[-2]) * factor / (1 - factor)
    error = abs(extrapolated - local[-1])
    verdict = "measured" if error < LARGEST_DRIFT else "no single power"
    return {"order": float(extrapolated), "error": float(error), "local": local.tolist(), "verdict": verdict}


def sampled_order(
    parameter: Sequence[float], errors: Sequence[float], sigmas: Sequence[float], common: float = 0.0
) -> dict[str, Any]:
    """p of e = c η^p by generalised least squares on the errors themselves, so that unresolved ones count too.
    `sigmas` are the errors' own standard errors, `common` the one they share."""
    h, e, σ = (np.asarray(values, float) for values in (parameter, errors, sigmas))
    total = np.hypot(σ, common)
    resolved = np.abs(e) > RESOLVED * total
    if resolved.sum() < LEAST_POINTS:
        bound = float(np.min(np.abs(e) + 2 * total)) if len(e) else None
        reason = f"undecided: {resolved.sum()} of {len(e)} errors resolved"
        return {"order": None, "error": None, "bound": bound, "verdict": reason}
    p, error, χ2 = _power(h, e, σ, common)
    smaller = h < h.max()
    p_smaller, error_smaller, _ = _power(h[smaller], e[smaller], σ[smaller], common)
    probability = float(chi2.sf(χ2, len(e) - 2))
    if probability < LEAST_P:
        verdict = f"{LOCAL}: χ² = {χ2:.1f} of {len(e) - 2} degrees of freedom"
    elif error > LARGEST_ERROR or error_smaller > 2 * LARGEST_ERROR:
        verdict = "undecided: the order's own error is too large"
    elif abs(p - p_smaller) > AGREEMENT * error_smaller:
        verdict = f"{LOCAL}: {p_smaller:.2f} ± {error_smaller:.2f} without the largest"
    elif abs(p - round(p)) > AGREEMENT * error:
        verdict = f"{LOCAL}: not a whole number"
    else:
        verdict = "measured"
    return {"order": p, "error": error, "probability": probability, "verdict": verdict,
            "without_largest": {"order": p_smaller, "error": error_smaller}}  # fmt: skip


def _power(h: np.ndarray, e: np.ndarray, σ: np.ndarray, common: float) -> tuple[float, float, float]:
    """p, its standard error and χ² of the best c η^p."""
    scale, white = h.max(), _whitening(σ, common)
    start = e[np.argmax(np.abs(e) / σ)]
    residuals = lambda x: white(x[1] * (h / scale) ** x[0] - e)
    fits = [least_squares(residuals, (p, start), x_scale=(1.0, abs(start))) for p in (1.0, 2.0)]
    fit = min(fits, key=lambda fit: fit.cost)
    (a, b), (_, d) = fit.jac.T @ fit.jac
    determinant = a * d - b * b
    # where no p changes the misfit, p is unknown
    error = math.sqrt(d / determinant) if determinant > 1e-12 * a * d else math.inf
    return float(fit.x[0]), error, 2 * float(fit.cost)


def _whitening(σ: np.ndarray, common: float) -> Callable[[np.ndarray], np.ndarray]:
    """The map that turns errors of covariance diag(σ²) + s² 11ᵀ into independent ones of variance 1."""
    root = np.linalg.cholesky(np.diag(σ**2) + common**2)
    return lambda values: solve_triangular(root, values, lower=True)


def linear_part(parameter: Sequence[float], errors: Sequence[float], sigmas: Sequence[float]) -> dict[str, Any]:
    """a of e = a η + b η² + …, its error, and whether it is 0 to within that."""
    h, e, σ = (np.asarray(values, float) for values in (parameter, errors, sigmas))
    terms = 3 if len(h) >= 5 else 2
    if len(h) <= terms:
        return {"value": None, "error": None, "verdict": f"undecided: {len(h)} errors"}
    basis = (h[:, None] ** np.arange(1, terms + 1)) / σ[:, None]
    inverse = np.linalg.inv(basis.T @ basis)
    fit = inverse @ basis.T @ (e / σ)
    χ2, freedom = float(np.sum((e / σ - basis @ fit) ** 2)), len(h) - terms
    probability = float(chi2.sf(χ2, freedom))
    if probability < LEAST_P:
        verdict = f"misfit: χ² = {χ2:.1f} of {freedom} degrees of freedom"
        return {"value": None, "error": None, "probability": probability, "verdict": verdict}
    a, error = float(fit[0]), math.sqrt(inverse[0, 0])
    verdict = "not 0" if abs(a) > RESOLVED * error else "0 within its error"
    return {"value": a, "error": error, "probability": probability, "verdict": verdict}


def shown(order: dict[str, Any]) -> str:
    """An order with its error, in brackets where it is but a local slope, or why there is none."""
    if order["order"] is None or order["verdict"].startswith("undecided"):
        return order["verdict"].partition(":")[0]
    text = f"{order['order']:.2f} ± {max(order['error'], 0.005):.2f}"
    return text if order["verdict"] == "measured" else f"({text})"
