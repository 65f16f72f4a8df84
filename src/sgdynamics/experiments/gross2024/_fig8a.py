"""Fig. 8(a): the covariance M of the weights z of two linear layers, in the singular bases (3.24), as a matrix.

    M H + H M − η H M H = η C        linear response of SGD to the noise of these samples
    M = (η σ_e²/2S) projector        on the range of H: Wick's noise, (3.30), whatever the inputs
    M₂₂ = (η σ_e²/2S) D₁/(D₁ + D₂)   its second-layer block, diagonal (3.34)
    M = (η σ_e²/2S) 1                without the coupling of the layers: isotropic

H has the eigenvalues σ_x² (D₁ + D₂), σ_x² D₂ (N_i − N_h times) and 0 (N_h times) for white inputs (3.28), so that M
has N_i that are not 0. The noise of P samples differs from Wick's by 1/√P in every correlation of two components:
M₂₂ is not diagonal for any one data set.

The trace tr(H⁺ C) η/2 does not know the layers. For pure noise and Gaussian inputs its mean over data is exactly

    ⟨tr M / ⟨y²⟩⟩ = (η N_i/2S) (P − N_i)/(P + 2),        1 − N_i/P to leading order, not the paper's 1 − 1/P:

one sample of leverage h has e² = (1 − h)⟨y²⟩ and x·S_xx⁻¹ x = P h, with ⟨h²⟩ = N_i (N_i + 2)/(P (P + 2)).
There the layers are W₁ as drawn, moved to the nearest minimum, W₁ + W₂⁺ (w* − W₂ W₁), without a flow.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics import _checks
from sgdynamics._types import PRNGKey, Vector
from sgdynamics.experiments import _ensembles, _noise_targets, _two_layer
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._two_layer import TwoLayer
from sgdynamics.experiments._two_layer_observables import local_covariance
from sgdynamics.experiments._variables import Variable, dataset, variable
from sgdynamics.experiments.gross2024 import _fig8a_matrix
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Estimate, Snapshots


@dataclass(frozen=True)
class Fig8aConfig:
    """The covariance matrix of one data set, and the trace over several."""

    inputs: int = 30
    """N_i."""
    hidden: int = 20
    """N_h, at most N_i."""
    samples: int = 300
    """P of the matrix that is drawn, above N_i."""
    trace_samples: tuple[int, ...] = (60, 150, 300)
    """P at which the trace is measured, above N_i."""
    label_noise_std: float = 0.1**0.5
    """σ_y, of the targets."""
    learning_rate: float = 0.1
    """η; time t = η × step."""
    batch_size: int = 10
    """S, drawn with replacement."""
    replicas: int = 1024
    """SGD replicas of the matrix, a multiple of 32."""
    steps: int = 1000
    """SGD steps of the matrix; short against the balance time, 10⁴ steps here."""
    data_sets: int = 16
    """Data sets at each P of `trace_samples`."""
    trace_replicas: int = 128
    """SGD replicas of each of them, a multiple of 32."""
    trace_steps: int = 500
    """SGD steps of each of them."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("inputs", "hidden", "batch_size", "steps", "trace_steps"):
            _checks.count(name, getattr(self, name))
        _checks.require("hidden", self.hidden, self.hidden <= self.inputs, allowed=f"at most inputs = {self.inputs}")
        _checks.count("data_sets", self.data_sets, least=2)
        for name in ("label_noise_std", "learning_rate"):
            _checks.positive(name, getattr(self, name))
        for name in ("replicas", "trace_replicas"):
            _checks.count(name, getattr(self, name), least=64)
            _checks.require(name, getattr(self, name), getattr(self, name) % 32 == 0, allowed="a multiple of 32")
        for name, values in (("samples", (self.samples,)), ("trace_samples", self.trace_samples)):
            for value in values:
                _checks.count(name, value, least=self.inputs + 1)


def run(config: Fig8aConfig, progress: Progress) -> Result:
    """The matrix from an ensemble that starts in the white law (3.30), then the trace of many data sets."""
    key = jax.random.key(config.seed)
    case = _case(config, key)
    ensemble = _ensembles.simulate(
        case.descent(), Snapshots((config.steps,), of=case.coordinates), progress, "matrix", key=key,
        replicas=config.replicas, steps=config.steps, every=config.steps,
        initial=case.starts(_ensembles.named(key, "starts"), config.replicas, case.covariance("wick")),
    )  # fmt: skip
    measured = _fig8a_matrix.mapped(local_covariance(ensemble.estimates), lambda M: M / case.unit)
    expected = _fig8a_matrix.relaxed(case, config.steps) / case.unit
    traces = [_traces(samples, config, key, progress) for samples in config.trace_samples]
    variables = _fig8a_matrix.variables(case, measured, expected) | _trace_variables(traces)
    coordinates = {
        "row": variable("row", np.arange(1, len(expected) + 1), "component of z"),
        "column": variable("column", np.arange(1, len(expected) + 1), "component of z"),
        "samples": variable("samples", np.asarray(config.trace_samples), "samples P"),
        "rank": variable("rank", np.arange(1, config.hidden + 1), "component of z₂"),
    }
    data = dataset(variables, coordinates).assign_attrs(inputs=config.inputs)
    claims = _fig8a_matrix.claims(case, measured, expected) + _fig8a_matrix.spectrum_claims(
        _fig8a_matrix.white_inputs(case)
    )
    for samples, estimate in zip(config.trace_samples, traces, strict=True):
        claims += _trace_claims(samples, config, estimate)
    return Result(data, claims, {"matrix": ensemble.provenance})


def _case(config: Fig8aConfig, key: PRNGKey) -> TwoLayer:
    return _two_layer.pure_noise(
        key, samples=config.samples, inputs=config.inputs, hidden=config.hidden,
        label_noise_std=config.label_noise_std, learning_rate=config.learning_rate, batch_size=config.batch_size,
    )  # fmt: skip


# --- the trace ------------------------------------------------------------------------------------------------


def _traces(samples: int, config: Fig8aConfig, key: PRNGKey, progress: Progress) -> Estimate:
    """tr M in units of N_i η ⟨y²⟩/2S, mean over data sets."""
    keys = [_ensembles.named(key, f"P = {samples}, data {number}") for number in range(config.data_sets)]
    return over_realisations(np.stack([_trace(samples, config, key, progress) for key in keys]))


def _trace(samples: int, config: Fig8aConfig, key: PRNGKey, progress: Progress) -> float:
    case = projected(samples, config, key)
    ensemble = _ensembles.simulate(
        case.descent(), Snapshots((config.trace_steps,), of=case.coordinates), progress, f"P = {samples}", key=key,
        replicas=config.trace_replicas, steps=config.trace_steps, every=config.trace_steps,
        initial=case.starts(_ensembles.named(key, "starts"), config.trace_replicas, case.covariance()),
    )  # fmt: skip
    V = case.modes()[1]
    M = np.asarray(local_covariance(ensemble.estimates).value)
    unit = config.learning_rate * np.mean(np.asarray(case.data.y) ** 2) / (2 * config.batch_size)
    return float(np.trace(V.T @ M @ V)) / (config.inputs * unit)


def projected(samples: int, config: Fig8aConfig, key: PRNGKey) -> TwoLayer:
    """Layers as drawn, W₁ moved to the minimum."""
    widths = (config.inputs, config.hidden, 1)
    Σ = _noise_targets.input_covariance(config.inputs)
    data = _noise_targets.noise_targets(_ensembles.named(key, "data"), samples, 1, config.label_noise_std, Σ)
    network = _noise_targets.initial(_ensembles.named(key, "layers"), widths, "large")
    first, second = (np.asarray(W) for W in network.weights)
    best = np.linalg.lstsq(np.asarray(data.x), np.asarray(data.y), rcond=None)[0].T
    first = first + second.T @ (best - second @ first) / np.sum(second**2)
    origin: Vector = jnp.asarray(np.concatenate([first.ravel(), second.ravel()]))
    return TwoLayer(data, config.hidden, origin, config.learning_rate, config.batch_size)


def _trace_variables(traces: list[Estimate]) -> dict[str, Variable]:
    words, units = "tr M", "N_i η⟨y²⟩/(2S)"
    values, errors = ([float(np.asarray(part)) for part in parts] for parts in zip(
        *((estimate.value, estimate.standard_error) for estimate in traces), strict=True))  # fmt: skip
    return {
        "trace": variable("samples", values, f"{words}, measured", units),
        "trace_error": variable("samples", errors, f"{words}, standard error over data", units),
    }


def average_trace(samples: int, inputs: int) -> float:
    """(P − N_i)/(P + 2)."""
    return (samples - inputs) / (samples + 2)


def _trace_claims(samples: int, config: Fig8aConfig, measured: Estimate) -> list[Claim]:
    exact, printed = average_trace(samples, config.inputs), 1 - 1 / samples
    words = "tr M in units of N_i η⟨y²⟩/2S"
    # η h/2 of SGD's steps; h < 0.25 for these layers and inputs
    common = {"resolution": (printed - exact) / 2, "tolerance": config.learning_rate / 8 * exact}
    return [
        Claim.equality(f"P = {samples}/residual variance/published", source("Eq. 3.21, App. E"),
                       f"{words}: 1 − 1/P", **evidence(measured), expected=printed, **common),
        Claim.equality(f"P = {samples}/residual variance", source("Eq. 3.21, corrected"),
                       f"{words}: (P − N_i)/(P + 2)", **evidence(measured), expected=exact, published=printed,
                       **common),
    ]  # fmt: skip


FIG8A = register(
    Experiment(
        name="gross2024/fig8a",
        summary="covariance matrix of a two-layer linear network in its singular bases",
        source=source("Fig. 8(a)"),
        config=Fig8aConfig,
        presets={
            "quick": Fig8aConfig(trace_samples=(60, 150)),
            "paper": Fig8aConfig(replicas=8192, data_sets=64, trace_replicas=256),
        },
        run=run,
        figure="gross2024/fig8a",
    )
)
