"""The noise of (1) as a dense route makes it: build Σ(θ), decompose it, multiply normal numbers by the root.

Σ has at most as many non-zero eigenvalues as W has elements, so that a Cholesky decomposition needs ε added to the
diagonal, which is isotropic noise of variance ε at every θ. An eigendecomposition needs none: negative eigenvalues,
which are rounding, are put to 0. Its errors are relative to the largest eigenvalue and vanish with Σ.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics._types import Vector
from sgdynamics.noise import AbstractNoise, OnlineLinear


class EigenRoot(AbstractNoise):
    """The noise of another model, through the eigenvectors and eigenvalues of its dense covariance."""

    noise: OnlineLinear

    def sources(self):
        return jax.ShapeDtypeStruct(self.noise.problem.parameters.shape, float)

    def apply(self, θ: Vector, z: Float[Array, " parameters"]) -> Vector:
        λ, V = jnp.linalg.eigh(self.noise.covariance(θ))
        return V @ (jnp.sqrt(jnp.maximum(λ, 0)) * z)
