"""Fig. 5's cases: the digits' parity, and a small network at its minimum; and what theory says of each mode.

Along an eigenvector of H + λ, of eigenvalue K, SGD is z' = F z + …, z = (δ, v), with a noise that the past does not
predict, so that its stationary covariance is M = V [[η(1 + β)/(2K), η/2], [η/2, 1]], whatever the noise is (App. G.3),
and E z_{n+l} z_nᵀ = Fˡ M. V is the exact law's on the digits, and that of the noise of the minimum in a network.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._pretrained import RECIPES, pretrained
from sgdynamics.theory import momentum

_predict = once(sgd.predict)
KINDS = ("position", "velocity")
SILENT = 1e-9  # of the largest variance of the velocities


@dataclass(frozen=True)
class Fig5Config:
    """Stationary ensembles, watched along single modes of the Hessian."""

    momentum: float = 0.9
    """Momentum β, above 0."""
    learning_rate: float = 0.5
    """Learning rate η on the digits' parity; time t = η × step. The largest curvature is 0.12/t."""
    batch_size: int = 256
    """Minibatch size S there, drawn with replacement."""
    modes: tuple[int, ...] = (1, 5, 10, 20, 30, 45, 60)
    """Modes of the digits' Hessian, stiffest first; drawn are the first, a soft one and the last."""
    replicas: int = 128
    """SGD replicas there."""
    steps: int = 2048
    """SGD steps there."""
    segment: int = 512
    """Steps in a segment of Welch's method, there."""
    network: str | None = "residual"
    """A network of `make networks` at its minimum; None: only the digits' parity."""
    network_size: str = "quick"
    """Its size, "quick" or "full"."""
    network_learning_rate: float = 0.01
    """Its learning rate η."""
    network_batch_size: int = 100
    """Its minibatch size S."""
    network_modes: tuple[int, ...] = (1, 3, 12, 30)
    """Modes of its Hessian, weight decay included, stiffest first."""
    network_replicas: int = 32
    """SGD replicas of it."""
    network_steps: int = 768
    """SGD steps of it."""
    network_segment: int = 256
    """Steps in a segment, there."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("batch_size", "network_batch_size"):
            _checks.count(name, getattr(self, name))
        for name in ("replicas", "network_replicas"):
            _checks.count(name, getattr(self, name), least=8)
        for name in ("learning_rate", "network_learning_rate"):
            _checks.positive(name, getattr(self, name))
        _checks.require("momentum", self.momentum, 0 < self.momentum < 1, allowed="above 0 and below 1")
        for name in ("modes", "network_modes"):
            modes = getattr(self, name)
            ascending = len(modes) >= 3 and list(modes) == sorted(set(modes)) and modes[0] >= 1
            _checks.require(name, modes, ascending, allowed="ascending from 1 on, three or more")
        for steps, segment in (("steps", "segment"), ("network_steps", "network_segment")):
            _checks.count(segment, getattr(self, segment), least=16)
            _checks.count(steps, getattr(self, steps), least=getattr(self, segment))
        for name, known in (("network", (None, *RECIPES["quick"])), ("network_size", tuple(RECIPES))):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"{name} = {value!r}, but it must be one of {', '.join(map(repr, known))}.")


@dataclass(frozen=True)
class Case:
    """An SGD, the law it starts from, and some modes: stiffest first, K = h + λ in `curvatures`.

    - velocity_variances V, vectors [parameters, modes]; `exact`: whether V is, or that of frozen noise.
    """

    name: str
    descent: sgd.SGD
    prediction: sgd.Prediction
    modes: tuple[int, ...]
    curvatures: np.ndarray
    vectors: np.ndarray
    velocity_variances: np.ndarray
    η: float
    β: float
    exact: bool
    replicas: int
    steps: int
    segment: int
    burn_in: int

    @property
    def setting(self) -> dict[str, float]:
        """Of `theory.momentum`; weight decay is in the curvatures."""
        return {"learning_rate": self.η, "momentum": self.β}

    def covariances(self) -> np.ndarray:
        """M, [modes, 2, 2]."""
        return (
            np.array([stationary(K, self.η, self.β) for K in self.curvatures]) * self.velocity_variances[:, None, None]
        )

    def autocovariances(self) -> np.ndarray:
        """E z_{n+l} z_nᵀ at lags below the segment, [lags, modes, 2, 2]."""
        lags = np.arange(self.segment)[:, None]
        F = np.asarray(momentum.propagator_after(lags, self.curvatures[None], **self.setting))
        return np.einsum("lmab,mbc->lmac", F, self.covariances())

    def softening(self, θ: np.ndarray) -> np.ndarray:
        """E K/K − 1 [modes], the mean of vᵀ(∇²L + λ)v over θ [replicas, parameters]."""
        problem, directions = self.descent.problem, jnp.asarray(self.vectors.T, float)
        along = lambda θ: jax.lax.map(lambda v: v @ problem.hessian_product(θ, v), directions)
        found = once(lambda θ: jax.lax.map(along, θ))(jnp.asarray(θ, float))
        return (np.mean(np.asarray(found, float), axis=0) + float(self.descent.weight_decay)) / self.curvatures - 1

    def rotations(self) -> np.ndarray:
        """The angle by which each phase plane turns in a step, [modes]."""
        return np.array([rotation(K, self.η, self.β) for K in self.curvatures])


def stationary(K: float, η: float, β: float) -> np.ndarray:
    """M/V."""
    return np.array([[η * (1 + β) / (2 * K), η / 2], [η / 2, 1.0]])


def rotation(K: float, η: float, β: float) -> float:
    """The mean angle per step, negative where clockwise: tan φ = (W_vx − W_xv)/tr W, W = M^{−½} F M^{½}.

    To leading order in ηK it is −ηω₀ = −√(2ηK/(1 + β)), overdamped or not.
    """
    F, M = np.array([[1 - η * K, η * β], [-K, β]]), stationary(K, η, β)
    values, vectors = np.linalg.eigh(M)
    root = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    W = np.linalg.solve(root, F @ root)
    return float(np.arctan2(W[1, 0] - W[0, 1], np.trace(F)))


def digits_case(config: Fig5Config) -> Case:
    """Regression on the parity, where the law is known exactly."""
    data = sgd.data.digits("parity")
    η, β = config.learning_rate, config.momentum
    descent = sgd.SGD(
        sgd.Problem(sgd.networks.Linear(data.x.shape[1], 1), data), learning_rate=jnp.asarray(η),
        sampler=config.batch_size, momentum=jnp.asarray(β),
    )  # fmt: skip
    x = np.asarray(data.x)
    h, V = np.linalg.eigh(x.T @ x / len(x))
    chosen = [len(h) - k for k in _within(config.modes, len(h), "modes")]
    prediction = _predict(descent)
    variances = np.einsum("im,ij,jm->m", V[:, chosen], np.asarray(prediction.velocity_covariance), V[:, chosen])
    return Case(
        "digits", descent, prediction, config.modes, h[chosen], V[:, chosen], variances, η, β, True,
        config.replicas, config.steps, config.segment, 0,
    )  # fmt: skip


def network_case(config: Fig5Config) -> Case:
    """A network resumed at its minimum. Its modes beyond the last one that is looked at start at rest."""
    trained = pretrained(config.network or "residual", config.network_size)
    η, β = config.network_learning_rate, config.momentum
    descent = sgd.SGD(
        trained.problem, learning_rate=jnp.asarray(η), sampler=config.network_batch_size,
        momentum=jnp.asarray(β), weight_decay=jnp.asarray(trained.weight_decay),
    )  # fmt: skip
    chosen = np.array(_within(config.network_modes, trained.parameters.shape[0], "network_modes")) - 1
    prediction = sgd.predict(descent, at=trained.parameters, form="frozen", modes=int(max(config.network_modes)))
    found, phase = prediction.modes, prediction.known_phase_covariance
    assert found is not None and phase is not None
    K = np.asarray(found.curvatures)
    variances = np.diagonal(np.asarray(phase))[len(K) :]
    # residuals to centred one-hot targets sum to 0 at the minimum: some modes of the last layer have no noise at all
    silent = [mode for mode in config.network_modes if variances[mode - 1] < SILENT * variances.max()]
    _checks.require("network_modes", config.network_modes, not silent, allowed=f"modes with noise, which {silent} lack")
    return Case(
        str(config.network), descent, prediction, config.network_modes, K[chosen],
        np.asarray(found.vectors)[:, chosen], variances[chosen], η, β, False,
        config.network_replicas, config.network_steps, config.network_segment, round(5 / (1 - β)),
    )  # fmt: skip


def _within(modes: tuple[int, ...], count: int, name: str) -> tuple[int, ...]:
    return _checks.require(name, modes, max(modes) <= count, allowed=f"at most {count}")


def key_of(config: Fig5Config) -> jax.Array:
    return jax.random.key(config.seed)
