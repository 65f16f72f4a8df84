"""Mean of the modes of the whole network around a balanced minimum. NEW: not in Corlouer et al. (2026).

The one-mode law of `stationary_moments` leaves out the other directions of the network, which shift the mean as much.
With noise Σ frozen at a balanced minimum, θ = θ* + x and H = JᵀJ, to first order in β = learning_rate / batch_size

    ⟨w_α⟩ − s_α = J_α ⟨x⟩ + ½ tr(C Hess w_α),        C = ⟨x xᵀ⟩:   H C + C H = β Σ on the range of H,
    H ⟨x⟩ = −½ ∇³L : C,

and with isotropic label noise of variance σ², where Σ = σ² H and C = (β σ²/2) P, P the projector on the range of H,

    ⟨w_α⟩ − s_α = −(β σ²)/(2 L s_α^{2−2/L}) [S(d_L) + S(d_0) − L(L−1) s_α^{3−4/L}],
    S(d) = Σ_{γ=1}^d (1 + δ_αγ) Σ_{j=2}^L (j−1) s_γ^{2(L−j)/L} s_α^{(L+2j−4)/L},      0⁰ = 1,  s_γ = 0 for absent modes.

L = 2: −(β σ²/4)(d_0 + d_2), the same for all modes. The sign is opposite to the paper's (17), which has the mean
"slightly above" s. Directions in which the loss is flat diffuse further, so the state is stationary only for a while.
A mode with s_α = 0 stays at 0 on average: u_α → −u_α is a symmetry of the network and of its noise.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar
from sgdynamics.theory.deep_linear import _arguments


def mean_shift(
    singular_values: Real[ArrayLike, " modes"],
    *,
    inputs: int,
    outputs: int,
    depth: int,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    label_noise_std: RealScalar,
) -> Float[Array, " modes"]:
    """⟨w_α⟩ − s_α to first order in β, [modes], of SGD around a balanced minimum with label noise.

    - `singular_values`: s ≥ 0, [modes], at most min(inputs, outputs) of them; those left out count as 0.
    - `inputs`, `outputs`: widths d_0 and d_L; the hidden widths do not matter as long as the teacher fits.

    **Raises** `ValueError` for more modes than the teacher can have, negative singular values, or `depth` < 1.
    """
    L = _arguments.layers(depth, least=1)
    widths = _checks.count("inputs", inputs), _checks.count("outputs", outputs)
    s = _checks.not_negative("singular_values", _checks.float64("singular_values", singular_values))
    if s.ndim != 1 or len(s) > min(widths):
        raise ValueError(
            f"singular_values has shape {s.shape}, but it must be [modes] with at most min(inputs, outputs) = "
            f"{min(widths)} modes. Leave out zeros, or check inputs and outputs."
        )
    β, σ = _arguments.hyperparameters(learning_rate, batch_size, label_noise_std)
    present = s > 0
    ω = jnp.where(present, s, 1.0) ** (1 / L)
    bracket = sum(_spread(L, width, ω, present) for width in widths) - L * (L - 1) * ω ** (3 * L - 4)
    return jnp.where(present, -β * σ**2 / (2 * L) * bracket / ω ** (2 * L - 2), 0.0)


def _spread(depth: int, width: int, ω: Array, present: Array) -> Array:
    """S(d) of each mode, d = `width`; absent modes count where their power is 0."""
    L, total = depth, jnp.zeros_like(ω)
    for j in range(2, L + 1):
        powers = jnp.where(present, ω ** (2 * (L - j)), 0.0)
        others = jnp.sum(powers) if j < L else jnp.asarray(float(width))
        total += (j - 1) * (others + powers) * ω ** (L + 2 * j - 4)
    return total
