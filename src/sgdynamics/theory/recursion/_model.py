"""One-output model linear in θ under minibatch sampling: minimum, residuals, and the noise they make."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics import _linalg
from sgdynamics._types import Matrix, Scalar, Vector
from sgdynamics.theory.recursion._mode_pairs import read

Examples = Float[Array, "samples inputs"]


class LinearModel(NamedTuple):
    """Examples and targets with what follows from them: K, μ, r, J of `_minibatch`."""

    x: Examples
    hessian: Matrix
    curvature: Matrix  # K = H + λ
    mean: Vector  # μ, of minimum norm where K is singular
    residuals: Float[Array, " samples"]  # X μ − y
    gradient: Vector  # J

    def noise(self, mean: Vector, second_moment: Matrix) -> Matrix:
        """Ξ(m, M) / c."""
        cross = jnp.outer(self.hessian @ mean, self.gradient)
        r2 = 2 * self.residuals * (self.x @ mean) + self.residuals**2
        constant = scatter(self.x, r2) - cross - cross.T - jnp.outer(self.gradient, self.gradient)
        return self.noise_response(second_moment) + constant

    def noise_response(self, second_moment: Matrix) -> Matrix:
        """The part linear in M: (1/P) Σ (xᵀ M x) x xᵀ − H M H."""
        return scatter(self.x, read(self.x, second_moment)) - self.hessian @ second_moment @ self.hessian

    def stationary_noise(self) -> Matrix:
        """C(μ) / c."""
        return scatter(self.x, self.residuals**2) - jnp.outer(self.gradient, self.gradient)


def scatter(x: Examples, weights: Float[Array, " samples"]) -> Matrix:
    """(1/P) Σ_μ weights_μ x_μ x_μᵀ."""
    return (x.T * weights[None, :]) @ x / len(x)


@jax.jit
def linear_model(x: Examples, y: Float[Array, " samples"], weight_decay: Scalar) -> LinearModel:
    mean = _linalg.least_squares(x, y, weight_decay)
    hessian = x.T @ x / len(x)
    curvature = hessian + weight_decay * jnp.eye(x.shape[1])
    # not xᵀr/P, whose rounding at λ = 0 would be all there is
    return LinearModel(x, hessian, curvature, mean, x @ mean - y, -weight_decay * mean)
