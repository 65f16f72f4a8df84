"""Fig. 9(b): the loss along the principal directions of the first layer's fluctuations, beyond the N_i that linear
theory has.

    δL(θ v) = ½ θ² tr(W₂ v S_xx vᵀ W₂ᵀ) = ½ θ² κ(v),      v: [hidden, inputs], |v| = 1, W₂ = S₂ uᵀ for one output

Linear theory lets δW₁ = u bᵀ fluctuate alone, in N_i directions: κ = D₂ bᵀ S_xx b, σ_x² D₂ for white inputs whatever
the variance, which runs from (η σ_e²/2S) D₂/(D₁ + D₂) to η σ_e²/2S. There is no inverse variance-flatness relation.

All directions with uᵀ v = 0 are null: W₂ v = 0, so that δL is 0 for any amplitude. SGD and the SDE (3.15) move along
them all the same, as the force and the noise on W₁, (W₂ + δW₂)ᵀ e xᵀ, leave the direction of u: their variance is of
second order in the noise and grows with time. Principal directions beyond N_i are therefore null up to sampling, and
the loss drops there; linear theory has no such directions.

SGD and SDE start from linear response's law, without spread in null directions; even the slowest mode forgets half of
its variance at the start until the mean record. The SDE's time step is
η/substeps; it is run with two numbers of substeps, between which nothing may change.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments import _ensembles, _two_layer
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._two_layer import TwoLayer
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.gross2024._principal import GROUPS, Principal, along, principal, variances_along
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Estimate, Projection, Snapshots, SnapshotsEstimate

RECORDS = 4  # snapshots, equally spaced
WORDS = {"sgd": "SGD", "coarse": "SDE, fewer substeps", "sde": "SDE"}
NULL = 0.1  # of the loss in the range: what we would call a drop


@dataclass(frozen=True)
class Fig9bConfig:
    """SGD and its SDE about a minimum of a two-layer linear network on pure noise."""

    inputs: int = 30
    """N_i; σ_x² = 1/N_i."""
    hidden: int = 20
    """N_h."""
    samples: int = 300
    """P."""
    label_noise_std: float = 1.0
    """Standard deviation of the targets."""
    learning_rate: float = 0.1
    """Learning rate η; time t = η × step."""
    batch_size: int = 100
    """Minibatch size S, drawn with replacement."""
    replicas: int = 1024
    """Replicas of each ensemble; half of them give directions, half variances."""
    steps: int = 400
    """Steps of η, a multiple of 4: four snapshots are taken."""
    substeps: tuple[int, int] = (1, 2)
    """Steps of the SDE in one η: coarse and fine."""
    amplitude: float = 1.0
    """θ, the length of the perturbation [w]."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("batch_size", "steps"):
            _checks.count(name, getattr(self, name))
        for name in ("label_noise_std", "learning_rate", "amplitude"):
            _checks.positive(name, getattr(self, name))
        _checks.count("inputs", self.inputs, least=3)
        _checks.count("hidden", self.hidden, least=2)
        _checks.count("samples", self.samples, least=self.inputs + 1)
        coarse, fine = (_checks.count("substeps", n) for n in self.substeps)
        _checks.require("substeps", self.substeps, coarse < fine, allowed="ascending: coarse, fine")
        _checks.require("steps", self.steps, self.steps % RECORDS == 0, allowed=f"a multiple of {RECORDS}")
        whole = self.replicas > 0 and self.replicas % (2 * GROUPS) == 0
        _checks.require("replicas", self.replicas, whole, allowed=f"a multiple of {2 * GROUPS}")


@dataclass(frozen=True)
class Measured:
    """Of one dynamics: principal directions of δW₁, variances of z₁ = uᵀ δW₁ along linear response's modes, and the
    sum of all variances in null directions."""

    principal: Principal
    range: Estimate
    null: Estimate


def run(config: Fig9bConfig, progress: Progress) -> Result:
    """SGD, the SDE twice, and linear response, on one data set."""
    key = jax.random.key(config.seed)
    case = _two_layer.pure_noise(
        key, samples=config.samples, inputs=config.inputs, hidden=config.hidden, learning_rate=config.learning_rate,
        label_noise_std=config.label_noise_std, batch_size=config.batch_size,
    )  # fmt: skip
    coarse, fine = config.substeps
    dynamics = {"sgd": case.descent(), "coarse": case.langevin(coarse), "sde": case.langevin(fine)}
    ensembles = {name: _ensemble(name, one, case, config, key, progress) for name, one in dynamics.items()}
    measured = {name: _measured(ensemble.estimates, case) for name, ensemble in ensembles.items()}
    data = dataset(_variables(measured, case, config), _coordinates(config))
    provenance = {WORDS[name]: ensemble.provenance for name, ensemble in ensembles.items()}
    return Result(data, _claims(measured, case, config), provenance)


def _ensemble(name: str, dynamics: Any, case: TwoLayer, config: Fig9bConfig, key, progress: Progress):
    """Positions at the snapshots, from θ⁰."""
    every = config.steps // RECORDS
    first = jnp.eye(case.origin.size, case.layers[0].size)
    return _ensembles.simulate(
        dynamics, Snapshots(range(every, config.steps + 1, every), of=Projection(first, origin=case.origin)),
        progress, WORDS[name], key=key, replicas=config.replicas, steps=config.steps, every=every,
        initial=case.starts(_ensembles.named(key, f"starts {name}"), config.replicas, case.covariance()),
    )  # fmt: skip


def _measured(snapshots: SnapshotsEstimate, case: TwoLayer) -> Measured:
    values = np.asarray(snapshots.values, float)
    inputs, hidden, _ = case.widths
    modes = range_directions(case) @ first_modes(case)[1]
    along_modes = variances_along(values, modes, 2 * GROUPS)
    null = np.linalg.qr(np.concatenate([_output_direction(case)[:, None], np.eye(hidden)], axis=1))[0][:, 1:hidden]
    beyond = variances_along(values, np.kron(null, np.eye(inputs)), 2 * GROUPS)
    return Measured(principal(snapshots, 2 * inputs), along_modes, beyond.map(jnp.sum))


# --- the first layer at the minimum ---------------------------------------------------------------------------


def _output_direction(case: TwoLayer) -> np.ndarray:
    """u = W₂/S₂ [hidden]."""
    second = np.asarray(case.layers[1])[0]
    return second / np.linalg.norm(second)


def range_directions(case: TwoLayer) -> np.ndarray:
    """u bᵀ for the unit vectors b, in columns over δW₁ [hidden · inputs, inputs]."""
    return np.kron(_output_direction(case)[:, None], np.eye(case.widths[0]))


def curvatures(case: TwoLayer, directions: np.ndarray) -> np.ndarray:
    """κ(v) = tr(W₂ v S_xx vᵀ W₂ᵀ) of each column over δW₁ [modes]."""
    inputs, hidden, _ = case.widths
    x = np.asarray(case.data.x)
    moved = np.einsum("h,hik->ik", np.asarray(case.layers[1])[0], directions.reshape(hidden, inputs, -1))
    return along(moved, x.T @ x / len(x))


def first_modes(case: TwoLayer) -> tuple[np.ndarray, np.ndarray]:
    """Variances of M₁₁ of linear response, descending, and eigenvectors b in columns [inputs, inputs]."""
    layer = np.asarray(case.directions)[: case.layers[0].size, : case.widths[0]]
    turn = range_directions(case).T @ layer  # u and the direction of the theory differ by a sign
    M = np.asarray(case.covariance())[: case.widths[0], : case.widths[0]]
    values, vectors = np.linalg.eigh(turn @ M @ turn.T)
    return values[::-1], vectors[:, ::-1]


# --- the data -------------------------------------------------------------------------------------------------


def _coordinates(config: Fig9bConfig) -> dict[str, Variable]:
    indices = {"index": 2 * config.inputs, "mode": config.inputs}
    words = {"index": "index of the principal direction", "mode": "index of the mode in the range"}
    return {name: variable(name, np.arange(1, size + 1), words[name]) for name, size in indices.items()}


def _variables(measured: dict[str, Measured], case: TwoLayer, config: Fig9bConfig) -> dict[str, Variable]:
    """Losses at θ over their value for white inputs, (σ_x²/2) θ² D₂; variances in units of ησ_e²/2S."""
    unit, white = case.unit, case.input_variance * case.second_strengths[0]
    values, vectors = first_modes(case)
    flat = curvatures(case, range_directions(case) @ vectors) / white
    variables = {
        "variance_response": variable("mode", values / unit, "variance of δW₁, linear response", "ησ_e²/2S"),
        "loss_response": variable("mode", flat, "loss along δW₁, linear response", "(σ_x²/2)θ²D₂"),
        "loss_white": variable("", config.amplitude**2 / 2 * white, "loss along δW₁, white inputs"),
    }
    for name, one in measured.items():
        scaled = lambda e: e.map(lambda v: v / unit)
        words = f"δW₁, {WORDS[name]}"
        loss = curvatures(case, one.principal.directions) / white
        variables[f"loss_{name}"] = variable("index", loss, f"loss along {words}", "(σ_x²/2)θ²D₂")
        principal_variance, of_modes = scaled(one.principal.variances), scaled(one.range)
        variables |= measurement(f"variance_{name}", "index", principal_variance, f"variance of {words}", "ησ_e²/2S")
        variables |= measurement(f"range_{name}", "mode", of_modes, f"variance in the range, {words}", "ησ_e²/2S")
    return variables


# --- the claims -----------------------------------------------------------------------------------------------


def _claims(measured: dict[str, Measured], case: TwoLayer, config: Fig9bConfig) -> list[Claim]:
    claims = [claim for name in ("sgd", "sde") for claim in _of(measured[name], WORDS[name], case, config)]
    return [*claims, *_comparisons(measured)]


def _drifted(case: TwoLayer, config: Fig9bConfig) -> float:
    """Mean time of a record over the balance time: by what part D₂ has fallen."""
    return config.learning_rate * config.steps * (1 + 1 / RECORDS) / 2 / case.balance_time


def _of(one: Measured, name: str, case: TwoLayer, config: Fig9bConfig) -> list[Claim]:
    """Of one dynamics: variances in the range, the slope there, the drop beyond it."""
    values, vectors = first_modes(case)
    k = curvatures(case, range_directions(case) @ vectors)
    slope = one.range.map(lambda v: relation_slope(v, k))
    expected = float(relation_slope(values, k))
    tolerance = _drifted(case, config)
    text = "slope of ln δL against ln variance over the N_i modes of linear response"
    return [
        Claim.equality(
            f"{name}/variances", source("Eq. 3.30, with the noise of the data set"),
            "variance of δW₁ over linear response, mean over its N_i modes (tolerance: drift of D₂)",
            **evidence(one.range.map(lambda v: (v / values).mean())), expected=1.0, resolution=0.05,
            tolerance=tolerance,
        ),
        Claim.equality(
            f"{name}/slope", source("Sec. III C 3, first layer"), f"{text}: linear response (tolerance: drift of D₂)",
            **evidence(slope), expected=expected, resolution=0.1, tolerance=tolerance,
        ),
        Claim.rejection(
            f"{name}/ψ = 2/control", source("Sec. III C 3, first layer"), f"{text}: not 1, ψ = 2, as for W₂",
            **evidence(slope), expected=expected, rejected=1.0,
        ),
        *_drop(one, name, case),
    ]  # fmt: skip


def _drop(one: Measured, name: str, case: TwoLayer) -> list[Claim]:
    """Beyond N_i the loss falls, and the variance is small but not 0."""
    inputs, loss = case.widths[0], curvatures(case, one.principal.directions)
    beyond = over_realisations(loss[inputs:] / loss[:inputs].mean())
    return [
        Claim.bound(
            f"{name}/drop at N_i", source("Fig. 9(b)"),
            f"δL for i = N_i + 1 … 2 N_i over its mean up to N_i, at most {NULL:g} (error: scatter over i)",
            **evidence(beyond), expected=NULL, side="at most",
        ),
        Claim.rejection(
            f"{name}/null directions stay/control", source("Eq. 3.28c, inset of Fig. 9(b)"),
            "variance of δW₁ in null directions, summed, in units of ησ_e²/2S: not the 0 of linear theory",
            **evidence(one.null.map(lambda v: v / case.unit)), rejected=0.0, resolution=1.0,
        ),
    ]  # fmt: skip


def _comparisons(measured: dict[str, Measured]) -> list[Claim]:
    """The SDE is converged in its time step, and SGD moves as it does."""
    claims = []
    for name, id in (("coarse", "SDE converged"), ("sgd", "SGD is the SDE")):
        for part, words, resolution in (("range", "along the N_i modes", 0.06), ("null", "in null directions", 0.1)):
            ratio = log_ratio(getattr(measured[name], part), getattr(measured["sde"], part))
            claims.append(
                Claim.equality(
                    f"{id}/{part}", source("Eq. 3.15"),
                    f"ln of the variance of δW₁ {words}, {WORDS[name]} over {WORDS['sde']}",
                    **evidence(ratio), expected=0.0, resolution=resolution,
                )
            )  # fmt: skip
    return claims


def relation_slope(variances: Any, curvatures: np.ndarray) -> jax.Array:
    """d ln δL / d ln Var by least squares: the loss hardly varies, and it is exact. Errors of 5 % in variances that
    differ by a factor of 5 lower it by 1 % of itself."""
    x = jnp.log(jnp.asarray(variances))
    x, y = x - x.mean(), np.log(curvatures) - np.mean(np.log(curvatures))
    return jnp.sum(x * y) / jnp.sum(x**2)


def log_ratio(one: Estimate, other: Estimate) -> Estimate:
    """ln (mean of one / mean of the other), independent of each other: their groups may be paired at will."""
    logs = [e.map(lambda v: jnp.log(v.mean())) for e in (one, other)]
    return over_realisations(np.asarray(logs[0].groups) - np.asarray(logs[1].groups), "logarithm of a ratio")


FIG9B = register(
    Experiment(
        name="gross2024/fig9b",
        summary="loss along the first layer's principal directions, of SGD, its SDE and linear theory",
        source=source("Fig. 9(b)"),
        config=Fig9bConfig,
        presets={
            "quick": Fig9bConfig(replicas=640, steps=200),
            "paper": Fig9bConfig(replicas=2048),
        },
        run=run,
        figure="gross2024/fig9b",
    )
)
