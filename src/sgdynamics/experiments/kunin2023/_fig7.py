"""Fig. 7, App. H.7: the exponent c of E|Δ_k|² ∝ k^c over the length T of the trajectory that it is fitted to.

There c grows with T at a diminishing rate: "a sum of power laws where the leading term becomes dominant". Here lines of
least squares through ln E|Δ_k|² over ln k, T/3 ≤ k ≤ T (H.2 takes the last 2/3), of three runs at β = 0.9. Points are
spaced evenly in ln k, where records of H.2 are spaced evenly in k and late ones weigh more:

    digits     on images, in the stationary state. c falls from 2, where steps persist, to 0, at the end, 2 tr Cov θ
    bands      stationary too, with few stiff modes and many soft ones. The former have reached their end, of exponent
               0, while the latter diffuse, of exponent 1: a sum of power laws, with c growing, until they end too
    resumed    the same, from one state away from the minimum, at rest. The mean drifts: c grows towards 2, then falls

so that c can grow over some range of T, as H.7 observed of one network resumed, and must fall beyond it: θ stays
bounded. What of this Fig. 7 shows cannot be
decided here: a pretrained network resumed with other settings than it ended with drifts, and few outliers beside a soft
bulk are what spectra of networks look like. Both would do (an inference). Exact laws: of the stationary state that of
`_spectrum_case`; from one state E|Δ_k|² = tr E δ_k δ_kᵀ − 2 δ_0·E δ_k + |δ_0|², by `theory.recursion`.
"""

from dataclasses import dataclass

import jax
import numpy as np

from sgdynamics import _checks
from sgdynamics.data import digits
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.kunin2023._fig7_claims import Fits, claims_of
from sgdynamics.experiments.kunin2023._fig7_theory import displacement_from
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.experiments.kunin2023._spectrum_case import Case, case, with_curvatures
from sgdynamics.statistics import Displacement, GlobalDisplacement, logarithmic_steps

NAMES = {"digits": "digits, stationary", "bands": "two bands, stationary", "resumed": "two bands, resumed away"}
PER_DECADE = 12
FIRST = 12  # records of the shortest trajectory


@dataclass(frozen=True)
class Fig7Config:
    """The exponent over the length of the trajectory, of three runs."""

    momentum: float = 0.9
    """Momentum β, in [0, 1)."""
    digits_rate: float = 0.25
    """η/(1 − β) on the digits, with the learning rate η; time t = η × step."""
    digits_batch_size: int = 16
    """Minibatch size S on the digits, drawn with replacement."""
    digits_weight_decay: float = 0.004
    """Weight decay λ on the digits, in units of curvature, 1/t; tr H is 1."""
    digits_replicas: int = 192
    """SGD replicas on the digits."""
    digits_last: int = 3000
    """Longest distance in steps on the digits."""
    stiff: tuple[float, ...] = (1.0, 0.6)
    """Curvatures of the stiff band, 1/t."""
    soft: tuple[float, ...] = (3e-4,) * 14
    """Curvatures of the soft band, 1/t."""
    rate: float = 1.0
    """η/(1 − β) with the bands."""
    batch_size: int = 4
    """Minibatch size S with the bands."""
    samples: int = 100
    """Number of samples with the bands."""
    label_noise_std: float = 0.5
    """Standard deviation of the label noise with the bands."""
    away: float = 12.0
    """Distance of the resumed start from the minimum, in standard deviations |θ − mean| of the stationary state, along
    the soft modes."""
    replicas: int = 512
    """SGD replicas with the bands in the stationary state; from one start, `spans` times as many."""
    last: int = 15_000
    """Longest distance in steps with the bands."""
    every: int = 5
    """Steps between two records."""
    spans: int = 3
    """Length of each stationary ensemble in its longest distances."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("digits_batch_size", "digits_replicas", "batch_size", "replicas", "every", "spans"):
            _checks.count(name, getattr(self, name))
        _checks.count("samples", self.samples, least=len(self.stiff) + len(self.soft) + 2)
        for name in ("digits_rate", "digits_weight_decay", "rate", "label_noise_std", "away"):
            _checks.positive(name, getattr(self, name))
        _checks.require("momentum", self.momentum, 0 <= self.momentum < 1, allowed="in [0, 1)")
        for name in ("digits_last", "last"):
            value, least = getattr(self, name), 4 * FIRST * self.every
            _checks.require(name, value, value >= least, allowed=f"at least {least}")
        for name in ("stiff", "soft"):
            h = getattr(self, name)
            _checks.require(name, h, len(h) > 0 and min(h) > 0, allowed="above 0, and at least one")


def run(config: Fig7Config, progress: Progress) -> Result:
    """Three ensembles."""
    key = jax.random.key(config.seed)
    parts = {name: _at(name, config, key, progress) for name in NAMES}
    variables = {name: value for part in parts.values() for name, value in part[0].items()}
    ensembles = {NAMES[name]: part[2] for name, part in parts.items()}
    return Result(dataset(variables), [claim for part in parts.values() for claim in part[1]], ensembles)


def _at(name: str, config: Fig7Config, key: jax.Array, progress: Progress) -> tuple[dict[str, Variable], list, dict]:
    at, steps = _case(name, config, key), _steps(name, config)
    start = _start(config, at) if name == "resumed" else None
    statistic = Displacement(steps) if start is None else GlobalDisplacement(steps)
    ensemble = _ensembles.simulate(
        at.descent, statistic, progress, NAMES[name], key=key, every=config.every,
        replicas=_replicas(name, config), steps=steps[-1] * (config.spans if start is None else 1),
        initial=at.prediction if start is None else start,
    )  # fmt: skip
    k, stationary = np.array(steps), at.displacement(np.array(steps))
    exact = stationary if start is None else displacement_from(start, at, k)
    fits = Fits(k, ensemble.estimates, exact, stationary, _lengths(steps, config.every))
    return _variables(name, at, fits), claims_of(name, NAMES[name], fits), ensemble.provenance


def _case(name: str, config: Fig7Config, key: jax.Array) -> Case:
    β = config.momentum
    if name == "digits":
        return case(
            digits("parity"), learning_rate=config.digits_rate * (1 - β), momentum=β,
            batch_size=config.digits_batch_size, weight_decay=config.digits_weight_decay,
        )  # fmt: skip
    data = with_curvatures(key, (*config.stiff, *config.soft), config.samples, config.label_noise_std)
    return case(data, learning_rate=config.rate * (1 - β), momentum=β, batch_size=config.batch_size)


def _start(config: Fig7Config, at: Case) -> np.ndarray:
    """Away from the minimum along all soft modes alike."""
    direction = at.modes[:, len(config.stiff) :].sum(axis=1)
    distance = config.away * np.sqrt(at.saturation / 2)
    return np.asarray(at.prediction.mean) + distance * direction / np.linalg.norm(direction)


def _replicas(name: str, config: Fig7Config) -> int:
    """From one origin only, more replicas at the same cost."""
    return {"digits": config.digits_replicas, "bands": config.replicas}.get(name, config.replicas * config.spans)


def _steps(name: str, config: Fig7Config) -> tuple[int, ...]:
    last = config.digits_last if name == "digits" else config.last
    return logarithmic_steps(last, round(PER_DECADE * np.log10(last / config.every)) + 1, every=config.every)


def _lengths(steps: tuple[int, ...], every: int) -> tuple[int, ...]:
    """Lengths of trajectories, three in a decade."""
    ratio = steps[-1] / (FIRST * every)
    wanted = np.geomspace(FIRST * every, steps[-1], round(3 * np.log10(ratio)) + 1)
    return tuple(sorted({min(steps, key=lambda k: abs(np.log(k / T))) for T in wanted}))


def _variables(name: str, at: Case, fits: Fits) -> dict[str, Variable]:
    words, dims = NAMES[name], (f"step_{name}", f"length_{name}", f"any_length_{name}")
    step, length, any_length = dims
    longer = fits.steps[fits.steps >= fits.lengths[0]]
    c = [fits.measured(T) for T in fits.lengths]
    return {
        step: variable(step, fits.steps, f"distance k, {words}", "step"),
        length: variable(length, np.array(fits.lengths), f"length T of the trajectory, {words}", "step"),
        any_length: variable(any_length, longer, f"length T of the trajectory, {words}", "step"),
        **measurement(f"{name}_displacement", step, fits.displacement, f"E|Δ_k|², {words}", "w²"),
        f"{name}_exact": variable(step, fits.exact, f"E|Δ_k|², {words}, exact", "w²"),
        f"{name}_exponent": variable(length, [e.value for e in c], f"exponent c, {words}, measured"),
        f"{name}_exponent_error": variable(length, [e.standard_error for e in c], f"exponent c, {words}, error"),
        f"{name}_exponent_exact": variable(
            any_length, [fits.expected(int(T)) for T in longer], f"exponent c, {words}, of the exact curve"
        ),
        f"{name}_saturation": variable("", at.saturation, f"2 tr Cov θ, {words}", "w²"),
    }


FIG7 = register(
    Experiment(
        name="kunin2023/fig7",
        summary="the fitted exponent of the displacement over the length of the trajectory",
        source=source("Fig. 7, App. H.7"),
        config=Fig7Config,
        presets={
            "quick": Fig7Config(),
            "paper": Fig7Config(digits_replicas=1024, replicas=2048, last=30_000, digits_last=6000),
        },
        run=run,
        figure="kunin2023/fig7",
    )
)
