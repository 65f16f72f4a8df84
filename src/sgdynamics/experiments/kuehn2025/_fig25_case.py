"""Fig. 25: the two descents, where they start, and what is observed."""

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
from sgdynamics._types import PRNGKey
from sgdynamics.dynamics import Descent, inject_anticorrelated_noise, inject_noise
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments.kuehn2025._fig25_valley import problem
from sgdynamics.statistics import Estimate

NAMES = {"anti_pgd": "Anti-PGD", "pgd": "PGD"}
V, V2, U2, U_1 = range(4)  # what is observed
FINE = 61  # snapshots


@dataclass(frozen=True)
class Fig25Config:
    """Two perturbed descents from the floor of the valley."""

    transverse: int = 20
    """d, directions across the valley."""
    learning_rate: float = 0.1
    """Learning rate η; time t = η × step."""
    noise_std: float = 0.02
    """σ, standard deviation of the perturbation ξ of every parameter."""
    curvatures: tuple[float, ...] = (0.2, 0.1, 0.5, 1.0, 1.5)
    """ηv² at the starts (u = 0, v), each in (0, 2); from the first the long runs begin."""
    window: int = 40
    """Steps over which the speed along the valley is measured at every start."""
    early: int = 200
    """Step at which PGD is the flatter one."""
    steps: int = 3000
    """Steps of the long runs."""
    replicas: int = 8192
    """Of each ensemble."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("window", "early", "steps", "replicas"):
            _checks.count(name, getattr(self, name))
        _checks.count("transverse", self.transverse, least=2)
        for name in ("learning_rate", "noise_std"):
            _checks.positive(name, getattr(self, name))
        _checks.require("early", self.early, self.early < self.steps / 2, allowed="below steps / 2")
        for x in self.curvatures:
            _checks.require("curvatures", x, 0 < x < 2, allowed="in (0, 2)")

    @property
    def valley(self) -> dict[str, Any]:
        """What the laws need."""
        return {"transverse": self.transverse, "learning_rate": self.learning_rate, "std": self.noise_std}

    @property
    def records(self) -> tuple[int, ...]:
        """Steps of the long runs that are recorded."""
        spaced = np.geomspace(1, self.steps, FINE).round().astype(int).tolist()
        return tuple(sorted({0, *spaced, self.early, self.steps // 2, self.steps}))

    def start(self, curvature: float) -> float:
        """v at a start."""
        return float(np.sqrt(curvature / self.learning_rate))


class Moments(eqx.Module):
    """v, v², |u|² and the first component of u."""

    def __call__(self, state: Any) -> Float[Array, "4"]:
        u, v = state.position[:-1], state.position[-1]
        return jnp.stack([v, v**2, jnp.sum(u**2), u[0]])


def descents(config: Fig25Config) -> dict[str, Descent]:
    """Anti-PGD and PGD, full batch."""
    valley, key = problem(config.transverse), jax.random.key(config.seed)
    noises = {"anti_pgd": inject_anticorrelated_noise, "pgd": inject_noise}
    return {
        name: Descent(
            valley,
            optax.chain(optax.sgd(config.learning_rate), noise(config.noise_std**2, _ensembles.named(key, name))),
            sgd.samplers.FullBatch(),
        )
        for name, noise in noises.items()
    }


def simulate(
    descent: Descent,
    statistics: Any,
    config: Fig25Config,
    curvature: float,
    progress: Progress,
    label: str,
    key: PRNGKey,
    steps: int,
) -> sgd.Ensemble:
    """An ensemble from the floor at ηv² = `curvature`."""
    initial = np.append(np.zeros(config.transverse), config.start(curvature))
    return _ensembles.simulate(
        descent, statistics, progress, label, key=key, replicas=config.replicas, steps=steps, initial=initial
    )


def rate_of(end: Estimate, curvature: float, config: Fig25Config) -> Estimate:
    """−ln(v_K/v_0)/t of the moments after the window, in units of dσ²."""
    v, unit = config.start(curvature), config.learning_rate * config.window * config.transverse * config.noise_std**2
    return end.map(lambda m: jnp.log(v / m[V]) / unit)


def trace(moments: Float[Array, "*records 4"], config: Fig25Config) -> Float[Array, "*records"]:
    """tr H = d v² + |u|²."""
    return config.transverse * moments[..., V2] + moments[..., U2]
