"""Fig. 11: modes and their diffusion in a network whose hidden layers are twice as wide as inputs and outputs.

(7) knows nothing of the hidden widths: on the balanced and aligned manifold W_l = Q_l diag(w^{1/L}) Q_{l−1}ᵀ has the
rank of the teacher, whatever the number of rows of Q_l. From small weights what Fig. 1 shows is seen again: the peaks
stand where (7) has them, their heights are another matter, and the diffusion goes to 0 with the error.
"""

import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._students import Paths, peak_times
from sgdynamics.experiments.corlouer2026._fig1 import DRIFTED, Fig1Config, described, predicted, simulated
from sgdynamics.experiments.corlouer2026._source import source

VANISHED = 1e-3  # of its peak: a diffusion that has gone to 0
NEAR = 1.0  # in units of the mode's own time 1/(L s^(2 − 2/L)): peaks that stand in the same place


def run(config: Fig1Config, progress: Progress) -> Result:
    """The ensembles of Fig. 1, with other hidden layers."""
    paths = simulated(config, progress)
    s = paths["SGD"].student.singular_values
    claims = [claim for α in range(len(s)) for claim in _claims(α, paths["SGD"], paths["SGD, aligned"])]
    return Result(described(paths), claims, {name: path.provenance for name, path in paths.items()})


def shift(paths: Paths, α: int) -> np.ndarray:
    """Time from the peak of (7) to the peak of the measured diffusion, in units of the mode's own time [replicas]."""
    s, L = paths.student.singular_values[α], paths.student.depth
    measured, formula = (peak_times(paths.times, D[..., α]) for D in (paths.diffusion, predicted(paths)))
    return (measured - formula) * L * s ** (2 - 2 / L)


def _claims(α: int, sgd: Paths, aligned: Paths) -> list[Claim]:
    s, D = sgd.student.singular_values[α], sgd.diffusion[..., α]
    height = over_realisations(aligned.diffusion[..., α].max(axis=0) / predicted(aligned)[..., α].max(axis=0))
    doubled = sgd.student.widths[1] / sgd.student.widths[0]
    claims = [
        Claim.equality(
            f"s = {s:g}/where the peak is", source("Fig. 11"),
            f"from small weights, the diffusion peaks where (7) does: shift in units of 1/(L s^(2−2/L)) ≤ {NEAR:g}",
            **evidence(over_realisations(shift(sgd, α))), expected=0.0, resolution=NEAR, tolerance=NEAR,
        ),
        Claim.bound(
            f"s = {s:g}/tends to 0", source("Fig. 11"),
            "the diffusion tends to 0 once the mode is learned: at the end, over its peak",
            **evidence(over_realisations(D[-1] / D.max(axis=0))), expected=VANISHED, side="at most",
        ),
        Claim.equality(
            f"aligned weights/s = {s:g}/height of the peak", source("Eq. 7"),
            f"(7) holds whatever the hidden widths: height of the peak over that of (7), within {DRIFTED:g}",
            **evidence(height), expected=1.0, resolution=DRIFTED, tolerance=DRIFTED,
        ),
    ]  # fmt: skip
    if doubled != 1:
        claims.append(
            Claim.rejection(
                f"aligned weights/s = {s:g}/grows with the width/control", source("Eq. 7"),
                "not larger by the ratio of the widths, as if every hidden unit added noise of its own",
                **evidence(height), expected=1.0, rejected=doubled,
            )
        )  # fmt: skip
    return claims


FIG11 = register(
    Experiment(
        name="corlouer2026/fig11",
        summary="modes and their diffusion with hidden layers twice as wide",
        source=source("Fig. 11"),
        config=Fig1Config,
        presets={
            "quick": Fig1Config(hidden=24, replicas=32),
            "paper": Fig1Config(hidden=24, exponent=3.0, time=400.0, records=800, replicas=256),
        },
        run=run,
        figure="corlouer2026/fig11",
    )
)
