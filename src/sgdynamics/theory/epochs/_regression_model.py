"""Shuffled epochs of linear regression, linear in the weights' deviation: what all the orders of theory start from.

Batches l = 0 … M−1 of one epoch, M = ⌊P/S⌋, are disjoint parts of a random order of the P examples, and epochs are
independent. With δ = w − w*, r = y − X w*, b_l = (1/S) Σ_{μ∈l} r_μ x_μ, H_l the batch's Hessian, dH_l = H_l − H, and
u_l = w_l − w_{l−1},

    u_{l+1} = β u_l − η (H_l δ_l − b_l),      δ_{l+1} = δ_l + u_{l+1},

so that z = (δ, u) follows, with F = (1, 1)ᵀ,

    z_{l+1} = A z_l + η F (b_l − dH_l δ_l),      A = [[1 − ηH, β], [−ηH, β]].

Drawing without replacement gives, for any numbers of examples and of batches, c = (P−S)/(S(P−1)), ϱ = S/(P−S),

    E b_l b_lᵀ = C = C(w*),     E b_l b_jᵀ = −ϱ C   (l ≠ j),
    E dH_l X dH_l = c K(X),     E dH_l X dH_j = −ϱ c K(X),     K(X) = (1/P) Σ_μ (x_μᵀ X x_μ) x_μ x_μᵀ − H X H.

AⁿF = (R_n, …) is the response to a kick n + 1 steps before; R_n is a function of H. Without momentum R_n = (1 − ηH)ⁿ.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics import _checks, _linalg
from sgdynamics._types import RealScalar, Scalar
from sgdynamics.theory import _arguments
from sgdynamics.theory.regression._least_squares import data, hessian, minimum
from sgdynamics.theory.regression._noise import noise_covariance, sampling_factor


class Epoch(NamedTuple):
    """One epoch of SGD on one data set.

    - `x` [samples, inputs]; `residuals` r [samples]; `hessian` H; `noise` C [inputs, inputs]
    - `rate` η []; `batch_size` S and `batches` M, whole numbers; `anticorrelation` ϱ; `factor` c []
    - `transition` A [2 inputs, 2 inputs]; `kick` F [2 inputs, inputs]
    - `responses`: AⁿF; `sums`: G_l = Σ_{n<l} AⁿF, for n, l = 0 … M−1 [positions, 2 inputs, inputs]
    """

    x: Array
    residuals: Array
    hessian: Array
    noise: Array
    rate: Scalar
    batch_size: int
    batches: int
    anticorrelation: float
    factor: Scalar
    transition: Array
    kick: Array
    responses: Array
    sums: Array

    def weights(self, z: Array) -> Array:
        """The first rows of z: those of the weights."""
        return z[..., : self.x.shape[1], :]

    def scatter(self, X: Float[Array, "*many inputs inputs"]) -> Float[Array, "*many inputs inputs"]:
        """K(X): how one example's Hessian scatters about the mean."""
        sizes = jnp.einsum("mi,...ij,mj->...m", self.x, X, self.x)
        return jnp.einsum("...m,mi,mj->...ij", sizes, self.x, self.x) / len(self.x) - self.hessian @ X @ self.hessian


def epoch(x, y, learning_rate: RealScalar, batch_size: int, momentum: RealScalar) -> Epoch:
    """The epoch of these settings, checked."""
    x, y = data(x, y)
    η, β, _ = _arguments.single(_arguments.hyperparameters(learning_rate, momentum))
    S = drawn(batch_size, len(x))
    H, w, one = _spanned(hessian(x)), minimum(x, y), jnp.eye(x.shape[1])
    η = _arguments.stable(η, β, jnp.linalg.eigvalsh(jax.lax.stop_gradient(H))[-1])
    A, F = jnp.block([[one - η * H, β * one], [-η * H, β * one]]), jnp.concatenate([one, one])
    responses, sums = _responses(A, F, len(x) // S)
    C = noise_covariance(x, y, w, batch_size=S, replacement=False)
    c = sampling_factor(len(x), S, replacement=False)
    # the only batch of an epoch has no other, and no noise where it is all the data
    ϱ = S / max(len(x) - S, 1)
    return Epoch(x, y - x @ w, H, C, η, S, len(x) // S, ϱ, c, A, F, responses, sums)


@partial(jax.jit, static_argnums=2)
def _responses(A: Array, F: Array, batches: int) -> tuple[Array, Array]:
    """AⁿF, and the sums of those before n, for n = 0 … batches − 1."""
    step = lambda carry, _: ((A @ carry[0], carry[1] + carry[0]), carry)
    return jax.lax.scan(step, (F, 0 * F), length=batches)[1]


def _spanned(H: Float[Array, "inputs inputs"]) -> Float[Array, "inputs inputs"]:
    """H, where the inputs span all directions: along others nothing moves, and equations have many solutions."""
    values = jnp.linalg.eigvalsh(jax.lax.stop_gradient(H))
    return _checks.provided(
        H, "the smallest eigenvalue of the Hessian", values[0], values[0] > _arguments.NULL * values[-1],
        allowed=f"above {_arguments.NULL} × the largest",
        remedy="Directions without curvature never move: give the inputs' coordinates along the others, x @ V.",
    )  # fmt: skip


def drawn(batch_size: int, samples: int) -> int:
    """S, a whole number of at most all the samples."""
    S = _checks.count("batch_size", batch_size)
    return _checks.require("batch_size", S, samples >= S, allowed=f"at most the {samples} samples")


def cyclic(A: Array, added: Float[Array, "positions d d"]) -> Float[Array, "positions d d"]:
    """X_l of X_{l+1} = A X_l Aᵀ + added_l, X_M = X_0, for l = 0 … M−1."""
    in_one_epoch, _ = _from(A, jnp.zeros_like(A), added)
    first = _linalg.discrete_lyapunov(jnp.linalg.matrix_power(A, len(added)), in_one_epoch)
    return _from(A, first, added)[1]


@jax.jit
def _from(A: Array, first: Array, added: Array) -> tuple[Array, Array]:
    """X_M, and X_l for l = 0 … M−1, of X_{l+1} = A X_l Aᵀ + added_l from X_0."""
    return jax.lax.scan(lambda X, e: (A @ X @ A.T + e, X), first, added)


def transposed(X: Array) -> Array:
    """The last two axes exchanged."""
    return jnp.swapaxes(X, -1, -2)
