"""SDE of the mode amplitudes where all layers are balanced and aligned: Corlouer et al. (2026), Proposition 3.5.

The teacher is M = Σ_α s_α u_α v_αᵀ with outputs y = M x + ξ, x ~ N(0, 1), ξ ~ N(0, σ²). On the manifold

    W_l = Q_l diag(w^{1/L}) Q_{l−1}ᵀ,        Q_0 = V,  Q_L = U,  Q_lᵀ Q_l = 1,

w_α = u_αᵀ W v_α obeys dw_α = μ_α dt + √D_α dB_α, time t = learning_rate × step, β = learning_rate / batch_size:

    μ_α = L w_α^{2−2/L} (s_α − w_α)                                                                    (5), (13)
        + (β/2) { L(L−1) w_α^{3−4/L} [2 (s_α − w_α)² + σ²]
                + (s_α − w_α) Σ_{γ≠α} (s_γ − w_γ) Σ_{k=1}^{L−1} 2(L−k) w_α^{(2L−2−2k)/L} w_γ^{(L−2+2k)/L} }
    D_α = β L² w_α^{4−4/L} [2 (s_α − w_α)² + σ²],        D_αβ = 0 for α ≠ β                             (7), (8), (15)

k = |l − m| counts the distance of the two layers of Hess w_α. The second line is the Itô drift (β/2) tr(Σ Hess w_α).
The paper prints it without the coupling of the modes, with the first power of s − w, and with σ_q for σ²,

    (6):   β L(L−1) w^{2−4/L} [(s − w) + σ_q]             (14):   β L(L−1) w^{2−4/L} [(s − w) + σ_q/2],

which is wrong: the units do not fit, and (6) and (14) differ.
Nor does the process stay on the manifold: the amplitudes u_αᵀ W v_γ of crossed modes, 0 there, diffuse at the rate

    β (Σ_l w_α^{2(L−l)/L} w_γ^{2(l−1)/L})² [(s_α − w_α)² + σ²],        α ≠ γ,

of the order of D_α. SGD, whose steps are finite, has the further drift (η/2) ∇Lᵀ (Hess w_α) ∇L, on the manifold

    (η/2) L(L−1) w_α^{3−4/L} (s_α − w_α)².

Under gradient flow and without noise these equations would be closed; here they hold at one moment, on the manifold.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics.theory.deep_linear import _arguments

MODEWISE_FORMS = ("exact", "published_6", "published_14")


def modewise_drift(
    amplitudes: Real[ArrayLike, "... modes"],
    singular_values: Real[ArrayLike, "... modes"],
    *,
    depth: int,
    learning_rate: Real[ArrayLike, "..."],
    batch_size: Real[ArrayLike, "..."],
    label_noise_std: Real[ArrayLike, "..."],
    form: str = "exact",
) -> Float[Array, "... modes"]:
    """μ_α, gradient and Itô part, [..., modes], amplitude per unit of t.

    - `amplitudes`: w > 0; `singular_values`: s ≥ 0, of the same modes. Leading axes broadcast with those of the
      hyperparameters.
    - `form`: "exact", or the Itô part as printed in "published_6" or "published_14", with σ_q = `label_noise_std`.

    The modes are coupled: the drift of one depends on the amplitudes of all. A mode with w = 0 contributes nothing to
    the others and can be left out. **Raises** `ValueError` for amplitudes that are not positive (traced ones: nan,
    which an ensemble counts as diverged), `depth` < 1, or an unknown form.
    """
    gradient = modewise_gradient_drift(amplitudes, singular_values, depth=depth)
    ito = modewise_ito_drift(
        amplitudes,
        singular_values,
        depth=depth,
        learning_rate=learning_rate,
        batch_size=batch_size,
        label_noise_std=label_noise_std,
        form=form,
    )
    return jnp.broadcast_to(gradient, ito.shape) + ito


def modewise_gradient_drift(
    amplitudes: Real[ArrayLike, "... modes"], singular_values: Real[ArrayLike, "... modes"], *, depth: int
) -> Float[Array, "... modes"]:
    """L w^{2−2/L} (s − w) of (5), [..., modes]: the right-hand side of gradient flow."""
    L = _arguments.layers(depth, least=1)
    w, s = _arguments.modes(amplitudes, singular_values)
    return L * w ** (2 - 2 / L) * (s - w)


def modewise_ito_drift(
    amplitudes: Real[ArrayLike, "... modes"],
    singular_values: Real[ArrayLike, "... modes"],
    *,
    depth: int,
    learning_rate: Real[ArrayLike, "..."],
    batch_size: Real[ArrayLike, "..."],
    label_noise_std: Real[ArrayLike, "..."],
    form: str = "exact",
) -> Float[Array, "... modes"]:
    """(β/2) tr(Σ Hess w_α), [..., modes]; arguments and errors are those of `modewise_drift`."""
    L = _arguments.layers(depth, least=1)
    _arguments.form(form, MODEWISE_FORMS)
    settings = _arguments.hyperparameters(learning_rate, batch_size, label_noise_std)
    w, s, β, σ = _arguments.modes(amplitudes, singular_values, *settings)
    if form == "exact":
        return β / 2 * (L * (L - 1) * w ** (3 - 4 / L) * ((s - w) ** 2 + σ**2) + (s - w) * _coupling(w, s - w, L))
    share = 1.0 if form == "published_6" else 0.5
    return β * L * (L - 1) * w ** (2 - 4 / L) * ((s - w) + share * σ)


def _coupling(w: Array, residual: Array, L: int) -> Array:
    """Σ_γ (s_γ − w_γ) Σ_k 2(L−k) w_α^{(2L−2−2k)/L} w_γ^{(L−2+2k)/L} over all γ: γ = α gives L(L−1) w^{3−4/L} (s−w)."""
    total = jnp.zeros_like(w)
    for k in range(1, L):
        others = jnp.sum(residual * w ** ((L - 2 + 2 * k) / L), axis=-1, keepdims=True)
        total += 2 * (L - k) * w ** ((2 * L - 2 - 2 * k) / L) * others
    return total


def modewise_discretisation_drift(
    amplitudes: Real[ArrayLike, "... modes"],
    singular_values: Real[ArrayLike, "... modes"],
    *,
    depth: int,
    learning_rate: Real[ArrayLike, "..."],
) -> Float[Array, "... modes"]:
    """(η/2) L(L−1) w^{3−4/L} (s − w)², [..., modes]: what SGD's finite steps add to the SDE's drift at order η."""
    L = _arguments.layers(depth, least=1)
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    w, s, η = _arguments.modes(amplitudes, singular_values, η)
    return η / 2 * L * (L - 1) * w ** (3 - 4 / L) * (s - w) ** 2


def modewise_diffusion(
    amplitudes: Real[ArrayLike, "... modes"],
    singular_values: Real[ArrayLike, "... modes"],
    *,
    depth: int,
    learning_rate: Real[ArrayLike, "..."],
    batch_size: Real[ArrayLike, "..."],
    label_noise_std: Real[ArrayLike, "..."],
) -> Float[Array, "... modes"]:
    """D_α, [..., modes], amplitude² per unit of t; arguments and errors are those of `modewise_drift`."""
    L = _arguments.layers(depth, least=1)
    settings = _arguments.hyperparameters(learning_rate, batch_size, label_noise_std)
    w, s, β, σ = _arguments.modes(amplitudes, singular_values, *settings)
    return β * L**2 * w ** (4 - 4 / L) * (2 * (s - w) ** 2 + σ**2)


def modewise_cross_diffusion(
    amplitudes: Real[ArrayLike, "... modes"],
    singular_values: Real[ArrayLike, "... modes"],
    *,
    depth: int,
    learning_rate: Real[ArrayLike, "..."],
    batch_size: Real[ArrayLike, "..."],
    label_noise_std: Real[ArrayLike, "..."],
) -> Float[Array, "... modes modes"]:
    """Variance of u_αᵀ W v_γ per unit of t, [..., modes, modes], α down and γ across; the diagonal is D_α."""
    L = _arguments.layers(depth, least=1)
    settings = _arguments.hyperparameters(learning_rate, batch_size, label_noise_std)
    w, s, β, σ = _arguments.modes(amplitudes, singular_values, *settings)
    left = jnp.stack([w ** (2 * (L - l) / L) for l in range(1, L + 1)])
    right = jnp.stack([w ** (2 * (l - 1) / L) for l in range(1, L + 1)])
    kernel = jnp.einsum("l...a,l...g->...ag", left, right)
    # the residual along u_α is (s − w) x·v_α + ξ; for γ = α the fourth moment of x counts
    same = jnp.broadcast_to(jnp.eye(w.shape[-1]), kernel.shape)
    residual = ((s - w) ** 2)[..., None] * (1 + same) + (σ**2)[..., None]
    return β[..., None] * kernel**2 * residual
