"""Hessian of the loss and covariance of the minibatch gradient, any inputs: Gross et al. (2024), (3.5), (3.12), (3.18).

    L = ½ E|e|²,  e = y − W₂ W₁ x,     ∂L/∂w = −E[e xᵀ] = −Ē,     J = ∂vec(w)/∂θ,
    H = Jᵀ (1 ⊗ S_xx) J  −  the part of Ē,  ∂²L/∂(W₁)_hi ∂(W₂)_oh = −Ē_oi + …      ((3.18); Ē = 0 at a minimum of L(w)),
    C = c Jᵀ Cov(e xᵀ) J,      c = 1/S with replacement, (P − S)/(S (P − 1)) without.

Cov(e xᵀ) over the samples is exact; for Gaussian data of zero mean and many samples it is Wick's (3.12),

    Cov(e_i x_j, e_k x_l) = (S_ee)_ik (S_xx)_jl + Ē_il Ē_kj,

which holds at any weights. The paper writes it for x and y apart and takes ⟨y_i y_k⟩ = ⟨y²⟩ δ_ik.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics._types import RealScalar, Scalar
from sgdynamics.theory.regression import sampling_factor
from sgdynamics.theory.two_layer._arguments import Data, data, layers
from sgdynamics.theory.two_layer._arguments import form as known_form
from sgdynamics.theory.two_layer._bases import Frame, identity_frame, jacobian

NOISE_FORMS = ("exact", "wick")
RESIDUAL_FORMS = ("exact", "average", "published")


def hessian(
    first: Real[ArrayLike, "hidden inputs"],
    second: Real[ArrayLike, "outputs hidden"],
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, "samples *outputs"],
) -> Float[Array, "parameters parameters"]:
    """The Hessian of L at any weights, [parameters, parameters], over θ = (first, second), row by row. Exact.

    **Raises** `ValueError` for layers that do not chain, or data that do not fit them.
    """
    W1, W2 = layers(first, second)
    return frame_hessian(identity_frame(W1, W2), data(W1, W2, x, y))


def noise_covariance(
    first: Real[ArrayLike, "hidden inputs"],
    second: Real[ArrayLike, "outputs hidden"],
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, "samples *outputs"],
    *,
    batch_size: RealScalar,
    replacement: bool = True,
    form: str = "exact",
) -> Float[Array, "parameters parameters"]:
    """The covariance of the minibatch gradient at any weights, [parameters, parameters].

    `form`: "exact" for these samples, or "wick", (3.12) with their second moments.
    **Raises** `ValueError` also for batches that are impossible.
    """
    W1, W2 = layers(first, second)
    c = sampling_factor(jnp.shape(x)[0], batch_size, replacement)
    return c * frame_noise(identity_frame(W1, W2), data(W1, W2, x, y), form)


def residual_variance(
    first: Real[ArrayLike, "hidden inputs"],
    second: Real[ArrayLike, "outputs hidden"],
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, "samples *outputs"],
    *,
    form: str = "exact",
) -> Scalar:
    """σ_e², [], of each output.

    `form`: "exact" |Y − w X|²/(P outputs); "average" (1 − inputs/P)⟨y²⟩, its mean over targets of pure noise at the
    minimum; "published" (1 − 1/P)⟨y²⟩ of (3.21) and App. E.
    """
    known_form(form, RESIDUAL_FORMS)
    samples = data(*layers(first, second), x, y)
    if form == "exact":
        return jnp.mean(samples.residuals**2)
    P, inputs = samples.x.shape
    return (1 - (inputs if form == "average" else 1) / P) * jnp.mean(samples.targets**2)


@jax.jit
def frame_hessian(frame: Frame, samples: Data) -> Float[Array, "reduced reduced"]:
    """The Hessian in the coordinates of a frame."""
    x, e, kept = samples.x, samples.residuals, frame.V.shape[1]
    inputs = x.shape[1]
    pull = (e @ frame.U).T @ x / len(x)
    cross = -jnp.einsum("oi,hk->kioh", pull, frame.A.T @ frame.V).reshape(kept * inputs, -1)
    first, second = jnp.zeros((len(cross),) * 2), jnp.zeros((cross.shape[1],) * 2)
    return minimum_hessian(frame, samples) + jnp.block([[first, cross], [cross.T, second]])


@jax.jit
def minimum_hessian(frame: Frame, samples: Data) -> Float[Array, "reduced reduced"]:
    """Jᵀ (1 ⊗ S_xx) J in the coordinates of a frame: the Hessian where Ē = 0, with the rank that it has there.

    What a gradient flow leaves of Ē would lift the zeros of the spectrum by as much, up or down.
    """
    x = samples.x
    J = jacobian(frame)
    seen = (x / jnp.sqrt(1.0 * len(x))) @ J.reshape(-1, x.shape[1], J.shape[-1])
    return jnp.einsum("osa,osb->ab", seen, seen)


def frame_noise(frame: Frame, samples: Data, form: str) -> Float[Array, "reduced reduced"]:
    """The covariance of one example's gradient in the coordinates of a frame."""
    known_form(form, NOISE_FORMS)
    return _wick(frame, samples) if form == "wick" else _exact(frame, samples)


@jax.jit
def _exact(frame: Frame, samples: Data) -> Float[Array, "reduced reduced"]:
    x, e = samples.x, samples.residuals @ frame.U
    one = (e @ frame.after)[:, :, None] * x[:, None, :]
    two = e[:, :, None] * (x @ frame.before.T)[:, None, :]
    g = jnp.concatenate([one.reshape(len(x), -1), two.reshape(len(x), -1)], axis=1)
    deviations = g - jnp.mean(g, axis=0, keepdims=True)
    return deviations.T @ deviations / len(x)


@jax.jit
def frame_gradient(frame: Frame, samples: Data) -> Float[Array, " reduced"]:
    """The gradient of the loss in the coordinates of a frame."""
    pull = (samples.residuals @ frame.U).T @ samples.x / len(samples.x)
    return -jnp.concatenate([(frame.after.T @ pull).reshape(-1), (pull @ frame.before.T).reshape(-1)])


@jax.jit
def _wick(frame: Frame, samples: Data) -> Float[Array, "reduced reduced"]:
    x, e = samples.x, samples.residuals @ frame.U
    P = len(x)
    pull = e.T @ x / P
    entries = pull.size
    crossed = jnp.einsum("il,kj->ijkl", pull, pull).reshape(entries, entries)
    J = jacobian(frame)
    return J.T @ (jnp.kron(e.T @ e / P, x.T @ x / P) + crossed) @ J
