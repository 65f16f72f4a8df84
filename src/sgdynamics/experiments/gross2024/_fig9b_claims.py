"""What Fig. 9(b) claims: variances and slope in the range, the drop beyond it, and SGD against its SDE."""

from typing import Any

import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._flatness import mapped
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._two_layer import TwoLayer
from sgdynamics.experiments.gross2024._fig9b_layer import Measured, curvatures, first_modes, range_directions
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Estimate

WORDS = {"sgd": "SGD", "coarse": "SDE, fewer substeps", "sde": "SDE"}
NULL = 0.1  # of the loss in the range: what we would call a drop


def claims(measured: dict[str, Measured], case: TwoLayer, drifted: float) -> list[Claim]:
    """Of SGD and the SDE, and of the one against the other; D₂ has fallen by `drifted`."""
    each = [claim for name in ("sgd", "sde") for claim in _of(measured[name], WORDS[name], case, drifted)]
    return [*each, *_comparisons(measured)]


def _of(one: Measured, name: str, case: TwoLayer, tolerance: float) -> list[Claim]:
    """Of one dynamics: variances in the range, the slope there, the drop beyond it."""
    values, vectors = first_modes(case)
    k = curvatures(case, range_directions(case) @ vectors)
    slope = mapped(one.range, lambda v: relation_slope(v, k))
    expected = relation_slope(values, k)
    text = "slope of ln δL against ln variance over the N_i modes of linear response"
    return [
        Claim.equality(
            f"{name}/variances", source("Eq. 3.30, with the noise of the data set"),
            "variance of δW₁ over linear response, mean over its N_i modes (tolerance: drift of D₂)",
            **evidence(mapped(one.range, lambda v: (v / values).mean())), expected=1.0, resolution=0.05,
            tolerance=tolerance,
        ),
        Claim.equality(
            f"{name}/slope", source("Sec. III C 3, first layer"), f"{text}: linear response (tolerance: drift of D₂)",
            **evidence(slope), expected=expected, resolution=0.1, tolerance=tolerance,
        ),
        Claim.rejection(
            f"{name}/ψ = 2/control", source("Sec. III C 3, first layer"), f"{text}: not 1, ψ = 2, as for W₂",
            **evidence(slope), expected=expected, rejected=1.0,
        ),
        *_drop(one, name, case),
    ]  # fmt: skip


def _drop(one: Measured, name: str, case: TwoLayer) -> list[Claim]:
    """Beyond N_i the loss falls, and the variance is small but not 0."""
    inputs, loss = case.widths[0], curvatures(case, one.principal.directions)
    beyond = over_realisations(loss[inputs:] / loss[:inputs].mean())
    return [
        Claim.bound(
            f"{name}/drop at N_i", source("Fig. 9(b)"),
            f"δL for i = N_i + 1 … 2 N_i over its mean up to N_i, at most {NULL:g} (error: scatter over i)",
            **evidence(beyond), expected=NULL, side="at most",
        ),
        Claim.rejection(
            f"{name}/null directions stay/control", source("Eq. 3.28c, inset of Fig. 9(b)"),
            "variance of δW₁ in null directions, summed, in units of ησ_e²/2S: not the 0 of linear theory",
            **evidence(mapped(one.null, lambda v: v / case.unit)), rejected=0.0, resolution=1.0,
        ),
    ]  # fmt: skip


def _comparisons(measured: dict[str, Measured]) -> list[Claim]:
    """The SDE is converged in its time step, and SGD moves as it does."""
    claims = []
    for name, id in (("coarse", "SDE converged"), ("sgd", "SGD is the SDE")):
        for part, words, resolution in (("range", "along the N_i modes", 0.06), ("null", "in null directions", 0.1)):
            ratio = log_ratio(getattr(measured[name], part), getattr(measured["sde"], part))
            claims.append(
                Claim.equality(
                    f"{id}/{part}", source("Eq. 3.15"),
                    f"ln of the variance of δW₁ {words}, {WORDS[name]} over {WORDS['sde']}",
                    **evidence(ratio), expected=0.0, resolution=resolution,
                )
            )  # fmt: skip
    return claims


def relation_slope(variances: Any, curvatures: np.ndarray) -> float:
    """d ln δL / d ln Var by least squares: the loss hardly varies, and it is exact. Errors of 5 % in variances that
    differ by a factor of 5 lower it by 1 % of itself."""
    x = np.log(variances)
    x, y = x - x.mean(), np.log(curvatures) - np.mean(np.log(curvatures))
    return float(np.sum(x * y) / np.sum(x**2))


def log_ratio(one: Estimate, other: Estimate) -> Estimate:
    """ln (mean of one / mean of the other), independent of each other: their groups may be paired at will."""
    logs = [mapped(e, lambda v: np.log(v.mean())) for e in (one, other)]
    return over_realisations(np.asarray(logs[0].groups) - np.asarray(logs[1].groups), "logarithm of a ratio")
