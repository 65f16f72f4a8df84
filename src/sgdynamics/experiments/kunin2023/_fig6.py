"""Fig. 6: speed and exponent of resumed training over learning rate η, batch size S and momentum β (H.6 calls it 7).

    (12)     E|δ|² = η² σ² tr H/(S (1 − β²)),      σ² tr H from the speed that is measured at the default setting
    exact    E|δ|² = η² Σ_i C_ii/(1 − β²)/(1 − ηK_i/(2(1 + β))), in linear networks with E C(θ), which grows with η/S
    c        slope of ln |Δ_k|² over ln k, all of a run of the same number of steps

Every ensemble starts from the stationary law of its own setting. With frozen noise E|Δ_k|² ∝ 1/S exactly, so that c
cannot depend on S. The paper's runs start where training at the default S₀ has ended: then E|Δ_k|² = A_k/S₀ + B_k/S,
A_k the way back from θ_0 and B_k that of new noise. It is not ∝ 1/S, and c depends on S: from the exponent of B at
small S to that of A at large S, with hardly a dip in between. Those of single runs, as the paper's are, scatter
by more.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._pretrained import RECIPES
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, variable
from sgdynamics.experiments.kunin2023._fig6_claims import Point, claims_of
from sgdynamics.experiments.kunin2023._resumed import Network, Resumed, SquaredStep, exponent, network
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import GlobalDisplacement, Mean, power_law
from sgdynamics.theory import momentum as theory

SWEEPS = {
    "learning_rate": ("learning rate η", "t"),
    "batch_size": ("batch size S", "1"),
    "momentum": ("momentum β", "1"),
}
RESUMED = "one_hidden"  # its noise hardly depends on θ, so that the law after a change of S is known


@dataclass(frozen=True)
class Fig6Config:
    """Sweeps about a default setting, which is a value of each."""

    networks: tuple[str, ...] = ("linear", RESUMED)
    """Architectures."""
    size: str = "quick"
    """Of the networks: "quick" (about 600 parameters, 400 images) or "full" (up to 2,130 and 1,437)."""
    learning_rate: float = 3e-4
    """Default learning rate η; time t = η × step."""
    batch_size: int = 32
    """Default minibatch size S, drawn with replacement."""
    momentum: float = 0.9
    """Default momentum β."""
    learning_rates: tuple[float, ...] = (1e-4, 3e-4, 2e-3)
    """Learning rates, ascending, with the default."""
    batch_sizes: tuple[int, ...] = (8, 32, 128)
    """Batch sizes, ascending, with the default between others."""
    momenta: tuple[float, ...] = (0.8, 0.9, 0.98)
    """Momenta in [0, 1), ascending, with the default."""
    replicas: int = 128
    """SGD replicas at each setting."""
    steps: int = 500
    """SGD steps at each setting, over all of which c is fitted."""
    every: int = 10
    """Steps between two records."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("batch_size", "steps", "every"):
            _checks.count(name, getattr(self, name))
        _checks.count("replicas", self.replicas, least=2, remedy="One replica has no error.")
        _checks.require("steps", self.steps, self.steps >= 3 * self.every, allowed="at least 3 × every")
        _checks.require("momentum", self.momentum, 0 <= self.momentum < 1, allowed="in [0, 1)")
        for plural, name in (
            ("learning_rates", "learning_rate"),
            ("batch_sizes", "batch_size"),
            ("momenta", "momentum"),
        ):
            values, default = getattr(self, plural), getattr(self, name)
            ascending = list(values) == sorted(set(values)) and default in values and len(values) > 1
            _checks.require(plural, values, ascending, allowed=f"ascending, with the default {default} and others")
        for name in ("learning_rates", "batch_sizes"):
            _checks.positive(name, np.asarray(getattr(self, name), float))
        for β in self.momenta:
            _checks.require("momenta", β, 0 <= β < 1, allowed="in [0, 1)")
        between = self.batch_sizes[0] < self.batch_size < self.batch_sizes[-1]
        _checks.require("batch_sizes", self.batch_sizes, between, allowed="with the default between others")
        if not self.networks or not set(self.networks) <= set(RECIPES["quick"]):
            raise ValueError(f"networks = {self.networks}, but they must be among {', '.join(RECIPES['quick'])}.")

    def sweep(self, name: str) -> tuple:
        """The values of one hyperparameter."""
        return {"learning_rate": self.learning_rates, "batch_size": self.batch_sizes, "momentum": self.momenta}[name]


def run(config: Fig6Config, progress: Progress) -> Result:
    """The sweeps of each network."""
    parts = [_of(name, network(name, config.size), config, progress) for name in config.networks]
    variables = {name: value for part in parts for name, value in part[0].items()}
    coordinates = {name: variable(name, config.sweep(name), words, unit) for name, (words, unit) in SWEEPS.items()}
    ensembles = {label: record for part in parts for label, record in part[2].items()}
    data = dataset(variables, coordinates).assign_attrs(networks=list(config.networks))
    return Result(data, [claim for part in parts for claim in part[1]], ensembles)


def _of(name: str, net: Network, config: Fig6Config, progress: Progress) -> tuple:
    default = Resumed(net, config.learning_rate, config.batch_size, config.momentum)
    records: dict[str, Any] = {}

    def measure(resumed: Resumed, label: str, before: Resumed | None = None) -> Point:
        point, records[label] = _measured(resumed, f"{name}, {label}", config, progress, before)
        return point

    at_default = measure(default, "default")
    sweeps = {
        sweep: [
            at_default
            if value == getattr(config, sweep)
            else measure(replace(default, **{sweep: value}), f"{sweep} = {value:g}")
            for value in config.sweep(sweep)
        ]
        for sweep in SWEEPS
    }
    if name == RESUMED:
        sweeps["resumed"] = [
            at_default if S == config.batch_size
            else measure(replace(default, batch_size=S), f"batch size changed to {S}", default)
            for S in config.batch_sizes
        ]  # fmt: skip
    claims = claims_of(name, sweeps, at_default)
    return _variables(name, sweeps, at_default), claims, {f"{name}, {label}": run for label, run in records.items()}


def _measured(
    resumed: Resumed, label: str, config: Fig6Config, progress: Progress, before: Resumed | None
) -> tuple[Point, dict]:
    """One ensemble, from its own stationary law or from that of `before`."""
    key, steps = jax.random.key(config.seed), range(config.every, config.steps + 1, config.every)
    statistics = {
        "global": GlobalDisplacement(tuple(steps)),
        "speed": Mean(of=SquaredStep(jnp.asarray(resumed.learning_rate))),
    }
    ensemble = _ensembles.simulate(
        resumed.descent, statistics, progress, label, key=key, replicas=config.replicas, steps=steps[-1],
        every=config.every, groups=config.replicas,
        initial=(before or resumed).start(_ensembles.named(key, f"{label}, start"), config.replicas),
    )  # fmt: skip
    far, k = ensemble.estimates["global"], np.array(steps)
    expected = resumed.displacement(k) if before is None else resumed.displacement_from(before, k)
    # with one replica in each group, the pseudo-values of the mean are the replicas' own |Δ_k|²
    single = np.polyfit(np.log(k), np.log(np.asarray(far.groups)).T, 1)[0]
    point = Point(
        resumed, ensemble.estimates["speed"], power_law(far, first=steps[0], last=steps[-1]).exponent,
        exponent(k, expected, steps[0], steps[-1]), float(single.std(ddof=1)), far.map(lambda D: D[-1]),
        float(expected[-1]),
    )  # fmt: skip
    return point, ensemble.provenance


def _variables(name: str, sweeps: dict[str, list[Point]], default: Point) -> dict[str, Variable]:
    variables: dict[str, Variable] = {}
    for sweep, points in sweeps.items():
        dim = "batch_size" if sweep == "resumed" else sweep
        words = f"{name.replace('_', ' ')}, over {SWEEPS[dim][0]}" + ", resumed from the default" * (sweep == "resumed")
        top = default.resumed.network.curvatures.max()
        columns = {
            "speed": ([p.speed.value for p in points], "|δ|², measured", "w²"),
            "speed_error": ([p.speed.standard_error for p in points], "|δ|², standard error", "w²"),
            "speed_exact": ([p.resumed.speed for p in points], "|δ|², theory", "w²"),
            "speed_scaled": ([p.scaled(default) for p in points], "|δ|², (12) from the default", "w²"),
            "exponent": ([p.exponent.value for p in points], "c, measured", "1"),
            "exponent_error": ([p.exponent.standard_error for p in points], "c, standard error", "1"),
            "exponent_exact": ([p.expected_exponent for p in points], "c, theory", "1"),
            "exponent_scatter": ([p.scatter for p in points], "c of single runs, standard deviation", "1"),
            "damping": (
                [theory.damping_ratio(top, **p.resumed.setting) for p in points],
                "ζ of the stiffest mode",
                "1",
            ),
        }
        for column, (values, text, unit) in columns.items():
            variables[f"{name}_{sweep}_{column}"] = variable(dim, np.asarray(values, float), f"{text}, {words}", unit)
    return variables


FIG6 = register(
    Experiment(
        name="kunin2023/fig6",
        summary="speed and exponent of resumed training over learning rate, batch size and momentum",
        source=source("Fig. 6"),
        config=Fig6Config,
        presets={
            "quick": Fig6Config(),
            "paper": Fig6Config(
                learning_rates=(3e-5, 1e-4, 3e-4, 6e-4, 1e-3, 2e-3), batch_sizes=(8, 16, 32, 64, 128, 512),
                momenta=(0.8, 0.85, 0.9, 0.95, 0.98), replicas=512, steps=2000, every=20,
            ),
        },
        run=run,
        figure="kunin2023/fig6",
    )
)  # fmt: skip
