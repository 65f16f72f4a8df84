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

import sgdynamics as sgd
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.kunin2023._fig2_case import STRIDE, Curves, Fig2Config, Mode, curves, data_of, mode_of
from sgdynamics.experiments.kunin2023._fig2_claims import (
    NAMES,
    covariance_claims,
    distance,
    mean_claims,
    oscillation_claims,
)
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import Estimate, PhaseSpace, Snapshots
from sgdynamics.theory import momentum

GROUPS = 32
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
        *mean_claims(label, config, mode, β, law, mean),
        *oscillation_claims(label, config, mode, β, law, mean),
        *covariance_claims(label, law, covariance),
    ]
    variables = _variables(f"at_{β:g}", label, law, mean, covariance, paths)
    variables |= _measured_errors(label, mode, config, β, law, mean)
    return variables, claims, label, ensemble.provenance


def moments(paths: np.ndarray, about: np.ndarray) -> tuple[Estimate, Estimate]:
    """Mean [steps + 1, 2] and covariance [records, 2, 2] of `paths` [replicas, steps + 1, 2], over groups of
    replicas; the covariance `about` the exact mean, so that it has no bias."""
    δ = (paths - about[None]).reshape(GROUPS, -1, *about.shape)
    thin = δ[:, :, ::STRIDE]
    products = np.einsum("grta,grtb->gtab", thin, thin) / δ.shape[1]
    return over_realisations(δ.mean(axis=1) + about[None]), over_realisations(products, "second moment")


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
        found = errors_of_sde(_scaled_rates(), β, config.steps)
        for name, values in zip(("position", "velocity", "shifted"), found, strict=True):
            words = f"relative error of (5), {name}, momentum = {β:g}"
            variables[f"error_{β:g}_{name}"] = variable("scaled_rate", values, words)
    return variables


def _measured_errors(label: str, mode: Mode, config: Fig2Config, β: float, law: Curves, mean: Estimate) -> dict:
    """The same of SGD's mean, over the same steps."""
    η = config.learning_rate
    n = slice(int(counted(η * mode.curvature, β, config.steps).sum()))
    early = mean.map(lambda m: m[n])
    variables: dict[str, Variable] = {}
    compared = (("position", law.sde_mean, 0), ("velocity", law.sde_mean, 1), ("shifted", law.later_mean, 0))
    for name, wrong, i in compared:
        found = distance(early, wrong[n], law.mean[n], i)
        variables |= measurement(f"measured_{β:g}_{name}", (), found, f"relative error of (5), {name}, {label}")
    return variables


def counted(scaled_rates: np.ndarray | float, β: float, steps: int) -> np.ndarray:
    """Whether the mean has decayed by less than e⁻⁵, at steps 0 … `steps`; [rates, steps + 1]. (η = 1.)"""
    decay = np.asarray(momentum.decay_per_step(np.asarray(scaled_rates), learning_rate=1.0, momentum=β))
    return np.arange(steps + 1) <= 5 / decay[..., None]


def errors_of_sde(scaled_rates: np.ndarray, β: float, steps: int = TIMES) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Relative errors of (5), rms over `steps`, or the fewer in which the mean decays by e⁻⁵: of position and velocity,
    and of the position half a step later; [rates] each. (η = 1.)"""
    setting = {"learning_rate": 1.0, "momentum": β}
    n, h = np.arange(steps + 1)[None], scaled_rates[:, None]
    early = counted(scaled_rates, β, steps)
    exact = momentum.mean_after(n, 1.0, 0.0, h, **setting)
    printed, later = (momentum.mean_at(n + shift, 1.0, 0.0, h, **setting) for shift in (0.0, 0.5))
    norm = lambda x: np.sqrt(np.sum(np.where(early, x, 0) ** 2, axis=1))
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
