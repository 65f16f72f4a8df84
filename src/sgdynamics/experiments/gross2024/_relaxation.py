"""Sec. III D: how the weights of two linear layers relax to their fluctuations, and where they drift.

With H = R Ω Rᵀ at the minimum, χ = Rᵀ z, white inputs and κ = η σ_e²/2S:

    E χ_k(t) χ_k(0) = e^{−σ_x² ω_k t} E χ_k²               (3.40); of SGD (1 − η h_k)^{t/η}
    Var χ_k(t) = κ (1 − e^{−2 σ_x² ω_k t})                 (3.41) from θ⁰; of SGD M_kk (1 − (1 − η h_k)^{2t/η})
    Var χ_k → κ                                            (3.42); of the noise these samples have, η C_kk/2h_k
    χ_k(t) = χ_k(0)   where ω_k = 0                        "remain fixed": to linear order

Beyond linear order nothing is fixed. The balance 𝓑 = W₂ᵀ W₂ − W₁ W₁ᵀ, which gradient flow keeps, drifts at
`two_layer.balance_drift`. Over long times mean weights m and their covariance Σ follow, to second order in the noise,

    m ← m − η ∇[L + ½ tr(∇²L Σ)](m),      Σ ← (1 − η ∇²L) Σ (1 − η ∇²L) + η² C       (`two_layer.slow_drift`):

|W₂|² falls within S/(η σ_e² σ_x² N_i), until N_i W₂ᵀ W₂ balances N_o W₁ W₁ᵀ in the mode that w* holds up; in the other
modes W₁ W₁ᵀ goes on falling, N_i/N_o times as slowly. So it is for white inputs; so might the paper's "slow
but steady drop" be read, which leaves out the zero mode.
"""

from dataclasses import dataclass

import jax
import numpy as np

from sgdynamics import _checks
from sgdynamics._types import PRNGKey
from sgdynamics.experiments import _ensembles, _two_layer
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._two_layer import TwoLayer
from sgdynamics.experiments._variables import dataset, variable
from sgdynamics.experiments.gross2024 import _relaxation_drift, _relaxation_modes
from sgdynamics.experiments.gross2024._relaxation_drift import GROUPS
from sgdynamics.experiments.gross2024._source import source


@dataclass(frozen=True)
class RelaxationConfig:
    """Relaxation at the paper's sizes; the drift over balance times of a smaller network."""

    inputs: int = 30
    """N_i."""
    hidden: int = 20
    """N_h, at most N_i."""
    samples: int = 300
    """P, inputs whitened."""
    label_noise_std: float = 0.1**0.5
    """σ_y, of the targets."""
    learning_rate: float = 0.1
    """η; time t = η × step."""
    batch_size: int = 10
    """S, drawn with replacement."""
    replicas: int = 1024
    """SGD replicas from θ⁰, and as many from the stationary law; a multiple of 32."""
    steps: int = 1000
    """SGD steps of the relaxation; short against the balance time, 10⁴ steps here."""
    records: int = 10
    """Records of it after the start, a divisor of steps."""
    small_inputs: int = 6
    """N_i of the smaller network."""
    small_hidden: int = 4
    """N_h of the smaller network."""
    small_samples: int = 120
    """P of the smaller network, inputs not whitened."""
    small_label_noise_std: float = 1.0
    """σ_y of the smaller network."""
    small_learning_rate: float = 0.2
    """η of the smaller network."""
    small_replicas: int = 512
    """SGD replicas of the smaller network, a multiple of 32."""
    balance_times: float = 6.0
    """How long the smaller network runs, in balance times."""
    small_records: int = 24
    """Records of it after the start."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        counts = "inputs hidden samples batch_size steps records small_inputs small_hidden small_samples small_records"
        for name in counts.split():
            _checks.count(name, getattr(self, name))
        for name in ("label_noise_std", "small_label_noise_std", "learning_rate", "small_learning_rate"):
            _checks.positive(name, getattr(self, name))
        _checks.positive("balance_times", self.balance_times)
        for name in ("replicas", "small_replicas"):
            _checks.count(name, getattr(self, name), least=2 * GROUPS)
            _checks.require(name, getattr(self, name), getattr(self, name) % GROUPS == 0, allowed="a multiple of 32")
        _checks.require("records", self.records, self.steps % self.records == 0, allowed="a divisor of steps")
        for prefix in ("", "small_"):
            inputs, hidden = (getattr(self, f"{prefix}{name}") for name in ("inputs", "hidden"))
            _checks.require(f"{prefix}hidden", hidden, hidden <= inputs, allowed=f"at most {prefix}inputs = {inputs}")
            _checks.count(f"{prefix}samples", getattr(self, f"{prefix}samples"), least=inputs + 1)


def run(config: RelaxationConfig, progress: Progress) -> Result:
    """Replicas from θ⁰ and from the stationary law, in the modes of H; then the small network for a long time."""
    key = jax.random.key(config.seed)
    case = _case(config, _ensembles.named(key, "relaxation"))
    short, provenance = _relaxation_modes.relax(
        case, key, progress, replicas=config.replicas, steps=config.steps, records=config.records
    )
    small = _small(config, _ensembles.named(key, "small"))
    long, small_provenance = _relaxation_drift.drift(
        small, key, progress, replicas=config.small_replicas, balance_times=config.balance_times,
        records=config.small_records,
    )  # fmt: skip
    coordinates = {
        "t": variable("t", case.learning_rate * np.asarray(short.steps), "time", "t"),
        "mode": variable("mode", np.arange(1, len(case.rates) + 1), "mode of H, by falling rate"),
        "rank": variable("rank", np.arange(1, config.small_hidden + 1), "rank"),
        "long_t": variable("long_t", small.learning_rate * np.asarray(long.steps), "time", "t"),
    }
    data = dataset(_relaxation_modes.variables(short) | _relaxation_drift.variables(long), coordinates)
    data = data.assign_attrs(balance_time=small.balance_time)
    claims = _relaxation_modes.claims(short) + _relaxation_modes.rest_claims(short) + _relaxation_drift.claims(long)
    return Result(data, claims, {"relaxation": provenance, "small": small_provenance})


def _case(config: RelaxationConfig, key: PRNGKey) -> TwoLayer:
    return _two_layer.pure_noise(
        key, samples=config.samples, inputs=config.inputs, hidden=config.hidden, whitened=True,
        label_noise_std=config.label_noise_std, learning_rate=config.learning_rate, batch_size=config.batch_size,
    )  # fmt: skip


def _small(config: RelaxationConfig, key: PRNGKey) -> TwoLayer:
    return _two_layer.pure_noise(
        key, samples=config.small_samples, inputs=config.small_inputs, hidden=config.small_hidden,
        label_noise_std=config.small_label_noise_std, learning_rate=config.small_learning_rate,
        batch_size=config.batch_size,
    )  # fmt: skip


RELAXATION = register(
    Experiment(
        name="gross2024/relaxation",
        summary="relaxation of a two-layer linear network in its modes, and its drift along the minima",
        source=source("Sec. III D"),
        config=RelaxationConfig,
        presets={
            "quick": RelaxationConfig(),
            "paper": RelaxationConfig(
                replicas=2048, records=20, small_learning_rate=0.1, small_replicas=1024, balance_times=12.0
            ),
        },
        run=run,
        figure="gross2024/relaxation",
    )
)
