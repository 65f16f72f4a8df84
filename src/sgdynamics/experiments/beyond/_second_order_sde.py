"""Where the second-order SDE (3) of Kunin et al. stops describing SGD with momentum: a map over (ηK, β).

    v_{k+1} = β v_k − g_B(θ_k),  θ_{k+1} = θ_k + η v_{k+1}                                     (2)
    dθ = v dt,  dv = −c₀ [g + (1 − β) v] dt + c₀ √η C^{1/2} dW,  c₀ = 2/(η(1 + β))              (3)

"(3) accurately models the trajectory …, θ(ηk) ≈ θ_k and v(ηk) ≈ v_k" (Assumption 2). For one mode of curvature K both
are solved; the ratios of what they say depend on ηK and β alone (`_second_order_sde_map`, with their limits). Each is
within 10 % of 1

    Var θ, Var v            for ηK < 0.2(1 + β)                      (a factor: 1 − ηK/(2(1 + β)))
    C_v at one step         at small ηK for β > 0.34;                for β → 1, where it is cos √(ηK), for ηK < 1.07
    displacement, one step  at small ηK for β > 0.72                 (v(t) is no mean over a step, as v_k is)
    decay, oscillating      for β > 0.31, at any ηK;                 overdamped: right to O((ηK)²)
    frequency               away from critical damping, ηK < 2.0 for β → 1
    critical ηK             for β > 1/4

Beside it Euler-Maruyama of (3) with the time step η, which is not SGD (that of the first-order SDE is), and the
first-order SDE, whose decay is 10 % low from ηK ≈ 0.2(1 − β)²/(1 + β) on.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sgdynamics.experiments._claims import Claim
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, variable
from sgdynamics.experiments.beyond import _second_order_sde_map as theory
from sgdynamics.experiments.beyond import _second_order_sde_runs as runs
from sgdynamics.experiments.beyond._second_order_sde_boundaries import boundaries
from sgdynamics.experiments.beyond._second_order_sde_runs import Case, Number, Point, Row, SecondOrderConfig
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.theory.momentum import critical_curvature

WELL = 0.1  # relative error up to which we would say that (3) models SGD
NONE = Number(np.nan, np.nan, np.nan)
WORDS = {
    "variance": "Var θ",
    "speed": "Var v",
    "memory": "correlation of v after one step",
    "decay": "decay per step",
    "frequency": "frequency per step",
    "step": "mean square displacement in one step",
    "persistence": "mean square displacement in 1/(1 − β) steps",
}


class Comparison(NamedTuple):
    """How two models are compared in one quantity."""

    words: str
    of: Callable[[float, float], float]
    measured: Callable[[Number, Number], Number]
    resolution: float


COMPARED = {
    "variance": Comparison("SDE over SGD", lambda a, b: a / b, runs.ratio, 0.08),
    "memory": Comparison("SDE minus SGD", lambda a, b: a - b, runs.difference, 0.01),
}


def run(config: SecondOrderConfig, progress: Progress) -> Result:
    """The map, and ensembles at points of it."""
    case, points = runs.case(config), runs.points(config)
    claims, ensembles, rows = boundaries(), {}, []
    for point in points:
        row, here = _at(case, point, progress, ensembles)
        rows.append(row)
        claims += here
    return Result(dataset(_map(config) | _cuts(config) | _points(points, rows), _axes(config)), claims, ensembles)


def _at(case: Case, point: Point, progress: Progress, ensembles: dict) -> tuple[dict[str, Row], list[Claim]]:
    """What each of the ensembles at a point has measured, and the claims."""
    rows: dict[str, Row] = {}
    for which in ("SGD", "SDE"):
        rows[which], ensembles[f"{point.label}, {which}"] = runs.stationary(case, point, which, progress)
    exact, equation = (law([point.stiffness], [point.momentum]) for law in (theory.descent, theory.equation))
    claims = _descent(point, rows["SGD"], exact)
    for name in COMPARED:
        claims += _model(point, name, rows, *(float(getattr(law, name)[0]) for law in (exact, equation)))
    if point.euler_is_stable:
        rows["Euler"], ensembles[f"{point.label}, Euler"] = runs.settled(case, point, progress)
        claims += _euler(point, rows, float(exact.variance[0]))
    return rows, claims


def _descent(point: Point, row: Row, law: theory.Mode) -> list[Claim]:
    """The law of SGD that the map is made of."""
    found = []
    for name in ("variance", "decay"):
        measured = row[name].over(float(getattr(law, name)[0]))._asdict()
        found.append(
            Claim.equality(
                f"{point.label}/SGD/{name}", "exact discrete law", f"SGD: {WORDS[name]}, over its law", **measured,
                expected=1.0, resolution=0.08,
            )
        )  # fmt: skip
    return found


def _model(point: Point, name: str, rows: dict[str, Row], exact: float, equation: float) -> list[Claim]:
    """Of the two ensembles: they differ as the map says; and Assumption 2, that they do not, where it errs by more
    than 10 %. Elsewhere the exact laws say that it holds up to that."""
    comparison = COMPARED[name]
    measured = comparison.measured(rows["SDE"][name], rows["SGD"][name])._asdict()
    error, origin, place = abs(equation - exact), source("Assumption 2"), f"{point.label}/θ(ηk) ≈ θ_k"
    found = [
        Claim.equality(
            f"{point.label}/SDE and SGD, {name}", source("Eq. 3"), f"{WORDS[name]}, {comparison.words}", **measured,
            expected=comparison.of(equation, exact), resolution=comparison.resolution,
        )
    ]  # fmt: skip
    if error <= WELL * abs(exact):
        words = f"{WORDS[name]}: relative error of (3), by the exact laws"
        return [*found, Claim.bound(f"{place}, {name}", origin, words, error / abs(exact), 0.0, WELL, side="at most")]
    return [
        *found,
        Claim.equality(
            f"{place}, {name}/published", origin, f"{WORDS[name]}, {comparison.words}: the same", **measured,
            expected=comparison.of(1.0, 1.0), resolution=comparison.resolution,
        ),
        Claim.rejection(
            f"{point.label}/SGD is not the SDE, {name}/control", source("Eq. 3"),
            f"{WORDS[name]} of SGD is not the SDE's", **rows["SGD"][name]._asdict(), expected=exact, rejected=equation,
        ),
    ]  # fmt: skip


def _euler(point: Point, rows: dict[str, Row], exact: float) -> list[Claim]:
    """One Euler-Maruyama step of (3) in each learning rate: a process of its own."""
    α, β = point.stiffness, point.momentum
    expected = float(theory.euler_variance(α, β)) / exact
    friction, words = (3 * β - 1) / (1 + β), "v → v entry of one Euler-Maruyama step of (3), dt = η"
    return [
        Claim.equality(
            f"{point.label}/Euler and SGD, variance", "derived", "Var θ of Euler-Maruyama over SGD's, dt = η",
            **runs.ratio(rows["Euler"]["variance"], rows["SGD"]["variance"])._asdict(),
            expected=expected, resolution=0.08 * expected,
        ),
        Claim.rejection(
            f"{point.label}/Euler is not SGD/control", "derived", f"{words}: (3β − 1)/(1 + β), not SGD's β",
            **rows["Euler"]["friction"]._asdict(), expected=friction, rejected=β,
        ),
    ]  # fmt: skip


def _axes(config: SecondOrderConfig) -> dict[str, Variable]:
    α = np.geomspace(config.smallest, 4.0, config.grid)
    β = 1 - np.geomspace(1.0, 1 - config.largest_momentum, config.grid)
    return {
        "stiffness": variable("stiffness", α, "learning rate times curvature ηK"),
        "momentum": variable("momentum", β, "momentum β"),
        "cut": variable("cut", np.unique(config.momenta), "momentum β of a cut"),
    }


def _map(config: SecondOrderConfig) -> dict[str, Variable]:
    """[momentum, stiffness]: SDE over SGD, except the correlation, whose difference is stored."""
    axes = _axes(config)
    β, α = (x.ravel() for x in np.meshgrid(axes["momentum"][1], axes["stiffness"][1], indexing="ij"))
    ratio, sgd = theory.ratios(α, β), theory.descent(α, β)
    ratio["memory"] = theory.equation(α, β).memory - sgd.memory
    ratio["euler"] = theory.euler_variance(α, β) / sgd.variance
    ratio["first_order"] = theory.first_order_decay(α, β) / sgd.decay
    notes = {
        "frequency": ", none where neither turns, infinite where the SDE alone does",
        "memory": " (difference)",
        "euler": ", none where Euler-Maruyama is unstable",
    }
    critical = {
        f"critical_{form}": variable(
            "momentum", critical_curvature(learning_rate=1.0, momentum=axes["momentum"][1], form=name),
            f"critical ηK of {words}",
        )
        for form, name, words in (("sgd", "exact", "SGD"), ("sde", "sde", "the SDE"))
    }  # fmt: skip
    words = WORDS | {"euler": "Var θ of Euler-Maruyama at dt = η", "first_order": "decay of the first-order SDE"}
    return critical | {
        name: variable(
            ("momentum", "stiffness"), values.reshape(config.grid, -1),
            f"{words[name]}, relative to SGD, none where that is unstable{notes.get(name, '')}",
        )
        for name, values in ratio.items()
    }  # fmt: skip


def _cuts(config: SecondOrderConfig) -> dict[str, Variable]:
    """[cut, stiffness]: the map at the ensembles' momenta."""
    axes = _axes(config)
    β, α = (x.ravel() for x in np.meshgrid(axes["cut"][1], axes["stiffness"][1], indexing="ij"))
    equation, exact = theory.equation(α, β), theory.descent(α, β)
    return {
        f"{name}_cut": variable(
            ("cut", "stiffness"), to.of(getattr(equation, name), getattr(exact, name)).reshape(-1, config.grid),
            f"{WORDS[name]}, {to.words}, none where SGD is unstable",
        )
        for name, to in COMPARED.items()
    }  # fmt: skip


def _points(points: list[Point], rows: list[dict[str, Row]]) -> dict[str, Variable]:
    """What ensembles say of the map, at their points."""
    variables = {
        "point_stiffness": variable("point", [p.stiffness for p in points], "ηK of an ensemble"),
        "point_momentum": variable("point", [p.momentum for p in points], "β of an ensemble"),
    }
    for name in ("variance", "memory", "decay", "frequency", "step", "persistence"):
        numbers = [_compared(point, row, name) for point, row in zip(points, rows, strict=True)]
        variables |= _measured(name, numbers, f"{WORDS[name]}, SDE relative to SGD")
    euler = [runs.ratio(r["Euler"]["variance"], r["SGD"]["variance"]) if "Euler" in r else NONE for r in rows]
    variables |= _measured("euler", euler, "Var θ, Euler-Maruyama over SGD, none where that is unstable")
    known = [Number(float(theory.first_order_decay(p.stiffness, p.momentum)), 0.0, np.inf) for p in points]
    first = [runs.ratio(decay, row["SGD"]["decay"]) for decay, row in zip(known, rows, strict=True)]
    return variables | _measured("first_order", first, "decay per step, first-order SDE's over SGD's measured one")


def _compared(point: Point, rows: dict[str, Row], name: str) -> Number:
    if name == "frequency" and theory.descent([point.stiffness], [point.momentum]).frequency[0] == 0:
        return NONE
    return (runs.difference if name == "memory" else runs.ratio)(rows["SDE"][name], rows["SGD"][name])


def _measured(name: str, numbers: list[Number], words: str) -> dict[str, Variable]:
    words += {"memory": " (difference)", "frequency": ", none where SGD does not turn"}.get(name, "")
    return {
        f"{name}_measured": variable("point", [n.measured for n in numbers], words),
        f"{name}_measured_error": variable("point", [n.standard_error for n in numbers], f"{words}, standard error"),
    }


SECOND_ORDER_SDE = register(
    Experiment(
        name="beyond/second_order_sde",
        summary="where the second-order SDE leaves SGD with momentum, over learning rate × curvature and momentum",
        source=source("Eq. 3, Assumption 2"),
        config=SecondOrderConfig,
        presets={"quick": SecondOrderConfig(), "paper": SecondOrderConfig(grid=241, replicas=16_384, steps=1000)},
        run=run,
        figure="beyond/second_order_sde",
    )
)
"""The map of the second-order SDE against SGD."""
