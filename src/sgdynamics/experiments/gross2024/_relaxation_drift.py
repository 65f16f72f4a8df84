"""The slow drift of a small two-layer network along its minima, against moments to second order in the noise.

    m ← m − η ∇[L + ½ tr(∇²L Σ)](m),      Σ ← (1 − η ∇²L) Σ (1 − η ∇²L) + η² C,      ∇²L and C at m

m is the mean of the weights, Σ their covariance: the mean gradient of a normal law, to second order.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgdynamics import _checks
from sgdynamics._types import Matrix, PRNGKey, Vector
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._two_layer import TwoLayer
from sgdynamics.experiments._variables import Variable, measurement, variable
from sgdynamics.experiments.gross2024._source import source
from sgdynamics.noise import FiniteSample
from sgdynamics.statistics import Estimate, Snapshots

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
    m, Σ = (np.asarray(moment) for moment in moments(case, every, records))
    products, law = np.stack([_squares(case, θ_r) for θ_r in θ]), _expected_squares(case, m, Σ)
    means = grouped(products).mean(axis=2)
    hidden = case.hidden
    trace = lambda A: np.trace(A, axis1=-2, axis2=-1)
    growth, expected = (_balance(A) - _balance(A)[..., :1, :, :] for A in (means, law))
    strengths = lambda mean: np.linalg.svd(layers(case, mean)[0], compute_uv=False) ** 2
    return Drift(
        steps,
        balance=over_realisations(np.sum(growth * expected, axis=(1, 2, 3)) / np.sum(expected**2)),
        second=over_realisations(trace(means[..., hidden:])), second_law=trace(law[..., hidden:]),
        first=over_realisations(trace(means[..., :hidden])), first_law=trace(law[..., :hidden]),
        strengths=strengths(θ.mean(axis=1)), strengths_law=strengths(m),
    ), ensemble.provenance  # fmt: skip


def moments(
    case: TwoLayer, every: int, records: int
) -> tuple[Float[Array, "records parameters"], Float[Array, "records parameters parameters"]]:
    """m and Σ at the start, m = θ⁰ and Σ = 0, and after each of `records` times `every` steps."""
    η, loss, hessian = case.learning_rate, case.problem.loss, case.problem.hessian
    noise = FiniteSample(case.problem, case.batch_size).covariance

    def step(carry: tuple[Vector, Matrix], _: None):
        m, Σ = carry
        mean_loss = lambda θ: loss(θ) + jnp.sum(hessian(θ) * Σ) / 2
        T = jnp.eye(len(m)) - η * hessian(m)
        return (m - η * jax.grad(mean_loss)(m), T @ Σ @ T.T + η**2 * noise(m)), None

    def record(carry: tuple[Vector, Matrix], _: None):
        return jax.lax.scan(step, carry, None, length=every)[0], carry

    θ, size = case.origin, len(case.origin)
    return once(lambda θ: jax.lax.scan(record, (θ, jnp.zeros((size, size))), None, length=records + 1)[1])(θ)


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


def _squares(case: TwoLayer, θ: np.ndarray) -> np.ndarray:
    """W₁ W₁ᵀ beside W₂ᵀ W₂ [*, hidden, 2 hidden]."""
    W1, W2 = layers(case, θ)
    return np.concatenate([W1 @ np.swapaxes(W1, -1, -2), np.swapaxes(W2, -1, -2) @ W2], axis=-1)


def _expected_squares(case: TwoLayer, m: np.ndarray, Σ: np.ndarray) -> np.ndarray:
    """The same of the moments: those of m, and Σ contracted."""
    first, second = case.layers
    n = first.size
    Σ1 = np.einsum("tiaja->tij", Σ[:, :n, :n].reshape(-1, *first.shape, *first.shape))
    Σ2 = np.einsum("taiaj->tij", Σ[:, n:, n:].reshape(-1, *second.shape, *second.shape))
    return _squares(case, m) + np.concatenate([Σ1, Σ2], axis=-1)


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
    fall = lambda estimate, law: estimate.map(
        lambda v: jnp.sum((v - law[0]) * (law - law[0])) / np.sum((law - law[0]) ** 2)
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
    kept = drift.second.map(lambda v: v[-1] / drift.second_law[0])
    still = Claim.rejection(
        "drift/stationary/control", source("Eq. 3.6"), "not conserved: |W₂|² at the end, over its start",
        **evidence(kept), expected=drift.second_law[-1] / drift.second_law[0], rejected=1.0,
    )  # fmt: skip
    return [*within, still]
