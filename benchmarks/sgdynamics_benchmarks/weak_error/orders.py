"""Orders of errors e(η) ~ c η^p: of exact ones from their last ratios, of sampled ones by a weighted fit.

Sampled errors that change sign on the way have no order there, but a linear part: the a of e = a η + b η² (+ c η³
where there are five), which is 0 for a model of order 2.

An order is given only where the numbers decide one; otherwise the reason is.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import least_squares

ROUNDING = 1e-9  # exact errors below it are zero
LARGEST_DRIFT = 0.05  # of a local order of exact errors
RESOLVED = 3.0  # standard errors from 0
LEAST_POINTS = 3
LARGEST_ERROR = 0.4  # of an order that is still called measured
WORST_FIT = 4.0  # χ² per degree of freedom beyond which the errors are not one power of η


def exact_order(parameter: Sequence[float], errors: Sequence[float]) -> dict[str, Any]:
    """The order in a parameter that falls by a constant factor: the last local one extrapolated linearly, and by how
    much that moved it, as its error. Errors that have reached rounding have no order."""
    h, e = np.asarray(parameter, float), np.abs(np.asarray(errors, float))
    if e.max() < ROUNDING:
        return {"order": None, "error": None, "verdict": "zero to rounding"}
    local = np.diff(np.log(e)) / np.diff(np.log(h))
    # the correction of a local order is proportional to h
    factor = h[-1] / h[-2]
    extrapolated = local[-1] + (local[-1] - local[-2]) * factor / (1 - factor)
    error = abs(extrapolated - local[-1])
    verdict = "measured" if error < LARGEST_DRIFT else "no single power"
    return {"order": float(extrapolated), "error": float(error), "local": local.tolist(), "verdict": verdict}


def sampled_order(parameter: Sequence[float], errors: Sequence[float], sigmas: Sequence[float]) -> dict[str, Any]:
    """(p, c) of e = c η^p by weighted least squares on the errors themselves, so that unresolved ones count too."""
    h, e, σ = (np.asarray(values, float) for values in (parameter, errors, sigmas))
    resolved = np.abs(e) > RESOLVED * σ
    if resolved.sum() < LEAST_POINTS:
        bound = float(np.min(np.abs(e) + 2 * σ)) if len(e) else None
        reason = f"undecided: {resolved.sum()} of {len(e)} errors resolved"
        return {"order": None, "error": None, "bound": bound, "verdict": reason}
    scale = h.max()
    start = e[np.argmax(np.abs(e) / σ)]
    residuals = lambda x: (x[1] * (h / scale) ** x[0] - e) / σ
    fits = [least_squares(residuals, (p, start)) for p in (1.0, 2.0)]
    fit = min(fits, key=lambda fit: fit.cost)
    freedom = len(e) - 2
    misfit = float(2 * fit.cost / freedom)
    covariance = np.linalg.inv(fit.jac.T @ fit.jac) * max(1.0, misfit)
    p, error = float(fit.x[0]), math.sqrt(covariance[0, 0])
    if misfit > WORST_FIT:
        verdict = f"no single power: χ²/{freedom} = {misfit:.1f}"
    else:
        verdict = "measured" if error < LARGEST_ERROR else "undecided: the order's own error is too large"
    return {"order": p, "error": error, "misfit": misfit, "verdict": verdict}


def linear_part(parameter: Sequence[float], errors: Sequence[float], sigmas: Sequence[float]) -> dict[str, Any]:
    """a of e = a η + b η² + …, its error, and whether it is 0 to within that."""
    h, e, σ = (np.asarray(values, float) for values in (parameter, errors, sigmas))
    terms = 3 if len(h) >= 5 else 2
    if len(h) <= terms:
        return {"value": None, "error": None, "verdict": f"undecided: {len(h)} errors"}
    basis = (h[:, None] ** np.arange(1, terms + 1)) / σ[:, None]
    inverse = np.linalg.inv(basis.T @ basis)
    fit = inverse @ basis.T @ (e / σ)
    misfit = float(np.sum((e / σ - basis @ fit) ** 2) / (len(h) - terms))
    a, error = float(fit[0]), math.sqrt(inverse[0, 0] * max(1.0, misfit))
    verdict = "not 0" if abs(a) > RESOLVED * error else "0 within its error"
    return {"value": a, "error": error, "misfit": misfit, "verdict": verdict}


def shown(order: dict[str, Any]) -> str:
    """An order with its error, or why there is none."""
    if order["order"] is None or order["verdict"].startswith("undecided"):
        return order["verdict"].partition(":")[0]
    text = f"{order['order']:.2f} ± {max(order['error'], 0.005):.2f}"
    return text if order["verdict"] == "measured" else f"({text})"
