"""The scalar process of one mode, others left out: Corlouer et al. (2026), Proposition 5.2, with Eq. 14 corrected.

dw = μ(w) dt + √D(w) dB,        μ = L w^{2−2/L} (s − w) + (β/2) L(L−1) w^{3−4/L} [2 (s − w)² + σ²]
                                D = β L² w^{4−4/L} [2 (s − w)² + σ²]                                        (15)
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sgdynamics.theory import deep_linear, fokker_planck


@dataclass(frozen=True)
class OneMode:
    """One mode of singular value s in a network of `depth` layers, at temperature β = η/b and label noise σ."""

    singular_value: float
    depth: int
    temperature: float
    label_noise_std: float
    form: str = "exact"

    @property
    def settings(self) -> dict:
        """As `theory.deep_linear` takes them; η and b enter as η/b alone."""
        hyperparameters = {"learning_rate": self.temperature, "batch_size": 1, "label_noise_std": self.label_noise_std}
        return {"depth": self.depth, **hyperparameters}

    def drift(self, w: Float[Array, "*points"]) -> Float[Array, "*points"]:
        s = jnp.asarray([self.singular_value])
        return deep_linear.modewise_drift(w[..., None], s, form=self.form, **self.settings)[..., 0]

    def diffusion(self, w: Float[Array, "*points"]) -> Float[Array, "*points"]:
        s = jnp.asarray([self.singular_value])
        return deep_linear.modewise_diffusion(w[..., None], s, **self.settings)[..., 0]

    @property
    def rate(self) -> float:
        """L s^{2−2/L}, at which deviations from s relax, per unit of t."""
        return self.depth * self.singular_value ** (2 - 2 / self.depth)

    @property
    def variance(self) -> float:
        """(18)."""
        return self.temperature * self.depth / 2 * self.label_noise_std**2 * self.rate / self.depth

    def stationary(self, *, upper: float | None = None) -> fokker_planck.StationaryDensity:
        """(16) on [0, upper], twice the singular value unless told."""
        upper = 2 * self.singular_value if upper is None else upper
        return fokker_planck.stationary_density(self.drift, self.diffusion, lower=0.0, upper=upper)

    def chain(self, edges: Array) -> fokker_planck.FiniteVolume:
        """The process on cells between `edges`."""
        return fokker_planck.FiniteVolume(self.drift, self.diffusion, edges)

    def tail_exponent(self, w: float) -> float:
        """d ln p/d ln w at w, from (16): w (2μ − D′)/D."""
        D, rise = jax.value_and_grad(self.diffusion)(jnp.asarray(w))
        return float(w * (2 * self.drift(jnp.asarray(w)) - rise) / D)
