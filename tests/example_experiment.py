"""A tiny experiment, for the tests of everything that surrounds experiments."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _registry


@dataclass(frozen=True)
class Inner:
    substeps: int = 8
    """Euler-Maruyama steps per learning rate (1)."""


@dataclass(frozen=True)
class Config:
    steps: int = 10
    """Length of the run (learning rates)."""
    learning_rate: float = 0.1
    """Learning rate (1/curvature)."""
    widths: tuple[int, ...] = (2, 3)
    """Widths of the layers (1)."""
    inner: Inner = Inner()
    optional: Inner | None = None

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps = {self.steps}, but it must be a whole number ≥ 1.")


def data(steps: int = 3) -> xr.Dataset:
    time = np.arange(float(steps))
    described = {"units": "1", "long_name": "variance of the weight"}
    coordinate = {"units": "1/curvature", "long_name": "time"}
    return xr.Dataset({"variance": ("time", time**2, described)}, {"time": ("time", time, coordinate)})


def claim(**more):
    fields = {"resolution": 0.1, "level": 1e-3, "degrees_of_freedom": 31} | more
    return experiments.Claim.equality("variance", "A (2026), Eq. 1", "it is 1", 1.01, 0.01, 1.0, **fields)


def run(config: Config, progress: experiments.Progress) -> experiments.Result:
    progress.stage("all", config.steps)
    for _ in range(config.steps):
        progress.advance()
    if config.steps == 13:
        raise ValueError("a bug, not a bad value")
    return experiments.Result(data(config.steps), [claim()], {"sgd": {"kernel": "reference"}})


def draw(stored: xr.Dataset):
    figure, axes = plotting.panels()
    plotting.theory(axes[0, 0], stored.time, stored.variance, "theory")
    return figure


EXPERIMENT = experiments.Experiment(
    name="example/tiny",
    summary="a tiny run",
    source="nobody (2026)",
    config=Config,
    presets={"quick": Config(), "paper": Config(steps=20)},
    run=run,
    figure="tiny",
)


def install(monkeypatch) -> experiments.Experiment:
    """Registers the experiment and its figure for the length of one test."""
    monkeypatch.setattr(_registry, "_experiments", {})
    monkeypatch.setitem(plotting.figures, "tiny", draw)
    return experiments.register(EXPERIMENT)
