"""App. B: SGD as a sampler of the posterior p ∝ e^{−L/T}, by injected noise and by preconditioning.

    θ ← θ − η A (g + λθ + √v z),   z ~ N(0, 1)        K = H + λ the Hessian of the regularised loss L

    A = 1:   (2/(ηv)) K M = 1 + (C + Q)/v             frozen noise: (2.30), and "C + Q → 1" where v dominates
             (2/(ηv)) K M → 1 + (η/2T) (G + Q[G])     at T = ηv/2, with G = C(T K⁻¹) + T K  (`theory.bayesian`)

C(M) is the minibatch noise averaged over weights of covariance M: injected noise raises it, so that at a given
learning rate no v is large enough. At a given temperature T all goes to 0 with η, as the paper says, but not as
(C + Q)/v. The posterior of P examples with labels of standard deviation σ and the prior N(0, σ²/(λP)) has T = σ²/P.

    v = 0:   A = (2T/η) G⁻¹      M = T K⁻¹ exactly          A = (2T/η) C⁻¹      Mandt, Hoffman and Blei (2017)

Distances are signed and unbiased: with E = (2/(ηv)) K M − 1 of the exact law, d = ⟨E, (2/(ηv)) K M − 1⟩/(|E| √N).
Replicas start at the minimum; records begin after the slowest mode has relaxed.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics.experiments._between import between
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._regression import along
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.gross2024._bayesian_case import (
    BayesianConfig,
    Case,
    Run,
    drawn,
    exact,
    preconditioners,
    simulated,
)
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Estimate
from sgdynamics.theory import bayesian

_with_circulation = once(bayesian.noise_with_circulation)


def run(config: BayesianConfig, progress: Progress) -> Result:
    """Both sweeps, plain SGD, and two preconditioners, on one data set."""
    key = jax.random.key(config.seed)
    case = drawn(config, key)
    parts = {
        "fixed_rate": [(config.learning_rate, v * case.scale) for v in config.variances],
        "posterior": [(η, 2 * case.temperature / η) for η in config.learning_rates],
    }
    sweeps = {
        name: [(η, v, simulated(config, case, η, v, progress, f"{name} {i}", key)) for i, (η, v) in enumerate(points)]
        for name, points in parts.items()
    }
    singles = {
        name: simulated(config, case, config.learning_rate, 0.0, progress, name, key, A)
        for name, A in preconditioners(config, case).items()
    }
    coordinates, variables = _sweep_variables(config, case, sweeps)
    claims = _sweep_claims(config, case, sweeps) + _claims(config, case, sweeps, singles)
    ensembles = {f"{name} {i}": part[2] for name, sweep in sweeps.items() for i, part in enumerate(p[2] for p in sweep)}
    ensembles |= {name: part.provenance for name, part in singles.items()}
    data = dataset(variables | _mode_variables(config, case, sweeps, singles), coordinates)
    return Result(data.assign_attrs(learning_rate=config.learning_rate), claims, ensembles)


# --- what is claimed ----------------------------------------------------------------------------------------


def _deviation(case: Case, covariance: Any, η: float, v: float) -> Any:
    """(2/(ηv)) K M − 1."""
    return 2 / (η * v) * case.hessian @ covariance - np.eye(len(case.hessian))


def _distance(case: Case, part: Run, η: float, v: float) -> tuple[Estimate, float]:
    """d measured, and |E|/√N of the exact law."""
    E = _deviation(case, part.exact, η, v)
    size, root = float(np.linalg.norm(E)), float(np.sqrt(len(E)))
    return part.measured.map(lambda M: jnp.sum(E * _deviation(case, M, η, v)) / (size * root)), size / root


def _frozen(case: Case, v: float) -> float:
    """|C + Q|/(v √N)."""
    return float(np.linalg.norm(_with_circulation(case.hessian, case.noise)) / (v * np.sqrt(len(case.noise))))


def _first_order(case: Case, η: float) -> float:
    """(η/2T) |G + Q[G]|/√N."""
    G = case.noise_over(case.gibbs(case.temperature)) + case.temperature * case.hessian
    deviation = np.linalg.norm(_with_circulation(case.hessian, G)) * η / (2 * case.temperature)
    return float(deviation / np.sqrt(len(G)))


def _sweep_claims(config: BayesianConfig, case: Case, sweeps: dict[str, Any]) -> list[Claim]:
    """Every distance is the exact law's; the last of each sweep is not that of frozen noise."""
    claims = []
    for name, sweep in sweeps.items():
        for η, v, part in sweep:
            d, expected = _distance(case, part, η, v)
            claims.append(
                Claim.equality(
                    f"{name}/η = {η:g}, v = {v / case.scale:.3g} tr C÷N", source("App. B; exact discrete law"),
                    "distance of (2/ηv) K M from 1", **evidence(d), expected=expected,
                    resolution=max(0.05 * expected, 0.01),
                )
            )  # fmt: skip
        η, v, part = sweep[-1]
        d, expected = _distance(case, part, η, v)
        claims.append(
            Claim.rejection(
                f"{name}/frozen noise/control", source("App. B, Eq. 2.30"),
                "the distance is not (C + Q)/v of noise frozen at the minimum", **evidence(d), expected=expected,
                rejected=_frozen(case, v),
            )
        )  # fmt: skip
    return claims


def _claims(config: BayesianConfig, case: Case, sweeps: dict[str, Any], singles: dict[str, Run]) -> list[Claim]:
    plain, balanced, frozen = (singles[name] for name in ("plain", "preconditioned", "frozen"))
    T = config.temperature * case.temperature
    return [
        _limit(case, *sweeps["posterior"][-2:]),
        _agrees("posterior/whole covariance", "SGD with injected noise", sweeps["posterior"][-1][2]),
        _agrees("preconditioned/whole covariance is the posterior's", "A = (2T/η) G⁻¹", balanced, case.gibbs(T)),
        _agrees("preconditioned/C at the minimum/whole covariance", "A = (2T/η) C⁻¹, exact law", frozen),
        _not("preconditioned/C at the minimum/control", "A = (2T/η) C⁻¹ samples p ∝ e^{−L/T}", frozen, case.gibbs(T)),
        _not("plain/posterior at any temperature/control", "plain SGD samples p ∝ e^{−L/T} at its own mean loss",
             plain, case.gibbs(_fitted(case, plain))),
    ]  # fmt: skip


def _fitted(case: Case, part: Run) -> float:
    """T of the law p ∝ e^{−L/T} with the same mean loss: tr(K M)/N."""
    return float(np.trace(case.hessian @ part.exact)) / len(part.exact)


def _limit(case: Case, last_but_one: Any, last: Any) -> Claim:
    """Extrapolated to η = 0; what is left is of second order, and the exact law says how much."""
    (first, exact_first), (second, exact_second) = (
        _distance(case, part, η, v) for η, v, part in (last_but_one, last)
    )  # fmt: skip
    measured = 2 * float(second.value) - float(first.value)
    error = np.hypot(2 * float(second.standard_error), float(first.standard_error))
    return Claim.equality(
        "posterior/limit of small learning rates", source("App. B"),
        "C + Q → 1 as η → 0 at T = σ²/P: distance from 1, extrapolated linearly; tolerance: the exact law's own rest",
        measured, error, 0.0, resolution=0.02, tolerance=abs(2 * exact_second - exact_first),
        degrees_of_freedom=min(float(first.degrees_of_freedom), float(second.degrees_of_freedom)),
    )  # fmt: skip


def _agrees(id: str, what: str, part: Run, expected: np.ndarray | None = None) -> Claim:
    comparison = sgd.compare(part.measured, part.exact if expected is None else expected, level=LEVEL)
    return Claim.bound(
        id, source("App. B"), f"{what}: variances along all expected directions, and the whole matrix, agree (p-value)",
        comparison.p_value, 0.0, LEVEL, side="at least",
    )  # fmt: skip


def _not(id: str, what: str, part: Run, wrong: np.ndarray) -> Claim:
    return Claim.rejection(
        id, source("App. B"), f"not: {what}; on the line from that law (0) to the exact one (1)",
        **evidence(between(part.measured, wrong=wrong, right=part.exact)), expected=1.0, rejected=0.0,
    )  # fmt: skip


# --- what is stored -----------------------------------------------------------------------------------------


def _sweep_variables(config: BayesianConfig, case: Case, sweeps: dict[str, Any]) -> tuple[dict, dict]:
    """Measured distances at the points, and three laws of them on finer grids."""
    dense_v = np.geomspace(min(config.variances) / 1.5, 3 * max(config.variances), 40)
    dense_η = np.geomspace(config.learning_rates[-1] / 1.5, config.learning_rates[0], 40)
    lines = {
        "fixed_rate": [(config.learning_rate, v * case.scale) for v in dense_v],
        "posterior": [(η, 2 * case.temperature / η) for η in dense_η],
    }
    units = {"fixed_rate": "tr C/N", "posterior": "1"}
    points = {"fixed_rate": config.variances, "posterior": config.learning_rates}
    words = {"fixed_rate": "injected variance v", "posterior": "learning rate η"}
    coordinates, variables = {}, {}
    for name, sweep in sweeps.items():
        for axis, values in ((name, points[name]), (f"{name}_line", dense_v if name == "fixed_rate" else dense_η)):
            coordinates[axis] = variable(axis, values, words[name], units[name])
        distances = [_distance(case, part, η, v)[0] for η, v, part in sweep]
        long_name = "distance of (2/ηv) K M from 1"
        columns = (
            np.array([float(d.value) for d in distances]),
            np.array([float(d.standard_error) for d in distances]),
        )
        variables[f"{name}_sgd"] = variable(name, columns[0], f"{long_name}, measured")
        variables[f"{name}_sgd_error"] = variable(name, columns[1], f"{long_name}, standard error")
        of_exact, of_frozen = _lines(config, case, lines[name])
        variables[f"{name}_exact"] = variable(f"{name}_line", of_exact, f"{long_name}, exact")
        variables[f"{name}_frozen"] = variable(f"{name}_line", of_frozen, f"{long_name}, frozen noise: (C + Q)/v")
    first = [_first_order(case, η) for η in dense_η]
    variables["posterior_first_order"] = variable("posterior_line", first, "distance from 1, first order in η")
    return coordinates, variables


def _lines(config: BayesianConfig, case: Case, points: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    laws = [
        exact(
            case.x, case.y, learning_rate=jnp.asarray(η), sampling_factor=1 / config.batch_size,
            preconditioner=np.eye(config.inputs), injected_variance=jnp.asarray(v), weight_decay=case.weight_decay,
        )
        for η, v in points
    ]  # fmt: skip
    root = np.sqrt(config.inputs)
    distances = [np.linalg.norm(_deviation(case, np.asarray(M), η, v)) for M, (η, v) in zip(laws, points, strict=True)]
    return np.array(distances) / root, np.array([_frozen(case, v) for _, v in points])


def _mode_variables(
    config: BayesianConfig, case: Case, sweeps: dict[str, Any], singles: dict[str, Run]
) -> dict[str, Variable]:
    """Variances along the modes of K in units of T/h, that of p ∝ e^{−L/T}; of plain SGD, with the T that fits best."""
    h, V = np.linalg.eigh(case.hessian)
    parts = {"injected": (sweeps["posterior"][-1][2], case.temperature)}
    for name, part in singles.items():
        parts[name] = (part, _fitted(case, part) if name == "plain" else case.temperature * config.temperature)
    variables = {"curvature": variable("mode", h, "curvature h of the regularised loss")}
    for name, (part, T) in parts.items():
        words = f"variance along a mode, {name}"
        scaled = part.measured.map(lambda M, T=T: along(V, M) * h / T)
        variables |= measurement(f"modes_{name}", "mode", scaled, words, "T/h")
        variables[f"modes_{name}_exact"] = variable("mode", along(V, part.exact) * h / T, f"{words}, exact", "T/h")
    return variables


BAYESIAN = register(
    Experiment(
        name="gross2024/bayesian",
        summary="SGD as a sampler of the posterior: injected noise and preconditioning",
        source=source("App. B"),
        config=BayesianConfig,
        presets={"quick": BayesianConfig(), "paper": BayesianConfig(replicas=8192, relaxations=48.0)},
        run=run,
        figure="gross2024/bayesian",
    )
)
