"""App. H.4 (the method of Fig. 3): a process sits in its modified potential, not in the original one.

    dx = A (b − x) dt + √(2κ⁻¹ D) dW,      A = V diag(4, 1) Vᵀ along (−1, 1) and (1, 1),      D = diag(4, 1)

    Φ = ½ (x − b)ᵀ A (x − b)       original potential, A = Aᵀ      (38)
    Ψ = ½ (x − b)ᵀ U (x − b)       modified potential              (39)
    Q, U                           by the recipe                   (24), (25);  also B = U⁻¹ of A B + B Aᵀ = 2D (19)
    N(b, κ⁻¹ U⁻¹)                  stationary law e^{−κΨ}          (27)
    j = −Q U (x − b)               velocity of its current         (40)

The scan's "√(0^-4 D)" is read as √(10⁻⁴ D): κ⁻¹ = 5·10⁻⁵. The replicas start in the Gibbs law of Φ and leave it.

Detailed balance makes C(t) = E δx(s + t) δx(s)ᵀ symmetric. Broken, it leaves an area that paths sweep in a lag t,

    ½ (C₂₁ − C₁₂)(t) = κ⁻¹ Q₁₂ (e^{−λ₂ t} − e^{−λ₁ t})/(λ₁ − λ₂),       λ₁, λ₂ the eigenvalues of A = Aᵀ,

κ⁻¹ Q₁₂ t at short lags: from it follows Q₁₂ at any lag, without an error of the order of the lag.

H.4 draws ½ xᵀA x − bᵀx and ½ xᵀU x − uᵀx with u = U A⁻¹ b. Both have their minimum at A⁻¹ b: they belong to the
process dx = (b − A x) dt + …, and not to the printed dx = A (b − x) dt + …, whose mean is b. (b lies on the edge of
the square that H.4 draws, and A⁻¹ b inside: the drift is probably what was misprinted.) Here b is the mean.
"""

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._between import between
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import dataset
from sgdynamics.experiments.kunin2023._potentials_data import coordinates, measured, path_steps, potentials
from sgdynamics.experiments.kunin2023._potentials_theory import PotentialsConfig, Theory, swept_area, theory_of
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import Autocovariance, Covariance, Estimate, Mean, Snapshots

ROUNDING = 1e-12

_process = once(sgd.LinearProcess)


def run(config: PotentialsConfig, progress: Progress) -> Result:
    """One ensemble, against both potentials and both currents."""
    theory = theory_of(config)
    ensemble = _ensemble(config, theory, progress)
    estimates = ensemble.estimates
    area = estimates["autocovariance"].map(lambda C: (C[:, 1, 0] - C[:, 0, 1]) / 2, "swept area")
    claims = [
        *_recipe_claims(config, theory),
        *_mean_claims(config, estimates["mean"]),
        *_covariance_claims(theory, estimates["covariance"]),
        *_current_claims(config, area),
    ]
    variables = potentials(config, theory) | measured(config, estimates, area)
    data = dataset(variables, coordinates(config, theory))
    data.attrs["three_sigma"] = 9 / (2 * config.inverse_temperature)  # Ψ there
    return Result(data, claims, {"stationary": ensemble.provenance})


def _ensemble(config: PotentialsConfig, theory: Theory, progress: Progress) -> sgd.Ensemble:
    """From the Gibbs law of the original potential."""
    A, D, b = config.matrices
    key = jax.random.key(config.seed)
    z = jax.random.normal(_ensembles.named(key, "start"), (config.replicas, 2))
    start = b[None, :] + np.asarray(z, float) @ np.linalg.cholesky(theory.original).T
    statistics = {
        "mean": Mean(), "covariance": Covariance(), "autocovariance": Autocovariance(config.lags),
        "paths": Snapshots(path_steps(config)),
    }  # fmt: skip
    return _ensembles.simulate(
        _process(A, config.noise * D, b, time_step=config.time_step), statistics, progress, "stationary", key=key,
        replicas=config.replicas, burn_in=config.burn_in, steps=config.steps, initial=jnp.asarray(start),
    )  # fmt: skip


def _recipe_claims(config: PotentialsConfig, theory: Theory) -> list[Claim]:
    (Q, U), (general_Q, general_U) = theory.recipe, theory.lyapunov
    turned = U @ Q @ U  # xᵀ U Q U x = −∇Ψ·j
    values = {
        "circulation": ("Eq. 24", "Q₁₂ of the recipe, for a symmetric drift", Q[0, 1], config.circulation),
        "circulation/lyapunov": ("Eq. 19", "Q₁₂ = (A B − D)₁₂ is the recipe's", general_Q[0, 1], config.circulation),
        "modified Hessian": (
            "Eq. 25", "U is the Lyapunov equation's B⁻¹: relative difference", _relative(U, general_U), 0.0,
        ),
        "current along the level lines": (
            "after Eq. 40", "j is orthogonal to ∇Ψ: symmetric part of U Q U", _relative(turned, -turned.T), 0.0,
        ),
        "current without sources": ("after Eq. 40", "∇·j = −tr(Q U) = 0", float(np.trace(Q @ U)), 0.0),
    }  # fmt: skip
    return [
        Claim.equality(f"recipe/{name}", source(place), statement, value, 0.0, expected,
                       resolution=ROUNDING, tolerance=ROUNDING)
        for name, (place, statement, value, expected) in values.items()
    ]  # fmt: skip


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.max(np.abs(a - b)) / np.max(np.abs(b)))


def _mean_claims(config: PotentialsConfig, mean: Estimate) -> list[Claim]:
    """On the line from b (0) to A⁻¹ b (1), where both printed backgrounds have their minimum."""
    A, _, b = config.matrices
    line = np.linalg.solve(A, b) - b
    position = mean.map(lambda m: (m - b) @ line / (line @ line), "mean")
    options = {"resolution": 0.02, **evidence(position)}
    statement = "on the line from b (0) to A⁻¹b (1)"
    return [
        Claim.equality(
            "mean/minimum of the printed backgrounds/published", source("App. H.4"),
            f"the process dx = A (b − x) dt + … sits in the minimum of ½ xᵀU x − uᵀx, u = U A⁻¹ b: {statement}",
            expected=1.0, note="The backgrounds belong to dx = (b − A x) dt + ….", **options,
        ),
        Claim.equality(
            "mean/minimum of (x − b)ᵀ U (x − b)", source("Eq. 39"), f"its mean is b: {statement}",
            expected=0.0, published=1.0, **options,
        ),
    ]  # fmt: skip


def _covariance_claims(theory: Theory, measured: Estimate) -> list[Claim]:
    comparison = sgd.compare(measured, theory.covariance, level=LEVEL)
    eigenvalues, vectors = np.linalg.eigh(theory.covariance)
    claims = [
        Claim.bound(
            "covariance/whole", source("Eq. 27"), "covariance = κ⁻¹ U⁻¹, along its axes and as a whole (p-value)",
            comparison.p_value, 0.0, LEVEL, side="at least",
        )
    ]  # fmt: skip
    for name, variance, v in zip(("narrow", "wide"), eigenvalues, vectors.T, strict=True):
        claims.append(
            Claim.equality(
                f"covariance/{name} axis", source("Eq. 27"), f"variance along the {name} axis of κ⁻¹ U⁻¹",
                **evidence(measured.map(lambda M, v=v: v @ M @ v)), expected=variance, resolution=0.05 * variance,
            )
        )  # fmt: skip
    claims.append(
        Claim.rejection(
            "covariance/original potential/control", source("Eq. 33"),
            "not the Gibbs law of the original potential: from κ⁻¹ A⁻¹ (0) to κ⁻¹ U⁻¹ (1)",
            **evidence(between(measured, wrong=theory.original, right=theory.covariance)), expected=1.0, rejected=0.0,
        )
    )  # fmt: skip
    return claims


def _current_claims(config: PotentialsConfig, area: Estimate) -> list[Claim]:
    """Q₁₂ from the swept area at three lags; detailed balance would sweep none."""
    times, claims = np.asarray(config.lags) * config.time_step, []
    unit = swept_area(times, config.rates, 1.0, config.inverse_temperature)
    wanted = np.array([0, 1 / config.rates[0], 1 / config.rates[1]])
    for i in sorted(set(np.argmin(np.abs(times[None, :] - wanted[:, None]), axis=1).tolist())):
        measured = evidence(area.map(lambda a, i=i: a[i] / unit[i]))
        claims.append(
            Claim.equality(
                f"current/Q₁₂ from lag {times[i]:g}", source("Eqs. 24, 40"),
                "paths turn about the mean as the current −Q U (x − b) does: Q₁₂ from the area that they sweep",
                expected=config.circulation, resolution=0.1 * abs(config.circulation), **measured,
            )
        )  # fmt: skip
        claims.append(
            Claim.rejection(
                f"current/detailed balance at lag {times[i]:g}/control", source("App. E, detailed balance"),
                "the stationary state has a current", expected=config.circulation, rejected=0.0, **measured,
            )
        )  # fmt: skip
    return claims


POTENTIALS = register(
    Experiment(
        name="kunin2023/potentials",
        summary="a process in its modified potential, beside the original one",
        source=source("App. H.4"),
        config=PotentialsConfig,
        presets={"quick": PotentialsConfig(), "paper": PotentialsConfig(replicas=16_384, steps=4000)},
        run=run,
        figure="kunin2023/potentials",
    )
)
