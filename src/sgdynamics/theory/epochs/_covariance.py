"""The covariance of all weights and velocities under shuffled epochs, for any H and C: they need not commute.

In the eigenbasis H = V h Vᵀ the element i, j of every second moment depends on h_i, h_j and (VᵀCV)_ij alone: it is
`_moments` on the average over the position in the epoch, and `_positions` at each. The slides' assumption [H, C] = 0 is
the diagonal.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics._types import Matrix, RealScalar
from sgdynamics.theory import _arguments
from sgdynamics.theory.epochs._harmonic import HarmonicEpochs

Square = Real[ArrayLike, "parameters parameters"]


def stationary_covariance(
    hessian: Square,
    noise_covariance: Square,
    *,
    learning_rate: RealScalar,
    momentum: RealScalar,
    batches_per_epoch: int,
    left_out: RealScalar = 0.0,
) -> Matrix:
    """Covariance of θ, averaged over the position in the epoch, [parameters, parameters].

    - `hessian`: H, weight decay included, without negative eigenvalues; `noise_covariance`: C of the minibatch
      gradient. They need not commute. H may have a null space with noise in it, unless `left_out` is above 0.
    - `batches_per_epoch`: M = ⌊P/S⌋; `left_out`: κ, see `left_out`.

    Derivatives with respect to `hessian` are those of its eigenvectors, and NaN where two eigenvalues are equal.

    **Raises** `ValueError` for matrices that do not fit, negative curvature, a momentum outside [0, 1), ηh ≥ 2(1 + β),
    fewer than one batch, and with κ > 0 for noise where the curvature is 0.
    """
    law, V = _in_modes(hessian, noise_covariance, learning_rate, momentum, batches_per_epoch, left_out)
    return V @ law.stationary_covariance() @ V.T


def phase_covariance(
    hessian: Square,
    noise_covariance: Square,
    *,
    learning_rate: RealScalar,
    momentum: RealScalar,
    batches_per_epoch: int,
    left_out: RealScalar = 0.0,
) -> Float[Array, "phase phase"]:
    """As `stationary_covariance`, of (θ, u), u_k = θ_k − θ_{k−1}: [2 parameters, 2 parameters]."""
    law, V = _in_modes(hessian, noise_covariance, learning_rate, momentum, batches_per_epoch, left_out)
    return _rotated(law.phase_covariance(), V)


def position_covariances(
    hessian: Square,
    noise_covariance: Square,
    *,
    learning_rate: RealScalar,
    momentum: RealScalar,
    batches_per_epoch: int,
    left_out: RealScalar = 0.0,
) -> Float[Array, "positions phase phase"]:
    """As `phase_covariance`, after l = 0 … M−1 batches of the epoch: [positions, 2 parameters, 2 parameters]."""
    law, V = _in_modes(hessian, noise_covariance, learning_rate, momentum, batches_per_epoch, left_out)
    return _rotated(law.position_covariances(), V)


def _in_modes(hessian, noise_covariance, learning_rate, momentum, batches_per_epoch, left_out):
    setting = _arguments.single(_arguments.hyperparameters(learning_rate, momentum))
    H, C = _arguments.hessian_and_noise(hessian, noise_covariance)
    h, V = jnp.linalg.eigh(_arguments.not_repelling(H))
    h = jnp.where(h > _arguments.NULL * jnp.max(jnp.abs(h)), h, 0)  # what rounding leaves of 0
    C = V.T @ C @ V
    law = HarmonicEpochs(
        h, (C + C.T) / 2, learning_rate=setting.learning_rate, momentum=setting.momentum,
        batches_per_epoch=batches_per_epoch, left_out=left_out,
    )  # fmt: skip
    return law, V


@jax.jit
def _rotated(M: Float[Array, "... phase phase"], V: Matrix) -> Float[Array, "... phase phase"]:
    """From the modes' coordinates to θ and u."""
    W = jnp.kron(jnp.eye(2), V)
    return W @ M @ W.T
