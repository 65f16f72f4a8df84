"""Fluctuations about a minimum for any inputs, with the noise these samples have: (3.18)-(3.19) without (3.13).

    dz = −H z dt + √(η C) dW,      H, C of `_noise` in the coordinates z = directionsᵀ (θ − θ*),

exact to linear order for the SDE whose noise is frozen at θ*; minibatch SGD has z ← (1 − ηH) z + noise of
covariance η² C. Nothing is assumed about inputs or residuals, whereas Wick's theorem errs by 10 to 20 % in single
modes at P = 100 inputs, by a factor of 2 at P = 8 inputs.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar
from sgdynamics.theory.ou import OrnsteinUhlenbeck
from sgdynamics.theory.recursion import LinearRecursion
from sgdynamics.theory.regression import sampling_factor
from sgdynamics.theory.two_layer._arguments import Data, data, layers, positive
from sgdynamics.theory.two_layer._bases import Frame, singular_bases
from sgdynamics.theory.two_layer._noise import frame_gradient, frame_noise, minimum_hessian

MOST_GRADIENT = 1e-6
"""Of |∇L| at what is called a minimum, over the size of the forces that cancel there."""


def linear_response(
    first: Real[ArrayLike, "hidden inputs"],
    second: Real[ArrayLike, "outputs hidden"],
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, "samples *outputs"],
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    replacement: bool = True,
    noise: str = "exact",
) -> OrnsteinUhlenbeck:
    """The law of z = directionsᵀ (θ − θ*), [reduced], at a minimum θ* = (first, second).

    `noise`: "exact", the covariance of these samples' gradients, or "wick", (3.12) with their second moments.
    **Raises** `ValueError` where the gradient is not 0, besides the errors of `noise_covariance`.
    """
    H, C = _at_minimum(first, second, x, y, batch_size, replacement, noise)
    return OrnsteinUhlenbeck(H, positive("learning_rate", learning_rate) * C)


def linear_response_recursion(
    first: Real[ArrayLike, "hidden inputs"],
    second: Real[ArrayLike, "outputs hidden"],
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, "samples *outputs"],
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    replacement: bool = True,
    noise: str = "exact",
) -> LinearRecursion:
    """z ← (1 − ηH) z + noise of covariance η² C: the law of SGD, one step at a time. As `linear_response` otherwise."""
    H, C = _at_minimum(first, second, x, y, batch_size, replacement, noise)
    η = positive("learning_rate", learning_rate)
    return LinearRecursion(jnp.eye(len(H)) - η * H, η**2 * C)


def _at_minimum(first, second, x, y, batch_size, replacement, noise) -> tuple[Array, Array]:
    W1, W2 = layers(first, second)
    samples, frame = data(W1, W2, x, y), singular_bases(W1, W2).frame
    c = sampling_factor(len(samples.x), batch_size, replacement)
    return minimum_hessian(frame, _stationary(frame, samples)), c * frame_noise(frame, samples, noise)


def _stationary(frame: Frame, samples: Data) -> Data:
    """The data, where the gradient is 0: |Ē| against √(E|y|² E|x|²), times the layers."""
    gradient = jnp.linalg.norm(jax.lax.stop_gradient(frame_gradient(frame, samples)))
    size = sum(jnp.mean(jnp.sum(a**2, axis=1)) * jnp.mean(jnp.sum(samples.x**2, axis=1)) for a in samples[1:])
    size = jnp.sqrt(size * (jnp.sum(frame.before**2) + jnp.sum(frame.after**2)))
    x = _checks.provided(
        samples.x, "|∇L|", gradient, gradient <= MOST_GRADIENT * size,
        allowed="0 at a minimum, to 1e-6 of the forces that cancel there",
        remedy="Follow the gradient flow to its end first.",
    )  # fmt: skip
    return samples._replace(x=x)
