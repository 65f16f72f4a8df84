"""Training of a network at its minimum θ*, resumed with SGD: its modes, its stationary law, and replicas that obey it.

With K = ∇²L(θ*) + λ and the covariance C of the minibatch gradient in the eigenbasis of K, all of E|θ_k − θ_0|² and of
E|θ_{k+1} − θ_k|² is in the K_i and C_ii (`theory.momentum`); replicas are drawn with the whole of C
(`theory.harmonic`). C is that of θ* (frozen). Linear networks have E C(θ): as the residuals are linear in θ,

    E C(θ) = C(θ*) + [E_x (xᵀ M_oo' x) x xᵀ − H M_oo' H]/S,      M = Cov θ, M_oo' its block of outputs o and o',

which is solved with M(C) by iteration. Its rate is about η max|x|²/(2S(1 − β)): a pixel that is black in nearly all
images is far from its mean in one, and at a rate of 1 the variance of θ along that image is infinite. As noise has
mean 0 whatever θ is, nothing else is needed for the exact law.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

import sgdynamics as sgd
from sgdynamics._types import PRNGKey
from sgdynamics.dynamics import State
from sgdynamics.experiments._pretrained import Recipe, pretrained
from sgdynamics.theory import momentum as theory
from sgdynamics.theory.harmonic import HarmonicDescent

ITERATIONS, CONVERGED = 60, 1e-4  # of E C(θ), relative to its largest entry
JITTER = 1e-10  # of each variance: what Cholesky's root of a singular covariance needs


@dataclass(frozen=True)
class Network:
    """A network at its minimum θ*, with all its modes: softest first, of linear networks output by output.

    - curvatures: K = h + λ, [modes]; modes: its eigenvectors, [parameters, modes].
    - noise: covariance of the gradient of one example at θ*, [modes, modes].
    """

    problem: sgd.Problem
    minimum: np.ndarray
    weight_decay: float
    curvatures: np.ndarray
    modes: np.ndarray
    noise: np.ndarray


def network(name: str | Recipe, size: str = "quick") -> Network:
    """From the cache, or trained."""
    trained = pretrained(name, size)
    return at_minimum(trained.problem, trained.parameters, trained.weight_decay)


def at_minimum(problem: sgd.Problem, θ: Float[Array, " parameters"], weight_decay: float) -> Network:
    """The network with its modes at the minimum θ."""
    h, V = (_linear_modes if problem.is_linear_regression else _modes)(problem, θ)
    noise = np.asarray(_noise(problem, θ, jnp.asarray(V)))
    return Network(problem, np.asarray(θ), weight_decay, h + weight_decay, V, (noise + noise.T) / 2)


def _modes(problem: sgd.Problem, θ: Float[Array, " parameters"]) -> tuple[np.ndarray, np.ndarray]:
    H = np.asarray(_hessian(problem, θ))
    return np.linalg.eigh((H + H.T) / 2)


def _linear_modes(problem: sgd.Problem, θ: Float[Array, " parameters"]) -> tuple[np.ndarray, np.ndarray]:
    """Those of E x xᵀ for each output."""
    x = np.asarray(problem.data.x, float)
    outputs = len(θ) // x.shape[1]
    h, U = np.linalg.eigh(x.T @ x / len(x))
    return np.tile(np.maximum(h, 0), outputs), np.kron(np.eye(outputs), U)


@eqx.filter_jit
def _hessian(problem: sgd.Problem, θ: Array) -> Array:
    # one product after the other: with many kernels at once convolutions are far slower
    return jax.lax.map(lambda v: problem.hessian_product(θ, v), jnp.eye(θ.shape[0]))


@eqx.filter_jit
def _noise(problem: sgd.Problem, θ: Array, V: Array) -> Array:
    """Along V, of one example: from all their gradients at once, as covariance_along is slow for convolutions."""
    g = problem.example_gradients(θ) @ V
    δ = g - jnp.mean(g, axis=0, keepdims=True)
    return δ.T @ δ / δ.shape[0]


@dataclass(frozen=True)
class Resumed:
    """SGD from a network's minimum on: learning rate η, batch size S, momentum β."""

    network: Network
    learning_rate: float
    batch_size: int
    momentum: float

    @property
    def descent(self) -> sgd.SGD:
        """The dynamics; neither η nor β is compiled into it."""
        return sgd.SGD(
            self.network.problem, learning_rate=jnp.asarray(self.learning_rate), sampler=self.batch_size,
            momentum=jnp.asarray(self.momentum), weight_decay=jnp.asarray(self.network.weight_decay),
        )  # fmt: skip

    @cached_property
    def law(self) -> HarmonicDescent:
        """The stationary law of (δ, v) in the modes: of linear networks exact, of others with the noise at θ*."""
        frozen = self.network.noise / self.batch_size
        law = self._with(frozen)
        if not self.network.problem.is_linear_regression:
            return law
        for _ in range(ITERATIONS):
            C = frozen + multiplicative(self.network, law.stationary_covariance()) / self.batch_size
            change = np.max(np.abs(C - law.noise)) / np.max(np.abs(C))
            law = self._with(C)
            if change < CONVERGED:
                return law
        raise ValueError(
            f"learning_rate = {self.learning_rate:g}, but it must be smaller at batch_size = {self.batch_size}: the "
            "variance of the weights, which makes noise itself, is not finite, or nearly so."
        )

    def _with(self, noise: ArrayLike) -> HarmonicDescent:
        return HarmonicDescent(
            self.network.curvatures, noise, learning_rate=self.learning_rate, momentum=self.momentum
        )  # fmt: skip

    def start(self, key: PRNGKey, replicas: int) -> State:
        """Replicas drawn from that law."""
        covariance = np.asarray(self.law.phase_covariance())
        scale = np.sqrt(np.diag(covariance))
        correlation = covariance / scale[:, None] / scale[None, :] + JITTER * np.eye(len(scale))
        root = scale[:, None] * np.linalg.cholesky(correlation)
        drawn = np.asarray(jax.random.normal(key, (replicas, len(scale)), jnp.float64)) @ root.T
        δ, v = np.split(drawn, 2, axis=1)
        V = self.network.modes
        return State(jnp.asarray(self.network.minimum + δ @ V.T), jnp.asarray(v @ V.T))

    @property
    def variances(self) -> np.ndarray:
        """E C_ii of the minibatch gradient, [modes]."""
        return np.diag(np.asarray(self.law.noise))

    @property
    def setting(self) -> dict[str, float]:
        """What the formulas ask for beside curvatures and noise."""
        return {"learning_rate": self.learning_rate, "momentum": self.momentum}

    @property
    def speed(self) -> float:
        """E|δ|², of one step."""
        return float(theory.speed(self.network.curvatures, self.variances, **self.setting))

    @property
    def published_speed(self) -> float:
        """(12): η² tr C/(1 − β²) with the noise at θ*."""
        noise = np.trace(self.network.noise) / self.batch_size
        return float(self.learning_rate**2 * noise / (1 - self.momentum**2))

    @property
    def saturation(self) -> float:
        """2 tr Cov θ."""
        return float(2 * np.trace(self.law.stationary_covariance()))

    def displacement(self, steps: Int[ArrayLike, " steps"]) -> Float[np.ndarray, " steps"]:
        """E|θ_k − θ_0|² from the stationary law."""
        return np.asarray(theory.displacement(steps, self.network.curvatures, self.variances, **self.setting))

    def displacement_from(self, before: "Resumed", steps: Int[ArrayLike, " steps"]) -> Float[np.ndarray, " steps"]:
        """E|θ_k − θ_0|² where θ_0 and v_0 obey the law of `before`, another setting of the same network."""
        k, K = np.asarray(steps)[:, None], self.network.curvatures
        E = np.asarray(theory.propagator_after(k, K, **self.setting))[..., 0, :] - np.array([1.0, 0.0])
        P = np.asarray(before.law.phase_covariance())
        m, i = len(K), np.arange(len(K))
        blocks = P.reshape(2, m, 2, m)[:, i, :, i]
        return np.sum(np.einsum("kma,mab,kmb->km", E, blocks, E), axis=1) + self.displacement_from_minimum(steps)

    def displacement_from_minimum(self, steps: Int[ArrayLike, " steps"]) -> Float[np.ndarray, " steps"]:
        """E|θ_k − θ*|² after a start at rest in θ*, with the noise of the stationary law: tr Cov θ in the end."""
        k = np.asarray(steps)[:, None]
        spread = theory.covariance_after(k, self.network.curvatures, self.variances, **self.setting)
        return np.asarray(jnp.sum(spread[..., 0, 0], axis=1))


def multiplicative(network: Network, covariance: ArrayLike) -> Float[np.ndarray, "modes modes"]:
    """By how much a linear network's E C(θ) exceeds C(θ*) at batch size 1; `covariance` is that of δ, both in modes."""
    x = np.asarray(network.problem.data.x, float)
    P, d = x.shape
    z = x @ network.modes[:d, :d]
    outputs = len(network.modes) // d
    M = np.asarray(covariance).reshape(outputs, d, outputs, d)
    h, (o, p) = np.mean(z**2, axis=0), np.triu_indices(outputs)
    upper = M[o, :, p]  # [pairs, d, d]
    # two large products instead of many small ones
    weights = np.einsum("xpj,xj->xp", (z @ np.concatenate(upper, axis=1)).reshape(P, -1, d), z) / P
    spread = z.T @ (weights[:, :, None] * z[:, None, :]).reshape(P, -1)
    found = spread.reshape(d, -1, d).swapaxes(0, 1) - h[None, :, None] * upper * h[None, None, :]
    more = np.empty_like(M)
    more[p, :, o] = found.swapaxes(1, 2)
    more[o, :, p] = found
    return more.reshape(network.modes.shape)


class SquaredStep(eqx.Module):
    """The observable |θ_k − θ_{k−1}|² = η² |v_k|²."""

    learning_rate: Array
    name: str = eqx.field(static=True, default="squared step")

    def __call__(self, state: Any) -> Float[Array, ""]:
        return jnp.sum((self.learning_rate * state.velocity) ** 2)


def exponent(steps: Int[ArrayLike, " steps"], values: Float[ArrayLike, " steps"], first: int, last: int) -> float:
    """c of the line of least squares through ln `values` over ln k, first ≤ k ≤ last: what `power_law` fits."""
    k = np.asarray(steps)
    within = (k >= first) & (k <= last)
    return float(np.polyfit(np.log(k[within]), np.log(np.asarray(values)[within]), 1)[0])
