"""Relaxation of the modes of two linear layers near their minimum, and the little that moves beside them."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from sgdynamics import _checks
from sgdynamics._types import PRNGKey
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._two_layer import TwoLayer
from sgdynamics.experiments._variables import Variable, measurement, variable
from sgdynamics.experiments.gross2024._relaxation_drift import balance, grouped, layers
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Estimate, Snapshots


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


def relax(
    case: TwoLayer, key: PRNGKey, progress: Progress, *, replicas: int, steps: int, records: int
) -> tuple[Short, Any]:
    """`replicas` from θ⁰, and as many from the stationary law."""
    R, every = replicas, steps // records
    recorded = list(range(0, steps + 1, every))
    warm = case.starts(_ensembles.named(key, "starts"), R, case.covariance())
    cold = jnp.broadcast_to(case.origin[None, :], warm.shape)
    ensemble = _ensembles.simulate(
        case.descent(), Snapshots(recorded), progress, "relaxation", key=key, replicas=2 * R, steps=steps,
        every=every, initial=jnp.concatenate([cold, warm]),
    )  # fmt: skip
    θ = np.asarray(ensemble.estimates.values, float)
    _checks.finite("weights", θ)
    h, modes, idle = modes_and_rest(case)
    χ = (θ - np.asarray(case.origin)) @ np.asarray(case.directions) @ np.concatenate([modes, idle], axis=1)
    n, κ = len(h), case.unit
    cold_χ, warm_χ = χ[:, :R, :n], χ[:, R:, :n]
    t = np.asarray(recorded) * case.learning_rate
    stationary = np.einsum("ak,ab,bk->k", modes, case.covariance(), modes) / κ
    powers = (1 - case.learning_rate * h) ** np.asarray(recorded)[:, None]
    return Short(
        recorded, h,
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


def modes_and_rest(case: TwoLayer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def claims(short: Short) -> list[Claim]:
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


def rest_claims(short: Short) -> list[Claim]:
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


def variables(short: Short) -> dict[str, Variable]:
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
