"""What `corlouer2026/stationary` runs at each depth: ensembles of the one-mode process, and the laws they are held
against."""

from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments.corlouer2026 import _one_mode_ensemble
from sgdynamics.experiments.corlouer2026._one_mode import OneMode
from sgdynamics.experiments.corlouer2026._one_mode_ensemble import OneModes, evolved, extrapolated
from sgdynamics.statistics import Estimate
from sgdynamics.theory import deep_linear, fokker_planck


@dataclass(frozen=True)
class StationaryConfig:
    """The process of one mode, from a small amplitude to its stationary law."""

    singular_value: float = 0.8
    """s; not 1, so that its powers show."""
    depths: tuple[int, ...] = (2, 4)
    """Layers L."""
    label_noise_variance: float = 0.1
    """σ²."""
    temperatures: tuple[float, ...] = (0.005, 0.02)
    """β = learning rate / batch size, ascending; the last one is also run without label noise."""
    start: float = 0.05
    """Amplitude at t = 0."""
    stages: tuple[float, ...] = (0.25, 0.6, 0.95)
    """Where gradient flow is, in units of s, when the law is compared with finite volumes."""
    cells: int = 1000
    """Of the finite volumes, equal in ln w."""
    steps: int = 300
    """Of the finite volumes to each time."""
    time: float = 18.0
    """Length of the run, in units of t."""
    settling: float = 10.0
    """From when on the law counts as stationary, in units of t: what is left of the way to s decays as e^(−ht)."""
    time_step: float = 0.02
    """Of the process, in units of t; learning rate and batch size enter through β alone."""
    substeps: int = 8
    """Euler-Maruyama steps in one of them; half as many are run beside, to show convergence."""
    every: int = 5
    """Steps between records."""
    replicas: int = 1024
    """Of every process."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for depth in self.depths:
            _checks.count("depths", depth, least=2)
        for name, least in (("cells", 10), ("steps", 1), ("substeps", 2), ("every", 1), ("replicas", 2)):
            _checks.count(name, getattr(self, name), least=least)
        for name in (
            "singular_value",
            "label_noise_variance",
            "temperatures",
            "start",
            "time",
            "settling",
            "time_step",
        ):
            _checks.positive(name, np.asarray(getattr(self, name)))
        if self.settling > self.time - 2 * self.time_step * self.every:
            raise ValueError(
                f"settling = {self.settling}, but it must leave two records or more of time = {self.time}."
            )
        stages = np.asarray(self.stages)
        at_start = self.start / self.singular_value
        _checks.require("stages", stages, (stages > at_start) & (stages < 1), allowed="between start / s and 1")


@dataclass(frozen=True)
class Study:
    """All of one depth: fine and coarse ensembles, finite volumes at the stages for the corrected and printed drift."""

    config: StationaryConfig
    depth: int
    fine: OneModes
    coarse: OneModes

    @property
    def hottest(self) -> int:
        """The index of the mode of the highest temperature with label noise."""
        return len(self.config.temperatures) - 1

    @property
    def mode(self) -> OneMode:
        return self.fine.modes[self.hottest]

    @cached_property
    def mean_shift(self) -> Estimate:
        """⟨w⟩ − s of the settled process, extrapolated to steps of zero length [modes]."""
        return extrapolated(self.fine.mean_shift, self.coarse.mean_shift)

    @cached_property
    def variance_ratio(self) -> Estimate:
        """Var w over (18), extrapolated [modes]."""
        return extrapolated(self.fine.variance_ratio, self.coarse.variance_ratio)

    @cached_property
    def records(self) -> list[int]:
        """Of the stages [stages]."""
        s, start = self.config.singular_value, self.config.start
        reach = np.asarray(deep_linear.learning_time(np.asarray(self.config.stages) * s, start, s, depth=self.depth))
        return [int(np.argmin(np.abs(self.fine.times - t))) for t in reach]

    @cached_property
    def edges(self) -> np.ndarray:
        return np.geomspace(self.config.start / 50, 2 * self.config.singular_value, self.config.cells + 1)

    def evolved(self, form: str) -> np.ndarray:
        """Probabilities of the cells at the stages [stages, cells]."""
        mode = OneMode(self.mode.singular_value, self.depth, self.mode.temperature, self.mode.label_noise_std, form)
        times = self.fine.times[self.records]
        return evolved(mode, self.edges, self.config.start, times, self.config.steps)

    @cached_property
    def laws(self) -> np.ndarray:
        return self.evolved("exact")

    @cached_property
    def densities(self) -> list[fokker_planck.StationaryDensity]:
        """(16) of every mode, label noise or not."""
        return [mode.stationary() for mode in self.fine.modes]


def studied(config: StationaryConfig, depth: int, progress: Progress) -> Study:
    s, σ = config.singular_value, float(np.sqrt(config.label_noise_variance))
    noisy = [OneMode(s, depth, β, σ) for β in config.temperatures]
    modes = (*noisy, OneMode(s, depth, config.temperatures[-1], 0.0))
    options = {name: getattr(config, name) for name in ("start", "replicas", "time", "settling", "time_step", "every")}
    fine, coarse = (
        _one_mode_ensemble.simulated(
            modes, progress, f"L = {depth}, {n} substeps", key=jax.random.key(config.seed), substeps=n, **options
        )
        for n in (config.substeps, config.substeps // 2)
    )
    return Study(config, depth, fine, coarse)


def published_centre(mode: OneMode) -> float:
    """(17)."""
    return float(deep_linear.stationary_expansion(mode.singular_value, form="published", **mode.settings).drift_zero)
