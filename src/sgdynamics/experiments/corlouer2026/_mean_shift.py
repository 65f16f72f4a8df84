"""Mean and variance of the modes with label noise: one mode alone, and the whole network around a balanced minimum.

To first order in β = η/b, of s_α = 1, in a square network of width d and depth L,

    one mode, dw = μ dt + √D dB            ⟨w⟩ − s = −(β/2)(L−1) σ² s^{1−2/L}              exact law: quadrature of (16)
    the network                            ⟨w⟩ − s = `mean_shift`; L = 2: −(β/2) d σ²      NEW
    printed                                w* − s  = +(β/2)(L−1) σ_q s^{−2/L}, "slightly above s"                  (17)
    all                                    Var w   = V = (β L/2) σ² s^{2−2/L}                                      (18)

The amplitudes u_αᵀ W v_γ of crossed modes fluctuate as much as w_α, and curvature turns them into a shift of w_α of
order d: no process of one mode has it. The network's state is stationary only for a while, because the balance of
layers drifts at a rate of order β; a window fixed in t shows the limit β → 0. All shifts are means over the modes.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import xarray as xr

from sgdynamics import _checks
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._students import Student
from sgdynamics.experiments._variables import Variable, dataset, variable
from sgdynamics.experiments.corlouer2026 import _mean_shift_runs as runs
from sgdynamics.experiments.corlouer2026._mean_shift_claims import (
    Case,
    converged,
    network_claims,
    one_mode_claims,
    predicted,
)
from sgdynamics.experiments.corlouer2026._mean_shift_runs import Measured, Window
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.statistics import Estimate
from sgdynamics.theory import deep_linear

KINDS = ("SGD", "SDE")


@dataclass(frozen=True)
class MeanShiftConfig:
    """SGD and its SDE around a balanced minimum with label noise, at three learning rates."""

    singular_values: tuple[float, ...] = (1.0, 0.8, 0.6)
    """Of the teacher, descending; a wider network has further modes that are absent."""
    widths: tuple[int, ...] = (3, 12)
    """Width d of all layers, of each network."""
    depths: tuple[int, ...] = (4, 2)
    """Layers L, of each network."""
    replicas: tuple[int, ...] = (1024, 128)
    """Of each network; relative errors are ∝ 1/d."""
    label_noise_std: float = 1.0
    """σ. Shift over scatter is ∝ σ: the paper's σ² = 0.1 needs ten times the replicas."""
    steps: tuple[float, ...] = (0.1, 0.15, 0.25)
    """Three learning rates, ascending, in units of 1/(L s_1^{2−2/L} (d + 2)), half that at which SGD diverges; from
    0.4 on replicas of the explicit SDE diverge."""
    groups: int = 32
    """Of replicas, between which errors are measured."""
    substeps: int = 2
    """Of the SDE, in one learning rate."""
    burn_in: float = 5.0
    """In units of t: 4 relaxation times of the slowest covariance, weakest mode crossed with an absent one."""
    window: float = 8.0
    """In units of t, over which averages are taken."""
    one_mode_learning_rate: float = 0.01
    """Of the one-mode SDE, which is held against its law at all orders."""
    one_mode_substeps: int = 2
    """Of the one-mode SDE."""
    one_mode_replicas: int = 4096
    """Of the one-mode SDE."""
    one_mode_window: float = 20.0
    """In units of t, likewise."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("singular_values", "steps"):
            _checks.positive(name, np.asarray(getattr(self, name)))
        for name in ("label_noise_std", "burn_in", "window", "one_mode_learning_rate", "one_mode_window"):
            _checks.positive(name, getattr(self, name))
        for name, least in (("groups", 2), ("substeps", 1), ("one_mode_substeps", 1)):
            _checks.count(name, getattr(self, name), least=least)
        if not len(self.widths) == len(self.depths) == len(self.replicas) > 0:
            raise ValueError("widths, depths and replicas must have one entry for each network.")
        for name, values in (("replicas", self.replicas), ("one_mode_replicas", (self.one_mode_replicas,))):
            if any(_checks.count(name, value) % self.groups for value in values):
                raise ValueError(f"{name} = {values}, but it must be multiples of groups = {self.groups}.")
        if len(self.steps) != 3 or list(self.steps) != sorted(set(self.steps)) or self.steps[-1] >= 1:
            raise ValueError(f"steps = {self.steps}, but it must be three ascending values below 1.")
        if min(self.widths) < len(self.singular_values):
            raise ValueError(f"widths = {self.widths}, but each must be at least the number of singular_values.")
        for depth in self.depths:
            _checks.count("depths", depth, least=2)

    @property
    def networks(self) -> list[tuple[int, int, int]]:
        """(width, depth, replicas)."""
        return list(zip(self.widths, self.depths, self.replicas, strict=True))

    def student(self, width: int, depth: int, step: float) -> Student:
        key = jax.random.key(self.seed)
        return runs.student(self.singular_values, width, depth, self.label_noise_std, step, key)

    def around(self, replicas: int) -> Window:
        return Window(self.burn_in, self.window, replicas, self.groups)


def run(config: MeanShiftConfig, progress: Progress) -> Result:
    """SGD and the SDE of every network, the first SDE also in finer steps; the one-mode SDE of every depth."""
    cases = [_case(config, *network, kind, progress) for network in config.networks for kind in KINDS]
    fine = _measured_at(config, *config.networks[0], "SDE", config.steps[-1], 2 * config.substeps, progress)
    alone = [_alone(config, depth, progress) for depth in sorted(set(config.depths))]
    claims = [claim for case in cases for claim in network_claims(case)]
    claims += [converged(cases[1].measured[-1], fine)]
    claims += [claim for one in alone for claim in one_mode_claims(one, config.one_mode_substeps)]
    ensembles = {
        f"{case.label}, step {step:g}": one.provenance
        for case in cases
        for step, one in zip(config.steps, case.measured, strict=True)
    }
    ensembles |= {f"{cases[1].label}, finer": fine.provenance}
    ensembles |= {f"one mode, L = {one.student.depth}": one.provenance for one in alone}
    return Result(_described(config, cases, alone), claims, ensembles)


def _case(config: MeanShiftConfig, width: int, depth: int, replicas: int, kind: str, progress: Progress) -> Case:
    at = lambda step: _measured_at(config, width, depth, replicas, kind, step, config.substeps, progress)
    return Case(kind, np.asarray(config.steps), [at(step) for step in config.steps])


def _measured_at(
    config: MeanShiftConfig, width: int, depth: int, replicas: int, kind: str, step: float, substeps: int,
    progress: Progress,
) -> Measured:  # fmt: skip
    student, key = config.student(width, depth, step), jax.random.key(config.seed)
    dynamics = student.descent() if kind == "SGD" else student.langevin(substeps)
    label = f"{kind}, d = {width}, L = {depth}, step {step:g}" + (f", {substeps} substeps" if kind == "SDE" else "")
    return runs.network(student, dynamics, config.around(replicas), progress, label, key)


def _alone(config: MeanShiftConfig, depth: int, progress: Progress) -> Measured:
    narrow, key = config.student(len(config.singular_values), depth, config.steps[0]), jax.random.key(config.seed)
    student = Student(narrow.teacher, narrow.widths, config.one_mode_learning_rate)
    window = Window(config.burn_in, config.one_mode_window, config.one_mode_replicas, config.groups)
    return runs.one_mode(student, config.one_mode_substeps, window, progress, f"one mode, L = {depth}", key)


def _described(config: MeanShiftConfig, cases: list[Case], alone: list[Measured]) -> xr.Dataset:
    """Means and variances over the learning rate, their limits, and the formulas."""
    shape = (len(config.networks), len(KINDS))
    where = ("network", "dynamics")
    units = {"shift": "w/(βσ²)", "spread": "1"}
    words = {"shift": "(mean of w − s)/(β σ²), mean over modes", "spread": "variance of w over (18), mean over modes"}
    variables: dict[str, Variable] = {}
    for name in words:
        values = [getattr(one, name) for case in cases for one in case.measured]
        limits = [case.lines[name] for case in cases]
        variables |= _measured(name, (*where, "step"), (*shape, 3), values, words[name], units[name])
        variables |= _measured(
            f"{name}_limit", where, shape, [limit for limit, _ in limits], f"{words[name]}, limit", units[name]
        )
        slopes = [slope for _, slope in limits]
        variables |= _measured(f"{name}_slope", where, shape, slopes, f"{words[name]}, slope", units[name])
    imbalance = [one.imbalance for case in cases for one in case.measured]
    variables |= _measured("imbalance", (*where, "step"), (*shape, 3), imbalance, "largest r_l (33) at the end", "1")
    rates = np.reshape([one.student.learning_rate for case in cases for one in case.measured], (*shape, 3))
    variables["learning_rate"] = variable(("network", "step"), rates[:, 0], "learning rate η", "t")
    formulas = [predicted(case.student) for case in cases[:: len(KINDS)]]
    for name, key in (("network", "network"), ("one_mode", "one mode"), ("published", "(17)")):
        values = [formula[key] for formula in formulas]
        variables[name] = variable("network", values, f"shift of the mean, {key}", "w/(βσ²)")
    variables |= _described_alone(config, alone)
    return dataset(variables, _coordinates(config))


def _described_alone(config: MeanShiftConfig, alone: list[Measured]) -> dict[str, Variable]:
    """Every mode of the one-mode SDE, and its law as a function of s."""
    s, scale = np.asarray(config.singular_values), config.one_mode_learning_rate * config.label_noise_std**2
    settings = [{"depth": one.student.depth, **one.student.hyperparameters} for one in alone]
    grid = _grid(config)
    laws = np.stack([np.asarray(deep_linear.stationary_moments(grid, **kw)[0]) - grid for kw in settings])
    shifts = [one.mean.map(lambda w: (w - s) / scale) for one in alone]
    where, shape = ("depth", "mode"), (len(alone), len(s))
    words = "(mean of w − s)/(β σ²) of the one-mode SDE"
    return _measured("alone", where, shape, shifts, words, "w/(βσ²)") | {
        "alone_law": variable(("depth", "strength"), laws / scale, "the same by quadrature of (16)", "w/(βσ²)")
    }


def _grid(config: MeanShiftConfig) -> np.ndarray:
    return np.linspace(0.9 * min(config.singular_values), 1.05 * max(config.singular_values), 25)


def _coordinates(config: MeanShiftConfig) -> dict[str, Variable]:
    return {
        "width": variable("network", config.widths, "width d of all layers"),
        "layers": variable("network", config.depths, "layers L of the network"),
        "depth": variable("depth", sorted(set(config.depths)), "layers L of the one-mode SDE"),
        "dynamics": variable("dynamics", np.asarray(KINDS), "dynamics"),
        "step": variable("step", config.steps, "learning rate × L s² ⁻ ²ᐟᴸ (d + 2), largest s"),
        "mode": variable("mode", config.singular_values, "singular value s", "w"),
        "strength": variable("strength", _grid(config), "singular value s", "w"),
    }


def _measured(
    name: str, dims: Any, shape: Any, estimates: list[Estimate], words: str, units: str
) -> dict[str, Variable]:
    """As `measurement`, of separate estimates."""
    values, errors = (
        np.reshape([np.asarray(getattr(estimate, part)) for estimate in estimates], shape)
        for part in ("value", "standard_error")
    )
    return {
        name: variable(dims, values, f"{words}, measured", units),
        f"{name}_error": variable(dims, errors, f"{words}, standard error", units),
    }


PAPER = MeanShiftConfig(
    widths=(3, 3, 12, 12), depths=(2, 4, 2, 4), replicas=(8192, 4096, 512, 512), steps=(0.05, 0.1, 0.2),
    one_mode_replicas=8192, one_mode_window=40.0,
)  # fmt: skip

MEAN_SHIFT = register(
    Experiment(
        name="corlouer2026/mean_shift",
        summary="label noise: mean and variance of a mode, in the whole network and in the process of one mode",
        source=source("Prop. 5.1"),
        config=MeanShiftConfig,
        presets={
            "quick": MeanShiftConfig(),
            "paper": PAPER,
        },
        run=run,
        figure="corlouer2026/mean_shift",
    )
)
