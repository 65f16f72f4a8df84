"""The loss perturbed along the eigenvectors v of the weight covariance M, Eq. (2.35), and what ties it to M.

    δL(θ v) = ½ θ² vᵀ H v            curvature vᵀHv, the inverse of flatness; exact at the minimum

An inverse variance-flatness relation means that directions of larger variance are less flat. Two measures of it:
Spearman's rank correlation ρ between variances and curvatures over the N eigenvectors of one data set, and the
slope of variance on curvature by least squares,

    b = Σ_i (k_i − k̄) v_iᵀ M v_i / Σ_i (k_i − k̄)²,      k_i = v_iᵀ H v_i,

which is linear in a measured M and so without bias, if v and k are those of the expected law.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy.stats import spearmanr

from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._regression import Regression, along
from sgdynamics.statistics import Estimate
from sgdynamics.theory import regression


def spectrum(case: Regression, form: str = "exact") -> tuple[Array, Array]:
    """(variances, curvatures) along the eigenvectors of a law, descending in variance, each [modes]."""
    variances, perturbations = regression.loss_perturbation(case.data.x, case.law(form))
    return variances, 2 * perturbations


def rank_correlation(variances: np.ndarray, curvatures: np.ndarray) -> Estimate:
    """Spearman's ρ of each realisation, averaged over them."""
    pairs = zip(variances, curvatures, strict=True)
    return over_realisations(np.array([spearmanr(v, k).statistic for v, k in pairs]), "rank correlation")


def slope(
    measured: Estimate, directions: Float[ArrayLike, "inputs modes"], curvatures: Float[ArrayLike, " modes"]
) -> Estimate:
    """b of a measured covariance, []: variance per curvature."""
    k = jnp.asarray(curvatures) - jnp.mean(jnp.asarray(curvatures))
    return measured.map(lambda M: jnp.sum(k * along(directions, M)) / jnp.sum(k**2), "slope")


def directions(covariance: Array) -> Array:
    """Eigenvectors of a covariance in columns, descending in variance, [inputs, modes]."""
    return jnp.asarray(np.linalg.eigh(np.asarray(covariance))[1][:, ::-1])


def perturbed_loss(case: Regression, v: Array, sizes: Array) -> Array:
    """L(w* + θ v) − L(w*) for every size θ by evaluating the loss, [sizes]."""
    at = jax.vmap(case.problem.loss)(case.minimum[None, :] + sizes[:, None] * v[None, :])
    return at - case.problem.loss(case.minimum)
