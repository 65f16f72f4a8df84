"""Where the errors of the SDE (3) reach 10 %, and the limits that the map has: derived, against its evaluation.

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
SMALL = 1e-5  # ηK, or its share of the critical one, where a limit ηK → 0 is taken
ROUNDING = 1e-6
FROM = "derived, exact evaluation"


def boundaries() -> list[Claim]:
    """All of them."""
    return [*_stationary(), *_memory(), *_roots(), *_other_models()]


def _stationary() -> list[Claim]:
    """Var θ and Var v."""
    ratio = lambda name: lambda α, β: float(theory.ratios([α], [β])[name][0])
    found = [_crossing(lambda α, β=β: ratio("variance")(α, β) - 0.9, 1e-3, 1.9 * (1 + β)) for β in MOMENTA]
    return [
        _exact("boundary/Var θ", "ηK where Var θ errs by 10 %, over 0.2(1 + β): largest deviation from 1",
               np.max(np.abs(found / (0.2 * (1 + MOMENTA)) - 1))),
        _exact("boundary/displacement in one step", "β above which it is within 10 % for ηK → 0",
               _crossing(lambda β: ratio("step")(SMALL, β) - 0.9, 0.3, 0.95),
               _crossing(lambda β: _free_step(_x(β)) - 0.9, 0.3, 0.95), 10 * SMALL),
    ]  # fmt: skip


def _memory() -> list[Claim]:
    """The correlation of v after one step."""
    memory = lambda α, β: float(theory.equation([α], [β]).memory[0])
    ratio = lambda α, β: memory(α, β) / float(theory.descent([α], [β]).memory[0])
    limit = lambda β: np.exp(-2 * _x(β)) / β
    near = 1 - SMALL**2
    return [
        _exact("boundary/memory", "β above which it is within 10 % for ηK → 0, against e^{−2x} = 1.1 β",
               _crossing(lambda β: ratio(SMALL, β) - 1.1, 0.1, 0.9), _crossing(lambda β: limit(β) - 1.1, 0.1, 0.9),
               10 * SMALL),
        _exact("boundary/memory, no friction", "ηK where it errs by 10 % for β → 1, against cos √(ηK) = 1.1(1 − ηK/2)",
               _crossing(lambda α: ratio(α, near) - 1.1, 0.1, 1.8),
               _crossing(lambda α: np.cos(np.sqrt(α)) / (1 - α / 2) - 1.1, 0.1, 1.8)),
    ]  # fmt: skip


def _roots() -> list[Claim]:
    """Decay, frequency and critical damping."""
    ratio = lambda name: lambda α, β: float(theory.ratios([α], [β])[name][0])
    critical = lambda β: float(_critical(β, "sde") / _critical(β, "exact"))
    near, α = 1 - SMALL**2, np.array([0.1, 0.5, 1.0, 2.0, 3.0])
    turning = [ratio("frequency")(a, near) * 2 * np.arcsin(np.sqrt(a) / 2) / np.sqrt(a) - 1 for a in α]
    return [
        _exact("boundary/decay, oscillating", "β above which it is within 10 %, against x = 0.9 artanh x",
               _crossing(lambda β: ratio("decay")(1.0, β) - 0.9, 0.1, 0.9),
               _crossing(lambda β: _x(β) / np.arctanh(_x(β)) - 0.9, 0.1, 0.9)),
        _exact("limit/decay, overdamped", "relative error over ηK(1 + β)/(2(1 − β)²) as ηK → 0: no first order",
               np.max(np.abs(_slope(ratio("decay")))), 0.0, 10 * SMALL),
        _exact("limit/frequency", "for β → 1 it is √(ηK)/(2 arcsin(√(ηK)/2)) of SGD's: largest deviation",
               np.max(np.abs(turning))),
        _exact("boundary/frequency", "ηK below which it is within 10 % for β → 1, y = √(ηK)/2, y = 0.9 arcsin y",
               _crossing(lambda a: ratio("frequency")(a, near) - 0.9, 0.5, 3.5),
               4 * _crossing(lambda y: y / np.arcsin(y) - 0.9, 0.3, 0.95) ** 2),
        _exact("boundary/critical damping", "β above which the critical ηK is within 10 %",
               _crossing(lambda β: critical(β) - 0.9, 0.05, 0.9), 0.25),
    ]  # fmt: skip


def _other_models() -> list[Claim]:
    """Euler-Maruyama of (3) at dt = η, and the first-order SDE."""
    first = lambda α, β: float(theory.first_order_decay(α, β) / theory.descent([α], [β]).decay[0])
    limits = np.array([theory.euler_limit(β) for β in MOMENTA])
    ratio = float(theory.ratios([1.0], [0.9])["variance"][0])
    return [
        _exact("Euler/stability", "largest stable ηK over 1 − β (SGD: 2(1 + β)): largest deviation from 1",
               np.max(np.abs(limits / (1 - MOMENTA) - 1))),
        _exact("limit/first-order SDE", "relative error of its decay over −ηK(1 + β)/(2(1 − β)²) as ηK → 0: deviation",
               np.max(np.abs(_slope(first) + 1)), 0.0, 10 * SMALL),
        Claim.rejection(
            "the map is not flat/control", FROM, "Var θ of (3) over SGD's at β = 0.9, ηK = 1 is not 1",
            ratio, 0.0, 1 - 1 / 3.8, rejected=1.0,
        ),
    ]  # fmt: skip


def _slope(ratio: Callable[[float, float], float]) -> np.ndarray:
    """(ratio − 1) in units of ηK(1 + β)/(2(1 − β)²) at small ηK, for each of `MOMENTA`."""
    unit = (1 + MOMENTA) / (2 * (1 - MOMENTA) ** 2)
    return np.array([(ratio(SMALL / u, β) - 1) / SMALL for u, β in zip(unit, MOMENTA, strict=True)])


def _x(β: float) -> float:
    return (1 - β) / (1 + β)


def _free_step(x: float) -> float:
    """Displacement of (3) over η in units of η² Var v, without curvature: 2∫₀¹(1 − s) e^{−2xs} ds."""
    return (2 * x + np.expm1(-2 * x)) / (2 * x**2)


def _critical(β: float, form: str) -> float:
    return float(critical_curvature(learning_rate=1.0, momentum=β, form=form))


def _crossing(function: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(function, low, high, xtol=1e-12))


def _exact(id: str, statement: str, measured: float, expected: float = 0.0, tolerance: float = ROUNDING) -> Claim:
    return Claim.equality(
        id, FROM, statement, measured, 0.0, expected, resolution=tolerance, tolerance=tolerance
    )  # fmt: skip
