"""Proposition 5.2 for the one-mode process itself: stationary law, its moments, its tail, and how it is reached.

    p(w) ∝ D⁻¹ exp ∫ 2μ/D                                                                                    (16)

against an ensemble of dw = μ dt + √D dB with the corrected drift, and against what is printed. With ε = (β/2) (L−1)
s^{1−2/L} σ², to first order in β

    zero of μ     s + ε         printed (17):  s + (β/2) (L−1) s^{−2/L} σ_q
    mean          s − ε         printed: "slightly above s"
    maximum of p  s − 3ε        printed: near the zero of μ
    variance      (βL/2) σ² s^{2−2/L}                                                                        (18)

Far out p falls as w^{−5+3/L}; without label noise the law is a Dirac mass at s, next to which p ~ |s − w|^κ with
κ = −2 − 1/(βL s^{2−2/L}). The law in between is compared with finite volumes for the Fokker-Planck equation.
"""

import numpy as np
import xarray as xr

from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.experiments.corlouer2026._stationary_claims import claimed
from sgdynamics.experiments.corlouer2026._stationary_study import StationaryConfig, Study, published_centre, studied

BINS = 25


def run(config: StationaryConfig, progress: Progress) -> Result:
    """At each depth one ensemble with all substeps and one with half of them."""
    studies = [studied(config, depth, progress) for depth in config.depths]
    claims = [claim for study in studies for claim in claimed(study)]
    provenance = {f"L{study.depth}_{name}": getattr(study, name).provenance
                  for study in studies for name in ("fine", "coarse")}  # fmt: skip
    return Result(described(studies), claims, provenance)


def described(studies: list[Study]) -> xr.Dataset:
    """Histograms at the stages and at the end, and the laws they are held against, at the highest temperature."""
    variables: dict[str, Variable] = {}
    for study in studies:
        variables |= _described(study, f"L{study.depth}")
    attributes = {"depths": [study.depth for study in studies], "stages": len(studies[0].records)}
    return dataset(variables).assign_attrs(attributes)


def _described(study: Study, label: str) -> dict[str, Variable]:
    cell, fine, variables = f"cell_{label}", study.fine, {}
    for k, record in enumerate([*study.records, -1]):
        w = fine.at(record, study.hottest)
        edges = np.linspace(w.min(), w.max() * (1 + 1e-9), BINS + 1)
        inside = (w[:, None] >= edges[:-1]) & (w[:, None] < edges[1:])
        density, name = over_realisations(inside / np.diff(edges)), f"{label}_{k}"
        variables |= measurement(f"density_{name}", f"bin_{name}", density, "density of the ensemble", "1/w")
        variables[f"bin_{name}"] = variable(f"bin_{name}", (edges[1:] + edges[:-1]) / 2, "amplitude of the mode", "w")
        variables[f"time_{name}"] = variable("", fine.times[record], "time", "t")
    law = study.densities[study.hottest]
    for k, probabilities in enumerate(study.laws):
        density = probabilities / np.diff(study.edges)
        variables[f"evolved_{label}_{k}"] = variable(cell, density, "density by finite volumes", "1/w")
    node, points = f"node_{label}", np.asarray(law.points)
    return variables | {
        cell: variable(cell, (study.edges[1:] + study.edges[:-1]) / 2, "amplitude of the mode", "w"),
        node: variable(node, points, "amplitude of the mode", "w"),
        f"stationary_{label}": variable(node, law.density, "stationary density (16)", "1/w"),
        f"published_{label}": variable("", published_centre(study.mode), "(17) as printed", "w"),
    }


STATIONARY = register(
    Experiment(
        name="corlouer2026/stationary",
        summary="one mode alone: its stationary law lies below its singular value, and how it is reached",
        source=source("Proposition 5.2"),
        config=StationaryConfig,
        presets={"quick": StationaryConfig(), "paper": StationaryConfig(replicas=16384, cells=2000, steps=1000)},
        run=run,
        figure="corlouer2026/stationary",
    )
)
