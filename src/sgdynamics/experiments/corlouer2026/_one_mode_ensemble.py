"""An ensemble of the one-mode process at several temperatures, with what makes its moments precise.

Every w has beside it the linear process of the paper's proof, driven by the same Brownian motion,

    dX = −h X dt + √D(s) dB,        h = L s^{2−2/L},        ⟨X⟩ = 0,        ⟨X²⟩ = D(s)/(2h) = V             (18)

whose moments are known. So only the differences are left to chance:

    ⟨w⟩ = s + ⟨w − s − X⟩,        Var w = V + ⟨(w − ⟨w⟩)² − X²⟩,

which are of the order of β where w − s is of the order √β. Steps of Euler-Maruyama change both processes alike.
"""

from dataclasses import dataclass
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgdynamics._types import PRNGKey
from sgdynamics.dynamics import ItoProcess
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.corlouer2026._one_mode import OneMode
from sgdynamics.statistics import Estimate, Snapshots


@dataclass(frozen=True)
class OneModes:
    """`values` (w) and `linear` (X) [records, replicas, modes] of independent `modes` at `times` [records].

    From the record `settled` on, their law counts as stationary.
    """

    modes: tuple[OneMode, ...]
    times: np.ndarray
    values: np.ndarray
    linear: np.ndarray
    settled: int
    provenance: dict

    @cached_property
    def mean_shift(self) -> Estimate:
        """⟨w⟩ − s of the settled records [modes]."""
        s = np.array([mode.singular_value for mode in self.modes])
        rest = (self.values - s - self.linear)[self.settled :]
        return over_realisations(rest.mean(axis=0))

    @cached_property
    def variance_ratio(self) -> Estimate:
        """Var w / V of the settled records [modes]; nan without label noise."""
        s = np.array([mode.singular_value for mode in self.modes])
        deviations = self.values[self.settled :] - s - np.asarray(self.mean_shift.value)
        excess = (deviations**2 - self.linear[self.settled :] ** 2).mean(axis=0)
        V = np.array([mode.variance for mode in self.modes])
        return over_realisations(1 + excess / np.where(V > 0, V, np.nan))

    def at(self, record: int, mode: int) -> np.ndarray:
        """w of every replica [replicas]."""
        return self.values[record, :, mode]


def process(modes: tuple[OneMode, ...], start: float, time_step: float, substeps: int) -> ItoProcess:
    """(w of every mode, X of every mode), with one Brownian motion for each mode."""
    n = len(modes)
    rates = jnp.array([mode.rate for mode in modes])
    roots = jnp.array([np.sqrt(2 * mode.rate * mode.variance) for mode in modes])

    def drift(t: Array, θ: Float[Array, " both"]) -> Float[Array, " both"]:
        w = jnp.stack([mode.drift(θ[k].astype(float)) for k, mode in enumerate(modes)])
        return jnp.concatenate([w, -rates.astype(float) * θ[n:].astype(float)]).astype(θ.dtype)

    def root(t: Array, θ: Float[Array, " both"]) -> Float[Array, "both modes"]:
        D = jnp.stack([mode.diffusion(θ[k].astype(float)) for k, mode in enumerate(modes)])
        return jnp.concatenate([jnp.diag(jnp.sqrt(D)), jnp.diag(roots.astype(float))]).astype(θ.dtype)

    initial = jnp.concatenate([jnp.full(n, start), jnp.zeros(n)])
    return ItoProcess(drift, root, initial=initial, time_step=time_step, noises=n, substeps=substeps)


def simulated(
    modes: tuple[OneMode, ...], progress: Progress, label: str, *, key: PRNGKey, start: float, replicas: int,
    time: float, settling: float, time_step: float, substeps: int, every: int,
) -> OneModes:  # fmt: skip
    """`replicas` from `start` at t = 0, recorded after every `every`-th step."""
    records = round(time / time_step / every)
    steps = every * np.arange(records + 1)
    ensemble = _ensembles.simulate(
        process(modes, start, time_step, substeps), Snapshots(tuple(steps.tolist())), progress, label, key=key,
        replicas=replicas, steps=every * records, every=every,
    )  # fmt: skip
    if ensemble.diverged:
        raise ValueError(f"{ensemble.diverged} replicas of {label} diverged: raise substeps.")
    θ = np.asarray(ensemble.estimates.values, float)
    times = steps * time_step
    settled = int(np.argmax(times >= settling))
    return OneModes(modes, times, θ[..., : len(modes)], θ[..., len(modes) :], settled, ensemble.provenance)


def extrapolated(fine: Estimate, coarse: Estimate) -> Estimate:
    """2 fine − coarse: Euler-Maruyama's means err in proportion to the step, and coarse steps are twice as long.

    Replicas of both are independent, and as many.
    """
    return over_realisations(2 * np.asarray(fine.groups) - np.asarray(coarse.groups))


def evolved(mode: OneMode, edges: np.ndarray, start: float, times: np.ndarray, steps: int) -> np.ndarray:
    """Probabilities of the cells at `times` [times, cells] by finite volumes, from a point at `start`.

    Backward Euler is of first order in its step: twice the law of 2 `steps` less that of `steps` is of second.
    """
    chain = mode.chain(jnp.asarray(edges))
    point, times = chain.point(start), jnp.asarray(times)
    coarse, fine = (np.asarray(chain.evolve(point, times, steps=n)) for n in (steps, 2 * steps))
    return 2 * fine - coarse


def largest_gap(sample: np.ndarray, cdf_of_sample: np.ndarray) -> float:
    """sup |F_n − F| of Kolmogorov, from F at the sorted `sample`."""
    n = len(sample)
    return float(np.max([np.arange(1, n + 1) / n - cdf_of_sample, cdf_of_sample - np.arange(n) / n]))


def cdf_between(edges: np.ndarray, probabilities: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The cumulative distribution at w, by straight lines between the edges of the cells."""
    return np.interp(w, edges, np.concatenate([[0.0], np.cumsum(probabilities)]))
