"""Fig. 2: a linear network on images, oscillating along the top eigenvector of its Hessian [(2), (5), App. F.2, H.3].

    exact       δ, v ← [[1 − ηh, ηβ], [−h, β]] (δ, v): the mean of minibatch SGD, whatever the noise
    (5)         E (δ, v) = e^{−St} (δ, v)(0), S = [[0, −1], [ω₀², 2γ]], ω₀² = 2h/(η(1 + β)), γ = (1 − β)/(η(1 + β))
    App. F.2    Cov (δ, v) = D − e^{−St} D e^{−Sᵀt}, with the noise of the minimum at all times
    overdamped  E δ = δ(0) e^{−ht/(1 − β)}

from θ = 0, v = 0. SGD moves v first, and θ with the new v: its positions are half a step ahead of (5), which errs by
(η/2) |ẋ| or, rms over all times, by ηω₀/(2√(1 + 4γ²/ω₀²)) of the position: of order √(ηh) where it oscillates. Half a
step later, and for velocities, (5) errs by O(ηh) only, as long as phases do not add up. Without momentum v has no
memory, whereas (5) keeps e⁻² of it from step to step.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares

import sgdynamics as sgd
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.kunin2023._fig2_case import STRIDE, Curves, Fig2Config, Mode, curves, data_of, mode_of
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import Estimate, PhaseSpace, Snapshots
from sgdynamics.theory import momentum

GROUPS = 32
NEARLY = 0.1  # relative error up to which a curve is "nearly perfectly" matched
NAMES = ("position", "velocity")
TIMES = 6000  # steps in which every mean that is shown decays by e⁻⁵


def run(config: Fig2Config, progress: Progress) -> Result:
    """One ensemble for each momentum, all on one data set."""
    data = data_of(config)
    mode = mode_of(data, config.batch_size)
    parts = [_at(config, data, mode, β, progress) for β in config.momenta]
    variables = {name: value for part in parts for name, value in part[0].items()} | _errors(config)
    coordinates = {
        "step": variable("step", np.arange(config.steps + 1), "step"),
        "record": variable("record", np.arange(0, config.steps + 1, STRIDE), "step"),
        "replica": variable("replica", np.arange(3), "replica"),
        "scaled_rate": variable("scaled_rate", _scaled_rates(), "ηh, learning rate × curvature"),
    }
    stored = dataset(variables, coordinates).assign_attrs(
        momenta=list(config.momenta), scaled_learning_rate=config.learning_rate * mode.curvature
    )
    return Result(stored, [claim for part in parts for claim in part[1]], {part[2]: part[3] for part in parts})


def _at(config: Fig2Config, data: Any, mode: Mode, β: float, progress: Progress) -> tuple:
    label = f"momentum = {β:g}"
    descent = sgd.SGD(
        sgd.Problem(sgd.networks.Linear(data.x.shape[1], data.y.shape[1]), data), sampler=config.batch_size,
        learning_rate=jnp.asarray(config.learning_rate), momentum=jnp.asarray(β),
    )  # fmt: skip
    ensemble = _ensembles.simulate(
        descent, Snapshots(range(config.steps + 1), PhaseSpace(mode.theta)), progress, label,
        key=jax.random.key(config.seed), replicas=config.replicas, steps=config.steps, groups=GROUPS,
    )  # fmt: skip
    paths = np.moveaxis(np.asarray(ensemble.estimates.values, float), 1, 0) - np.array([mode.minimum, 0.0])
    law = curves(mode, config, β)
    mean, covariance = moments(paths, law.mean)
    claims = [
        *_mean_claims(label, config, mode, β, law, mean),
        *_oscillation_claims(label, config, mode, β, law, mean),
        *_covariance_claims(label, law, covariance),
    ]
    return _variables(f"at_{β:g}", label, law, mean, covariance, paths), claims, label, ensemble.provenance


def moments(paths: np.ndarray, about: np.ndarray) -> tuple[Estimate, Estimate]:
    """Mean [steps + 1, 2] and covariance [records, 2, 2] of `paths` [replicas, steps + 1, 2], over groups of
    replicas; the covariance `about` the exact mean, so that it has no bias."""
    δ = (paths - about[None]).reshape(GROUPS, -1, *about.shape)
    thin = δ[:, :, ::STRIDE]
    products = np.einsum("grta,grtb->gtab", thin, thin) / δ.shape[1]
    return over_realisations(δ.mean(axis=1) + about[None]), over_realisations(products, "second moment")


# --- claims -------------------------------------------------------------------------------------------------


def _mean_claims(label: str, config: Fig2Config, mode: Mode, β: float, law: Curves, mean: Estimate) -> list[Claim]:
    """The exact mean holds at every step; (5) holds nearly, half a step later better, without momentum not."""
    after = mean.map(lambda m: m[1:])
    claims = [
        _family(
            f"{label}/mean", "Eq. 2", "mean of position and velocity at every step is that of the recursion (p-value)",
            after, law.mean[1:],
        )
    ]  # fmt: skip
    if β > 0:
        for i, name in enumerate(NAMES):
            found = _distance(mean, law.sde_mean, law.mean, i)
            claims.append(_nearly(f"{label}/(5), {name}", f"(5) matches the mean {name}", found))
        claims.append(_shift_claim(label, law, mean))
    unit = -mode.curvature * law.mean[0, 0]
    first = evidence(mean.map(lambda m: m[1, 1] / unit))
    claims.append(
        Claim.equality(
            f"{label}/first velocity", source("Eq. 2"), "v₁ is −h δ₀: all of it, whatever the momentum", **first,
            expected=1.0, resolution=0.07,
        )
    )  # fmt: skip
    if β == 0:
        claims.append(
            Claim.rejection(
                f"{label}/memory of velocity/control", source("Eq. 5"),
                "without momentum v₁ is not (5)'s, which still remembers v₀ = 0 by e⁻²", **first,
                expected=1.0, rejected=law.sde_mean[1, 1] / unit,
            )
        )  # fmt: skip
    return claims


def _family(id: str, place: str, statement: str, measured: Estimate, expected: np.ndarray) -> Claim:
    p = sgd.compare(measured, expected, level=LEVEL).p_value
    return Claim.bound(id, source(place), statement, p, 0.0, LEVEL, side="at least")


def _nearly(id: str, statement: str, found: Estimate) -> Claim:
    words = f"{statement} nearly perfectly: relative error, rms over all steps, at most {NEARLY:g}"
    return Claim.bound(id, source("Sec. 5, Fig. 2"), words, **evidence(found), expected=NEARLY, side="at most")


def _shift_claim(label: str, law: Curves, mean: Estimate) -> Claim:
    """How many steps the mean position is ahead of (5): least squares on the line to (5) half a step later."""
    start, line = law.sde_mean[:, 0], law.later_mean[:, 0] - law.sde_mean[:, 0]
    ahead = lambda m: jnp.sum((m[:, 0] - start) * line) / (2 * np.sum(line**2))
    return Claim.equality(
        f"{label}/(5) lags behind, position", source("Eq. 5"),
        "SGD's mean position is half a step ahead of (5), to O(ηh): in steps", **evidence(mean.map(ahead)),
        expected=0.5, resolution=0.25, tolerance=abs(float(ahead(law.mean)) - 0.5), published=0.0,
    )  # fmt: skip


def _distance(mean: Estimate, wrong: np.ndarray, exact: np.ndarray, component: int) -> Estimate:
    """|mean − wrong|/|exact| over steps: the exact part of it times where the mean lies on the line from wrong (0) to
    exact (1), so that sampling noise does not count as distance."""
    W, E = wrong[:, component], exact[:, component]
    line = (E - W) / np.sum((E - W) ** 2)
    share = np.linalg.norm(E - W) / np.linalg.norm(E)
    return mean.map(lambda m: share * jnp.sum((m[:, component] - W) * line))


def _oscillation_claims(
    label: str, config: Fig2Config, mode: Mode, β: float, law: Curves, mean: Estimate
) -> list[Claim]:
    """Damping and frequency of the mean position, where it oscillates."""
    setting = {"learning_rate": config.learning_rate, "momentum": β}
    ω = float(momentum.oscillation_frequency_per_step(mode.curvature, **setting))
    γ = float(momentum.decay_per_step(mode.curvature, **setting))
    if ω == 0:
        return []
    fits = over_realisations(np.stack([fit(path[:, 0], γ, ω) for path in np.asarray(mean.groups)]), "fit")
    η = config.learning_rate
    printed = (η * float(momentum.damping(η, β)), η * float(momentum.oscillation_frequency(mode.curvature, **setting)))
    words = ("damping of the mean position per step is −ln √β", "frequency of the mean position, rad per step")
    claims = [
        Claim.equality(
            f"{label}/{name}", source("Eq. 5; roots of Eq. 2"), words[i], **evidence(fits.map(lambda f, i=i: f[i])),
            expected=(γ, ω)[i], resolution=0.05 * (γ, ω)[i], published=printed[i],
        )
        for i, name in enumerate(("damping", "frequency"))
    ]  # fmt: skip
    half = round(np.pi / ω)
    if half <= config.steps:
        start = law.mean[0, 0]
        claims.append(
            Claim.rejection(
                f"{label}/overdamped/control", source("Eq. 5"),
                f"the position is beyond the minimum half a period later, at step {half}: no e^{{−ht/(1 − β)}}",
                **evidence(mean.map(lambda m: m[half, 0] / start)), expected=law.mean[half, 0] / start,
                rejected=law.first_order[half] / start,
            )
        )  # fmt: skip
    return claims


def fit(position: np.ndarray, damping: float, frequency: float) -> tuple[float, float]:
    """γ and ω, per step, of e^{−γk} (a cos ωk + b sin ωk) fitted to `position`, from a guess."""
    n = np.arange(len(position))

    def residual(parameters: np.ndarray) -> np.ndarray:
        γ, ω = parameters
        basis = np.exp(-γ * n)[:, None] * np.stack([np.cos(ω * n), np.sin(ω * n)], axis=-1)
        return basis @ np.linalg.lstsq(basis, position, rcond=None)[0] - position

    return tuple(least_squares(residual, [damping, frequency], x_scale=[damping, frequency]).x)


def _covariance_claims(label: str, law: Curves, measured: Estimate) -> list[Claim]:
    """The exact covariance at every step; not that of frozen noise."""
    if law.covariance is None:
        return []
    upper = np.array([0, 1, 3])
    rows = lambda M: M.reshape(len(M), 4)[1:, upper]
    scale = np.sqrt(np.einsum("tii->ti", law.covariance[1:]))
    unit = np.stack([scale[:, 0] ** 2, scale[:, 0] * scale[:, 1], scale[:, 1] ** 2], axis=-1)
    right = rows(law.covariance) / unit
    found = measured.map(lambda M: rows(M) / unit)
    line = rows(law.sde_covariance) / unit - right
    weight = line / np.sum(line**2)
    position = found.map(lambda M: 1 - jnp.sum((M - right) * weight))
    return [
        _family(
            f"{label}/covariance", "Eq. 2; minibatches, exact",
            "variances and covariance of position and velocity in time, with noise that depends on θ (p-value)",
            found, right,
        ),
        Claim.rejection(
            f"{label}/frozen noise/control", source("Assumption 3, App. F.2"),
            "not the covariance in time with the noise of the minimum: from that (0) to the exact one (1)",
            **evidence(position), expected=1.0, rejected=0.0,
        ),
    ]  # fmt: skip


# --- what is stored -----------------------------------------------------------------------------------------


def _variables(
    at: str, label: str, law: Curves, mean: Estimate, covariance: Estimate, paths: np.ndarray
) -> dict[str, Variable]:
    variables: dict[str, Variable] = {}
    for i, (name, unit) in enumerate(zip(NAMES, ("w", "w/t"), strict=True)):
        of = f"{name}, {label}"
        spread = covariance.map(lambda M, i=i: jnp.sqrt(M[:, i, i]))
        variables |= measurement(f"{at}_{name}", "step", mean.map(lambda m, i=i: m[:, i]), f"mean {of}", unit)
        variables |= measurement(f"{at}_{name}_spread", "record", spread, f"standard deviation of {of}", unit)
        columns = {
            "exact": (law.mean[:, i], "mean, exact recursion"),
            "sde": (law.sde_mean[:, i], "mean, (5)"),
            "sde_spread": (np.sqrt(law.sde_covariance[:, i, i]), "standard deviation, App. F.2"),
        }
        if law.covariance is not None:
            columns["exact_spread"] = (np.sqrt(law.covariance[:, i, i]), "standard deviation, exact")
        for suffix, (values, words) in columns.items():
            dim = "record" if suffix.endswith("spread") else "step"
            variables[f"{at}_{name}_{suffix}"] = variable(dim, values, f"{words}, {of}", unit)
        variables[f"{at}_{name}_path"] = variable(("replica", "step"), paths[:3, :, i], f"single replicas, {of}", unit)
    return variables | {
        f"{at}_overdamped": variable("step", law.first_order, f"overdamped mean position, {label}", "w")
    }


def _scaled_rates() -> np.ndarray:
    return np.geomspace(1e-3, 0.3, 24)


def _errors(config: Fig2Config) -> dict[str, Variable]:
    """Relative error of (5) over ηh."""
    variables: dict[str, Variable] = {}
    for β in config.momenta:
        found = errors_of_sde(_scaled_rates(), β)
        for name, values in zip(("position", "velocity", "shifted"), found, strict=True):
            words = f"relative error of (5), {name}, momentum = {β:g}"
            variables[f"error_{β:g}_{name}"] = variable("scaled_rate", values, words)
    return variables


def errors_of_sde(scaled_rates: np.ndarray, β: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Relative errors of (5), rms over the time in which the mean decays by e⁻⁵: of position and velocity, and of the
    position half a step later; [rates] each. (η = 1.)"""
    setting = {"learning_rate": 1.0, "momentum": β}
    n, h = np.arange(TIMES)[None], scaled_rates[:, None]
    counted = n <= 5 / np.asarray(momentum.decay_per_step(h, **setting))
    exact = momentum.mean_after(n, 1.0, 0.0, h, **setting)
    printed, later = (momentum.mean_at(n + shift, 1.0, 0.0, h, **setting) for shift in (0.0, 0.5))
    norm = lambda x: np.sqrt(np.sum(np.where(counted, x, 0) ** 2, axis=1))
    away = lambda wrong, i: norm(wrong[i] - exact[i]) / norm(exact[i])
    return away(printed, 0), away(printed, 1), away(later, 0)


FIG2 = register(
    Experiment(
        name="kunin2023/fig2",
        summary="oscillations of a linear network along the top eigenvector of its Hessian",
        source=source("Fig. 2"),
        config=Fig2Config,
        presets={"quick": Fig2Config(batch_size=256, replicas=160), "paper": Fig2Config()},
        run=run,
        figure="kunin2023/fig2",
    )
)
