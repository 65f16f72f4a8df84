"""Claims of `_epochs_regression`: frozen noise, the mean's shift, the floor, exact moments."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import sgdynamics as sgd
from sgdynamics.experiments._between import between
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments.beyond._epochs_regression_case import Case
from sgdynamics.statistics import Estimate
from sgdynamics.theory import epochs

SOURCE = "Kühn and Rosenow (2025), Assumption 2"
NEXT_ORDER = 2.5  # times ε, of what second order adds: enumerated on small data sets, see the module's test
BEYOND_PAIRS = 5.5  # over P, of the same: moments of four batches that are not products of two; enumerated too
RESOLUTION = 0.2  # of the mean's shift
FLATTEST = ("flattest mode", "next flattest mode")


class Exact(NamedTuple):
    """Mean and covariance of w, averaged over the epoch."""

    mean: Array
    covariance: Array


def static_claims(case: Case, estimates: dict[str, Estimate]) -> list[Claim]:
    """The frozen law as a whole; neither the one that commutes nor that of independent batches."""
    measured, frozen = estimates["covariance"], case.prediction.covariance
    floor = epochs.flat_floor(
        case.curvatures, learning_rate=case.learning_rate, batch_size=case.batch_size, momentum=case.momentum
    )
    p = sgd.compare(measured, np.asarray(frozen), level=LEVEL).p_value
    return [
        Claim.bound(
            f"{case.name}/frozen noise", SOURCE, "the covariance is the general frozen law's (p-value)", p, 0.0, LEVEL,
            side="at least",
            note=f"|HC−CH|/|HC| = {case.commutator:.2g}; floor of the flattest mode about {float(floor[0]):.1%} more",
        ),
        _not(f"{case.name}/commuting/control", "the law without correlations between the Hessian's modes", measured,
             case.commuting(frozen), frozen),
        _not(f"{case.name}/independent batches/control", "the law of independent batches", measured,
             case.independent, frozen),
    ]  # fmt: skip


def _not(id: str, name: str, measured: Estimate, wrong: Any, right: Any) -> Claim:
    return Claim.rejection(
        id, SOURCE, f"not {name}: on the line from it (0) to the right law (1)",
        **evidence(between(measured, wrong=wrong, right=right)), expected=1.0, rejected=0.0,
    )  # fmt: skip


def floor_claims(case: Case, estimates: dict[str, Estimate], *, largest: bool) -> list[Claim]:
    """The two flattest modes' variances, and the mean; at the largest learning rate the failure of second order."""
    frozen = case.along(case.laws.frozen)
    added = np.asarray(case.along(case.laws.whole) / frozen) - 1
    ratios = estimates["covariance"].map(lambda M: case.along(M) / frozen)
    beyond = (NEXT_ORDER * case.laws.size + BEYOND_PAIRS / len(case.data.x)) * added
    words = f"{NEXT_ORDER} ε + {BEYOND_PAIRS}/P of what is added, ε = {case.laws.size:.3f}"
    claims = []
    for i, name in enumerate(FLATTEST):
        ratio = ratios.map(lambda r, i=i: r[i])
        claims += [
            Claim.equality(
                f"{case.name}/{name}", "catalogue, 3.7 (ii); second order", "variance over that of frozen noise",
                **evidence(ratio), expected=1 + added[i], resolution=added[i] / 2, tolerance=beyond[i],
                note=f"tolerance {beyond[i]:.2g}: {words}",
            ),
            Claim.rejection(
                f"{case.name}/{name}, frozen/control", SOURCE, "not the variance of frozen noise", **evidence(ratio),
                expected=1 + added[i], rejected=1.0,
            ),
        ]  # fmt: skip
    claims += [_too_large(case, ratios, added, beyond)] if largest else []
    return claims + _mean_claims(case, estimates["mean"])


def _too_large(case: Case, ratios: Estimate, added: np.ndarray, beyond: np.ndarray) -> Claim:
    """Without its tolerance, second order is seen to fail."""
    return Claim.rejection(
        f"{case.name}/second order alone/control", "second order", f"not the variance of second order, {FLATTEST[1]}",
        **evidence(ratios.map(lambda r: r[1])), rejected=1 + added[1], resolution=beyond[1],
    )  # fmt: skip


def _mean_claims(case: Case, measured: Estimate) -> list[Claim]:
    """The mean in units of the first order, weighted by the inverse covariance."""
    part = measured.map(_in_units(case.laws.mean, case.laws.whole))
    tolerance = NEXT_ORDER * case.laws.size
    return [
        Claim.equality(
            f"{case.name}/mean", "catalogue, 3.7 (i); first order", "mean beside the minimum, in units of theory",
            **evidence(part), expected=1.0, resolution=RESOLUTION, tolerance=tolerance,
            note=f"tolerance {tolerance:.2g}: {NEXT_ORDER} ε, the next order in nine of ten data sets enumerated",
        ),
        Claim.rejection(
            f"{case.name}/no shift/control", SOURCE, "the mean is not at the minimum", **evidence(part), expected=1.0,
            rejected=0.0,
        ),
    ]  # fmt: skip


def tiny_claims(case: Case, estimates: dict[str, Estimate], law: Exact) -> list[Claim]:
    """Exact moments, without any tolerance; the expansions fail."""
    expected = {"mean": np.asarray(law.mean), "covariance": np.asarray(law.covariance)}
    p = sgd.compare(estimates, expected, level=LEVEL).p_value
    claims = [
        Claim.bound(
            f"{case.name}/exact moments", "regression_moments", "mean and covariance agree (p-value)", p, 0.0, LEVEL,
            side="at least",
        ),
        _not(f"{case.name}/second order/control", "the law of second order", estimates["covariance"],
             case.laws.whole, law.covariance),
        _not(f"{case.name}/frozen/control", "the frozen law", estimates["covariance"], case.laws.frozen,
             law.covariance),
    ]  # fmt: skip
    return claims if case.momentum else [*claims, _not_first_order(case, estimates["mean"], law)]


def _not_first_order(case: Case, measured: Estimate, law: Exact) -> Claim:
    """Without momentum: where memory is longer than an epoch, little is missing in the mean."""
    of_rest = _in_units(law.mean - case.laws.mean, law.covariance)
    return Claim.rejection(
        f"{case.name}/first order of the mean/control", "catalogue, 3.7 (i)",
        "not the mean of first order: on the line from it (0) to the exact one (1)",
        **evidence(measured.map(lambda m: of_rest(m - case.laws.mean))), expected=1.0, rejected=0.0,
    )  # fmt: skip


def replacement_claims(case: Case, estimates: dict[str, Estimate], law: Exact) -> list[Claim]:
    """Independent batches leave the mean where it is."""
    part = estimates["mean"].map(_in_units(law.mean, law.covariance))
    return [
        Claim.equality(
            f"{case.name}/independent batches", "catalogue, 3.7 (i)",
            "mean beside the minimum of independent batches, in units of that of epochs", **evidence(part),
            expected=0.0, resolution=RESOLUTION,
        )
    ]  # fmt: skip


def _in_units(mean: Array, covariance: Array) -> Callable[[Array], Array]:
    """Another mean in units of this one, weighted by the inverse covariance."""
    weight = jnp.linalg.solve(covariance, mean)
    return lambda m: jnp.sum(weight * m) / jnp.sum(weight * mean)
