"""Anti-PGD on a network: the network at its minimum, the ensembles, and the law of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.dynamics import Descent, State, inject_anticorrelated_noise, inject_noise
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._pretrained import Recipe, Trained, pretrained
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.beyond import _anti_pgd_law as law
from sgdynamics.statistics import Estimate, Snapshots

NAMES = {"anti_pgd": "Anti-PGD", "pgd": "PGD, equal σ", "weak_pgd": "PGD, equal excess loss"}
TRACE, OBJECTIVE, TEST_LOSS, ACCURACY = range(4)  # what is observed
WORDS = {
    "trace": (TRACE, "tr H at θ", "loss/w²"), "objective": (OBJECTIVE, "loss with weight decay", "loss"),
    "test_loss": (TEST_LOSS, "test loss", "loss"), "accuracy": (ACCURACY, "test accuracy", "1"),
}  # fmt: skip
LATE = 16  # records over which the end is averaged


@dataclass(frozen=True)
class AntiPGDConfig:
    """Three perturbed descents from the minimum of a network with one hidden layer, on the digits."""

    hidden: int = 8
    """Hidden units."""
    samples: int = 400
    """Training images, at most 1,437."""
    weight_decay: float = 0.01
    """λ."""
    learning_rate: float = 0.3
    """η."""
    noise_std: float = 0.005
    """σ, standard deviation of the perturbation ξ of every parameter."""
    steps: int = 1000
    """Steps from the minimum; the last fifth is averaged over."""
    replicas: int = 256
    """Of each ensemble."""
    seed: int = 0
    """Of the noise. The network's own is that of its recipe."""

    def __post_init__(self):
        for name in ("hidden", "samples", "replicas"):
            _checks.count(name, getattr(self, name))
        _checks.count("steps", self.steps, least=5 * LATE)
        for name in ("weight_decay", "learning_rate", "noise_std"):
            _checks.positive(name, getattr(self, name))

    @property
    def recipe(self) -> Recipe:
        """The network."""
        return Recipe("one_hidden", (self.hidden,), samples=self.samples, weight_decay=self.weight_decay)

    @property
    def records(self) -> tuple[int, ...]:
        """Steps recorded: evenly in the logarithm, and `LATE` of the last fifth."""
        late = self.steps - np.arange(LATE) * (self.steps // (5 * LATE))
        spaced = [int(k) for k in np.geomspace(1, self.steps, 25).round() if k < late[-1]]
        return tuple(sorted({0, *spaced, *late.tolist()}))


class Losses(eqx.Module):
    """tr H, L_λ, and loss and accuracy on the test images, at one replica's θ."""

    problem: sgd.Problem
    test: Any
    weight_decay: Float[Array, ""]

    def __call__(self, state: Any) -> Float[Array, "4"]:
        θ, test = state.position, self.test
        scores = self.problem.predictions(θ, test)
        right = jnp.argmax(scores, axis=1) == jnp.argmax(test.y, axis=1)
        values = (
            law.trace(self.problem, θ),
            self.problem.loss(θ) + self.weight_decay * jnp.sum(θ**2) / 2,
            jnp.mean(jnp.sum((scores - test.y) ** 2, axis=1)) / 2,
            jnp.mean(right.astype(θ.dtype)),
        )
        return jnp.stack(values)


@dataclass(frozen=True)
class Case:
    """The network, its derivatives at the minimum, and where it is."""

    config: AntiPGDConfig
    trained: Trained
    at: law.Derivatives
    losses: Losses
    start: Float[np.ndarray, "4"]
    remainder: float


@dataclass(frozen=True)
class Path:
    """One ensemble: what was observed [records, replicas, 4], at z where there is one, and the law at the records."""

    values: Float[np.ndarray, "records replicas 4"]
    at_z: Float[np.ndarray, "replicas 4"] | None
    law: Mapping[str, np.ndarray]
    provenance: Any

    def late(self, what: int) -> Estimate:
        """Averaged over the late records of every replica."""
        return over_realisations(self.values[-LATE:, :, what].mean(axis=0))


def case_of(config: AntiPGDConfig) -> Case:
    """The minimum, from the cache where it is there."""
    trained = pretrained(config.recipe)
    problem, θ = trained.problem, trained.parameters
    losses = Losses(problem, trained.test, jnp.asarray(config.weight_decay))
    at = law.derivatives(problem, trained.test, θ, config.weight_decay)
    key = _ensembles.named(jax.random.key(config.seed), "remainder")
    left = float(law.remainder(problem, θ, at.trace_hessian, config.noise_std, key))
    return Case(config, trained, at, losses, _observed(losses, θ[None])[0], left)


def _observed(losses: Losses, points: Float[Array, "points parameters"]) -> Float[np.ndarray, "points 4"]:
    each = lambda losses, θ: jax.lax.map(lambda θ: losses(State(θ)), θ)
    return np.asarray(eqx.filter_jit(each)(losses, points))


def equal_loss(case: Case) -> float:
    """σ of a PGD whose excess loss ½ Σ a V is Anti-PGD's at the end."""
    config, a = case.config, np.asarray(case.at.curvatures)
    excess = lambda kind: law.variances(
        a, config.steps, learning_rate=config.learning_rate, std=config.noise_std, anticorrelated=kind
    )[-1] @ a  # fmt: skip
    return float(config.noise_std * np.sqrt(excess(True) / excess(False)))


def path(name: str, case: Case, anticorrelated: bool, std: float, progress: Progress) -> Path:
    """One ensemble, from the minimum."""
    config, key = case.config, jax.random.key(case.config.seed)
    inject = inject_anticorrelated_noise if anticorrelated else inject_noise
    descent = optax.chain(
        optax.add_decayed_weights(config.weight_decay), optax.sgd(config.learning_rate),
        inject(std**2, _ensembles.named(key, f"{name}, noise")),
    )  # fmt: skip
    ensemble = _ensembles.simulate(
        Descent(case.trained.problem, descent, sgd.samplers.FullBatch()), Snapshots(config.records, case.losses),
        progress, NAMES[name], key=key, replicas=config.replicas, steps=config.steps, initial=case.trained.parameters,
    )  # fmt: skip
    at_z = None
    if anticorrelated:
        z = ensemble.state.position - ensemble.state.memory[1][-1].last
        at_z = _observed(case.losses, z.astype(case.trained.parameters.dtype))
    values = np.asarray(ensemble.estimates.values, float)
    return Path(values, at_z, law_of(case, anticorrelated, std), ensemble.provenance)


def law_of(case: Case, anticorrelated: bool, std: float, *, fluctuations: bool = True) -> dict[str, np.ndarray]:
    """E tr H and test loss, at z and at θ, and E L_λ, at the records. Without `fluctuations`: z on −∇L̃'s path."""
    config, at, keep = case.config, case.at, list(case.config.records)
    V = law.variances(
        at.curvatures, config.steps, learning_rate=config.learning_rate, std=std, anticorrelated=anticorrelated
    )
    ξ2 = std**2 * anticorrelated * (np.arange(config.steps + 1) > 0)
    V = V if fluctuations else np.broadcast_to(ξ2[:, None], V.shape)
    m = law.means(
        case.trained.problem, case.trained.parameters, at, jnp.asarray(V), jnp.asarray(ξ2),
        config.learning_rate, config.weight_decay,
    )[np.array(keep)]  # fmt: skip
    V, ξ2 = V[keep], ξ2[keep]
    points = {
        "trace": (law.traces(case.trained.problem, m), at.trace_hessian),
        "test_loss": (law.losses(case.trained.problem, case.trained.test, m), at.test_hessian),
    }
    found = {"objective": case.start[OBJECTIVE] + V @ np.asarray(at.curvatures) / 2}
    for name, (mean, second) in points.items():
        found[name] = np.asarray(mean) + law.rounding(at, second, V)
        found[f"{name}_z"] = np.asarray(mean) + law.rounding(at, second, V - ξ2[:, None])
    return found
