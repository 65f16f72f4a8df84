"""The late phase of training: a small network resumed at its minimum θ*, watched along eigenvectors of its Hessian.

With λ_i, p_i of ∇²L(θ*) + weight decay and C the covariance of the minibatch gradient, u_k = θ_k − θ_{k−1} (the slides'
v_k),

    σ_θ,i² = Var pᵢᵀθ,      σ_u,i² = Var pᵢᵀu,      τ_i = 2 σ_θ,i²/σ_u,i²                                    (14)-(18)

about the ensemble's mean, of all replicas and all positions in the epoch. (14)-(17) hold of each mode for itself:
[H, C] need not vanish, for only C_ii enters. Its three versions here:

    frozen          C_ii of θ* and λ_i: C_ii = (P − S)/(S (P − 1)) Var_n pᵢᵀ∇ℓ_n(θ*)
    cancelling      C_ii and λ_i where the ensemble is, averaged over replicas and over the positions in the epoch
    full            the same, but of C_ii a part W_i that does not cancel in an epoch is white noise (`_late_noise`)

With replacement all noise is white. Replicas start at rest in θ*; a mode is watched if the burn-in is
`RELAXATIONS` (1 − β)/(ηλ) or longer, and if it has noise: residuals to centred one-hot targets sum to 0 at the minimum,
so that some modes of the last layer have none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

import sgdynamics as sgd
from sgdynamics import samplers
from sgdynamics._types import PRNGKey, Vector
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._pretrained import pretrained
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.kuehn2025 import _late_gradients as gradients
from sgdynamics.experiments.kuehn2025 import _setting
from sgdynamics.statistics import Estimate, PhaseSpace, Snapshots, Variance
from sgdynamics.theory import epochs as theory

SAMPLINGS = {"epochs": samplers.Epochs, "replacement": samplers.WithReplacement}
RELAXATIONS = 3
SILENT = 1e-6  # of the largest C_ii/λ_i
SAMPLES = 32  # replicas whose C(θ) is taken, of half of them the Hessian too
POSITIONS = 8  # in the epoch, evenly, where that is done

_epochs, _white = once(theory.stationary_variances), once(theory.white_variances)
_scaled = once(lambda estimate, scale: estimate.map(lambda σ2: scale * σ2.reshape(2, -1)))
_first, _second, _time = (
    once(lambda estimate, of=of: estimate.map(of))
    for of in (lambda σ2: σ2[0], lambda σ2: σ2[1], lambda σ2: 2 * σ2[0] / σ2[1])
)

Modes = Float[np.ndarray, " modes"]
Laws = tuple[Modes, Modes]


@dataclass(frozen=True)
class Minimum:
    """A network at θ*: λ_i descending, p_i in the columns of `vectors`, and Var_n pᵢᵀ∇ℓ_n(θ*), of one example."""

    problem: sgd.Problem
    parameters: Vector
    weight_decay: float
    curvatures: Modes
    vectors: Float[np.ndarray, "parameters modes"]
    noise: Modes

    @property
    def samples(self) -> int:
        return self.problem.data.samples


class Setting(_setting.Setting):
    """`_setting.Setting` with what `theory.epochs` takes."""

    @property
    def step(self) -> dict[str, Any]:
        return {"learning_rate": self.learning_rate, "momentum": self.momentum}

    @property
    def epoch(self) -> dict[str, Any]:
        return {"batches_per_epoch": self.batches, "left_out": theory.left_out(self.samples, self.batch_size)}

    def factor(self, sampling: str) -> float:
        """Covariance of the minibatch gradient over that of one example."""
        P, S = self.samples, self.batch_size
        return (P - S) / (S * (P - 1)) if sampling == "epochs" else 1 / S


def setting_at(crossover: float, *, momentum: float, batch_size: int, samples: int) -> Setting:
    """The learning rate that puts λ_cross there."""
    of_one = theory.crossover_curvature(learning_rate=1.0, momentum=momentum, batches_per_epoch=samples // batch_size)
    return Setting(float(of_one) / crossover, momentum, batch_size, samples)


def minimum(network: str, size: str = "quick") -> Minimum:
    """`pretrained` of these, with its whole spectrum: as many products with the Hessian as there are parameters."""
    trained = pretrained(network, size)
    λ, problem, θ = trained.weight_decay, trained.problem, trained.parameters
    h, V = np.linalg.eigh(gradients.hessian(problem, θ) + λ * np.eye(len(θ)))
    h, V = np.maximum(h[::-1], 0), V[:, ::-1]
    return Minimum(problem, θ, λ, h, V, np.var(np.asarray(gradients.gradients(problem, θ)) @ V, axis=0))


def frozen_noise(minimum: Minimum, setting: Setting, sampling: str) -> Modes:
    """C_ii of the minibatch gradient at θ*."""
    return setting.factor(sampling) * minimum.noise


def law(curvatures: Any, noise: Any, setting: Setting, sampling: str, white: Any = 0.0) -> Laws:
    """(σ_θ², σ_u²) of modes with minibatch noise `noise`, of which `white` does not cancel over an epoch."""
    h, C = np.asarray(curvatures, float), np.asarray(noise, float)
    W = np.broadcast_to(np.asarray(white if sampling == "epochs" else C, float), C.shape)
    rest = _epochs(h, np.maximum(C - W, 0), **setting.step, **setting.epoch)
    uncorrelated = _white(h, W, **setting.step)
    return np.asarray(rest[0]) + np.asarray(uncorrelated[0]), np.asarray(rest[1]) + np.asarray(uncorrelated[1])


# --- ensembles ----------------------------------------------------------------------------------------------


class Measured(NamedTuple):
    """(σ_θ², σ_u²) of the modes watched, [2, modes]; the variance of the next minibatch gradient, and
    pᵀ(∇²L + λ)p, at weights of the last epoch, one position each replica, both [modes]."""

    variances: Estimate
    noise: Estimate
    curvatures: Estimate
    ensemble: sgd.Ensemble

    @property
    def weights(self) -> Estimate:
        return _first(self.variances)

    @property
    def velocities(self) -> Estimate:
        return _second(self.variances)

    @property
    def times(self) -> Estimate:
        """τ, in steps."""
        return _time(self.variances)


def watched(minimum: Minimum, setting: Setting, count: int, burn_in: int) -> Int[np.ndarray, " modes"]:
    """Up to `count` modes, evenly in ln λ as far as there are any, that relax within `burn_in` epochs."""
    h = minimum.curvatures
    softest = RELAXATIONS * (1 - setting.momentum) / (setting.learning_rate * burn_in * setting.batches)
    loud = minimum.noise > SILENT * np.max(minimum.noise / np.maximum(h, softest)) * h
    known = np.flatnonzero(loud & (h >= softest))
    grid = np.geomspace(h[known[0]], h[known[-1]], count)
    return np.unique([known[np.argmin(np.abs(np.log(h[known] / at)))] for at in grid])


def measure(
    minimum: Minimum, setting: Setting, sampling: str, modes: Int[np.ndarray, " modes"], progress: Progress,
    label: str, *, key: PRNGKey, replicas: int, burn_in: int, epochs: int, snapshots: Sequence[int] = (),
) -> Measured:  # fmt: skip
    """An ensemble that starts at rest in θ*; burn-in and record in epochs, the record from one step before an epoch on.

    θ at the steps in `snapshots`, counted from the burn-in, are in `ensemble.estimates["snapshots"]`.
    """
    M, V = setting.batches, minimum.vectors[:, modes]
    descent = sgd.SGD(
        minimum.problem, sampler=SAMPLINGS[sampling](setting.batch_size),
        learning_rate=jnp.asarray(setting.learning_rate), momentum=jnp.asarray(setting.momentum),
        weight_decay=jnp.asarray(minimum.weight_decay),
    )  # fmt: skip
    last = (epochs - 1) * M + 1  # between two epochs; the record starts with one step of an epoch to go
    statistics: dict[str, Any] = {
        "variances": Variance(PhaseSpace(V, minimum.parameters)), "last": Snapshots(last + positions(M)),
    }  # fmt: skip
    if snapshots:
        statistics["snapshots"] = Snapshots(snapshots)
    ensemble = _ensembles.simulate(
        descent, statistics, progress, label, key=key, replicas=replicas,
        steps=epochs * M, burn_in=burn_in * M + M - 1, initial=minimum.parameters, groups=min(32, replicas),
    )  # fmt: skip
    scale = np.array([[1.0], [setting.learning_rate**2]])
    noise, curvatures = _surroundings(minimum, setting, sampling, modes, ensemble)
    return Measured(
        _scaled(ensemble.estimates["variances"], scale), over_realisations(noise), over_realisations(curvatures),
        ensemble,
    )  # fmt: skip


def positions(batches: int) -> Int[np.ndarray, " positions"]:
    """Steps done of an epoch where C(θ) is taken: the middles of `POSITIONS` equal parts."""
    n = min(POSITIONS, batches)
    return (2 * np.arange(n) + 1) * batches // (2 * n)


def _surroundings(
    minimum: Minimum, setting: Setting, sampling: str, modes: Int[np.ndarray, " modes"], ensemble: sgd.Ensemble
) -> tuple[np.ndarray, np.ndarray]:
    """C_ii(θ) and pᵀ(∇²L + λ)p in the last epoch, [replicas, modes]: replica after replica the next position."""
    seen = np.asarray(ensemble.estimates["last"].values)
    replicas = np.arange(min(SAMPLES, seen.shape[1]))
    at = replicas % len(seen)
    θ, order = jnp.asarray(seen[at, replicas], jnp.float64), ensemble.state.memory
    left = None if order is None else to_come(np.asarray(order)[replicas], positions(setting.batches)[at], setting)
    V, some = minimum.vectors[:, modes], replicas[: SAMPLES // 2]
    more = gradients.excesses(minimum.problem, θ, minimum.parameters, jnp.asarray(V), left, setting.batch_size)
    stiffness = gradients.stiffnesses(minimum.problem, θ[some], jnp.asarray(V.T))
    frozen = frozen_noise(minimum, setting, sampling)[modes]
    return frozen + np.asarray(more), np.asarray(stiffness) + minimum.weight_decay


def to_come(order: np.ndarray, done: np.ndarray, setting: Setting) -> Float[np.ndarray, "replicas samples"]:
    """1 for the examples that the rest of the epoch draws from, after `done` steps of the `order`, else 0.

    An example that has just been learned from has a smaller residual: the next batch is noisier than the average.
    """
    left = np.empty(order.shape)
    np.put_along_axis(left, order, 1.0 * (np.arange(order.shape[1]) >= setting.batch_size * done[:, None]), axis=1)
    return left
