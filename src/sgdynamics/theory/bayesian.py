"""Gradient descent as a sampler: the law of θ ← θ − η A (g + √v z), z ~ N(0, 1), about a minimum.

η learning rate, A preconditioner, v injected variance, g the minibatch gradient of covariance C; H the Hessian of
the loss, weight decay included. To linear order, in time t = η × step (Gross, Raulf and Räth, App. B; their M is
(2.29)-(2.31) at A = 1, v = 0):

    A H M + M H Aᵀ = η A (C + v) Aᵀ                 `law`; in discrete time, `recursion`, the right side gains
                                                    η A H M H Aᵀ

    A = 1:   (2/η) H M = v + C + Q,                 Q_ij = C_ij (h_i − h_j)/(h_i + h_j) in the eigenbasis of H

for Q is linear in C and vanishes for isotropic noise. So where v dominates, M → T H⁻¹, T = ηv/2: the law p ∝ e^{−L/T},
whose effective potential is the loss. It is off by (C + Q)/v, of Frobenius norm between |C|/v and √2 |C|/v, C and Q
being orthogonal. v = 2T/η at a given T: "in the limit of small learning rates" (App. B).

The limit is at small learning rates only. C depends on θ: averaged over M, a quadratic loss has

    C(M) = C + c [(1/P) Σ_μ (x_μᵀ M x_μ) x_μ x_μᵀ − H₀ M H₀],      c = 1/S,      H₀ = H without weight decay

(`averaged_noise`), which grows with v itself. With it the discrete moments are exact (`regression_covariance`); to
first order in η

    (2/(ηv)) H M = 1 + (η/2T) (G + Q[G]),          G = C(T H⁻¹) + T H,                                        (*)

T H from the discrete time, while all of G is exact at any η for the preconditioner: any covariance M is that of

    A = B⁻¹,   B (M H) + (H M) B = η (C + v + H M H),                                                `preconditioner`

and M = T H⁻¹ needs A = (2T/η) G⁻¹ with no noise injected. In continuous time and with C frozen G is C: the optimal
preconditioner of Mandt, Hoffman and Blei (2017), Sec. 4.2. Its law has detailed balance: A H M − η A C A/2 = 0.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Real

from sgdynamics import _checks, _linalg
from sgdynamics._types import Matrix, RealScalar, Scalar
from sgdynamics.theory.ou import OrnsteinUhlenbeck
from sgdynamics.theory.recursion import LinearRecursion

Square = Real[ArrayLike, "parameters parameters"]
Preconditioner = RealScalar | Real[ArrayLike, " parameters"] | Square


def law(
    hessian: Square,
    noise_covariance: Square,
    *,
    learning_rate: RealScalar,
    preconditioner: Preconditioner = 1.0,
    injected_variance: RealScalar = 0.0,
) -> OrnsteinUhlenbeck:
    """The process in continuous time about the minimum, drift A H, noise η A (C + v) Aᵀ per unit of t = η × step.

    - hessian [parameters, parameters]: H, symmetric. noise_covariance: C, of the minibatch gradient.
    - preconditioner: A [parameters, parameters], or its diagonal [parameters], or a number times 1.
    - injected_variance: v ≥ 0, of the noise that is added to every component of the gradient.
    """
    H, A, N = _parts(hessian, noise_covariance, preconditioner, injected_variance)
    return OrnsteinUhlenbeck(A @ H, _positive("learning_rate", learning_rate) * N)


def recursion(
    hessian: Square,
    noise_covariance: Square,
    *,
    learning_rate: RealScalar,
    preconditioner: Preconditioner = 1.0,
    injected_variance: RealScalar = 0.0,
) -> LinearRecursion:
    """The same in discrete time, in steps: transition 1 − η A H, noise η² A (C + v) Aᵀ. Arguments as of `law`."""
    H, A, N = _parts(hessian, noise_covariance, preconditioner, injected_variance)
    η = _positive("learning_rate", learning_rate)
    return LinearRecursion(jnp.eye(len(H)) - η * A @ H, η**2 * N)


def regression_covariance(
    x: Real[ArrayLike, "samples parameters"],
    y: Real[ArrayLike, " samples"],
    *,
    learning_rate: RealScalar,
    sampling_factor: RealScalar,
    preconditioner: Preconditioner = 1.0,
    injected_variance: RealScalar = 0.0,
    weight_decay: RealScalar = 0.0,
) -> Matrix:
    """Exact stationary covariance on linear regression, [parameters, parameters]: discrete time, noise C(θ).

    Arguments of `law`; `sampling_factor` is c, and weight decay λ (A (g + λθ), with noise or not) is part of the loss.
    One linear system of size parameters², dense: for up to about 60 parameters.

    **Raises** where the second moments grow without limit, or no noise reaches some direction.
    """
    x, y, c, λ, H = _regression(x, y, sampling_factor, weight_decay)
    K = H + λ * jnp.eye(len(H))
    K, A, injected = _parts(K, jnp.zeros_like(K), preconditioner, injected_variance)
    ηA = _positive("learning_rate", learning_rate) * A
    # the map of second moments on M flat: M ← T M Tᵀ + ηA Ξ(M) (ηA)ᵀ
    pairs = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    multiplicative = c * (pairs.T @ pairs / len(x) - jnp.kron(H, H))
    T, inject = jnp.eye(len(H)) - ηA @ K, jnp.kron(ηA, ηA)
    step = jnp.kron(T, T) + inject @ multiplicative
    source = ηA @ averaged_noise(x, y, jnp.zeros_like(K), sampling_factor=c, weight_decay=λ) @ ηA.T
    source = source + _positive("learning_rate", learning_rate) ** 2 * injected
    M = jnp.linalg.solve(jnp.eye(len(step)) - step, source.reshape(-1)).reshape(H.shape)
    M = (M + M.T) / 2
    # a positive map with a positive source has a positive fixed point exactly where it contracts
    lowest = jnp.min(jnp.linalg.eigvalsh(jax.lax.stop_gradient(M)))
    return _checks.provided(
        M, "learning_rate", learning_rate, lowest > 0, allowed="so small that second moments stay bounded, with noise "
        "in every direction", remedy="Reduce it, or the preconditioner, or add weight decay and injected noise.",
    )  # fmt: skip


def averaged_noise(
    x: Real[ArrayLike, "samples parameters"],
    y: Real[ArrayLike, " samples"],
    covariance: Square,
    *,
    sampling_factor: RealScalar,
    weight_decay: RealScalar = 0.0,
) -> Matrix:
    """C(M) of linear regression [parameters, parameters]: the covariance of the minibatch gradient at the minimum,
    averaged over weights that scatter about it with `covariance` M."""
    x, y, c, λ, H = _regression(x, y, sampling_factor, weight_decay)
    M = _checks.covariance("covariance", _checks.float64("covariance", covariance), like=H)
    minimum = jnp.linalg.solve(H + λ * jnp.eye(len(H)), x.T @ y / len(x))
    weights = (x @ minimum - y) ** 2 + jnp.sum((x @ M) * x, axis=1)
    pull = λ * minimum  # minus the gradient of the loss without weight decay
    C = c * ((x.T * weights[None, :]) @ x / len(x) - H @ M @ H - pull[:, None] * pull[None, :])
    return (C + C.T) / 2


def noise_with_circulation(hessian: Square, noise_covariance: Square) -> Matrix:
    """C + Q of (2.30), not symmetric: (2/η) H M of the stationary M at A = 1. Of C + v it is v + C + Q."""
    H = _checks.symmetric("hessian", _checks.float64("hessian", hessian))
    C = _checks.covariance("noise_covariance", _checks.float64("noise_covariance", noise_covariance), like=H)
    return 2 * H @ _linalg.symmetric_lyapunov(H, C)


def preconditioner(
    hessian: Square,
    noise_covariance: Square,
    target: Square,
    *,
    learning_rate: RealScalar,
    discrete: bool = False,
) -> Matrix:
    """The symmetric A at which the stationary covariance is `target` [parameters, parameters].

    - noise_covariance: C(M) + v of all the gradient's noise. With C(M) of `averaged_noise` at the target and
      `discrete`, the covariance is the target exactly; with C at the minimum in continuous time, to first order.
    - target: M, invertible; T H⁻¹ to sample from p ∝ e^{−L/T}. learning_rate: η > 0, which ηA does not depend on.
    """
    H = _checks.symmetric("hessian", _checks.float64("hessian", hessian))
    noise = _checks.covariance("noise_covariance", _checks.float64("noise_covariance", noise_covariance), like=H)
    M = _checks.covariance("target", _checks.float64("target", target), like=H)
    η = _positive("learning_rate", learning_rate)
    if discrete:
        noise = noise + H @ M @ H
    B = _linalg.lyapunov(H @ M, η * (noise + noise.T) / 2)
    return jnp.linalg.inv((B + B.T) / 2)


def temperature(learning_rate: Real[ArrayLike, "*shape"], injected_variance: Real[ArrayLike, "*shape"]) -> Array:
    """T = ηv/2: where injected noise dominates, the stationary law is p ∝ e^{−L/T}."""
    η = _positive("learning_rate", learning_rate)
    return η * _checks.not_negative("injected_variance", _checks.float64("injected_variance", injected_variance)) / 2


def _parts(hessian: Any, noise_covariance: Any, preconditioner: Any, variance: Any) -> tuple[Matrix, Matrix, Matrix]:
    """H, A and A (C + v) Aᵀ."""
    H = _checks.symmetric("hessian", _checks.float64("hessian", hessian))
    C = _checks.covariance("noise_covariance", _checks.float64("noise_covariance", noise_covariance), like=H)
    A = _checks.float64("preconditioner", preconditioner)
    A = A if A.ndim == 2 else A * jnp.eye(len(H)) if A.ndim == 0 else jnp.diag(A)
    A = _checks.shaped("preconditioner", A, H.shape, remedy="Or give its diagonal, or a number.")
    v = _checks.not_negative("injected_variance", _checks.float64("injected_variance", variance))
    N = A @ (C + v * jnp.eye(len(H))) @ A.T
    return H, A, (N + N.T) / 2


def _regression(x: Any, y: Any, sampling_factor: Any, weight_decay: Any) -> tuple[Array, Array, Scalar, Scalar, Matrix]:
    """x, y, c, λ and H₀ = xᵀx/P."""
    x, y = _checks.float64("x", x), _checks.float64("y", y)
    y = _checks.shaped("y", y, x.shape[:1], remedy="One target for each row of x.")
    c = _checks.not_negative("sampling_factor", _checks.float64("sampling_factor", sampling_factor))
    λ = _checks.not_negative("weight_decay", _checks.float64("weight_decay", weight_decay))
    return x, y, c, λ, x.T @ x / len(x)


def _positive(name: str, value: Any) -> Array:
    return _checks.positive(name, _checks.float64(name, value))
