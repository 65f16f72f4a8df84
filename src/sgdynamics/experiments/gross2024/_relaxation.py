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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from sgdynamics import _checks
from sgdynamics._types import PRNGKey
from sgdynamics.experiments import _ensembles, _two_layer
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._two_layer import TwoLayer
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.gross2024 import _relaxation_drift
from sgdynamics.experiments.gross2024._relaxation_drift import GROUPS, balance, grouped, layers
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Estimate, Snapshots


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
    short, provenance = _relaxation(case, config, key, progress)
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
    data = dataset(_variables(short) | _relaxation_drift.variables(long), coordinates)
    data = data.assign_attrs(balance_time=small.balance_time)
    claims = _claims(short) + _rest_claims(short) + _relaxation_drift.claims(long)
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


# --- relaxation -----------------------------------------------------------------------------------------------


class Short(NamedTuple):
    """In the modes of H, those at rest in `idle`; variances in units of κ; records at `steps`, the first at 0."""

    steps: list[int]
    rates: np.ndarray
    growth: Estimate  # [records, modes], from θ⁰
    growth_law: np.ndarray
    growth_white: np.ndarray
    memory: Estimate  # [records, modes], regression of χ(t) on χ(0) in the stationary law
    memory_law: np.ndarray
    equilibrium: Estimate  # [modes]
    equilibrium_law: np.ndarray
    idle: Estimate  # [records], E χ² over modes of rate 0, from θ⁰
    together: Estimate  # [], part of the last that is the square of the mean
    balance: Estimate  # [], growth of 𝓑 at the first record, along the drift


def _relaxation(case: TwoLayer, config: RelaxationConfig, key: PRNGKey, progress: Progress) -> tuple[Short, Any]:
    R, every = config.replicas, config.steps // config.records
    steps = list(range(0, config.steps + 1, every))
    warm = case.starts(_ensembles.named(key, "starts"), R, case.covariance())
    cold = jnp.broadcast_to(case.origin[None, :], warm.shape)
    ensemble = _ensembles.simulate(
        case.descent(), Snapshots(steps), progress, "relaxation", key=key, replicas=2 * R, steps=config.steps,
        every=every, initial=jnp.concatenate([cold, warm]),
    )  # fmt: skip
    θ = np.asarray(ensemble.estimates.values, float)
    _checks.finite("weights", θ)
    h, modes, idle = _modes(case)
    χ = (θ - np.asarray(case.origin)) @ np.asarray(case.directions) @ np.concatenate([modes, idle], axis=1)
    n, κ = len(h), case.unit
    cold_χ, warm_χ = χ[:, :R, :n], χ[:, R:, :n]
    t = np.asarray(steps) * case.learning_rate
    stationary = np.einsum("ak,ab,bk->k", modes, case.covariance(), modes) / κ
    powers = (1 - case.learning_rate * h) ** np.asarray(steps)[:, None]
    return Short(
        steps, h,
        growth=over_realisations(_variances(cold_χ) / κ),
        growth_law=stationary * (1 - powers**2),
        growth_white=-np.expm1(-2 * t[:, None] * h),
        memory=over_realisations(memory(warm_χ)),
        memory_law=powers,
        equilibrium=over_realisations(_variances(warm_χ).mean(axis=1) / κ),
        equilibrium_law=stationary,
        idle=over_realisations(grouped(χ[:, :R, n:] ** 2).mean(axis=(2, 3)) / κ),
        together=over_realisations(_together(grouped(χ[-1:, :R, n:])[:, 0])),
        balance=_balance_growth(case, θ[[0, 1], :R], case.learning_rate * every),
    ), ensemble.provenance  # fmt: skip


def _modes(case: TwoLayer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rates, descending, their eigenvectors [reduced, modes] and those of rate 0 [reduced, rest]."""
    vectors = np.linalg.eigh(case.hessian)[1]
    return case.rates, vectors[:, ::-1][:, : len(case.rates)], vectors[:, ::-1][:, len(case.rates) :]


def _variances(χ: Float[np.ndarray, "records replicas modes"]) -> Float[np.ndarray, "groups records modes"]:
    return grouped(χ).var(axis=2, ddof=1)


def memory(χ: Float[np.ndarray, "records replicas modes"]) -> Float[np.ndarray, "groups records modes"]:
    """Σ χ(t) χ(0)/Σ χ(0)² over a group's replicas: unbiased, as χ(0) is given."""
    groups = grouped(χ)
    start = groups[:, :1]
    return np.sum(groups * start, axis=2) / np.sum(start**2, axis=2)


def _together(χ: Float[np.ndarray, "groups members modes"]) -> Float[np.ndarray, " groups"]:
    """(Eχ)²/E χ² over modes: the numerator unbiased by the scatter, the denominator that of all groups."""
    square = χ.mean(axis=1) ** 2 - χ.var(axis=1, ddof=1) / χ.shape[1]
    return square.sum(axis=-1) / np.sum(np.mean(χ**2, axis=(0, 1)))


def _balance_growth(case: TwoLayer, θ: Float[np.ndarray, "2 replicas parameters"], time: float) -> Estimate:
    """E[𝓑(t) − 𝓑(0)] along the drift at θ⁰ times t, in units of it."""
    expected = np.asarray(case.balance_drift()) * time
    B = balance(*layers(case, θ))
    growth = grouped((B[1] - B[0])[None]).mean(axis=(1, 2))
    return over_realisations(np.sum(growth * expected, axis=(1, 2)) / np.sum(expected**2))


def along(measured: Estimate, expected: np.ndarray, wrong: Any = 0.0) -> Estimate:
    """Least squares of measured − wrong by expected − wrong: 1 where the one is the other, 0 where it is wrong."""
    difference = expected - wrong
    deviations = np.asarray(measured.groups) - wrong
    return over_realisations(
        np.sum((deviations * difference).reshape(len(deviations), -1), axis=1) / np.sum(difference**2)
    )


def _claims(short: Short) -> list[Claim]:
    """Growth, memory, equilibrium against linear response with the exact noise, and against (3.40)-(3.42)."""
    one = np.broadcast_to(short.memory_law.mean(axis=1, keepdims=True), short.memory_law.shape)
    growth = evidence(along(short.growth, short.growth_law))
    memories = evidence(along(short.memory, short.memory_law))
    spread = evidence(along(short.equilibrium, short.equilibrium_law, wrong=1.0))
    white = evidence(along(short.growth, short.growth_law, wrong=short.growth_white))
    single = evidence(along(short.memory, short.memory_law, wrong=one))
    return [
        Claim.equality("growth", source("Eq. 3.41, exact noise"), "variances of modes from θ⁰, in units of the law's",
                       **growth, expected=1.0, resolution=0.05),
        Claim.rejection("growth/one variance/control", source("Eq. 3.41"),
                        "not (3.41) with one κ: on the line from it (0) to the law (1)",
                        **white, expected=1.0, rejected=0.0),
        Claim.equality("memory", source("Eq. 3.40"), "autocorrelations of all modes, in units of the law's",
                       **memories, expected=1.0, resolution=0.05),
        Claim.rejection("memory/one rate/control", source("Eq. 3.40"),
                        "not one function of time for all modes: on the line from their mean (0) to the law (1)",
                        **single, expected=1.0, rejected=0.0),
        Claim.equality("equilibrium/isotropic/published", source("Eq. 3.42"),
                       "variances in equilibrium do not depend on the mode: their spread in units of the law's",
                       **spread, expected=0.0, resolution=0.5),
        Claim.equality("equilibrium/spread", source("Eq. 3.42, exact noise"),
                       "variances in equilibrium less κ, in units of the law's",
                       **spread, expected=1.0, resolution=0.5),
    ]  # fmt: skip


def _rest_claims(short: Short) -> list[Claim]:
    """Modes of rate 0 move, and the balance shows by how much."""
    moved = evidence(over_realisations(short.idle.groups[:, -1]))
    growth = evidence(short.balance)
    return [
        Claim.equality("rest/fixed/published", source("text after Eq. 3.41"),
                       "modes with ω = 0 remain at their initialisation: E [χ(t) − χ(0)]² at the end, in κ",
                       **moved, expected=0.0, resolution=0.001),
        Claim.bound("rest/together", source("text after Eq. 3.41"),
                    "part of it that all replicas move alike: a drift, no diffusion",
                    **evidence(short.together), expected=0.5, side="at least"),
        *(Claim.bound(f"rest/balance drift/{side}", source("Eq. 3.6; balance drift"),
                      f"growth of 𝓑 at the first record, over the drift at θ⁰, {side} {bound:g}", **growth,
                      expected=bound, side=side)
          for side, bound in (("at least", 0.95), ("at most", 1.05))),
    ]  # fmt: skip


def _variables(short: Short) -> dict[str, Variable]:
    dims, κ = ("t", "mode"), "ησ_e²/(2S)"
    growth, kept, equal = "variance of modes from θ⁰", "autocorrelation of modes", "variance of modes in equilibrium"
    return (
        measurement("growth", dims, short.growth, growth, κ)
        | measurement("memory", dims, short.memory, kept)
        | measurement("equilibrium", "mode", short.equilibrium, equal, κ)
        | measurement("rest", "t", short.idle, "mean square of modes with rate 0", κ)
        | {
            "growth_law": variable(dims, short.growth_law, f"{growth}, linear response", κ),
            "growth_white": variable(dims, short.growth_white, f"{growth}, (3.41)", κ),
            "memory_law": variable(dims, short.memory_law, f"{kept}, (3.40)"),
            "equilibrium_law": variable("mode", short.equilibrium_law, f"{equal}, linear response", κ),
            "rate": variable("mode", short.rates, "relaxation rate", "1/t"),
        }
    )


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
