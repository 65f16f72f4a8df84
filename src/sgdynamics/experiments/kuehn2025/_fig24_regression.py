"""Regression of a chosen spectrum, before Fig. 24: excess loss against second order in the multiplicative noise."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import sgdynamics as sgd
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
    learning_rate,
    power_law,
    reduction,
    required_stiffness,
)
from sgdynamics.statistics import Mean

_predict = once(sgd.predict)


def measured(config: Fig24Config, progress: Progress) -> tuple[dict[str, Excess], dict[str, dict]]:
    """Both samplings, each against what `predict` has: second order for epochs, the exact law with replacement."""
    case, key = _case(config), jax.random.key(config.seed)
    w, root = case.minimum, (case.modes * jnp.sqrt(case.curvature)[None]).T
    quadratic = lambda state: _square(root, w, state.position)
    found, runs = {}, {}
    for name, sampler in both_samplers(config.batch_size).items():
        label, descent = f"regression, {name}", case.descent(sampler)
        law = _predict(descent)
        ensemble = _ensembles.simulate(
            descent, Mean(of=quadratic), progress, label, key=key, replicas=config.regression_replicas,
            steps=config.regression_epochs * config.batches, burn_in=BURN_IN * config.batches, initial=law,
        )  # fmt: skip
        found[name] = Excess(ensemble.estimates, float(law.loss(case.problem) - case.problem.loss(w)))
        runs[label] = ensemble.provenance
    return found, runs


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
    η = learning_rate(stiffness(config), momentum=0.0, batches=config.batches)
    return Regression(Dataset(x, y), jnp.asarray(η), config.batch_size)


def stiffness(config: Fig24Config) -> float:
    """h_1/h_cross where frozen noise C ∝ H has the slides' 62 % at this M."""
    h = power_law(config.inputs, config.exponent)
    return required_stiffness(h, lambda x: exact_reduction(h, x, momentum=0.0, batches=config.batches))


def brace(config: Fig24Config) -> float:
    """The reduction by the slides' brace."""
    return float(reduction(power_law(config.inputs, config.exponent), stiffness(config), asymptotes))
