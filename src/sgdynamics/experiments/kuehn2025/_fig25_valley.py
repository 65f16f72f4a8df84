"""The widening valley (Orvieto et al. 2022), and how the two perturbed descents move in it.

    L(u, v) = ½ v²|u|²,   u in R^d,        tr H = d v² + |u|²,        v ∂L/∂v = 2 L

Its floor is u = 0, flatter as |v| falls; the curvature across it is v². With θ = (u, v), as a network and data:
f(x) = v u·x, x_i = √d e_i, y = 0.

Anti-PGD, z = θ − ξ: given z, with w = v + ξ_v the curvature across is w², E w² = m_2, E w⁴ = m_4, and

    E v' = v − η v (|u|² + d σ²),      E|u'|² = (1 − 2η m_2 + η² m_4) |u|² + η² m_4 d σ²              (valley of z)

PGD: E v' = v (1 − η|u|²), E|u'|² = (1 − ηv²)²|u|² + d σ². Both are exact in one step. `anticorrelated` and
`uncorrelated` iterate them as if v did not fluctuate, which errs by Var v/v². On the floor, where v is slow,

    −d ln v/dt = 2 E L/v² = d σ² · 2/(2 − ηv²)    Anti-PGD,        d σ²/{ηv²(2 − ηv²)}    PGD             (rates)

so that PGD is the faster one below ηv² = ½; L̃ = L + (σ²/2) tr H has d σ² instead.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import sgdynamics as sgd
from sgdynamics.data import Dataset

Path = Float[np.ndarray, " steps"]


class Valley(eqx.Module):
    """f(x) = v u·x; θ = (u, v)."""

    u: Float[Array, " transverse"]
    v: Float[Array, ""]

    def __call__(self, x: Float[Array, " transverse"]) -> Float[Array, "1"]:
        return (self.v * (self.u @ x))[None]


def problem(transverse: int) -> sgd.Problem:
    """L = ½ v²|u|², exactly."""
    x = np.sqrt(transverse) * np.eye(transverse)
    return sgd.Problem(Valley(jnp.zeros(transverse), jnp.ones(())), Dataset(x, np.zeros(transverse)))


def anticorrelated(start: float, steps: int, *, transverse: int, learning_rate: float, std: float) -> tuple[Path, Path]:
    """v and |u|² of z after 0, …, `steps` steps of Anti-PGD from u = 0, v = `start`; ξ_0 = 0."""
    step = lambda v, s, k: anticorrelated_step(v, s, transverse, learning_rate, std**2 * (k > 0))
    return _iterated(step, start, steps)


def uncorrelated(start: float, steps: int, *, transverse: int, learning_rate: float, std: float) -> tuple[Path, Path]:
    """v and |u|² of PGD."""
    return _iterated(lambda v, s, k: uncorrelated_step(v, s, transverse, learning_rate, std**2), start, steps)


def anticorrelated_step(v: float, s: float, d: int, η: float, σ2: float) -> tuple[float, float]:
    """E v' and E|u'|² of z, given v and |u|² = s."""
    m2, m4 = v**2 + σ2, v**4 + 6 * v**2 * σ2 + 3 * σ2**2
    return v - η * v * (s + d * σ2), (1 - 2 * η * m2 + η**2 * m4) * s + η**2 * m4 * d * σ2


def uncorrelated_step(v: float, s: float, d: int, η: float, σ2: float) -> tuple[float, float]:
    """E v' and E|u'|² of θ, given v and |u|² = s."""
    return v * (1 - η * s), (1 - η * v**2) ** 2 * s + d * σ2


def _iterated(step: Callable[[float, float, int], tuple[float, float]], v: float, steps: int) -> tuple[Path, Path]:
    path = [(v, 0.0)]
    for k in range(steps):
        path.append(step(*path[-1], k))
    first, second = np.transpose(path)
    return first, second


def escaping(start: float, steps: int, *, transverse: int, learning_rate: float, std: float) -> tuple[Path, Path]:
    """E v² and E|u|² of PGD where v changes sign: E v²|u|² = E v² E|u|², |u|⁴ of a normal u, v⁴ = (v²)². A sketch."""
    η, d, σ2 = learning_rate, transverse, std**2
    step = lambda p, s, _: (
        p * (1 - 2 * η * s + (1 + 2 / d) * (η * s) ** 2) + σ2,
        s * (1 - η * p) ** 2 + d * σ2,
    )
    return _iterated(step, start**2, steps)


def rate(v: Path, *, transverse: int, learning_rate: float, std: float) -> float:
    """−ln(v_K/v_0)/t over a path, in units of L̃'s, d σ²."""
    return float(np.log(v[0] / v[-1]) / (learning_rate * (len(v) - 1) * transverse * std**2))
