"""Epoch shuffling: the weights' law at every position in the epoch, to first order in the multiplicative noise.

Batches l = 0 … M−1 of one epoch, M = ⌊P/S⌋, are disjoint parts of a random order of the P examples; with δ = w − w*,
r = y − X w*, b_l = (1/S) Σ_{μ∈l} r_μ x_μ, H_l the batch's Hessian, T = 1 − ηH, c = (P−S)/(S(P−1)) and C = C(w*),

    δ_{l+1} = (1 − ηH_l) δ_l + η b_l,     E b_l b_lᵀ = C,     E b_l b_jᵀ = −ϱ C   (l ≠ j),     ϱ = S/(P−S),

and epochs are independent. With H_l replaced by H (frozen noise), G_l = Σ_{n<l} Tⁿ:

    M_{l+1} = T M_l T + η² [C − ϱ (T G_l C + C G_l T)],      M_M = M_0,                           (covariance)
    V_l = C + H M_l H + ϱη (H G_l C + C G_l H),                                       (of the batch gradient)
    m_{l+1} = T m_l + η² ϱ c (1/P) Σ_μ r_μ (x_μᵀ G_l x_μ) x_μ,      m_M = m_0.                    (mean, first order)

The last line is E[(H_l − H) δ_l] with the frozen-noise δ_l: a batch that is yet to come is anti-correlated with
the noise of those that are gone. The mean over positions of M_l is that of noise with the averaged autocovariance
−C (M−j)/(M(M−1)) [Kühn and Rosenow, Eq. 2], and of m_l → −(η/2) H⁻¹ E[(H_l − H) g_l] for ηhM → 0.

The covariance too has a part of first order in dH_l = H_l − H, from three batches' moments. With b = r x, one batch's
third moments are c₃ = (P−S)(P−2S)/(S²(P−1)(P−2)) times those of one example, and as the batches of an epoch sum to
nothing, those of two equal batches and another are q = −1/(M−1) of these, of three others s = 2/((M−1)(M−2)). With

    Θ_n = c₃ (1/P) Σ_μ r_μ² [(x_μᵀ Tⁿ x_μ) x_μ x_μᵀ − x_μ x_μᵀ Tⁿ H] = E b_l (dH_l Tⁿ b_l)ᵀ,      A_l = Σ_{n<l} Θ_n,
    U_l = E b_l (dH_l δ_l)ᵀ = η q A_l,     Y_l = E δ_l (dH_l δ_l)ᵀ = η² [(q − s) Σ_{n<l} Tⁿ Θ_n + s G_l A_l],
    W_l = E b_l δ¹_lᵀ,   W_{l+1} = W_l T − η² s A_l,     δ¹ the first order of δ, δ¹_{l+1} = T δ¹_l − η dH_l δ_l:

    D_l = E δ_l δ¹_lᵀ,   D_{l+1} = T D_l T − η T Y_l + η W_l T − η² U_l,   D_M = D_0;      M_l gains D_l + D_lᵀ.

Neglected is E δ¹ δ¹ᵀ, noise that does not cancel over an epoch: see `epoch_multiplicative_scale`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks, _linalg
from sgdynamics._types import RealScalar
from sgdynamics.theory.regression._least_squares import data, examples, hessian, minimum
from sgdynamics.theory.regression._noise import noise_covariance, sampling_factor


def epoch_covariances(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
) -> Float[Array, "positions inputs inputs"]:
    """Covariance of w about its mean before batch l = 0 … M−1 of an epoch, noise frozen, [positions, inputs, inputs].

    **Raises** `ValueError` for batches larger than the data, shapes that do not match, values out of range, and
    where ηH ≥ 2.
    """
    x, y = data(x, y)
    η, S, M = _settings(x, learning_rate, batch_size)
    C = noise_covariance(x, y, minimum(x, y), batch_size=S, replacement=False)
    T, G = _powers(x, η, M)
    added = η**2 * (C[None] - _anticorrelation(x, S) * _plus_transposes(T @ G @ C))
    step = lambda X, e: (T @ X @ T + e, X)
    in_one_epoch = jax.lax.scan(step, jnp.zeros_like(C), added)[0]
    first = _linalg.discrete_lyapunov(jnp.linalg.matrix_power(T, M), (in_one_epoch + in_one_epoch.T) / 2)
    return jax.lax.scan(step, first, added)[1]


def epoch_corrections(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
) -> tuple[Float[Array, "positions inputs inputs"], Float[Array, "positions inputs inputs"]]:
    """What the first order in the multiplicative noise adds to `epoch_covariances` and `epoch_gradient_covariances`.

    For batch sizes that divide the number of samples. **Raises** as `epoch_covariances` does.
    """
    x, y = data(x, y)
    η, S, M = _settings(x, learning_rate, batch_size)
    _checks.require("batch_size", S, len(x) % S == 0, allowed=f"a divisor of the {len(x)} samples")
    H, (T, G) = hessian(x), _powers(x, η, M)
    Θ = _third_moments(x, y - x @ minimum(x, y), T, S, M)
    q, s = -1 / max(M - 1, 1), 2 / max((M - 1) * (M - 2), 1)
    before = lambda terms: jnp.cumsum(terms, axis=0) - terms
    A, B = before(Θ), before(_each_power(T, M) @ Θ)
    U, Y = η * q * A, η**2 * ((q - s) * B + s * G @ A)
    W = jax.lax.scan(lambda W, a: (W @ T - η**2 * s * a, W), jnp.zeros_like(H), A)[1]
    added = -η * T @ Y + η * W @ T - η**2 * U
    step = lambda D, e: (T @ D @ T + e, D)
    in_one_epoch = jax.lax.scan(step, jnp.zeros_like(H), added)[0]
    first = _linalg.discrete_lyapunov(jnp.linalg.matrix_power(T, M), in_one_epoch)
    D = jax.lax.scan(step, first, added)[1]
    return _plus_transposes(D), _plus_transposes(H @ Y + H @ D @ H - U - W @ H)


def epoch_gradient_covariances(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
) -> Float[Array, "positions inputs inputs"]:
    """V_l, covariance of the gradient of batch l = 0 … M−1 of an epoch, noise frozen, [positions, inputs, inputs].

    **Raises** as `epoch_covariances` does.
    """
    M = epoch_covariances(x, y, learning_rate=learning_rate, batch_size=batch_size)
    x, y = data(x, y)
    η, S, _ = _settings(x, learning_rate, batch_size)
    H, (_, G) = hessian(x), _powers(x, η, len(M))
    C = noise_covariance(x, y, minimum(x, y), batch_size=S, replacement=False)
    return C[None] + H @ M @ H + _anticorrelation(x, S) * η * _plus_transposes(H @ G @ C)


def epoch_means(
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
) -> Float[Array, "positions inputs"]:
    """E w − w* before batch l = 0 … M−1 of an epoch, [positions, inputs]; first order in the multiplicative noise.

    Independent batches have none: their mean is w*. **Raises** as `epoch_covariances` does.
    """
    x, y = data(x, y)
    η, S, M = _settings(x, learning_rate, batch_size)
    T, G = _powers(x, η, M)
    c, r = sampling_factor(len(x), S, replacement=False), y - x @ minimum(x, y)
    added = η**2 * _anticorrelation(x, S) * c * jnp.einsum("m,mi,lij,mj,mk->lk", r, x, G, x, x) / len(x)
    step = lambda m, e: (T @ m + e, m)
    in_one_epoch = jax.lax.scan(step, jnp.zeros_like(T[0]), added)[0]
    whole = jnp.eye(len(T)) - jnp.linalg.matrix_power(T, M)
    return jax.lax.scan(step, jnp.linalg.solve(whole, in_one_epoch), added)[1]


def epoch_multiplicative_scale(
    x: Real[ArrayLike, "samples inputs"],
    covariance: Real[ArrayLike, "inputs inputs"],
    *,
    learning_rate: RealScalar,
    batch_size: int,
) -> Float[Array, "inputs inputs"]:
    """The size of what frozen noise neglects: the covariance that the multiplicative noise at `covariance` would
    build up if it did not cancel at all over an epoch, X = T X T + η² c [(1/P) Σ (xᵀMx) x xᵀ − HMH].

    For ηhM → 0 about half of it is left, relative size (η/4S) tr(H²)/h in a mode of curvature h.
    """
    x = examples(x)
    η, S, _ = _settings(x, learning_rate, batch_size)
    M = _checks.shaped("covariance", _checks.float64("covariance", covariance), (x.shape[1],) * 2)
    H, c = hessian(x), sampling_factor(len(x), S, replacement=False)
    source = jnp.einsum("mi,ij,mj,mk,ml->kl", x, M, x, x, x) / len(x) - H @ M @ H
    return _linalg.discrete_lyapunov(jnp.eye(len(H)) - η * H, η**2 * c * (source + source.T) / 2)


def _settings(x: Array, learning_rate: RealScalar, batch_size: int) -> tuple[Array, int, int]:
    """(η, S, M)."""
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    S = _checks.count("batch_size", batch_size)
    _checks.require("batch_size", S, len(x) >= S, allowed=f"at most the {len(x)} samples")
    return η, S, len(x) // S


def _anticorrelation(x: Array, batch_size: int) -> float:
    """ϱ; the only batch of an epoch has no other, and no noise."""
    return batch_size / max(len(x) - batch_size, 1)


def _powers(x: Array, η: Array, positions: int) -> tuple[Array, Float[Array, "positions inputs inputs"]]:
    """T, and G_l = Σ_{n<l} Tⁿ for l = 0 … M−1."""
    T = jnp.eye(x.shape[1]) - η * hessian(x)
    step = lambda G, _: (T @ G + jnp.eye(len(T)), G)
    return T, jax.lax.scan(step, jnp.zeros_like(T), length=positions)[1]


def _each_power(T: Array, count: int) -> Float[Array, "powers inputs inputs"]:
    """Tⁿ for n = 0 … count − 1."""
    return jax.lax.scan(lambda X, _: (T @ X, X), jnp.eye(len(T)), length=count)[1]


def _third_moments(x: Array, r: Array, T: Array, S: int, M: int) -> Float[Array, "powers inputs inputs"]:
    """Θ_n for n = 0 … M−1."""
    P, powers = len(x), _each_power(T, M)
    c3 = (P - S) * (P - 2 * S) / (S**2 * max((P - 1) * (P - 2), 1))
    quadratic = jnp.einsum("mi,nij,mj->nm", x, powers, x)
    same = jnp.einsum("nm,m,mi,mj->nij", quadratic, r**2, x, x)
    return c3 * (same - jnp.einsum("m,mi,mj->ij", r**2, x, x) @ powers @ hessian(x)) / P


def _plus_transposes(X: Float[Array, "positions inputs inputs"]) -> Float[Array, "positions inputs inputs"]:
    return X + jnp.swapaxes(X, 1, 2)
