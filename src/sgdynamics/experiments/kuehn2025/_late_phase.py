"""The late phase of training: a small network resumed at its minimum θ*, watched along eigenvectors of its Hessian.

With λ_i, p_i of ∇²L(θ*) + weight decay and C the covariance of the minibatch gradient, u_k = θ_k − θ_{k−1},

    σ_θ,i² = Var pᵢᵀθ,      σ_u,i² = Var pᵢᵀu,      τ_i = 2 σ_θ,i²/σ_u,i²                                    (14)-(18)

about the ensemble's mean, of all replicas and all positions in the epoch. Their diagonal needs no [H, C] = 0. Three
laws, each of which knows more than the one before:

    frozen      the noise of θ*: C_ii = (P − S)/(S (P − 1)) Var_n pᵢᵀ∇ℓ_n(θ*), and λ_i
    (new)       noise that depends on θ, ∇ℓ_n(θ) − ∇L = δg_n + δH_n δ + …. The δg_n of an epoch sum to nothing. The
                others do not: Σ_k δH_k δ_k = Σ_k δH_k (δ_k − δ̄) over an epoch, which the weights of that epoch decide.
                Its part W_i = Var_n pᵢᵀH_n (δ − δ̄), times (P − S)/(S (P − 1)), acts as white noise:

                    σ_θ,i² = (η² of epochs) × (E C_ii(θ) − W_i) + η W_i/(2 (1 − β) λ_i) + …

                so that anti-correlations no longer hold down the variance of modes below λ_f, where the two terms are
                equal. P λ_f depends on the network alone where λ_cross is far below the leading modes.

E C_ii(θ) is that of the next batch where replicas end, mid-epoch. Replicas start at rest in θ*; a mode is watched if
the burn-in is `RELAXATIONS` (1 − β)/(ηλ) or longer, and if it has noise: residuals to centred one-hot targets sum to 0
at the minimum, so that some modes of the last layer have none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
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
from sgdynamics.statistics import Estimate, PhaseSpace, Snapshots, Variance
from sgdynamics.theory import epochs as theory

SAMPLINGS = {"epochs": samplers.Epochs, "replacement": samplers.WithReplacement}
RELAXATIONS = 3
SILENT = 1e-6  # of the largest C_ii/λ_i
SAMPLES = 16  # replicas whose C(θ) and Hessian are taken

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


@dataclass(frozen=True)
class Setting:
    """Learning rate η, momentum β, batch size S, and the P samples."""

    learning_rate: float
    momentum: float
    batch_size: int
    samples: int

    @property
    def batches(self) -> int:
        """M, of an epoch."""
        return self.samples // self.batch_size

    @property
    def crossover(self) -> float:
        """λ_cross = 3 (1 − β)/(ηM)."""
        return 3 * (1 - self.momentum) / (self.learning_rate * self.batches)

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
    return Setting(3 * (1 - momentum) / (crossover * (samples // batch_size)), momentum, batch_size, samples)


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


def within_epoch(curvatures: Any, noise: Any, setting: Setting) -> Modes:
    """E Σ_k (δ_k − δ̄)²/(M − 1) of one epoch's weights before each step, with frozen noise.

    δ̄ is what the gradient's sum moves over an epoch: ηλM δ̄ = −[(1 − β)(δ_M − δ_0) + β (u_M − u_0)]. Nothing is
    left out here: κ parts of it do not matter.
    """
    h, C = np.asarray(curvatures, float), np.asarray(noise, float)
    η, β, M = setting.learning_rate, setting.momentum, setting.batches
    average = np.asarray(_epochs(h, C, **setting.step, batches_per_epoch=M, left_out=0.0)[0])
    T = np.moveaxis(np.array([[1 - η * h, β + 0 * h], [-η * h, β + 0 * h]]), -1, 0)
    P, TM = _start(T, C, η, M), np.linalg.matrix_power(T, M)
    along = np.array([1 - β, β])
    change = 2 * np.einsum("a,mab,b->m", along, P - TM @ P, along)
    return (average - change / (η * h * M) ** 2) * M / (M - 1)


def _start(T: np.ndarray, C: Modes, η: float, M: int) -> np.ndarray:
    """Covariance of (δ, u) between two epochs, [modes, 2, 2]: of T^M P T^Mᵀ + the noise of an epoch."""
    kicks = [np.full((len(C), 2), -η)]
    for _ in range(M - 1):
        kicks.append(np.einsum("mab,mb->ma", T, kicks[-1]))
    r = np.array(kicks) - np.mean(kicks, axis=0)
    P, power = M / (M - 1) * np.einsum("kma,kmb,m->mab", r, r, C), np.linalg.matrix_power(T, M)
    for _ in range(60):  # Σ_e T^{Me} … T^{Me}ᵀ by doubling
        P, power = P + power @ P @ np.swapaxes(power, 1, 2), power @ power
    return P


def white_share(minimum: Minimum, setting: Setting, key: PRNGKey, draws: int = 64) -> Modes:
    """W_i of the module's docstring, over `draws` of δ − δ̄ with the frozen law's variances along the modes."""
    variances = within_epoch(np.maximum(minimum.curvatures, 1e-9), frozen_noise(minimum, setting, "epochs"), setting)
    normal = np.asarray(jax.random.normal(key, (draws, len(variances)), jnp.float64))
    δ = normal * np.sqrt(np.maximum(variances, 0)) @ minimum.vectors.T
    found = gradients.of_hessians(minimum.problem, minimum.parameters, jnp.asarray(δ), jnp.asarray(minimum.vectors))
    return setting.factor("epochs") * np.asarray(found)


# --- ensembles ----------------------------------------------------------------------------------------------


class Measured(NamedTuple):
    """(σ_θ², σ_u²) of the modes watched, [2, modes]; the variance of the next minibatch gradient, and
    pᵀ(∇²L + λ)p, at the weights where replicas end, both [modes]."""

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
    """An ensemble that starts at rest in θ*; burn-in and record in epochs, over whole ones from mid-epoch on.

    θ at the steps in `snapshots`, counted from the burn-in, are in `ensemble.estimates["snapshots"]`.
    """
    M, V = setting.batches, minimum.vectors[:, modes]
    descent = sgd.SGD(
        minimum.problem, sampler=SAMPLINGS[sampling](setting.batch_size),
        learning_rate=jnp.asarray(setting.learning_rate), momentum=jnp.asarray(setting.momentum),
        weight_decay=jnp.asarray(minimum.weight_decay),
    )  # fmt: skip
    statistics: dict[str, Any] = {"variances": Variance(PhaseSpace(V, minimum.parameters))}
    if snapshots:
        statistics["snapshots"] = Snapshots(snapshots)
    ensemble = _ensembles.simulate(
        descent, statistics, progress, label, key=key, replicas=replicas,
        steps=epochs * M, burn_in=burn_in * M + M // 2, initial=minimum.parameters, groups=min(32, replicas),
    )  # fmt: skip
    scale = np.array([[1.0], [setting.learning_rate**2]])
    state = jax.tree.map(lambda x: x[:SAMPLES], ensemble.state)
    θ = jnp.asarray(state.position, jnp.float64)
    examples = _to_come(state.memory, setting)
    more = gradients.excesses(minimum.problem, θ, minimum.parameters, jnp.asarray(V), examples, setting.batch_size)
    noise = frozen_noise(minimum, setting, sampling)[modes] + np.asarray(more)
    stiffness = gradients.stiffnesses(minimum.problem, θ, jnp.asarray(V.T)) + minimum.weight_decay
    return Measured(
        _scaled(ensemble.estimates["variances"], scale), over_realisations(noise),
        over_realisations(stiffness), ensemble,
    )  # fmt: skip


def _to_come(order: Any, setting: Setting) -> Any:
    """The examples that the rest of an epoch draws from, [replicas, examples]; None: all, with replacement.

    An example that has just been learned from has a smaller residual: the next batch is noisier than the average.
    """
    S, M = setting.batch_size, setting.batches
    return None if order is None else order[:, M // 2 * S :]
