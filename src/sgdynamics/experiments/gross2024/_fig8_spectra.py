"""Fig. 8(b), (c): eigenvalues of the covariance of both layers' weights, from small and from large initial weights.

    (h_i + h_j − η h_i h_j) M_ij = η C_ij      SGD's linear response at θ⁰, exact noise C of this data set
    C = (σ_e²/S) H:  M = (η σ_e²/2S) P_H       Wick, (3.30): one value on the N_i directions that fluctuate
    M ∝ 1                                      layers uncoupled: N_i + N_h directions fluctuate
    var a_k = (η σ_e²/2S) D₁ₖ/D₂               (3.36) along the eigenvectors a_k of W₁ W₁ᵀ, for D₁ ≪ D₂
    d/dt (W₂ᵀ W₂ − W₁ W₁ᵀ) ≠ 0                 the slow drop, within S/(η σ_e² σ_x² N_i)

The paper does not say P: two are shown. Variances are measured along the expected eigenvectors, about the ensemble's
mean at each time; ordered eigenvalues of a sample are biased and only shown. What linear response freezes fluctuates
at the next order in η: that is what the paper sees beyond index N_i. The covariance over the time of one run is
another thing: its largest eigenvalues are large because the slowest modes relax within 70 to 200 units of t.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments import _ensembles, _two_layer
from sgdynamics.experiments._noise_targets import INITIALISATIONS
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Result
from sgdynamics.experiments._two_layer import TwoLayer
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.gross2024 import _fig8_claims
from sgdynamics.experiments.gross2024._fig8_runs import GROUPS, Window, one_run, over, window
from sgdynamics.statistics import Estimate

UNITS = "ησ_e²/(2S)"


@dataclass(frozen=True)
class SpectraConfig:
    """Spectra of the weight covariance at several numbers of samples and learning rates."""

    initialisation: str = "large"
    """"small", "large" or "balanced": where the gradient flow to θ⁰ starts."""
    inputs: int = 30
    """N_i."""
    hidden: int = 20
    """N_h; the output is one."""
    samples: tuple[int, ...] = (300, 3000)
    """P, each above N_i."""
    learning_rates: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8)
    """Learning rates η, ascending; spectra are shown at the first. Time t = η × step."""
    batch_size: int = 10
    """Minibatch size S, drawn with replacement."""
    label_noise_std: float = 0.1**0.5
    """Standard deviation σ_ε of the targets."""
    replicas: int = 16_384
    """SGD replicas at each P and η, a multiple of 32."""
    time: float = 40.0
    """Window of an ensemble, units of t: short against the balance time, 1000 at η = 0.1."""
    run_time: float = 1000.0
    """Length of the single runs whose covariance over time is shown, units of t."""
    runs: int = 32
    """How many of these."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        if self.initialisation not in INITIALISATIONS:
            raise ValueError(f"initialisation = {self.initialisation}, but it must be one of {INITIALISATIONS}.")
        for name in ("inputs", "hidden", "batch_size"):
            _checks.count(name, getattr(self, name))
        _checks.count("runs", self.runs, least=2)
        for name in ("label_noise_std", "time", "run_time"):
            _checks.positive(name, getattr(self, name))
        for samples in self.samples:
            _checks.require("samples", samples, samples > self.inputs, allowed="more than inputs")
        rates = self.learning_rates
        rising = len(rates) >= 2 and rates[0] > 0 and all(np.diff(rates) > 0)
        _checks.require("learning_rates", rates, rising, allowed="two or more, positive and ascending")
        whole = self.replicas > GROUPS and self.replicas % GROUPS == 0
        _checks.require("replicas", self.replicas, whole, allowed=f"a multiple of {GROUPS}, more than one")


def run(config: SpectraConfig, progress: Progress) -> Result:
    """Ensembles at every P and η, and single runs at the largest P."""
    variables, claims, ensembles, slopes = {}, [], {}, []
    large = config.initialisation == "large"
    for samples in config.samples:
        label = f"P = {samples}"
        case = _case(config, samples)
        key = _ensembles.named(jax.random.key(config.seed), label)
        windows = [
            window(case, rate, config.time, config.replicas, progress, f"{label}, η = {rate:g}", key)
            for rate in config.learning_rates
        ]
        variables |= _spectra(windows[0], samples) | _of_rate(windows, samples)
        claims += _fig8_claims.spectrum_claims(windows[0], label, large) + _fig8_claims.rate_claims(windows, label)
        claims += _fig8_claims.drift_claims(windows[0], label)
        slopes.append(_fig8_claims.line(windows)[1])
        ensembles |= {f"{label}, η = {w.case.learning_rate:g}": w.provenance for w in windows}
    more = one_run(case, config.run_time, config.runs, progress, f"one run, {label}", key)
    variables |= _one_run_variables(case, more)
    if large:  # from small weights the modes' excess is about 1 % or less, even at η = 0.8
        claims.append(_fig8_claims.shrinking(slopes))
    claims += _fig8_claims.one_run_claims(case, more)
    data = dataset(variables, _coordinates(config, variables))
    data = data.assign_attrs(samples=list(config.samples), inputs=config.inputs, initialisation=config.initialisation)
    return Result(data, claims, ensembles | {f"one run, {label}": more[2]})


def _case(config: SpectraConfig, samples: int) -> TwoLayer:
    return _two_layer.pure_noise(
        jax.random.key(config.seed), samples=samples, inputs=config.inputs, hidden=config.hidden,
        label_noise_std=config.label_noise_std, learning_rate=config.learning_rates[0], batch_size=config.batch_size,
        initialisation=config.initialisation,
    )  # fmt: skip


# --- spectra --------------------------------------------------------------------------------------------------


def _spectra(seen: Window, samples: int) -> dict[str, Variable]:
    """Eigenvalues of both layers and of all directions, measured and by three laws, in units of ησ_e²/2S."""
    case, variables = seen.case, {}
    wick, unit = np.asarray(case.covariance("wick")), case.unit
    for name, block in _fig8_claims.blocks(case).items():
        values, U = _fig8_claims.modes(case, block)
        words = f"eigenvalue of the weight covariance, {name}, P = {samples}"
        measured = over(lambda M, b=block, U=U: _fig8_claims.along(M, b, U) / unit, seen.covariance)
        at, axis = f"at_{samples}_{name}", f"{name}_rank"
        variables |= measurement(f"{at}_sgd", axis, measured, words, UNITS)
        variables[f"{at}_theory"] = variable(axis, values / unit, f"{words}, linear response", UNITS)
        ordered = np.linalg.eigvalsh(wick[block, block])[::-1][: len(values)]
        variables[f"{at}_wick"] = variable(axis, ordered / unit, f"{words}, (3.30)", UNITS)
    ratio = case.first_strengths / case.second_strengths[0]
    words = f"eigenvalue of the second layer's covariance, P = {samples}, (3.36)"
    variables[f"at_{samples}_printed"] = variable("second_rank", ratio, words, UNITS)
    words = f"ordered eigenvalue of the first layer's covariance over replicas, P = {samples}, sample"
    variables[f"at_{samples}_ordered"] = variable("all_rank", seen.first_layer() / unit, words, UNITS)
    return variables


def _coordinates(config: SpectraConfig, variables: dict[str, Variable]) -> dict[str, Variable]:
    sizes = {dim: size for dims, values, _ in variables.values() for dim, size in zip(dims, values.shape, strict=True)}
    rates = variable("learning_rate", np.array(config.learning_rates), "learning rate")
    ranks = {d: variable(d, np.arange(1, n + 1), "rank of the eigenvalue") for d, n in sizes.items() if "rank" in d}
    return {"learning_rate": rates} | ranks


# --- against the learning rate --------------------------------------------------------------------------------


def _of_rate(windows: list[Window], samples: int) -> dict[str, Variable]:
    variables = {}
    for name, of, words, units in (
        ("excess", _fig8_claims.excess, "excess of the mean variance over linear response", "1"),
        ("beyond", _fig8_claims.frozen, "variance of all that linear response freezes", UNITS),
    ):
        seen = _fig8_claims.over_rates([of(w) for w in windows])
        variables |= measurement(f"at_{samples}_{name}", "learning_rate", seen, f"{words}, P = {samples}", units)
    return variables


# --- drift, and one run ---------------------------------------------------------------------------------------


def _one_run_variables(case: TwoLayer, more: tuple[Estimate, Estimate, dict]) -> dict[str, Variable]:
    words = f"eigenvalue of the first layer's covariance over the time of one run, P = {case.samples}"
    shown = [over(lambda v: v / case.unit, e) for e in more[:2]]
    return measurement("one_run", "time_rank", shown[0], words, UNITS) | measurement(
        "one_run_linear", "first_rank", shown[1], f"{words}, linear response", UNITS
    )


def presets(initialisation: str) -> dict[str, Any]:
    """The paper's parameters; quick: three learning rates."""
    quick = SpectraConfig(initialisation, learning_rates=(0.1, 0.4, 0.8), replicas=8192, runs=16)
    return {"quick": quick, "paper": SpectraConfig(initialisation)}
