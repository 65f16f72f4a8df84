"""The flows of App. E: two linear processes, each from two normal laws, with what theory says of their free energy."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy.integrate import simpson

from sgdynamics import _checks
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments.kunin2023._potentials_theory import PotentialsConfig
from sgdynamics.theory import momentum
from sgdynamics.theory.ou import OrnsteinUhlenbeck

FINE = 24  # times of theory to one snapshot


@dataclass(frozen=True)
class FreeEnergyConfig:
    """Two processes, their starts, and the ensembles that follow them."""

    learning_rate: float = 0.1
    """η of SGD; time t = η × step."""
    momentum: float = 0.9
    """β."""
    curvatures: tuple[float, float] = (1.0, 0.25)
    """Eigenvalues of the Hessian H, in 1/t, along the axes."""
    noise_variances: tuple[float, float] = (1.0, 0.05)
    """Eigenvalues of the minibatch gradient's covariance C."""
    noise_angle: float = 0.5
    """Angle between the eigenvectors of H and of C, in rad."""
    displacement: float = 5.0
    """Of the far start from μ, in stationary standard deviations of each position."""
    spread: float = 0.3
    """Variances of the far start, in stationary variances."""
    temperatures: tuple[float, float] = (0.1, 3.0)
    """Of the Gibbs law of the original loss that the other start is, H.4's and SGD's, in units of κ⁻¹."""
    duration: float = 6.0
    """How long H.4's process is followed, in t."""
    phase_duration: float = 16.0
    """How long SGD's is, in t."""
    snapshots: int = 40
    """Equal steps, of exact transitions, into which each duration is cut."""
    replicas: int = 16_384
    """Independent replicas of each flow, a multiple of 32."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("replicas", "snapshots"):
            _checks.count(name, getattr(self, name))
        _checks.require("replicas", self.replicas, self.replicas % 32 == 0 and self.replicas >= 1024,
                        allowed="a multiple of 32 and at least 1024")  # fmt: skip
        for name in ("learning_rate", "displacement", "spread", "duration", "phase_duration"):
            _checks.positive(name, getattr(self, name))
        _checks.momentum("momentum", self.momentum)
        for name in ("curvatures", "noise_variances", "temperatures"):
            pair = getattr(self, name)
            _checks.require(name, pair, len(pair) == 2 and min(pair) > 0, allowed="two numbers above 0")
        _checks.require("noise_angle", self.noise_angle, abs(np.sin(2 * self.noise_angle)) > 0.1,
                        allowed="clear of the multiples of π/2: H and C are not to commute")  # fmt: skip

    @property
    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """H and C."""
        c, s = np.cos(self.noise_angle), np.sin(self.noise_angle)
        R = np.array([[c, -s], [s, c]])
        return np.diag(np.array(self.curvatures, float)), R @ np.diag(self.noise_variances) @ R.T


@dataclass(frozen=True)
class Flow:
    """A process from N(`start`, `spread`), followed for `steps[-1]` steps of `time_step`."""

    name: str
    key: str
    process: OrnsteinUhlenbeck
    inverse_temperature: float
    original: np.ndarray
    start: np.ndarray
    spread: np.ndarray
    time_step: float
    steps: tuple[int, ...]

    @property
    def tempered(self) -> bool:
        """Whether it starts in the Gibbs law of the original loss, at another temperature."""
        return self.key.endswith("tempered")

    @property
    def times(self) -> np.ndarray:
        """At which theory is evaluated: all steps are among them."""
        return np.linspace(0, self.steps[-1] * self.time_step, FINE * self.steps[-1] + 1)

    @cached_property
    def _along(self) -> tuple[np.ndarray, ...]:
        values = _along(self.process, self.times, self.start, self.spread, self.inverse_temperature)
        return tuple(np.asarray(value) for value in values)

    @property
    def closed_form(self) -> np.ndarray:
        """κ (F + κ⁻¹ log Z) at `times`."""
        return self._along[0]

    @property
    def rate(self) -> np.ndarray:
        """κ dF/dt at `times`."""
        return self._along[1]

    @property
    def equilibrium(self) -> float:
        """κ F(p_ss) = −log Z."""
        return float(self._along[2])

    @property
    def modified(self) -> np.ndarray:
        """U of Ψ."""
        return self._along[3]

    @property
    def with_original(self) -> np.ndarray:
        """κ (F − its least value) with the original loss for Ψ, at `times`."""
        m, P = self._along[4:]
        κ = self.inverse_temperature
        return κ * np.asarray(free_energy(self.original, m - np.asarray(self.process.mean)[None, :], P, κ)) - (
            self.original_minimum
        )

    @property
    def original_minimum(self) -> float:
        """κ times the least free energy with the original loss, that of its Gibbs law."""
        κ = self.inverse_temperature
        return -float(np.linalg.slogdet(2 * np.pi * np.linalg.inv(κ * self.original))[1]) / 2

    def fall(self, until: int) -> tuple[float, float]:
        """−∫ κ dF/dt dt up to the snapshot `until`, by Simpson's rule over t^⅓ as the start is steep, and how far half
        as many times are off."""
        end, u = until * self.time_step, np.linspace(0, 1, 257)
        rate = _along(self.process, end * u**3, self.start, self.spread, self.inverse_temperature)[1]
        flow = -np.asarray(rate) * 3 * end * u**2
        fine, half = (float(simpson(flow[::n], x=u[::n])) for n in (1, 2))
        return fine, abs(fine - half)

    @property
    def turn(self) -> int:
        """The snapshot at which κF with the original loss is least."""
        return int(np.argmin(self.with_original[::FINE]))

    @property
    def rise(self) -> float:
        """Of κF with the original loss, from there to the end."""
        return float(self.with_original[-1] - self.with_original[FINE * self.turn])


def flows(config: FreeEnergyConfig) -> Iterator[Flow]:
    """H.4's process and SGD's, each from afar and from the Gibbs law of the original loss at another temperature."""
    first, second = config.temperatures
    yield from _starts(config, "H.4", "h4", *_two_dimensions(), config.duration, first)
    yield from _starts(config, "SGD", "sgd", *_phase_space(config), config.phase_duration, second)


def free_energy(
    loss: Float[ArrayLike, "d d"],
    mean: Float[ArrayLike, "times d"],
    covariance: Float[ArrayLike, "times d d"],
    inverse_temperature: float,
) -> Float[Array, " times"]:
    """E Ψ − κ⁻¹ H of N(mean, covariance), for Ψ = ½ xᵀ `loss` x."""
    m, P, d = jnp.asarray(mean), jnp.asarray(covariance), jnp.shape(loss)[0]
    energy = jnp.einsum("ij,tij->t", loss, P + m[:, :, None] * m[:, None, :]) / 2
    entropy = (jnp.linalg.slogdet(P)[1] + d * np.log(2 * np.pi * np.e)) / 2
    return energy - entropy / inverse_temperature


@once
def _along(process, times, start, spread, inverse_temperature):
    m, P, κ = process.mean_at(times, start), process.covariance_at(times, spread), inverse_temperature
    excess = momentum.relative_entropy(process, m, P)
    rate = κ * momentum.free_energy_rate(process, m, P, inverse_temperature=κ)
    least = κ * momentum.equilibrium_free_energy(process, inverse_temperature=κ)
    return excess, rate, least, jnp.linalg.inv(κ * process.stationary_covariance()), m, P


def _two_dimensions() -> tuple[OrnsteinUhlenbeck, float, np.ndarray]:
    """H.4's process, κ, and A of Φ."""
    config = PotentialsConfig()
    A, D, b = config.matrices
    return OrnsteinUhlenbeck(A, config.noise * D, b), config.inverse_temperature, A


def _phase_space(config: FreeEnergyConfig) -> tuple[OrnsteinUhlenbeck, float, np.ndarray]:
    """SGD's process, κ, and the energy c₀ L + v²/2 in units of the mean noise."""
    H, C = config.matrices
    η, β = config.learning_rate, config.momentum
    process = momentum.phase_space(H, C, learning_rate=η, momentum=β)
    zero, one = np.zeros_like(H), np.eye(len(H))
    energy = np.block([[2 / (η * (1 + β)) * H, zero], [zero, one]]) / (np.trace(C) / len(C))
    return process, 1 - β**2, energy


def _starts(
    config: FreeEnergyConfig, name: str, key: str, process: OrnsteinUhlenbeck, kappa: float, original: np.ndarray,
    duration: float, temperature: float,
) -> Iterator[Flow]:  # fmt: skip
    μ, M = np.asarray(process.mean), np.asarray(process.stationary_covariance())
    positions = np.array([1.0, -1.0] + [0.0] * (len(μ) - 2))
    grid = duration / config.snapshots, tuple(range(config.snapshots + 1))
    far = μ + config.displacement * positions * np.sqrt(M.diagonal()), config.spread * np.diag(M.diagonal())
    yield Flow(f"{name}, from afar", f"{key}_far", process, kappa, original, *far, *grid)
    gibbs = μ, temperature * np.linalg.inv(kappa * original)
    yield Flow(f"{name}, from the tempered law", f"{key}_tempered", process, kappa, original, *gibbs, *grid)
