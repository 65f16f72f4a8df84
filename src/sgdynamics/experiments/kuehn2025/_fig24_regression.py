"""Regression of a chosen spectrum, before Fig. 24: excess loss against second order in the multiplicative noise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgdynamics.data import Dataset
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._regression import Regression
from sgdynamics.experiments.kuehn2025._fig24_claims import Excess
from sgdynamics.experiments.kuehn2025._fig24_config import BURN_IN, Fig24Config, both_samplers
from sgdynamics.experiments.kuehn2025._fig24_spectra import (
    asymptotes,
    exact_reduction,
    power_law,
    reduction,
    required_stiffness,
)
from sgdynamics.statistics import Mean
from sgdynamics.theory import epochs as theory


def measured(config: Fig24Config, progress: Progress) -> tuple[dict[str, Excess], dict[str, dict]]:
    """Both samplings, each against second order (with replacement: against the exact law)."""
    case, key = _case(config), jax.random.key(config.seed)
    w, root = case.minimum, (case.modes * jnp.sqrt(case.curvature)[None]).T
    quadratic = lambda state: _square(root, w, state.position)
    means, covariances = _by_position(case.data.x, case.data.y, float(case.learning_rate), case.batch_size)
    draws = np.random.default_rng(config.seed).multivariate_normal(
        w + means[0], covariances[0], config.regression_replicas
    )
    of_replacement = float(case.prediction.loss(case.problem) - case.problem.loss(w))
    laws = {"epochs": (_excess(root, means, covariances), jnp.asarray(draws)),
            "replacement": (of_replacement, case.prediction)}  # fmt: skip
    found, runs = {}, {}
    for name, sampler in both_samplers(config.batch_size).items():
        label, (expected, initial) = f"regression, {name}", laws[name]
        ensemble = _ensembles.simulate(
            case.descent(sampler), Mean(of=quadratic), progress, label, key=key, replicas=config.regression_replicas,
            steps=config.regression_epochs * config.batches, burn_in=BURN_IN * config.batches, initial=initial,
        )  # fmt: skip
        found[name], runs[label] = Excess(ensemble.estimates, expected), ensemble.provenance
    return found, runs


def _by_position(x: Array, y: Array, η: float, S: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean of w − w* and covariance of w at each position, to second order in the multiplicative noise."""
    law = once(lambda x, y: _second_order(x, y, learning_rate=η, batch_size=S))
    means, covariances = law(x, y)
    return np.asarray(means), np.asarray(covariances)


def _second_order(x: Array, y: Array, **setting: Any) -> tuple[Array, Array]:
    first = theory.regression_covariances(x, y, **setting) + theory.regression_corrections(x, y, **setting)[0]
    return theory.regression_means(x, y, **setting), first + theory.regression_second_order(x, y, **setting)


def _excess(root: Array, means: np.ndarray, covariances: np.ndarray) -> float:
    """½ ⟨tr(H cov_l) + m_lᵀ H m_l⟩, of positions l."""
    H = np.asarray(root.T @ root)
    return float(np.mean(np.einsum("ij,lij->l", H, covariances) + np.einsum("li,ij,lj->l", means, H, means)) / 2)


def _square(root: Array, origin: Array, θ: Array) -> Float[Array, ""]:
    δ = θ - origin.astype(θ.dtype)
    return jnp.sum(jnp.matmul(root.astype(θ.dtype), δ, precision="highest") ** 2) / 2


def _case(config: Fig24Config) -> Regression:
    """Gaussian inputs with exactly the spectrum, h_1 = 1, in a basis of their own; targets of noise alone."""
    keys = jax.random.split(_ensembles.named(jax.random.key(config.seed), "data"), 3)
    samples, h = config.batches * config.batch_size, power_law(config.inputs, config.exponent)
    white = np.linalg.qr(np.asarray(jax.random.normal(keys[0], (samples, config.inputs))))[0] * np.sqrt(samples)
    basis = np.linalg.qr(np.asarray(jax.random.normal(keys[1], (config.inputs, config.inputs))))[0]
    x, y = white * np.sqrt(h) @ basis.T, jax.random.normal(keys[2], (samples,))
    return Regression(Dataset(x, y), jnp.asarray(3 * stiffness(config) / config.batches), config.batch_size)


def stiffness(config: Fig24Config) -> float:
    """h_1/h_cross where frozen noise C ∝ H has the slides' 62 % at this M."""
    h = power_law(config.inputs, config.exponent)
    return required_stiffness(h, lambda x: exact_reduction(h, x, momentum=0.0, batches=config.batches))


def brace(config: Fig24Config) -> float:
    """The reduction by the slides' brace."""
    return float(reduction(power_law(config.inputs, config.exponent), stiffness(config), asymptotes))
