"""Stationary law of one mode with label noise: Corlouer et al. (2026), Sec. 4, Proposition 5.1.

The process dw = μ dt + √D dB of a single mode (`modewise_drift` and `modewise_diffusion` for one mode, no others) has

    p(w) ∝ D⁻¹ exp(∫_{w_ref}^w 2μ/D dz)
         ∝ w^{−3(1−1/L)} / (2 (s−w)² + σ²) · exp(−(2/βL) ∫_s^w (z−s)/(z^{2−2/L} (2 (z−s)² + σ²)) dz)

(16), where the paper has the lower limit 0, at which the integral diverges. For w → ∞ p ~ w^{−5+3/L}: the whole
law has a variance, but a third moment for L > 3 only; what is computed is the peak's. In z = (w − s)/√V,
V = (βL/2) σ² s^{2−2/L}, σ cancels but for the curvature of w^{2−2/L}, so that σ → 0, the Dirac mass at s, is no
special case. To first order in β

    zero of μ     s +  (β/2) (L−1) s^{1−2/L} σ²            printed (17):  s + (β/2) (L−1) s^{−2/L} σ_q
    mean          s −  (β/2) (L−1) s^{1−2/L} σ²            printed: "slightly above s"
    maximum of p  s − (3β/2) (L−1) s^{1−2/L} σ²            printed: "near the zero of μ"
    variance      V                                        printed (18): the same.

The argument of the paper leaves out μ'' and D'. The mean of a mode in a network is `mean_shift` off s, not this.
"""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics.theory.deep_linear import _arguments

WINDOW = 12.0
PANELS = 24
NODES = 16


class StationaryExpansion(NamedTuple):
    """To first order in β, broadcast over the arguments; what the paper does not give is nan.

    - `drift_zero`: w where μ(w) = 0; `mean`, `mode` (the maximum of p) and `variance` of the one-mode law.
    """

    drift_zero: Float[Array, "..."]
    mean: Float[Array, "..."]
    mode: Float[Array, "..."]
    variance: Float[Array, "..."]


def stationary_moments(
    singular_value: Real[ArrayLike, "..."],
    *,
    depth: int,
    learning_rate: Real[ArrayLike, "..."],
    batch_size: Real[ArrayLike, "..."],
    label_noise_std: Real[ArrayLike, "..."],
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """(mean, variance) of the one-mode law near its peak, broadcast over all arguments.

    By quadrature of (16) over w > 0 within 12 standard deviations √V of s, to all orders in β: to rounding for
    √V < s/12; where the window reaches w = 0 the mean's shift is good to 1e-5 at √V = 0.28 s, 4 % at 0.56 s. Without
    label noise (s, 0). Meaningful where the peak is narrow, √V ≪ s and βL s^{2−2/L} ≪ 1; else the law has no peak of
    its own.

    **Raises** `ValueError` for a singular value, learning rate or batch size not > 0, negative noise, `depth` < 2.
    """
    L = _arguments.layers(depth)
    β, σ = _arguments.hyperparameters(learning_rate, batch_size, label_noise_std)
    s = _checks.positive("singular_value", _checks.float64("singular_value", singular_value))
    s, β, σ = _arguments.broadcast(s, β, σ)
    mean, variance = _moments(L, s.ravel(), β.ravel(), σ.ravel())
    return mean.reshape(s.shape), variance.reshape(s.shape)


def stationary_expansion(
    singular_value: Real[ArrayLike, "..."],
    *,
    depth: int,
    learning_rate: Real[ArrayLike, "..."],
    batch_size: Real[ArrayLike, "..."],
    label_noise_std: Real[ArrayLike, "..."],
    form: str = "exact",
) -> StationaryExpansion:
    """The table of the module's docstring; "published" is (17) and (18) as printed, with σ_q = `label_noise_std`.

    **Raises** as `stationary_moments`, and for an unknown form.
    """
    L = _arguments.layers(depth)
    _arguments.form(form, ("exact", "published"))
    β, σ = _arguments.hyperparameters(learning_rate, batch_size, label_noise_std)
    s = _checks.positive("singular_value", _checks.float64("singular_value", singular_value))
    s, β, σ = _arguments.broadcast(s, β, σ)
    width = β * L / 2 * σ**2 * s ** (2 - 2 / L)
    if form == "published":
        unknown = jnp.full_like(s, jnp.nan)
        return StationaryExpansion(s + β / 2 * (L - 1) * s ** (-2 / L) * σ, unknown, unknown, width)
    shift = β / 2 * (L - 1) * s ** (1 - 2 / L) * σ**2
    return StationaryExpansion(s + shift, s - shift, s - 3 * shift, width)


@partial(jax.jit, static_argnums=0)
@partial(jax.vmap, in_axes=(None, 0, 0, 0))
def _moments(L: int, s: Array, β: Array, σ: Array) -> tuple[Array, Array]:
    """Of each mode; w = s + √V z, panel by panel."""
    spread = β * L / 2 * s ** (2 - 2 / L)
    scale = σ * jnp.sqrt(spread)
    x, weights, primitive = _gauss_legendre()
    lowest = jnp.maximum(-WINDOW, -s / jnp.where(scale > 0, scale, s))
    edges = lowest + (WINDOW - lowest) * jnp.arange(PANELS + 1.0) / PANELS
    half = (edges[1] - edges[0]) / 2
    z = (edges[:-1] + half)[:, None] + half * jnp.asarray(x)[None, :]
    w = s + scale * z
    mismatch = 1 + 2 * spread * z**2
    pull = -z * (s / w) ** (2 - 2 / L) / mismatch
    panels = half * jnp.sum(pull * jnp.asarray(weights)[None, :], axis=1)
    before = jnp.cumsum(panels) - panels
    potential = before[:, None] + half * pull @ jnp.asarray(primitive).T
    log_density = potential - 3 * (1 - 1 / L) * jnp.log(w / s) - jnp.log(mismatch)
    share = jnp.asarray(weights)[None, :] * jnp.exp(log_density - jax.lax.stop_gradient(jnp.max(log_density)))
    share /= jnp.sum(share)
    mean = jnp.sum(share * z)
    return s + scale * mean, scale**2 * jnp.sum(share * (z - mean) ** 2)


@cache
def _gauss_legendre() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes x on (−1, 1), their weights, and the matrix of the integrals from −1 to x_i, [nodes, nodes]."""
    x, weights = np.polynomial.legendre.leggauss(NODES)
    powers = np.polynomial.legendre.legvander(x, NODES - 1)
    integrals = np.stack(
        [np.polynomial.legendre.legval(x, np.polynomial.legendre.legint(row, lbnd=-1)) for row in np.eye(NODES)]
    )
    return x, weights, integrals.T @ np.linalg.inv(powers)
