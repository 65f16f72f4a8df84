"""The linear discrete process x_{k+1} = T x_k + e_k, with noise of fixed covariance, white or coloured.

With G_h = E[e_{k+h} e_kᵀ], h = 1 … m, and 0 beyond, the noise and the state it has built up are correlated:

    B_i = E[x_k e_{k+i}ᵀ] = Σ_{j≥0} Tʲ G_{i+1+j}ᵀ = G_{i+1}ᵀ + T B_{i+1},
    M = T M Tᵀ + N + T B₀ + B₀ᵀ Tᵀ,
    R_{h+1} = T R_h + B_hᵀ,   R_0 = M,   R_h = E[x_{k+h} x_kᵀ].

White noise is m = 0: M = T M Tᵀ + N, R_h = Tʰ M.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Real

from sgdynamics import _checks, _linalg
from sgdynamics._types import Matrix


class LinearRecursion(eqx.Module):
    """x_{k+1} = transition x_k + e_k, about mean 0.

    - `transition`: T, [parameters, parameters].
    - `noise`: covariance of e_k, [parameters, parameters].
    - `noise_autocovariance`: G_h = E[e_{k+h} e_kᵀ] for h = 1 … m, [m, parameters, parameters]; none if None.

    Time is counted in steps. All methods are differentiable in both modes with respect to the arrays.
    An eigenvalue 1 of T is allowed where no noise reaches it: the stationary covariance is then the limit of
    `covariance_after(steps)` from 0.

    **Raises** `ValueError` for shapes that do not match, entries that are not finite, or a `noise` that is
    no covariance.
    """

    transition: Matrix
    noise: Matrix
    noise_autocovariance: Float[Array, "lags parameters parameters"]

    def __init__(
        self,
        transition: Real[ArrayLike, "parameters parameters"],
        noise: Real[ArrayLike, "parameters parameters"],
        noise_autocovariance: Real[ArrayLike, "lags parameters parameters"] | None = None,
    ):
        self.transition = _checks.square("transition", _checks.float64("transition", transition))
        self.noise = _checks.covariance("noise", _checks.float64("noise", noise), like=self.transition)
        shape = self.noise.shape
        G = jnp.zeros((0, *shape)) if noise_autocovariance is None else noise_autocovariance
        G = _checks.float64("noise_autocovariance", G)
        self.noise_autocovariance = _checks.shaped("noise_autocovariance", G, (*G.shape[:1], *shape))

    def stationary_covariance(self) -> Matrix:
        """M = E x xᵀ, [parameters, parameters].

        **Raises** where T has an eigenvalue of modulus ≥ 1, other than a semisimple, noiseless 1.
        """
        M = _linalg.discrete_lyapunov(self.transition, self._effective_noise(self._memory()))
        return (M + M.T) / 2

    def autocovariance(self, lag: Int[ArrayLike, "*lags"]) -> Float[Array, "*lags parameters parameters"]:
        """R_h = E[x_{k+h} x_kᵀ] for whole lags h (negative: transposes), [*lags, parameters, parameters]."""
        lag = jnp.asarray(lag)
        R = self._lagged(jnp.abs(lag))
        return jnp.where(lag[..., None, None] < 0, jnp.swapaxes(R, -1, -2), R)

    def covariance_after(
        self,
        steps: Int[ArrayLike, "*steps"],
        initial: Real[ArrayLike, "parameters parameters"] | None = None,
    ) -> Float[Array, "*steps parameters parameters"]:
        """Cov x_k after k = `steps` from x_0 of covariance `initial` (if None, 0), independent of e."""
        P = jnp.zeros_like(self.noise) if initial is None else _checks.float64("initial", initial)
        P = _checks.covariance("initial", P, like=self.noise)
        steps = _checks.not_negative("steps", jnp.asarray(steps))
        early = self._early_covariances(P)
        m = len(early) - 1
        T, Q = _linalg.accumulated(self.transition, self._effective_noise(self._memory()), _excess(steps, m))
        return T @ early[jnp.minimum(steps, m)] @ jnp.swapaxes(T, -1, -2) + Q

    def _memory(self) -> Float[Array, "lags parameters parameters"]:
        """B_i for i = 0 … m−1, by Horner from the last."""

        def horner(B: Array, G: Array) -> tuple[Array, Array]:
            B = G.T + self.transition @ B
            return B, B

        start = jnp.zeros_like(self.noise)
        return jax.lax.scan(horner, start, self.noise_autocovariance, reverse=True)[1]

    def _effective_noise(self, memory: Float[Array, "lags parameters parameters"]) -> Matrix:
        """N + T B₀ + B₀ᵀ Tᵀ, the covariance one step adds once m steps have passed."""
        if len(memory) == 0:
            return self.noise
        return self.noise + _plus_transpose(self.transition @ memory[0])

    def _lagged(self, lag: Int[Array, "*lags"]) -> Float[Array, "*lags parameters parameters"]:
        """R_h for h ≥ 0: a table up to m, then powers of T."""

        def advance(R: Array, B: Array) -> tuple[Array, Array]:
            return self.transition @ R + B.T, R

        memory = self._memory()
        last, table = jax.lax.scan(advance, self.stationary_covariance(), memory)
        table = jnp.concatenate([table, last[None]])
        m = len(memory)
        return _linalg.matrix_power(self.transition, _excess(lag, m)) @ table[jnp.minimum(lag, m)]

    def _early_covariances(self, initial: Matrix) -> Float[Array, "times parameters parameters"]:
        """Cov x_k for k = 0 … m, while the memory builds up: E[x_k e_kᵀ] = Σ_{j<k} Tʲ G_{j+1}ᵀ."""

        def advance(carry, G):
            M, B, power = carry
            noise = self.noise + _plus_transpose(self.transition @ B)
            after = self.transition @ M @ self.transition.T + noise
            return (after, B + power @ G.T, power @ self.transition), M

        start = (initial, jnp.zeros_like(initial), jnp.eye(len(initial)))
        (last, _, _), table = jax.lax.scan(advance, start, self.noise_autocovariance)
        return jnp.concatenate([table, last[None]])


def _plus_transpose(X: Matrix) -> Matrix:
    return X + X.T


def _excess(lag: Int[Array, "*lags"], m: int) -> Int[Array, "*lags"]:
    return jnp.maximum(lag - m, 0)
