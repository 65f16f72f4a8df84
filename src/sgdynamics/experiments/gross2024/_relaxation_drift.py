"""The slow drift of a small two-layer network along its minima, against `two_layer.slow_drift`: the mean and the
covariance of the weights to second order in the noise."""

from typing import Any, NamedTuple

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
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.statistics import Estimate, Snapshots
from sgdynamics.theory import two_layer

GROUPS = 32  # of replicas, whose scatter is the error
NEAR = 0.05  # the relative error that a rate may have


class Drift(NamedTuple):
    """Means over replicas at `steps`, the first at 0, and what the moments expect."""

    steps: list[int]
    balance: Estimate  # [], growth of 𝓑 along the expected, over all records
    second: Estimate  # [records], |W₂|²
    second_law: np.ndarray
    first: Estimate  # [records], |W₁|²
    first_law: np.ndarray
    strengths: np.ndarray  # [records, hidden], D₁ of the mean weights, descending
    strengths_law: np.ndarray


def drift(
    case: TwoLayer, key: PRNGKey, progress: Progress, *, replicas: int, balance_times: float, records: int
) -> tuple[Drift, Any]:
    """Replicas from θ⁰ over `balance_times`."""
    every = max(round(balance_times * case.balance_time / case.learning_rate / records), 1)
    steps = [every * record for record in range(records + 1)]
    ensemble = _ensembles.simulate(
        case.descent(), Snapshots(steps), progress, "balance", key=key, replicas=replicas, steps=steps[-1],
        every=every, initial=case.origin,
    )  # fmt: skip
    θ = _checks.finite("weights", np.asarray(ensemble.estimates.values, float))
    expected = two_layer.slow_drift(
        *case.layers, case.data.x, case.data.y, learning_rate=case.learning_rate, batch_size=case.batch_size,
        steps=every, records=records,
    )  # fmt: skip
    products = np.stack([_squares(*layers(case, θ_r)) for θ_r in θ])
    law = np.concatenate([expected.first_square, expected.second_square], axis=-1)
    means = grouped(products).mean(axis=2)
    hidden = case.hidden
    trace = lambda A: np.trace(A, axis1=-2, axis2=-1)
    growth, growth_law = (_balance(A) - _balance(A)[..., :1, :, :] for A in (means, law))
    strengths = lambda first: np.linalg.svd(first, compute_uv=False) ** 2
    return Drift(
        steps,
        balance=over_realisations(np.sum(growth * growth_law, axis=(1, 2, 3)) / np.sum(growth_law**2)),
        second=over_realisations(trace(means[..., hidden:])), second_law=trace(law[..., hidden:]),
        first=over_realisations(trace(means[..., :hidden])), first_law=trace(law[..., :hidden]),
        strengths=strengths(layers(case, θ.mean(axis=1))[0]), strengths_law=strengths(expected.first),
    ), ensemble.provenance  # fmt: skip


def grouped(values: Float[np.ndarray, "records replicas *rest"]) -> Float[np.ndarray, "groups records members *rest"]:
    """Replicas in `GROUPS` groups."""
    return np.moveaxis(values.reshape(len(values), GROUPS, -1, *values.shape[2:]), 1, 0)


def layers(case: TwoLayer, θ: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """W₁ and W₂ of weights [*, parameters]."""
    first, second = case.layers
    return tuple(W.reshape(*θ.shape[:-1], *like.shape) for W, like in
                 zip(np.split(θ, [first.size], axis=-1), (first, second), strict=True))  # fmt: skip


def balance(W1: np.ndarray, W2: np.ndarray) -> np.ndarray:
    """W₂ᵀ W₂ − W₁ W₁ᵀ [*, hidden, hidden]."""
    return np.swapaxes(W2, -1, -2) @ W2 - W1 @ np.swapaxes(W1, -1, -2)


def _squares(W1: np.ndarray, W2: np.ndarray) -> np.ndarray:
    """W₁ W₁ᵀ beside W₂ᵀ W₂ [*, hidden, 2 hidden]."""
    return np.concatenate([W1 @ np.swapaxes(W1, -1, -2), np.swapaxes(W2, -1, -2) @ W2], axis=-1)


def _balance(squares: np.ndarray) -> np.ndarray:
    hidden = squares.shape[-2]
    return squares[..., hidden:] - squares[..., :hidden]


def variables(drift: Drift) -> dict[str, Variable]:
    """Against `long_t`."""
    layer = {"first": "|W₁|²", "second": "|W₂|²"}
    result = {}
    for name, words in layer.items():
        measured, law = getattr(drift, name), getattr(drift, f"{name}_law")
        result |= measurement(f"{name}_layer", "long_t", measured, words, "w²")
        result |= {f"{name}_layer_law": variable("long_t", law, f"{words}, moments", "w²")}
    dims, words = ("long_t", "rank"), "D₁ of the mean weights"
    return result | {
        "strengths": variable(dims, drift.strengths, f"{words}, measured", "w²"),
        "strengths_law": variable(dims, drift.strengths_law, f"{words}, moments", "w²"),
    }


def claims(drift: Drift) -> list[Claim]:
    """The rate of the drift within 5 %; what falls, and that it does."""
    fall = lambda estimate, law: over_realisations(
        np.asarray(estimate.groups - law[0]) @ (law - law[0]) / np.sum((law - law[0]) ** 2)
    )
    measured = {
        "balance": ("growth of W₂ᵀ W₂ − W₁ W₁ᵀ, along the moments'", drift.balance),
        "second layer": ("fall of |W₂|², along the moments'", fall(drift.second, drift.second_law)),
        "first layer": ("fall of |W₁|², along the moments'", fall(drift.first, drift.first_law)),
    }
    within = [
        Claim.bound(f"drift/{name}/{side}", source("Sec. III C 2; second order"), f"{words} {side} {bound:g}",
                    **evidence(estimate), expected=bound, side=side)
        for name, (words, estimate) in measured.items()
        for side, bound in (("at least", 1 - NEAR), ("at most", 1 + NEAR))
    ]  # fmt: skip
    kept = over_realisations(drift.second.groups[:, -1] / drift.second_law[0])
    still = Claim.rejection(
        "drift/stationary/control", source("Eq. 3.6"), "not conserved: |W₂|² at the end, over its start",
        **evidence(kept), expected=drift.second_law[-1] / drift.second_law[0], rejected=1.0,
    )  # fmt: skip
    return [*within, still]
