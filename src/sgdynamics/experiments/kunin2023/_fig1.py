"""Fig. 1: training of five networks is resumed at their minima: local displacement, global displacement, power laws.

    E|δ|² = η² Σ_i C_ii/(1 − β²)/(1 − ηK_i/(2(1 + β)))      constant, exact for frozen noise              [cf. (12)]
    E|Δ_k|² = 2 Σ_i Var δ_i (1 − correlation after k)       from the stationary law, ends at 2 tr Cov θ   [cf. (13)]
    E|Δ_k|² = Σ_i Var δ_i after k                           from θ* itself, ends at tr Cov θ

θ_0 is a draw from the stationary law, as the end of a training with SGD is. The exponent c is fitted to the last two
thirds of a run, as in H.2. It is no constant of the network: it is the slope of a curve that saturates, over the steps
that one has looked at. Within runs as short as the paper's, in units of the relaxation, |Δ_k|² does grow all the time;
a longer run of the linear network shows the end of it.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._pretrained import RECIPES
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.kunin2023._resumed import Network, Resumed, SquaredStep, exponent, network
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import (
    Estimate,
    GlobalDisplacement,
    PowerLawEstimate,
    Snapshots,
    logarithmic_steps,
    power_law,
)

POINTS, WINDOWS = 40, 120  # steps at which Δ and δ are looked at
NETWORKS = tuple(RECIPES["quick"])


@dataclass(frozen=True)
class Fig1Config:
    """Resumed training of several networks, and of the linear one until |Δ|² saturates."""

    networks: tuple[str, ...] = NETWORKS
    """Architectures; "linear" must be among them."""
    size: str = "quick"
    """Of the networks: "quick" (about 600 parameters, 400 images) or "full" (up to 2,130 and 1,437)."""
    learning_rate: float = 3e-4
    """Learning rate η; time t = η × step."""
    batch_size: int = 32
    """Minibatch size S, drawn with replacement."""
    momentum: float = 0.9
    """Momentum β, in [0, 1)."""
    replicas: int = 64
    """SGD replicas of each network."""
    steps: int = 900
    """Steps of the resumed training."""
    long_learning_rate: float = 4e-3
    """Learning rate of the long runs."""
    long_batch_size: int = 128
    """Minibatch size of the long runs: 32 is too small for this learning rate, see `_resumed`."""
    long_steps: int = 5000
    """Steps of the long runs of the linear network."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("batch_size", "long_batch_size"):
            _checks.count(name, getattr(self, name))
        _checks.count("replicas", self.replicas, least=2, remedy="One replica has no error.")
        _checks.count("steps", self.steps, least=30)
        _checks.count("long_steps", self.long_steps, least=1000)
        for name in ("learning_rate", "long_learning_rate"):
            _checks.positive(name, getattr(self, name))
        _checks.require("momentum", self.momentum, 0 <= self.momentum < 1, allowed="in [0, 1)")
        if self.size not in RECIPES:
            raise ValueError(f"size = {self.size!r}, but it must be one of {', '.join(RECIPES)}.")
        if "linear" not in self.networks or not set(self.networks) <= set(NETWORKS):
            raise ValueError(f"networks = {self.networks}, but they must be among {', '.join(NETWORKS)}, with linear.")

    @property
    def fitted(self) -> tuple[int, int]:
        """The last two thirds of a run."""
        return self.steps // 3, self.steps


def run(config: Fig1Config, progress: Progress) -> Result:
    """One ensemble for each network, and two long ones of the linear network."""
    networks = {name: network(name, config.size) for name in config.networks}
    parts = [_short(name, networks[name], config, progress) for name in config.networks]
    parts.append(_long(networks["linear"], config, progress))
    variables = {name: value for part in parts for name, value in part[0].items()}
    coordinates = {
        "step": variable("step", logarithmic_steps(config.steps, POINTS), "step k", "step"),
        "window": variable("window", _windows(config), "step k", "step"),
        "long_step": variable("long_step", _long_steps(config), "step k", "step"),
    }
    ensembles = {label: record for part in parts for label, record in part[2].items()}
    data = dataset(variables, coordinates).assign_attrs(networks=list(config.networks), fitted=list(config.fitted))
    return Result(data, [claim for part in parts for claim in part[1]], ensembles)


def _windows(config: Fig1Config) -> list[int]:
    return np.unique(np.linspace(1, config.steps, WINDOWS).astype(int)).tolist()


def _long_steps(config: Fig1Config) -> list[int]:
    return sorted({*logarithmic_steps(config.long_steps, POINTS), config.long_steps // 2})


def _simulate(resumed: Resumed, statistics: Any, progress: Progress, label: str, config: Fig1Config, **options: Any):
    options |= {"key": jax.random.key(config.seed), "replicas": config.replicas}
    return _ensembles.simulate(resumed.descent, statistics, progress, label, **options)


def _start(resumed: Resumed, config: Fig1Config, label: str):
    return resumed.start(_ensembles.named(jax.random.key(config.seed), f"{label}, start"), config.replicas)


# --- the five networks --------------------------------------------------------------------------------------


def _short(name: str, net: Network, config: Fig1Config, progress: Progress) -> tuple:
    resumed = Resumed(net, config.learning_rate, config.batch_size, config.momentum)
    steps, windows = logarithmic_steps(config.steps, POINTS), _windows(config)
    statistics = {
        "global": GlobalDisplacement(steps),
        "local": Snapshots(windows, SquaredStep(jnp.asarray(config.learning_rate))),
    }
    ensemble = _simulate(
        resumed, statistics, progress, name, config, steps=config.steps, initial=_start(resumed, config, name)
    )  # fmt: skip
    far, near = ensemble.estimates["global"], ensemble.estimates["local"].mean
    fit = power_law(far, first=config.fitted[0], last=config.fitted[1])
    variables = _variables(name, resumed, np.array(steps), far, near, fit)
    claims = _speed_claims(name, resumed, near) + _growth_claims(name, resumed, np.array(steps), far, fit, config)
    return variables, claims, {name: ensemble.provenance}


def _speed_claims(name: str, resumed: Resumed, near: Estimate) -> list[Claim]:
    """Constant, and of the size that theory says."""
    third = near.value.shape[0] // 3
    trend = near.map(lambda v: jnp.mean(v[-third:]) / jnp.mean(v[:third]))
    speed = evidence(near.map(lambda v: jnp.mean(v) / resumed.speed))
    still = resumed.published_speed * (1 - resumed.momentum**2) / resumed.speed
    exactly = "exact" if resumed.network.problem.is_linear_regression else "frozen noise"
    return [
        Claim.equality(
            f"{name}/constant speed", source("Sec. 2, Fig. 1"),
            "|δ|² is constant in time: mean over the last third of the run, of that over the first", **evidence(trend),
            expected=1.0, resolution=0.15,
        ),
        Claim.equality(
            f"{name}/speed", source("Eq. 12"),
            f"E|δ|² is η² Σ C_ii/(1 − β²)/(1 − ηK_i/(2(1 + β))) ({exactly}), in units of that", **speed,
            expected=1.0, resolution=0.1, published=resumed.published_speed / resumed.speed,
        ),
        Claim.rejection(
            f"{name}/speed without momentum/control", source("Eq. 12"), "not η² tr C, that of SGD without momentum",
            **speed, expected=1.0, rejected=still,
        ),
    ]  # fmt: skip


def _growth_claims(
    name: str, resumed: Resumed, steps: np.ndarray, far: Estimate, fit: PowerLawEstimate, config: Fig1Config
) -> list[Claim]:
    """The displacement and its exponent are theory's; within the run it grows."""
    first, last = config.fitted
    theory = resumed.displacement(steps)
    c = exponent(steps, theory, first, last)
    growth = far.map(lambda D: D[-1] / D[int(np.flatnonzero(steps >= first)[0])])
    claims = [
        Claim.bound(
            f"{name}/displacement", source("Eq. 13; exact discrete law"),
            f"E|Δ_k|² from the stationary law at {len(steps)} steps up to {last} (p-value)",
            sgd.compare(far, theory, level=LEVEL).p_value, 0.0, LEVEL, side="at least",
        ),
        Claim.equality(
            f"{name}/exponent", source("Sec. 2, Fig. 1"),
            f"c of |Δ_k|² ∝ k^c, fitted from {first} to {last}, is that of theory's curve over the same steps",
            **evidence(fit.exponent), expected=c, resolution=0.25,
        ),
        Claim.bound(
            f"{name}/grows", source("Sec. 2, Fig. 1"),
            f"|Δ_k|² grows as long as the run lasts: at {last}, of that at {first}", **evidence(growth),
            expected=1.0, side="at least",
        ),
    ]  # fmt: skip
    if abs(c - 1) > 0.2:
        claims.append(
            Claim.rejection(
                f"{name}/free diffusion/control", source("Sec. 2"), "anomalous: c is not 1", **evidence(fit.exponent),
                expected=c, rejected=1.0,
            )
        )  # fmt: skip
    return claims


def _variables(
    name: str, resumed: Resumed, steps: np.ndarray, far: Estimate, near: Estimate, fit: PowerLawEstimate
) -> dict[str, Variable]:
    words = name.replace("_", " ")
    values = {"exponent": fit.exponent, "prefactor": fit.prefactor}
    variables = measurement(f"{name}_global", "step", far, f"global displacement |Δ_k|², {words}", "w²")
    variables |= measurement(f"{name}_local", "window", near, f"local displacement |δ_k|², {words}", "w²")
    for key, value in values.items():
        variables |= measurement(f"{name}_{key}", "", value, f"{key} of |Δ_k|², {words}")
    curve, first, last = resumed.displacement(steps), fit.first, fit.last
    return variables | {
        f"{name}_theory": variable("step", curve, f"E|Δ_k|², theory, {words}", "w²"),
        f"{name}_speed": variable("", resumed.speed, f"E|δ|², theory, {words}", "w²"),
        f"{name}_theory_exponent": variable("", exponent(steps, curve, first, last), f"c, theory, {words}"),
        f"{name}_saturation": variable("", resumed.saturation, f"2 tr Cov θ, {words}", "w²"),
    }


# --- the long runs ------------------------------------------------------------------------------------------


def _long(net: Network, config: Fig1Config, progress: Progress) -> tuple:
    """From the stationary law, and from θ* itself."""
    resumed = Resumed(net, config.long_learning_rate, config.long_batch_size, config.momentum)
    steps = _long_steps(config)
    starts = {"stationary": _start(resumed, config, "long"), "minimum": net.minimum}
    runs = {
        name: _simulate(
            resumed, GlobalDisplacement(steps), progress, f"linear, long, from {name}", config,
            steps=config.long_steps, initial=start,
        )
        for name, start in starts.items()
    }  # fmt: skip
    found = {name: ensemble.estimates for name, ensemble in runs.items()}
    k = np.array(steps)
    curve, words = resumed.displacement(k), "E|Δ_k|² from θ*, with the noise of the stationary law"
    variables = {
        "long_theory": variable("long_step", curve, "E|Δ_k|² from the stationary law, theory", "w²"),
        "long_theory_minimum": variable("long_step", resumed.displacement_from_minimum(k), words, "w²"),
        "long_saturation": variable("", resumed.saturation, "2 tr Cov θ", "w²"),
        "long_fit": variable("long_step", _extrapolated(k, curve), "power law of the early steps", "w²"),
    }
    for name, words in (("stationary", "from the stationary law"), ("minimum", "from θ*")):
        variables |= measurement(f"long_{name}", "long_step", found[name], f"|Δ_k|² {words}", "w²")
    return variables, _long_claims(resumed, k, found), {f"long, {name}": run.provenance for name, run in runs.items()}


def _early(steps: Any) -> tuple[int, int]:
    """A run a hundred times shorter: the last two thirds of it."""
    return int(steps[-1]) // 300, int(steps[-1]) // 100


def _extrapolated(steps: np.ndarray, values: Any) -> Any:
    """The power law through the early steps, at all of them."""
    within = (steps >= _early(steps)[0]) & (steps <= _early(steps)[1])
    x, y = np.log(steps), jnp.log(jnp.asarray(values))
    δ = x[within] - x[within].mean()
    slope, level = jnp.sum(δ * y[within]) / np.sum(δ**2), jnp.mean(y[within])
    return jnp.exp(level + slope * (x - x[within].mean()))


def _long_claims(resumed: Resumed, k: np.ndarray, found: dict[str, Estimate]) -> list[Claim]:
    """It saturates at 2 tr Cov θ, from θ* at half of it; no power law goes on."""
    last, half, (first, end) = int(k[-1]), int(np.flatnonzero(k == k[-1] // 2)[0]), _early(k)
    theory, limit = resumed.displacement(k), resumed.saturation
    ended = evidence(found["stationary"].map(lambda D: D[-1] / limit))
    beyond = found["stationary"].map(lambda D: D[-1] / _extrapolated(k, D)[-1])
    late = evidence(found["stationary"].map(lambda D: jnp.log(D[-1] / D[half]) / np.log(2)))
    from_minimum = evidence(found["minimum"].map(lambda D: D[-1] / limit))
    slope = exponent(k, theory, first, end)
    goes_on = float(theory[-1] / _extrapolated(k, theory)[-1])
    return [
        Claim.equality(
            "linear, long/saturation", source("Eq. 13; exact discrete law"),
            f"E|Δ_k|² ends at 2 tr Cov θ, here 1 (k = {last})", **ended, expected=float(theory[-1]) / limit,
            resolution=0.1,
        ),
        Claim.rejection(
            "linear, long/saturation at tr Cov θ/control", source("Eq. 13; exact discrete law"),
            "from the stationary law not at tr Cov θ", **ended, expected=1.0, rejected=0.5,
        ),
        Claim.equality(
            "linear, long/from the minimum", source("Sec. 2"), "from θ* itself it ends at tr Cov θ, half of that",
            **from_minimum, expected=float(resumed.displacement_from_minimum(k)[-1]) / limit, resolution=0.1,
        ),
        Claim.equality(
            "linear, long/late exponent", source("Eq. 13; exact discrete law"),
            f"the exponent between k = {k[half]} and {last} is that of a curve that has saturated", **late,
            expected=float(np.log(theory[-1] / theory[half]) / np.log(2)), resolution=0.15, published=slope,
        ),
        Claim.equality(
            "linear, long/power law goes on/published", source("Sec. 2"),
            f"the network continues to diverge from where it has been, |Δ_k|² ∝ k^c, with c fitted from {first} to "
            f"{end} (c = {slope:.2f} in theory): |Δ|² at k = {last}, of that", **evidence(beyond), expected=1.0,
            resolution=(1 - goes_on) / 2,
            note="true of runs that are short against the slowest relaxation, as the paper's",
        ),
    ]  # fmt: skip


FIG1 = register(
    Experiment(
        name="kunin2023/fig1",
        summary="local and global displacement of five networks whose training is resumed",
        source=source("Fig. 1"),
        config=Fig1Config,
        presets={
            "quick": Fig1Config(networks=("linear", "one_hidden", "convolutional")),
            "paper": Fig1Config(size="full", replicas=128, steps=3000, long_steps=15_000),
        },
        run=run,
        figure="kunin2023/fig1",
    )
)
