"""Where a mode fluctuates most while it is learnt: the maximum of its diffusion, Corlouer et al. (2026), Sec. 3.

D(w) ∝ w^a [2 (s − w)² + σ²] with a = 4(L−1)/L has, besides its growth at w → ∞, a local maximum at

    w* = [(a+1) s − √(s² − a(a+2) σ²/2)] / (a+2)                                                       (9)
    if and only if        σ² < 2 s²/(a(a+2)) = s² L² / (4(L−1)(3L−2)).                                  (10)

(10) is printed with ≤, but at equality w* is an inflection. Without label noise w*/s = 2(L−1)/(3L−2).
The peak stands above the plateau D(s), which is there whenever σ > 0, only for σ² below a fraction of (10) that depends
on the depth alone: 0.721, 0.710, 0.705, 0.701 for L = 2, 3, 4, 6.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics.theory.deep_linear import _arguments


def diffusion_peak(
    singular_values: Real[ArrayLike, "..."], *, depth: int, label_noise_std: Real[ArrayLike, "..."]
) -> Float[Array, "..."]:
    """w* of (9), broadcast over s > 0 and σ; nan where there is no peak.

    **Raises** `ValueError` for `depth` < 2: with one layer D decreases up to s.
    """
    a = _exponent(depth)
    s, variance = _levels(singular_values, label_noise_std)
    discriminant = s**2 - a * (a + 2) / 2 * variance
    exists = discriminant > 1e-14 * s**2  # at equality, where rounding decides, there is none
    # the root's slope is infinite at 0, which must not reach derivatives of the branch not taken
    root = jnp.sqrt(jnp.where(exists, discriminant, 1.0))
    return jnp.where(exists, ((a + 1) * s - root) / (a + 2), jnp.nan)


def largest_peaked_noise(singular_values: Real[ArrayLike, "..."], *, depth: int) -> Float[Array, "..."]:
    """s L/√(4(L−1)(3L−2)), the label noise σ below which there is a peak: the root of (10)."""
    a = _exponent(depth)
    s = _checks.positive("singular_values", _checks.float64("singular_values", singular_values))
    return s * jnp.sqrt(2 / (a * (a + 2)))


def dominant_peak_fraction(*, depth: int) -> float:
    """Fraction of the threshold (10) for σ² below which D(w*) > D(s): the peak is the maximum on (0, s]."""
    a = _exponent(depth)
    threshold = 2 / (a * (a + 2))

    def stands_out(fraction: float) -> bool:
        variance = fraction * threshold
        w = (a + 1 - (1 - fraction) ** 0.5) / (a + 2)
        return w**a * (2 * (1 - w) ** 2 + variance) > variance

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if stands_out(middle) else (low, middle)
    return low


def _exponent(depth: int) -> float:
    L = _arguments.layers(depth)
    return 4 * (L - 1) / L


def _levels(singular_values: ArrayLike, label_noise_std: ArrayLike) -> list[Array]:
    s = _checks.positive("singular_values", _checks.float64("singular_values", singular_values))
    σ = _checks.not_negative("label_noise_std", _checks.float64("label_noise_std", label_noise_std))
    return _arguments.broadcast(s, σ**2)
