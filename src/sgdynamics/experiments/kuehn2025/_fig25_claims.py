"""Fig. 25: what is claimed."""

from collections.abc import Mapping
from typing import SupportsFloat

import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._realisations import difference
from sgdynamics.experiments.kuehn2025._fig25_case import NAMES, V2, Fig25Config, V, rate_of, trace
from sgdynamics.experiments.kuehn2025._fig25_valley import anticorrelated, rate, uncorrelated
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.statistics import Estimate

LAWS = {"anti_pgd": anticorrelated, "pgd": uncorrelated}


def speed_claims(name: str, ends: list[Estimate], config: Fig25Config) -> list[Claim]:
    """The law at every start; and neither the other noise's, nor L̃'s."""
    claims = []
    for end, x in zip(ends, config.curvatures, strict=True):
        measured, v0 = rate_of(end, x, config), config.start(x)
        expected = {law: rate(LAWS[law](v0, config.window, **config.valley)[0], **config.valley) for law in NAMES}
        mine, other = expected[name], expected["pgd" if name == "anti_pgd" else "anti_pgd"]
        wander = (config.window if name == "pgd" else 1) * config.noise_std**2 / v0**2  # Var v/v²
        claims.append(
            Claim.equality(
                f"{NAMES[name]}/speed/ηv² = {x:g}", source("Fig. 25"),
                f"−ln(v_K/v_0)/t along the valley, K = {config.window}, in units of dσ²",
                **evidence(measured), expected=mine, resolution=mine / 6, tolerance=mine * wander,
                note="tolerance: Var v/v², which the law leaves out",
            )
        )  # fmt: skip
        if x == min(config.curvatures):
            claims.append(
                _not(f"{NAMES[name]}/speed/of the other noise", "the other noise's law", measured, mine, other)
            )
        if x == max(config.curvatures) and name == "anti_pgd":
            claims.append(_not("Anti-PGD/speed/of the effective loss", "−∇L̃ followed by E z", measured, mine, 1.0))
    return claims


def _not(id: str, words: str, measured: Estimate, expected: float, rejected: float) -> Claim:
    return Claim.rejection(
        f"{id}/control", source("slide before Fig. 25"), f"the speed along the valley is not that of {words}",
        **evidence(measured), expected=expected, rejected=rejected, resolution=abs(expected - rejected) / 2,
    )  # fmt: skip


def spread(name: str, ends: list[Estimate], config: Fig25Config) -> Claim:
    """Var v after the window, from the start where v drifts least: diffusion, or none."""
    x, d, K = np.array(config.curvatures), config.transverse, config.window
    speed = 2 / (2 - x) if name == "anti_pgd" else 1 / (x * (2 - x))
    slowest = int(np.argmin(speed))
    expected = float(K if name == "pgd" else 1)
    # of Anti-PGD |u|² of the ξ kicks v in every step; of PGD drift that depends on v amplifies what there is
    kicks = K * config.learning_rate * x[slowest] * 2 * d * speed[slowest] ** 2 * config.noise_std**2
    drift = 2 * speed[slowest] * config.learning_rate * K * d * config.noise_std**2
    return Claim.equality(
        f"{NAMES[name]}/spread along the valley", source("Fig. 25"),
        f"Var v after {K} steps from ηv² = {x[slowest]:g}, in units of σ²:"
        " all of PGD's perturbations, the last one of Anti-PGD's",
        **evidence(ends[slowest].map(lambda m: (m[V2] - m[V] ** 2) / config.noise_std**2)),
        expected=expected, resolution=expected / 3, tolerance=kicks if name == "anti_pgd" else drift * expected,
        note="tolerance: fluctuations of the drift, which diffusion alone leaves out",
    )  # fmt: skip


def trace_claims(means: Mapping[str, Estimate], config: Fig25Config) -> list[Claim]:
    """tr H early and late."""
    records, d, σ2 = config.records, config.transverse, config.noise_std**2
    at = lambda name, step: means[name].map(lambda m: trace(m[records.index(step)], config))
    initial = d * config.start(config.curvatures[0]) ** 2
    v, s = (path[-1] for path in anticorrelated(config.start(config.curvatures[0]), config.steps, **config.valley))
    early, late = config.early, at("anti_pgd", config.steps)
    # the same replicas at two steps
    half, end = records.index(config.steps // 2), records.index(config.steps)
    risen = means["pgd"].map(lambda m: trace(m[half], config) - trace(m[end], config))
    return [
        _flatter("early/PGD is flatter", early, difference(at("pgd", early), at("anti_pgd", early))),
        _flatter("late/Anti-PGD is flatter", config.steps, difference(late, at("pgd", config.steps))),
        _flatter("PGD/leaves the flat part", config.steps, evidence(risen)),
        Claim.bound(
            "late/Anti-PGD is flatter than gradient descent", source("Fig. 25"),
            f"tr H after {config.steps} steps over that of gradient descent, which stays",
            **evidence(late.map(lambda x: x / initial)), expected=1.0, side="at most",
        ),
        Claim.equality(
            "Anti-PGD/late/tr H", source("Fig. 25"), f"tr H after {config.steps} steps over that at the start",
            **evidence(late.map(lambda x: x / initial)), expected=(d * (v**2 + 2 * σ2) + s) / initial,
            resolution=0.01, tolerance=2 * d * σ2 / initial,
            note="tolerance: Var z_v of σ² and as much again, which the law leaves out",
        ),
    ]  # fmt: skip


def _flatter(id: str, step: int, less: dict[str, SupportsFloat]) -> Claim:
    return Claim.bound(
        id, source("Fig. 25"), f"tr H of the flatter minus that of the other, up to step {step}",
        **less, expected=0.0, side="at most",
    )  # fmt: skip
