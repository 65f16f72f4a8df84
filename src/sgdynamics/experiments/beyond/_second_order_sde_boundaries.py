"""Where the errors of the SDE (3) reach 10 %: derived, against the map.

x = (1 − β)/(1 + β), so that ln β = −2 artanh x. Every claim here is an exact evaluation; its tolerance is what the
limit that it takes leaves out, or rounding.
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from sgdynamics.experiments._claims import Claim
from sgdynamics.experiments.beyond import _second_order_sde_map as theory
from sgdynamics.theory.momentum import critical_curvature

MOMENTA = np.array([0.0, 0.3, 0.5, 0.8, 0.9, 0.99])
SMALL = 1e-5  # ηK where a limit ηK → 0 is taken
ROUNDING = 1e-6
FROM = "derived, exact evaluation"


def boundaries() -> list[Claim]:
    """In ηK of the variance; in β of memory, decay and critical damping."""
    memory = lambda β: ratio("memory", SMALL, β) - 1.1
    critical = lambda β: _critical(β, "sde") / _critical(β, "exact") - 0.9
    places = [crossing(lambda α, β=β: ratio("variance", α, β) - 0.9, 1e-3, 1.9 * (1 + β)) for β in MOMENTA]
    return [
        _exact("boundary/Var θ", "ηK where Var θ errs by 10 %, over 0.2(1 + β): largest deviation from 1",
               np.max(np.abs(places / (0.2 * (1 + MOMENTA)) - 1)), 0.0),
        _exact("boundary/memory", "β above which it is within 10 % for ηK → 0, against e^{−2x} = 1.1 β",
               crossing(memory, 0.1, 0.9), crossing(lambda β: np.exp(-2 * x(β)) / β - 1.1, 0.1, 0.9), 10 * SMALL),
        _exact("boundary/decay, oscillating", "β above which it is within 10 %, against x = 0.9 artanh x",
               crossing(lambda β: ratio("decay", 1.0, β) - 0.9, 0.1, 0.9),
               crossing(lambda β: x(β) / np.arctanh(x(β)) - 0.9, 0.1, 0.9)),
        _exact("boundary/critical damping", "β above which the critical ηK is within 10 %",
               crossing(critical, 0.05, 0.9), 0.25),
    ]  # fmt: skip


def ratio(name: str, α: float, β: float) -> float:
    """SDE over SGD at a point of the map."""
    return float(theory.ratios([α], [β])[name][0])


def x(β: float) -> float:
    """(1 − β)/(1 + β)."""
    return (1 - β) / (1 + β)


def crossing(function: Callable[[float], float], low: float, high: float) -> float:
    """Where the function is 0."""
    return float(brentq(function, low, high, xtol=1e-12))


def _critical(β: float, form: str) -> float:
    return float(critical_curvature(learning_rate=1.0, momentum=β, form=form))


def _exact(id: str, statement: str, measured: float, expected: float, tolerance: float = ROUNDING) -> Claim:
    return Claim.equality(
        id, FROM, statement, measured, 0.0, expected, resolution=tolerance, tolerance=tolerance
    )  # fmt: skip
