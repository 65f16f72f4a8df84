"""Fluctuations about a minimum for white inputs of variance σ_x²: Gross et al. (2024), (3.21)-(3.34).

With J = ∂vec(w)/∂θ, w = W₂ W₁, residuals of variance σ_e² that do not depend on the inputs, and samples enough for
Wick's theorem, the Hessian of the loss and the covariance of the minibatch gradient are multiples of the same matrix,

    H = σ_x² JᵀJ  (3.22),      C = (σ_x² σ_e² / S) JᵀJ  (3.21),
    dθ = −H (θ − θ*) dt + √(η C) dW,      stationary covariance  (η σ_e²/2S) × projector on the range of Jᵀ  (3.30):

the isotropic law of one layer on the directions that move w, and nothing elsewhere. Under Wick's theorem alone
C = (σ_e²/S) H for inputs of any covariance and white residuals, so that M does not need white inputs, only the rates
do; with the samples' exact noise it holds for many of them only (`_linear_response`). In the singular bases
(`_bases`), Γ = Γᵀ = drift/σ_x² = noise/σ_R², σ_R² = η σ_x² σ_e²/S, is

    Γ = [[D₂ ⊗ 1, S₂ ⊗ B S₁ᵀ], [transpose, 1 ⊗ D₁]]      (3.27; the paper stacks columns, we rows, and z₂ has Uᵀ)

with the eigenvalues D₁ₖ + D₂ₗ, and D₂ₗ on the inputs − hidden directions that W₁ does not see (3.28), and

    M₂₂ = (η σ_e²/2S) D₁ₖ/(D₁ₖ + D₂ₗ),     M₁₂ = (η σ_e²/2S) S₂ₗ Bₖ S₁ₖ/(D₁ₖ + D₂ₗ),
    M₁₁ = (η σ_e²/2S) [1 − Σₖ Bₖ D₁ₖ/(D₁ₖ + D₂ₗ) Bₖᵀ]         (3.34; the paper has one output).

Published, and wrong: the prefactor (1 − 1/P)⟨y²⟩ of (3.21) and App. E in place of σ_e², which is (1 − inputs/P)⟨y²⟩
on average for targets of pure noise: (3.20) lacks a factor inputs (`residual_variance`). And (3.36), D₁ₖ/D₂ₗ in place
of D₁ₖ/(D₁ₖ + D₂ₗ): its premise D₁ ≪ D₂ does not hold for the initialisation (3.35).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar
from sgdynamics.theory.ou import OrnsteinUhlenbeck
from sgdynamics.theory.two_layer._arguments import (
    equilibrium_variance,
    layers,
    positive,
)
from sgdynamics.theory.two_layer._arguments import (
    form as known_form,
)
from sgdynamics.theory.two_layer._bases import (
    Singular,
    identity_frame,
    jacobian,
    padded,
    singular_bases,
    singular_values,
)

VARIANCE_FORMS = ("exact", "published")


class Spectrum(NamedTuple):
    """Eigenvalues of Γ (3.28); times input_variance they are the rates of relaxation (3.38).

    - `coupled`: D₁ₖ + D₂ₗ, [outputs, modes], modes = min(hidden, inputs), once each.
    - `first_only`: D₂ₗ, [min(outputs, hidden)], each `first_multiplicity` = inputs − modes times.
    - `zeros`: how many of all the parameters' directions are frozen.
    """

    coupled: Float[Array, "outputs modes"]
    first_only: Float[Array, " kept"]
    first_multiplicity: int
    zeros: int


def fluctuations(
    first: Real[ArrayLike, "hidden inputs"],
    second: Real[ArrayLike, "outputs hidden"],
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    input_variance: RealScalar,
    residual_variance: RealScalar,
) -> OrnsteinUhlenbeck:
    """The linear law over all parameters (first, second), hidden·(inputs + outputs), about the minimum.

    Its mean is 0: θ − θ*. `input_variance` of each component, `residual_variance` of each output.
    **Raises** `ValueError` for layers that do not chain or hyperparameters out of range.
    """
    J = jacobian(identity_frame(*layers(first, second)))
    return _process(J.T @ J, learning_rate, batch_size, input_variance, residual_variance)


def reduced(
    first: Real[ArrayLike, "hidden inputs"],
    second: Real[ArrayLike, "outputs hidden"],
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    input_variance: RealScalar,
    residual_variance: RealScalar,
) -> OrnsteinUhlenbeck:
    """(3.26)-(3.27): the law of z = directionsᵀ (θ − θ*), [reduced]. Arguments and errors as in `fluctuations`."""
    J = jacobian(singular_bases(*layers(first, second)).frame)
    return _process(J.T @ J, learning_rate, batch_size, input_variance, residual_variance)


def stationary_covariance(
    first: Real[ArrayLike, "hidden inputs"],
    second: Real[ArrayLike, "outputs hidden"],
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    residual_variance: RealScalar,
) -> Float[Array, "reduced reduced"]:
    """M of (3.30) in closed form, of z = directionsᵀ (θ − θ*): what `reduced(...)` has, without its Lyapunov equation.

    That of θ is directions @ M @ directionsᵀ. **Raises** also where a singular value of either layer that has none
    of the other to couple to is 0: the projector then is not continuous.
    """
    κ = equilibrium_variance(learning_rate, batch_size, residual_variance)
    bases = singular_bases(*layers(first, second))
    outputs, (hidden, inputs) = bases.frame.after.shape[0], bases.frame.before.shape
    return κ * _projector(bases, _sums(bases.first, bases.second, outputs, unseen=inputs > hidden))


@jax.jit
def _projector(bases: Singular, total: Float[Array, "outputs modes"]) -> Float[Array, "reduced reduced"]:
    """Γ⁺Γ, block by block."""
    S1, S2, B = bases.first, bases.second, bases.B
    (outputs, kept), (hidden, inputs) = bases.frame.after.shape, bases.frame.before.shape
    eye = jnp.eye(kept)
    within = jnp.einsum("ik,lk,jk->lij", B, S1[None, :] ** 2 / total[:kept], B)
    M11 = jnp.einsum("lij,lm->limj", jnp.eye(inputs)[None] - within, eye).reshape(kept * inputs, -1)
    lever = S2[:, None] * S1[None, :] / total[:kept]
    M12 = jnp.einsum("ik,lk,lm->limk", B, lever, jnp.eye(kept, outputs))
    M12 = jnp.pad(M12, ((0, 0), (0, 0), (0, 0), (0, hidden - len(S1)))).reshape(kept * inputs, -1)
    M22 = jnp.diag(_shares(S1, total, hidden).reshape(-1))
    return jnp.block([[M11, M12], [M12.T, M22]])


def second_layer_variances(
    first: Real[ArrayLike, "hidden inputs"],
    second: Real[ArrayLike, "outputs hidden"],
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    residual_variance: RealScalar,
    form: str = "exact",
) -> Float[Array, "outputs hidden"]:
    """Var z₂ = Var (Uᵀ δW₂ A), [outputs, hidden], singular values descending; its entries are uncorrelated.

    `form`: "exact", κ D₁ₖ/(D₁ₖ + D₂ₗ) of (3.34), κ = η σ_e²/2S, 0 in the directions k that no input reaches;
    "published", κ D₁ₖ/D₂ₗ of (3.36), which needs D₁ ≪ D₂ and outputs ≤ hidden.
    **Raises** `ValueError` where D₁ₖ and D₂ₗ are both 0 (they decide 0/0), besides the errors of `fluctuations`.
    """
    known_form(form, VARIANCE_FORMS)
    κ = equilibrium_variance(learning_rate, batch_size, residual_variance)
    (outputs, hidden), (S1, S2) = jnp.shape(second), singular_values(first, second)
    if form == "exact":
        return κ * _shares(S1, _sums(S1, S2, outputs), hidden)
    S2 = padded(S2, outputs)
    S2 = _checks.require("second", S2, ~_vanishing(S2), allowed="of full rank, outputs ≤ hidden, for (3.36)")
    return κ * padded(S1, hidden)[None, :] ** 2 / S2[:, None] ** 2


def spectrum(first: Real[ArrayLike, "hidden inputs"], second: Real[ArrayLike, "outputs hidden"]) -> Spectrum:
    """The eigenvalues of Γ with their multiplicities (3.28), for any sizes."""
    W1, W2 = layers(first, second)
    D1, D2 = (S**2 for S in singular_values(W1, W2))
    coupled = D1[None, :] + padded(D2, W2.shape[0])[:, None]
    multiplicity = W1.shape[1] - len(D1)
    zeros = W1.size + W2.size - coupled.size - len(D2) * multiplicity
    return Spectrum(coupled, D2, multiplicity, zeros)


def relaxation_rates(
    first: Real[ArrayLike, "hidden inputs"], second: Real[ArrayLike, "outputs hidden"], *, input_variance: RealScalar
) -> Float[Array, " reduced"]:
    """σ_x² ω of (3.38), descending, with the zeros among `directions`, [reduced]; per unit of t."""
    W1, W2 = layers(first, second)
    coupled, alone, multiplicity, _ = spectrum(W1, W2)
    rates = jnp.concatenate([coupled.reshape(-1), jnp.repeat(alone, multiplicity)])
    total = len(alone) * W1.shape[1] + W2.size
    return positive("input_variance", input_variance) * padded(jnp.sort(rates)[::-1], total)


def _process(gamma, learning_rate, batch_size, input_variance, residual_variance) -> OrnsteinUhlenbeck:
    """drift = σ_x² Γ, noise = (η/S) σ_x² σ_e² Γ."""
    σx2 = positive("input_variance", input_variance)
    κ = equilibrium_variance(learning_rate, batch_size, residual_variance)
    return OrnsteinUhlenbeck(σx2 * gamma, 2 * κ * σx2 * gamma)


def _sums(
    S1: Float[Array, " modes"], S2: Float[Array, " kept"], outputs: int, unseen: bool = False
) -> Float[Array, "outputs modes"]:
    """D₁ₖ + D₂ₗ, where none of them decides 0/0; D₂ₗ alone must not be 0 either if it has inputs `unseen` by W₁."""
    D2 = padded(S2, outputs)[:, None] ** 2
    undecided = _vanishing(S1)[None, :] & _vanishing(padded(S2, outputs))[:, None]
    alone = jnp.any(_vanishing(S2)) & unseen
    return _checks.provided(
        S1[None, :] ** 2 + D2, "second", D2, ~(jnp.any(undecided) | alone),
        allowed="such that no singular value of 0 meets one of first",
        remedy="D₁/(D₁ + D₂) is 0/0 there: move the layers off the rank-deficient point.",
    )  # fmt: skip


def _shares(
    S1: Float[Array, " modes"], total: Float[Array, "outputs modes"], hidden: int
) -> Float[Array, "outputs hidden"]:
    """D₁ₖ/(D₁ₖ + D₂ₗ), 0 in the directions k beyond those that W₁ reaches from the inputs."""
    return jnp.pad(S1[None, :] ** 2 / total, ((0, 0), (0, hidden - len(S1))))


def _vanishing(S: Float[Array, " modes"]) -> Bool[Array, " modes"]:
    """Which singular values are 0 to rounding."""
    S = jax.lax.stop_gradient(S)
    return S <= 8 * len(S) * jnp.finfo(S.dtype).eps * jnp.max(S)
