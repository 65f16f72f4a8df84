"""The explicit decomposition of App. D.2, which is one of symmetric drifts.

From (22) follows A Q + Q Aᵀ = A D − D Aᵀ. For A = Aᵀ = V Λ Vᵀ, D̃ = Vᵀ D V and Q = V Q̃ Vᵀ,

    Q̃_ij = (λ_i − λ_j)/(λ_i + λ_j) D̃_ij      (24),      U = (D + Q)⁻¹ A      (25).

The paper prints A D − D A = Q A + A Q (23) without saying that it needs A = Aᵀ, and then applies its results to the
A of SGD (42), which is not symmetric. The printed (23) has a solution also then, (24) with Λ and V of A = V Λ V⁻¹
and V⁻¹ for Vᵀ; but that Q is not antisymmetric and U no inverse covariance.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks, _linalg
from sgdynamics._types import Matrix
from sgdynamics.theory._arguments import form as known_form

RECIPE_FORMS = ("exact", "published")


def symmetric_decomposition(
    drift: Real[ArrayLike, "parameters parameters"],
    diffusion: Real[ArrayLike, "parameters parameters"],
    *,
    form: str = "exact",
) -> tuple[Matrix, Matrix]:
    """(Q, U) of a symmetric, positive definite A and a diffusion D, [parameters, parameters] each [(22)-(25)].

    `form="published"`: for any A without eigenvalues that add up to 0, the Q of (23) as printed, and (25); for a
    symmetric A the same, otherwise wrong. It solves for all entries at once: for some dozens of parameters.

    **Raises** `ValueError`, in the form "exact", for an A that is not symmetric or not positive definite; in the form
    "published" where (23) has no single solution, or D + Q no inverse.
    """
    known_form(form, RECIPE_FORMS)
    A = _checks.square("drift", _checks.float64("drift", drift))
    D = _checks.covariance("diffusion", _checks.float64("diffusion", diffusion), like=A)
    return _published(A, D) if form == "published" else _symmetric(A, D)


def identity_residual(
    drift: Real[ArrayLike, "parameters parameters"],
    diffusion: Real[ArrayLike, "parameters parameters"],
    circulation: Real[ArrayLike, "parameters parameters"],
) -> Float[Array, "parameters parameters"]:
    """A Q + Q Aᵀ − (A D − D Aᵀ), [parameters, parameters]: 0 for the circulation of any drift [(23), corrected]."""
    A = _checks.square("drift", _checks.float64("drift", drift))
    D = _checks.shaped("diffusion", _checks.float64("diffusion", diffusion), A.shape)
    Q = _checks.shaped("circulation", _checks.float64("circulation", circulation), A.shape)
    return A @ Q + Q @ A.T - (A @ D - D @ A.T)


def _symmetric(A: Matrix, D: Matrix) -> tuple[Matrix, Matrix]:
    """(24) as the solution of (23), so that no eigenvectors are differentiated."""
    A = _checks.require(
        "drift", A, _is_symmetric(A), allowed="symmetric",
        remedy="For any other drift use `momentum.process_decomposition`: B from (19), U = B⁻¹, Q = A B − D.",
    )  # fmt: skip
    A = (A + A.T) / 2
    A = _checks.provided(
        A, "drift", A, jnp.isfinite(jnp.linalg.cholesky(A)), allowed="positive definite",
        remedy="Leave out the directions in which nothing pulls.",
    )  # fmt: skip
    Q = _linalg.lyapunov(A, A @ D - D @ A)
    return (Q - Q.T) / 2, _over(A, D, (Q - Q.T) / 2)


def _published(A: Matrix, D: Matrix) -> tuple[Matrix, Matrix]:
    d, one = len(A), jnp.eye(len(A))
    operator = jnp.kron(A, one) + jnp.kron(one, A.T)  # Q ↦ A Q + Q A, rows first
    Q = jnp.linalg.solve(operator, (A @ D - D @ A).reshape(-1)).reshape(d, d)
    Q = _checks.provided(
        Q, "drift", A, jnp.isfinite(Q), allowed="free of eigenvalues that add up to 0", remedy="(24) divides by it."
    )
    return Q, _over(A, D, Q)


def _over(A: Matrix, D: Matrix, Q: Matrix) -> Matrix:
    U = jnp.linalg.solve(D + Q, A)
    return _checks.provided(
        U, "diffusion", D, jnp.isfinite(U), allowed="such that D + Q is invertible",
        remedy="Use `momentum.process_decomposition`, which takes the inverse on the range.",
    )  # fmt: skip


def _is_symmetric(A: Matrix) -> Array:
    return jnp.max(jnp.abs(A - A.T)) <= 1e-10 * jnp.max(jnp.abs(A))
