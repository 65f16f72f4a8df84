"""What a spectrum makes of the reduction, for noise C ∝ H, small ηh and M (1 − β) ≫ 1.

    reduction = 1 − Σ h_i r(3 h_i/h_cross)/Σ h_i,      r of `theory.epochs.crossover_function`

a function of h_1/h_cross, the stiffness.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from sgdynamics.theory import epochs as theory

PUBLISHED = 0.62
MODES = 5000

Modes = Float[np.ndarray, " modes"]


def power_law(modes: int, exponent: float) -> Modes:
    """h_i = i^−p."""
    return np.arange(1, modes + 1) ** -float(exponent)


def reduction(spectrum: Modes, stiffness: Any, ratio: Callable = theory.crossover_function) -> np.ndarray:
    """Of a spectrum with h_1 = 1; `ratio`: σ²(epochs)/σ²(white) as a function of h/h_cross."""
    relative = np.asarray(stiffness, float)[..., None] * spectrum
    return np.asarray(1 - np.asarray(ratio(relative)) @ spectrum / np.sum(spectrum))


def asymptotes(relative: Any) -> np.ndarray:
    """σ²/σ_max² by the slides' brace."""
    return np.minimum(1.0, np.asarray(relative))


def required_stiffness(spectrum: Modes, of: Callable | None = None, wanted: float = PUBLISHED) -> float:
    """h_1/h_cross at which the reduction `of` it (None: the universal one) is `wanted`; it falls, so there is one."""
    of = of or (lambda stiffness: reduction(spectrum, stiffness))
    low, high = 1e-3, 1.0
    while of(high) > wanted:
        low, high = high, 2 * high
    return float(brentq(lambda x: float(of(x)) - wanted, low, high))  # pyright: ignore[reportArgumentType]


def learning_rate(stiffness: float, *, momentum: float, batches: int) -> float:
    """η at which h_1 = 1 is so many times h_cross ∝ 1/η."""
    return stiffness * float(
        theory.crossover_curvature(learning_rate=1.0, momentum=momentum, batches_per_epoch=batches)
    )


def exact_reduction(spectrum: Modes, stiffness: float, *, momentum: float, batches: int) -> float:
    """At finite ηh and M, with the learning rate that has this h_1/h_cross."""
    setting = {"learning_rate": learning_rate(stiffness, momentum=momentum, batches=batches), "momentum": momentum}
    spent = theory.stationary_variances(spectrum, spectrum, **setting, batches_per_epoch=batches)[0]
    white = theory.white_variances(spectrum, spectrum, **setting)[0]
    return 1 - float(theory.excess_loss(spectrum, spent) / theory.excess_loss(spectrum, white))
