"""Balance of the two layers and how noise drives it: the drop that Gross et al. (2024), Sec. III C 2, cannot explain.

    𝓑 = W₂ᵀ W₂ − W₁ W₁ᵀ,      one step of SGD:  𝓑(k+1) − 𝓑(k) = η² (W₁ GᵀG W₁ᵀ − W₂ᵀ G Gᵀ W₂),

G the minibatch gradient with respect to w = W₂ W₁: to first order gradients leave 𝓑 alone, so that gradient flow
keeps it (3.6). Noise does not: per unit of t, exactly,

    d𝓑/dt = η (W₁ E[GᵀG] W₁ᵀ − W₂ᵀ E[GGᵀ] W₂),

with the covariance of G alone for the SDE, whose 𝓑 has no diffusion. With e the residuals and Ē = E[e xᵀ],

    Cov part of E[GᵀG] = c (E|e|² x xᵀ − ĒᵀĒ),   of E[GGᵀ] = c (E|x|² e eᵀ − ĒĒᵀ),   c as in `_noise`,

and for white inputs, white residuals and many samples d𝓑/dt = (η/S) σ_e² σ_x² (outputs W₁W₁ᵀ − inputs W₂ᵀW₂).
Where w = 0 the two terms live in orthogonal spaces: |W₂|² decays with the time S/(η σ_e² σ_x² inputs) and |W₁|² with
the same over outputs. All "stationary" laws of this package hold for times short against these.

Without noise the minimum is the product alone; zero-balanced layers, 𝓑 = 0, are (3.8)

    W₁ᵀ W₁ = B (S/σ_x²) Bᵀ,      w* = U (S/σ_x²) Bᵀ,      S the singular values of S_yx;

the paper's has no 1/σ_x².
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar, Scalar
from sgdynamics.theory.regression import sampling_factor
from sgdynamics.theory.two_layer._arguments import (
    data,
    layers,
    not_negative,
    positive,
    temperature,
)
from sgdynamics.theory.two_layer._arguments import (
    form as known_form,
)

BALANCE_FORMS = ("sgd", "sde", "wick")


def balance(
    first: Real[ArrayLike, "hidden inputs"], second: Real[ArrayLike, "outputs hidden"]
) -> Float[Array, "hidden hidden"]:
    """𝓑 = W₂ᵀ W₂ − W₁ W₁ᵀ, [hidden, hidden]; gradient flow conserves it (3.6)."""
    W1, W2 = layers(first, second)
    return W2.T @ W2 - W1 @ W1.T


def balance_drift(
    first: Real[ArrayLike, "hidden inputs"],
    second: Real[ArrayLike, "outputs hidden"],
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, "samples *outputs"],
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    replacement: bool = True,
    form: str = "sgd",
) -> Float[Array, "hidden hidden"]:
    """d𝓑/dt at any weights, [hidden, hidden], for these samples.

    `form`: "sgd", (E 𝓑(k+1) − 𝓑(k)) / learning_rate; "sde", the drift of the SDE, which differs where the gradient
    is not 0; "wick", the SDE with (3.12). The first two are exact.
    **Raises** `ValueError` for layers that do not chain, data that do not fit, impossible batches, an unknown form.
    """
    known_form(form, BALANCE_FORMS)
    W1, W2 = layers(first, second)
    x, e, _ = data(W1, W2, x, y)
    right, left = _second_moments(x, e, sampling_factor(len(x), batch_size, replacement), form)
    return positive("learning_rate", learning_rate) * (W1 @ right @ W1.T - W2.T @ left @ W2)


@partial(jax.jit, static_argnames="form")
def _second_moments(
    x: Float[Array, "samples inputs"], e: Float[Array, "samples outputs"], c: Scalar, form: str
) -> tuple[Float[Array, "inputs inputs"], Float[Array, "outputs outputs"]]:
    """E[GᵀG] and E[GGᵀ]; without the mean of G where the form is not "sgd"."""
    P = len(x)
    pull = e.T @ x / P
    if form == "wick":
        right = jnp.mean(jnp.sum(e**2, axis=1)) * x.T @ x / P + pull.T @ pull
        left = jnp.mean(jnp.sum(x**2, axis=1)) * e.T @ e / P + pull @ pull.T
        mean = 0.0
    else:
        right = (jnp.sum(e**2, axis=1)[:, None] * x).T @ x / P - pull.T @ pull
        left = (jnp.sum(x**2, axis=1)[:, None] * e).T @ e / P - pull @ pull.T
        mean = 1.0 if form == "sgd" else 0.0
    return c * right + mean * pull.T @ pull, c * left + mean * pull @ pull.T


def white_balance_drift(
    first: Real[ArrayLike, "hidden inputs"],
    second: Real[ArrayLike, "outputs hidden"],
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    input_variance: RealScalar,
    residual_variance: RealScalar,
) -> Float[Array, "hidden hidden"]:
    """d𝓑/dt = (η/S) σ_e² σ_x² (outputs W₁W₁ᵀ − inputs W₂ᵀW₂), [hidden, hidden], at a minimum with white inputs."""
    W1, W2 = layers(first, second)
    rate = _white_rate(learning_rate, batch_size, input_variance, residual_variance)
    return rate * (W2.shape[0] * W1 @ W1.T - W1.shape[1] * W2.T @ W2)


def balance_time(
    inputs: int,
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    input_variance: RealScalar,
    residual_variance: RealScalar,
) -> Scalar:
    """S/(η σ_e² σ_x² inputs), [], in units of t: |W₂|² decays as e^{−t/balance_time} where w is small.

    With the outputs' number in place of `inputs` it is the time of |W₁|². Infinite without residuals.
    """
    rate = _white_rate(learning_rate, batch_size, input_variance, residual_variance)
    return 1 / (_checks.count("inputs", inputs) * rate)


def balanced_minimum(
    target: Real[ArrayLike, "outputs inputs"],
    hidden: int,
    *,
    frame: Real[ArrayLike, "hidden modes"] | None = None,
) -> tuple[Float[Array, "hidden inputs"], Float[Array, "outputs hidden"]]:
    """(first, second) with 𝓑 = 0 and second @ first = target, or its best approximation of rank `hidden` (3.8).

    - `target`: w*, the minimum of the regression, [outputs, inputs].
    - `frame`: orthonormal columns, the hidden direction of each mode, modes = min(outputs, inputs, hidden);
      the unit vectors if None.

    For white inputs and fewer hidden than modes the best approximation is the minimum too. The derivative exists
    where the singular values of the target differ and are not 0.
    """
    w = _checks.float64("target", target)
    if w.ndim != 2 or w.size == 0:
        raise ValueError(f"target has shape {w.shape}, but it must be [outputs, inputs], neither of them 0.")
    hidden = _checks.count("hidden", hidden)
    modes = min(*w.shape, hidden)
    Q = jnp.eye(hidden, modes) if frame is None else _frame(frame, hidden, modes)
    U, s, Bt = jnp.linalg.svd(w, full_matrices=False)
    root = jnp.sqrt(s[:modes])
    return (Q * root[None, :]) @ Bt[:modes], (U[:, :modes] * root[None, :]) @ Q.T


def _frame(frame: ArrayLike, hidden: int, modes: int) -> Float[Array, "hidden modes"]:
    Q = _checks.shaped("frame", _checks.float64("frame", frame), (hidden, modes))
    gram = jnp.abs(Q.T @ Q - jnp.eye(modes))
    return _checks.require("frame", Q, gram < 1e-8, allowed="of orthonormal columns")


def _white_rate(learning_rate, batch_size, input_variance, residual_variance) -> Scalar:
    """(η/S) σ_e² σ_x²."""
    noise = not_negative("residual_variance", residual_variance)
    return temperature(learning_rate, batch_size) * noise * positive("input_variance", input_variance)
