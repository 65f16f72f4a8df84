"""A network at its minimum, before Fig. 24: excess loss against that of frozen noise."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import sgdynamics as sgd
from sgdynamics.dynamics import State
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments.kuehn2025 import _late_phase as late
from sgdynamics.experiments.kuehn2025._fig24_claims import Excess
from sgdynamics.experiments.kuehn2025._fig24_config import BURN_IN, STRIDE, Fig24Config, both_samplers
from sgdynamics.experiments.kuehn2025._fig24_spectra import asymptotes
from sgdynamics.statistics import Mean
from sgdynamics.theory import epochs as theory

_positions, _white = once(theory.position_variances), once(theory.white_variances)


class ExcessLoss(eqx.Module):
    """L_λ(θ) − L_λ(θ*), with L_λ = L + ½ λ|θ|²."""

    problem: sgd.Problem
    minimum: Array
    loss: Array
    weight_decay: Array
    name: str = eqx.field(static=True, default="excess loss")

    def __call__(self, state: Any) -> Float[Array, ""]:
        θ, origin = state.position, self.minimum.astype(state.position.dtype)
        δ = θ - origin
        decay = self.weight_decay.astype(θ.dtype) * (jnp.dot(δ, origin) + jnp.dot(δ, δ) / 2)
        return self.problem.loss(θ) - self.loss.astype(θ.dtype) + decay


def setting_of(minimum: late.Minimum, stiffness: float, config: Fig24Config) -> late.Setting:
    return late.setting_at(
        minimum.curvatures[0] / stiffness, momentum=config.momentum, batch_size=config.network_batch_size,
        samples=minimum.samples,
    )  # fmt: skip


def frozen_excess(minimum: late.Minimum, setting: late.Setting, sampling: str) -> float:
    """½ Σ h σ²: the diagonal in the Hessian's basis, which needs C's diagonal alone."""
    h = np.maximum(minimum.curvatures, 1e-9)
    return float(np.sum(h * late.law(h, late.frozen_noise(minimum, setting, sampling), setting, sampling)[0]) / 2)


def frozen_reduction(minimum: late.Minimum, setting: late.Setting) -> float:
    return 1 - frozen_excess(minimum, setting, "epochs") / frozen_excess(minimum, setting, "replacement")


def next_order(minimum: late.Minimum, setting: late.Setting) -> float:
    """How much the noise grows with the weights' fluctuations: for squared error C ∝ loss, so E L/L(θ*) − 1."""
    return frozen_excess(minimum, setting, "replacement") / float(minimum.problem.loss(minimum.parameters))


def brace(minimum: late.Minimum, stiffness: float, config: Fig24Config, ratio: Callable = asymptotes) -> float:
    """The reduction if σ²/σ_max² were the slides' asymptotes, or another `ratio`; sampling factors included."""
    setting = setting_of(minimum, stiffness, config)
    noise = minimum.noise * setting.factor("epochs") / setting.factor("replacement")
    kept = noise @ np.asarray(ratio(stiffness * minimum.curvatures / minimum.curvatures[0]))
    return float(1 - kept / np.sum(minimum.noise))


def _start(minimum: late.Minimum, setting: late.Setting, sampling: str, key: jax.Array, replicas: int) -> State:
    """The frozen law between two epochs, modes taken to be independent.

    What it lacks, the burn-in brings in stiff modes; soft ones relax more slowly, and count for little in the loss.
    """
    h, C = np.maximum(minimum.curvatures, 1e-9), late.frozen_noise(minimum, setting, sampling)
    if sampling == "epochs":
        σ2 = [np.asarray(values)[:, 0] for values in _positions(h, C, **setting.step, **setting.epoch)]
    else:
        σ2 = [np.asarray(values) for values in _white(h, C, **setting.step)]
    z = np.asarray(jax.random.normal(key, (2, replicas, len(h)), jnp.float64)) * np.sqrt(np.array(σ2))[:, None]
    δ, u = z @ minimum.vectors.T
    return State(minimum.parameters[None] + δ, jnp.asarray(u / setting.learning_rate))


def measured(
    minimum: late.Minimum, stiffness: float, config: Fig24Config, progress: Progress
) -> tuple[dict[str, Excess], dict[str, dict]]:
    """Both samplings, each against the frozen law."""
    setting, key, found, runs = setting_of(minimum, stiffness, config), jax.random.key(config.seed), {}, {}
    λ, θ = jnp.asarray(minimum.weight_decay), minimum.parameters
    of = ExcessLoss(minimum.problem, θ, minimum.problem.loss(θ), λ)
    for name, sampler in both_samplers(config.network_batch_size).items():
        label = f"network, {name}, h_1/h_cross = {stiffness:g}"
        step = {word: jnp.asarray(value) for word, value in setting.step.items()}
        start = _start(minimum, setting, name, _ensembles.named(key, f"{label}, start"), config.replicas)
        ensemble = _ensembles.simulate(
            sgd.SGD(minimum.problem, sampler=sampler, weight_decay=λ, **step), Mean(of=of), progress, label, key=key,
            replicas=config.replicas, steps=config.epochs * setting.batches, every=STRIDE,
            burn_in=BURN_IN * setting.batches, initial=start,
        )  # fmt: skip
        found[name] = Excess(ensemble.estimates, frozen_excess(minimum, setting, name))
        runs[label] = ensemble.provenance
    return found, runs
