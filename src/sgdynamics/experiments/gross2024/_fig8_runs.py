"""Ensembles of Fig. 8 about one minimum: what they measure, and what linear response says of their window.

z = directionsᵀ (θ − θ⁰)            starts from the law of linear response, its null directions at rest
M_{k+1} = T M_k T + Q               what any law (T, Q) makes of that start: a wrong law is held against the
                                    measurement with the same memory of the start, so that the start decides nothing
ΔB = W₂ᵀ W₂ − W₁ W₁ᵀ, from its start     per replica; then the first-order fluctuations cancel
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np

from sgdynamics._types import PRNGKey
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._two_layer import TwoLayer
from sgdynamics.experiments._two_layer_observables import local_covariance
from sgdynamics.statistics import Estimate, Snapshots

RECORDS = 10  # records in a window; spectra are taken from its second half
TIMES = 200  # records of one run
GROUPS = 32  # of replicas, between which errors are measured


@dataclass(frozen=True)
class Window:
    """What was seen of one ensemble: `z`, snapshots in the second half; `positions`, θ at start, middle and end."""

    case: TwoLayer
    every: int
    z: Any
    positions: np.ndarray
    provenance: dict

    @property
    def half(self) -> float:
        """Half of the window, in units of t."""
        return self.every * RECORDS // 2 * self.case.learning_rate

    # --- fluctuations -------------------------------------------------------------------------------------

    @cached_property
    def covariance(self) -> Estimate:
        """Of z, about the ensemble's mean at each record [reduced, reduced].

        What the draws of the start happened to scatter, carried on by linear response, is taken out: its mean is 0.
        """
        V, origin = np.asarray(self.case.directions), np.asarray(self.case.origin)
        z = ((self.positions[0] - origin) @ V).reshape(GROUPS, -1, V.shape[1])
        chance = np.stack([np.cov(part.T) for part in z]) - np.asarray(self.case.covariance())
        h, U = np.linalg.eigh(np.asarray(self.case.hessian))
        step = np.multiply.outer(kept := 1 - self.case.learning_rate * h, kept)
        left = np.mean([step**k for k in self._seen], axis=0)
        measured = np.asarray(local_covariance(self.z, GROUPS).groups)
        return over_realisations(measured - U @ (left * (U.T @ chance @ U)) @ U.T, "covariance")

    @property
    def _seen(self) -> range:
        return range(self.every * RECORDS // 2, self.every * RECORDS + 1, self.every)

    def of_law(self, transition: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """The same by a linear law z ↦ T z + noise of covariance Q, from the same start."""
        M, seen = np.asarray(self.case.covariance()), []
        for step in range(self.every * RECORDS + 1):
            if step in self._seen:
                seen.append(M)
            M = transition @ M @ transition.T + noise
        return np.mean(seen, axis=0)

    @property
    def wick(self) -> np.ndarray:
        """By Wick's noise."""
        law = self.case.law("wick")
        return self.of_law(np.asarray(law.transition), np.asarray(law.noise))

    @property
    def uncoupled(self) -> np.ndarray:
        """Without coupling of the layers, in drift and noise; where it is stationary, isotropic for white inputs."""
        η, H, Q = self.case.learning_rate, np.asarray(self.case.hessian), np.asarray(self.case.law("wick").noise)
        second = np.arange(len(H)) >= self.case.second_layer.start
        same = second[:, None] == second[None, :]
        return self.of_law(np.eye(len(H)) - η * np.where(same, H, 0), np.where(same, Q, 0))

    @property
    def beyond(self) -> Estimate:
        """tr cov of everything that linear response freezes: θ less the range of H, at the end, []."""
        U = np.asarray(self.case.directions) @ self.case.modes()[1]
        δ = (self.positions[-1] - np.asarray(self.case.origin)).reshape(GROUPS, -1, len(U))
        δ = δ - δ.mean(axis=1, keepdims=True)
        squares = np.sum(δ**2, axis=2) - np.sum((δ @ U) ** 2, axis=2)
        return over_realisations(squares.sum(axis=1) / (δ.shape[1] - 1), "variance")

    def first_layer(self) -> np.ndarray:
        """Ordered eigenvalues of the sampled cov δW₁ at the end; biased upwards where replicas are few."""
        count = self.case.layers[0].size
        return np.linalg.eigvalsh(np.cov(self.positions[-1, :, :count].T))[::-1]

    # --- drift --------------------------------------------------------------------------------------------

    @cached_property
    def _layers(self) -> tuple[np.ndarray, np.ndarray]:
        inputs, hidden, outputs = self.case.widths
        W1, W2 = np.split(self.positions, [hidden * inputs], axis=2)
        return W1.reshape(*W1.shape[:2], hidden, inputs), W2.reshape(*W2.shape[:2], outputs, hidden)

    @property
    def balance(self) -> Estimate:
        """⟨ΔB, dB/dt⟩/(t |dB/dt|²) over the first half, with dB/dt the theory's at θ⁰: 1, []."""
        W1, W2 = (layer[:2] for layer in self._layers)
        B = np.einsum("troh,trok->trhk", W2, W2) - np.einsum("trhi,trki->trhk", W1, W1, optimize=True)
        drift = np.asarray(self.case.balance_drift())
        along = np.einsum("rhk,hk->r", B[1] - B[0], drift) / (self.half * np.sum(drift**2))
        return _mean(along)

    @property
    def second_norm(self) -> Estimate:
        """(d/dt |W₂|²)/|W₂⁰|² over the second half, times the balance time, []."""
        squares = np.sum(self._layers[1] ** 2, axis=(2, 3))
        scale = self.case.balance_time / (self.half * self.case.second_strengths.sum())
        return _mean((squares[2] - squares[1]) * scale)


def window(case: TwoLayer, rate: float, time: float, replicas: int, progress: Progress, label: str, key: Any) -> Window:
    """An ensemble at this learning rate, over `time` in RECORDS records."""
    case, every = replace(case, learning_rate=rate), max(1, round(time / rate / RECORDS))
    last = RECORDS * every
    middle = last // 2
    statistics = {
        "z": Snapshots(tuple(range(middle, last + 1, every)), of=case.coordinates),
        "θ": Snapshots((0, middle, last)),
    }
    start = case.starts(_ensembles.named(key, f"{label}, start"), replicas, case.covariance())
    ensemble = _ensembles.simulate(
        case.descent(), statistics, progress, label, key=key, replicas=replicas, steps=last, every=every, initial=start
    )
    seen = ensemble.estimates
    return Window(case, every, seen["z"], np.asarray(seen["θ"].values, float), ensemble.provenance)


def one_run(
    case: TwoLayer, time: float, runs: int, progress: Progress, label: str, key: Any
) -> tuple[Estimate, Estimate, dict]:
    """Ordered eigenvalues of cov δW₁ over the time of one run, from TIMES records, mean over runs: of SGD, and of
    linear response [eigenvalues]."""
    every = max(1, round(time / case.learning_rate / TIMES))
    initial = case.starts(_ensembles.named(key, f"{label}, start"), runs, case.covariance())
    ensemble = _ensembles.simulate(
        case.descent(), Snapshots(tuple(range(0, TIMES * every + 1, every))), progress, label, key=key, replicas=runs,
        steps=TIMES * every, every=every, initial=initial, groups=1,
    )  # fmt: skip
    paths = np.asarray(ensemble.estimates.values, float)[:, :, : case.layers[0].size]
    return (
        _in_time(paths),
        _in_time(_linear_paths(case, every, runs, _ensembles.named(key, f"{label}, linear"))),
        ensemble.provenance,
    )


def _linear_paths(case: TwoLayer, every: int, runs: int, key: PRNGKey) -> np.ndarray:
    """First-layer coordinates of linear response, from its own law, once every `every` steps [records, runs, modes]."""
    draws = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    law, M = case.law(), np.asarray(case.covariance())
    T = np.linalg.matrix_power(np.asarray(law.transition), every)
    root, noise = _root(M), _root(M - T @ M @ T.T)
    z = [draws.normal(size=(runs, len(M))) @ root]
    for _ in range(TIMES):
        z.append(z[-1] @ T + draws.normal(size=(runs, len(M))) @ noise)
    return np.stack(z)[:, :, : case.second_layer.start]


def _root(M: np.ndarray) -> np.ndarray:
    values, U = np.linalg.eigh(M)
    return U * np.sqrt(np.maximum(values, 0)) @ U.T


def _in_time(paths: np.ndarray) -> Estimate:
    """Ordered eigenvalues of the covariance over time, mean over runs; as many as there are records at most."""
    squares = np.linalg.svd(np.moveaxis(paths - paths.mean(axis=0), 1, 0), compute_uv=False) ** 2
    return over_realisations(squares / (len(paths) - 1))


def at_zero(rates: np.ndarray, measured: list[Estimate]) -> tuple[Estimate, Estimate]:
    """The straight line through independent measurements at these learning rates: its value at 0, and its slope."""
    values = np.stack([np.asarray(estimate.groups) for estimate in measured])  # groups are independent: fit each
    weights = 1 / np.array([float(estimate.standard_error) for estimate in measured])
    A = np.stack([np.ones_like(rates), rates], axis=1)
    line = np.linalg.lstsq(A * weights[:, None], values * weights[:, None], rcond=None)[0]
    return over_realisations(line[0]), over_realisations(line[1])


def over(function: Callable[[Any], Any], estimate: Estimate) -> Estimate:
    """`function`, linear, of each group of an estimate."""
    return over_realisations(np.stack([function(np.asarray(M)) for M in estimate.groups]))


def _mean(values: np.ndarray) -> Estimate:
    return over_realisations(values.reshape(GROUPS, -1).mean(axis=1))
