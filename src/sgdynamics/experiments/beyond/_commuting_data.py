"""What `beyond/commuting` stores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.beyond import _commuting_measures as measures
from sgdynamics.experiments.beyond._commuting_laws import LAWS, WORDS, Case, inertia, turning
from sgdynamics.statistics import Estimate
from sgdynamics.theory.harmonic import HarmonicDescent

PAIRS = 3  # of modes whose correlation is drawn over momentum
POINTS = 25  # of a line
LEADING = 10  # modes whose turning is drawn
SCALE = "ησ²/(2S(1 − β))"


@dataclass(frozen=True)
class Structure:
    """H and Σ of one data set: measures, curvatures and noise of the modes, how many have curvature and no noise."""

    words: str
    measured: Estimate
    h: np.ndarray
    c: np.ndarray
    noiseless: int = 0
    readout: int = 0
    """Units of a network that its outputs see, the bias among them; 0 of a regression."""


def stored(
    momenta: Sequence[float], structures: Mapping[str, Structure], runs: list[tuple[Case, Estimate]]
) -> xr.Dataset:
    """All of it, described."""
    attrs = {
        "cases": list(structures),
        "words": [s.words for s in structures.values()],
        "momenta": list(momenta),
    }
    variables = _structure_variables(structures) | _spectra(*runs[-1]) | _correlations(runs) | _turning(runs)
    coordinates = {"momentum": variable("momentum", np.array(momenta), "momentum β")}
    return dataset(variables, coordinates).assign_attrs(attrs)


def _structure_variables(structures: Mapping[str, Structure]) -> dict[str, Variable]:
    variables: dict[str, Variable] = {}
    words = (
        "relative commutator c²",
        "sin² of the angle between C and H",
        "share of C off the diagonal",
        "slope of log C over log h",
        "scatter of log C/h",
    )
    for i, (name, long_name) in enumerate(zip(measures.MEASURES, words, strict=True)):
        found = [s.measured.map(lambda m, i=i: m[i]) for s in structures.values()]
        variables |= _stacked(name, ("case",), found, long_name, "1")
    for name, s in structures.items():
        unit, own = np.sum(s.c) / np.sum(s.h), (f"mode_{name}",)
        variables[f"h_{name}"] = variable(own, s.h / s.h[0], f"curvature, {s.words}", "h₁")
        # exactly noiseless modes come out as ± rounding
        variables[f"ratio_{name}"] = variable(own, np.maximum(s.c, 0) / s.h / unit, f"Cᵢᵢ/hᵢ, {s.words}", "tr C/tr H")
    return variables


def _spectra(case: Case, measured: Estimate) -> dict[str, Variable]:
    """Of Cov θ, measured along the exact law's own components."""
    U, d = np.linalg.eigh(case.law("exact"))[1][:, ::-1], len(case.h)
    unit = np.trace(case.law("proportional")) / d
    variances = measured.map(lambda P: jnp.diagonal(U.T @ P[:d, :d] @ U) / unit)
    variables = measurement("variance", "rank", variances, "variance along principal components", SCALE)
    for law in LAWS:
        words = f"eigenvalue of Cov θ, {WORDS[law]}"
        variables[f"variance_{law}"] = variable("rank", case.spectrum(law) / unit, words, SCALE)
    return variables


def _correlations(runs: list[tuple[Case, Estimate]]) -> dict[str, Variable]:
    """Of some pairs of modes over momentum, and the factor of all pairs."""
    last, dims, words = runs[-1][0], ("momentum", "pair"), "correlation of two modes"
    i, j = pairs(last)
    line = 1 - np.geomspace(1, (1 - last.β) / 2, POINTS)
    frozen = np.stack([_frozen_at(last, β)[i, j] for β in line])
    exact = np.stack([_correlation(case.phase, i, j) for case, _ in runs])
    factor = np.stack([inertia(case.h, case.η, case.β) for case, _ in runs])
    measured = [run.map(lambda P: _correlation(P, i, j)) for _, run in runs]
    return _stacked("correlation", dims, measured, words, "1") | {
        "line": variable("line", line, "momentum β of lines"),
        "correlation_line": variable(("line", "pair"), frozen, f"{words}, noise of the minimum"),
        "exact_correlation": variable(dims, exact, f"{words}, exact"),
        "pair_modes": variable(("pair", "member"), np.stack([i, j], axis=1) + 1, "modes of the pair"),
        "inertia": variable(("momentum", "mode", "other"), factor, "factor s of inertia"),
        "curvature": variable("mode", last.h, "curvature", "1/t"),
    }


def _turning(runs: list[tuple[Case, Estimate]]) -> dict[str, Variable]:
    """E[δ_i v_j − δ_j v_i] of the leading modes, in units of their spread."""
    a, b = np.triu_indices(min(len(runs[0][0].h), LEADING), 1)
    scaled = lambda case, P: (turning(P) / _spread(case))[a, b]
    measured = [run.map(lambda P, case=case: scaled(case, P)) for case, run in runs]
    exact = np.stack([scaled(case, case.phase) for case, _ in runs])
    dims, words, units = ("momentum", "turn"), "E[δᵢvⱼ − δⱼvᵢ]", "√(Var δ Var v)"
    return _stacked("turning", dims, measured, words, units) | {
        "turning_exact": variable(dims, exact, f"{words}, exact", units)
    }


def pairs(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of modes that inertia decouples most, of those whose correlation is large."""
    i, j = np.triu_indices(len(case.h), 1)
    lost = (1 - inertia(case.h, case.η, case.β)) * np.abs(_normal(case.law("no inertia")))
    best = np.argsort(-lost[i, j])[:PAIRS]
    return i[best], j[best]


def _normal(M: Any) -> Any:
    """Correlations of a covariance."""
    scale = jnp.sqrt(jnp.diagonal(M))
    return M / (scale[:, None] * scale[None, :])


def _correlation(P: Any, i: np.ndarray, j: np.ndarray) -> Any:
    d = P.shape[0] // 2
    return _normal(P[:d, :d])[i, j]


def _frozen_at(case: Case, β: float) -> np.ndarray:
    """At the same η/(1 − β)."""
    law = HarmonicDescent(case.h, case.C, learning_rate=case.η / (1 - case.β) * (1 - β), momentum=β)
    return np.asarray(_normal(law.stationary_covariance()))


def _spread(case: Case) -> np.ndarray:
    """√(Var δ_i Var v_j) with i and j in both roles, geometric mean."""
    d, variances = len(case.h), np.diagonal(case.phase)
    product = variances[:d] * variances[d:]
    return np.sqrt(np.sqrt(np.outer(product, product)))


def _stacked(
    name: str, dims: tuple[str, ...], estimates: list[Estimate], words: str, units: str
) -> dict[str, Variable]:
    values, errors = (np.stack([getattr(e, part) for e in estimates]) for part in ("value", "standard_error"))
    return {
        name: variable(dims, values, f"{words}, measured", units),
        f"{name}_error": variable(dims, errors, f"{words}, standard error", units),
    }
