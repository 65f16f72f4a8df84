"""Laws of inputs of one covariance scale, tr Σ = 1: from normal to heavy-tailed and binary.

    Gaussian              x = z/√N
    correlated            x_i = √λ_i z_i, λ_i ∝ 1/i                                  normal; axes of Σ are those of x
    elliptical            x = √((ν−2)/χ²_ν) z/√N, one χ² for a whole example        multivariate Student t
    independent           x_i = √((ν−2)/ν) t_i/√N                                    Student t entries
    binary                x_i = ±1/√N

Their fourth moments, with any w,

    E[(w·x)² |x|²] = κ (2 wᵀΣ²w + wᵀΣw tr Σ) + e Σ_i Σ_ii² w_i²,

κ = (ν−2)/(ν−4) for the elliptical law, else 1; e = 6/(ν−4) for independent entries, −2 for binary ones, else 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgdynamics._types import PRNGKey

LAWS = ("Gaussian", "correlated", "elliptical", "independent", "binary")


class FourthMoment(NamedTuple):
    """κ of the normal part, and e, the excess kurtosis of the entries."""

    elliptical: float
    entries: float


def variances(law: str, inputs: int) -> np.ndarray:
    """The diagonal of Σ, of sum 1."""
    λ = 1 / np.arange(1, inputs + 1) if law == "correlated" else np.ones(inputs)
    return λ / λ.sum()


def fourth_moment(law: str, degrees_of_freedom: int) -> FourthMoment:
    """(κ, e); Student's need more than 4 degrees of freedom."""
    ν = degrees_of_freedom
    heavy = {"elliptical": FourthMoment((ν - 2) / (ν - 4), 0.0), "independent": FourthMoment(1.0, 6 / (ν - 4))}
    return (heavy | {"binary": FourthMoment(1.0, -2.0)}).get(law, FourthMoment(1.0, 0.0))


def draw(key: PRNGKey, samples: int, inputs: int, degrees_of_freedom: int) -> Float[Array, "laws samples inputs"]:
    """Examples of every one of `LAWS`, of mean 0 and covariance diag(`variances`), from the same normal numbers."""
    ν, shape = degrees_of_freedom, (samples, inputs)
    normal, squares = jax.random.split(key)
    z = jax.random.normal(normal, shape)
    χ2 = jnp.sum(jax.random.normal(squares, (ν, *shape)) ** 2, axis=0)
    heavy = jnp.sqrt((ν - 2) / χ2)
    shapes = {"elliptical": heavy[:, :1] * z, "independent": heavy * z, "binary": jnp.where(z < 0, -1.0, 1.0)}
    return jnp.stack([jnp.sqrt(jnp.asarray(variances(law, inputs)))[None, :] * shapes.get(law, z) for law in LAWS])
