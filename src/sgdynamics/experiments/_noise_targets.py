"""Targets of pure noise, and where gradient flow starts: the ingredients of Gross et al. (2024), Sec. III A.

x ~ N(0, Σ),      y ~ N(0, σ_y²) for each output,      independent of each other
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from sgdynamics import _checks
from sgdynamics._types import PRNGKey
from sgdynamics.data import Dataset
from sgdynamics.networks import DeepLinear

INITIALISATIONS = ("small", "large", "balanced")
SMALL = 1e-4  # variances of the small initialisation over those of the large one, Fig. 8(b)


def initial(key: PRNGKey, widths: tuple[int, int, int], initialisation: str) -> DeepLinear:
    """Where the gradient flow starts."""
    if initialisation not in INITIALISATIONS:
        raise ValueError(f"initialisation = {initialisation!r}, but it must be one of {', '.join(INITIALISATIONS)}.")
    network = DeepLinear(widths, key=key)
    if initialisation == "small":
        return DeepLinear.of([W * np.sqrt(SMALL) for W in network.weights])
    if initialisation == "balanced":
        matrix = network.matrix()
        amplitudes = jnp.linalg.svd(matrix, compute_uv=False)[: min(widths)]
        return DeepLinear.aligned(matrix, amplitudes, widths, key=key)
    return network


def compressed(data: Dataset) -> Dataset:
    """N_i + N_o examples with the loss of all of them, up to a constant factor that is put in, for linear networks.

    Loss and gradient depend on X Xᵀ, Y Xᵀ and Y Yᵀ alone: those of R in (x, y) = Q R.
    """
    R = np.linalg.qr(np.concatenate([data.x, data.y], axis=1), mode="r")
    R, inputs = R * np.sqrt(R.shape[0] / data.samples), data.x.shape[1]
    return Dataset(R[:, :inputs], R[:, inputs:])


def input_covariance(inputs: int, variance: float | None = None, covariance: Any = None) -> np.ndarray:
    """Σ: as given, or `variance` × 1, or 1/N_i × 1."""
    if covariance is None:
        return np.eye(inputs) * (1 / inputs if variance is None else _checks.positive("input_variance", variance))
    if variance is not None:
        raise ValueError("input_variance and input_covariance were both given. Give one of them.")
    Σ = np.asarray(_checks.symmetric("input_covariance", _checks.float64("input_covariance", covariance)))
    _checks.shaped("input_covariance", Σ, (inputs, inputs))
    return _checks.require("input_covariance", Σ, np.linalg.eigvalsh(Σ) > 0, allowed="positive definite")


def noise_targets(
    key: PRNGKey,
    samples: int,
    outputs: int,
    label_noise_std: float,
    covariance: Float[ArrayLike, "inputs inputs"],
    *,
    whitened: bool = False,
) -> Dataset:
    """x of this covariance (`whitened`: X Xᵀ/P is exactly that), y of variance label_noise_std² [samples, outputs]."""
    Σ = np.asarray(covariance)
    least = len(Σ) + 1
    _checks.require(
        "samples", samples, samples >= least, allowed=f"at least inputs + 1 = {least}: noise needs residuals"
    )
    input_key, label_key = jax.random.split(key)
    x = np.asarray(jax.random.normal(input_key, (samples, len(Σ))))
    x = x @ np.linalg.inv(np.linalg.cholesky(x.T @ x / samples)).T if whitened else x
    y = label_noise_std * np.asarray(jax.random.normal(label_key, (samples, outputs)))
    return Dataset(x @ np.linalg.cholesky(Σ).T, y)
