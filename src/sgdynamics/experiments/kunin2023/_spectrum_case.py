"""SGD with momentum on a regression in its stationary state, mode by mode: what its displacement is made of.

Given the past, the mean of the noise of a minibatch is 0, however it depends on θ. Its steps are uncorrelated, and in
the stationary state

    θ_{k+1} − θ_k = η v_{k+1},      v_{k+1} = β v_k − K δ_k − ξ_k,      E ξ ξᵀ = E C(θ)

has the second moments of an autoregression with the noise E C(θ). Along an eigenvector of K = H + λ it follows from the
exact variance of θ,

    Var δ_i = η E C_ii/{2 (1 − β) K_i [1 − η K_i/(2 (1 + β))]},

so that the formulas of `theory.momentum` hold exactly, with the noise's dependence on θ, once C_ii is that one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

import sgdynamics as sgd
from sgdynamics._types import PRNGKey
from sgdynamics.data import Dataset
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._compiled import once
from sgdynamics.theory import momentum as theory

_predict = once(sgd.predict)
SHAPE = 64


@dataclass(frozen=True)
class Case:
    """One data set at one setting: its modes, stiffest first, and its exact law."""

    descent: sgd.SGD
    prediction: Any
    curvatures: np.ndarray
    """K = h + λ, [modes]."""
    modes: np.ndarray
    """Eigenvectors of H, [parameters, modes]."""
    variances: np.ndarray
    """Of θ along them, [modes]."""
    η: float
    β: float

    @property
    def noise(self) -> np.ndarray:
        """E C_ii(θ) of the minibatch gradient, [modes]."""
        K, η, β = self.curvatures, self.η, self.β
        return self.variances * 2 * (1 - β) * K * (1 - η * K / (2 * (1 + β))) / η

    @property
    def setting(self) -> dict[str, float]:
        """What the formulas ask for beside curvatures and noise."""
        return {"learning_rate": self.η, "momentum": self.β}

    def displacement(self, steps: Int[ArrayLike, " steps"], form: str = "exact") -> Float[np.ndarray, " steps"]:
        """E|θ_{k+steps} − θ_k|²."""
        formula = lambda k: theory.displacement(k, self.curvatures, self.noise, form=form, **self.setting)
        return padded(formula, steps)

    def local_exponent(self, steps: Int[ArrayLike, " steps"]) -> Float[np.ndarray, " steps"]:
        """d ln E|Δ_k|²/d ln k."""
        return padded(lambda k: theory.local_exponent(k, self.curvatures, self.noise, **self.setting), steps)

    @property
    def saturation(self) -> float:
        """2 tr Cov θ."""
        return float(2 * np.sum(self.variances))


def padded(formula: Callable[[np.ndarray], ArrayLike], steps: ArrayLike) -> Float[np.ndarray, "..."]:
    """`formula` of steps of any shape, in few shapes: each would be compiled anew."""
    k = np.asarray(steps)
    size = max(SHAPE, 2 ** int(np.ceil(np.log2(k.size))))
    filled = np.pad(k.ravel(), (0, size - k.size), mode="edge")
    return np.asarray(formula(filled))[: k.size].reshape(k.shape)


def case(
    data: Dataset, *, learning_rate: float, momentum: float, batch_size: int, weight_decay: float = 0.0
) -> Case:  # fmt: skip
    """Regression with one output on `data`, minibatches drawn with replacement."""
    descent = sgd.SGD(
        sgd.Problem(sgd.networks.Linear(data.x.shape[1], 1), data), learning_rate=jnp.asarray(learning_rate),
        sampler=batch_size, momentum=jnp.asarray(momentum), weight_decay=jnp.asarray(weight_decay),
    )  # fmt: skip
    prediction = _predict(descent)
    x = np.asarray(data.x, float)
    h, V = np.linalg.eigh(x.T @ x / len(x))
    h, V = np.maximum(h[::-1], 0), V[:, ::-1]
    variances = np.einsum("im,ij,jm->m", V, prediction.covariance, V)
    return Case(descent, prediction, h + weight_decay, V, variances, learning_rate, momentum)


def with_curvatures(key: PRNGKey, curvatures: Sequence[float], samples: int, label_noise_std: float) -> Dataset:
    """Normal inputs turned until (1/P) Σ x xᵀ is diagonal with these entries; labels of a normal teacher with noise."""
    h = np.asarray(curvatures, float)
    draw = lambda name, *shape: np.asarray(jax.random.normal(_ensembles.named(key, name), shape, jnp.float64))
    Q, _ = np.linalg.qr(draw("inputs", samples, len(h)))
    x = np.sqrt(samples * h) * Q
    return Dataset(x, x @ draw("teacher", len(h)) + label_noise_std * draw("labels", samples))


def left_over(case: Case) -> Float[np.ndarray, " modes"]:
    """1 + 2 Σ_{j ≥ 1} C_l(ηj) of each mode: what is left of an integral that is 0, by summing at instants.

    With e^{−λ±t} the two parts of the motion, C_l = (λ₊ e^{−λ₊t} − λ₋ e^{−λ₋t})/(λ₊ − λ₋), and the geometric sums give
    [λ₊ coth(ηλ₊/2) − λ₋ coth(ηλ₋/2)]/(λ₊ − λ₋) = (x/3) [1 + (ηK/(1 + β) − x²)/15 + …], x = (1 − β)/(1 + β).
    """
    γ = float(theory.damping(case.η, case.β))
    root = np.sqrt(complex(γ) ** 2 - 2 * case.curvatures / (case.η * (1 + case.β)))
    fast, slow = γ + root, γ - root
    part = lambda rate: rate / np.tanh(case.η * rate / 2)
    return np.real((part(fast) - part(slow)) / (fast - slow))


def zero_crossing(ζ: ArrayLike) -> Float[Array, "..."]:
    """γ t at which the velocity's correlation of an overdamped mode turns negative: artanh(s)/s, s = √(1 − 1/ζ²)."""
    s = jnp.sqrt(1 - 1 / jnp.asarray(ζ, float) ** 2)
    return jnp.arctanh(s) / s
