"""What is read off Fig. 5's ensembles: rotation, peaks of the spectra, and measured over expected power.

A peak is that of 1/S_θ ∝ a y² + b y + c, y = 1 − cos ω, fitted to the inverse spectrum (of a velocity to y/S_v), a line
in units of its expectation. It is claimed where it lies at RESOLVED lines or more, and drawn wherever theory has one.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from sgdynamics.experiments._compiled import once
from sgdynamics.experiments.kunin2023._fig5_case import KINDS, Case
from sgdynamics.statistics import Estimate, PowerSpectrum
from sgdynamics.theory import momentum

BAND = 0.02  # of the largest expected power: lines below it are not looked at
RESOLVED = 6  # lines, 2π/segment apart, from frequency 0 to a peak that a segment can see


class Readings(NamedTuple):
    """Rotation of all modes, of each, and the exponent of K in it; {(kind, mode): (peak, peak of the expected
    spectrum)}; {mode: power of the position at ω₀ over that at 0}; [(lines, power over expected, average)], each
    component's."""

    rotation: Estimate
    rotations: list[Estimate]
    slope: Estimate
    peaks: dict[tuple[str, int], tuple[Estimate, float]]
    still: dict[int, Estimate]
    powers: list[tuple[np.ndarray, Estimate, Estimate]]


def readings(case: Case, spectrum: PowerSpectrum, estimates: dict[str, Any], expected: np.ndarray) -> Readings:
    """All of it in one program: there are dozens of small ones."""
    count = len(case.modes)
    peaks = {kind: np.asarray(momentum.peak_frequency(case.curvatures, of=kind, **case.setting)) for kind in KINDS}
    fits = {
        (kind, i): _fit(spectrum, expected, i + j * count, kind)
        for j, kind in enumerate(KINDS) for i in range(count) if np.isfinite(peaks[kind][i])
    }  # fmt: skip
    at = [int(np.argmin(np.abs(spectrum.frequencies() - peak))) for peak in peaks["velocity"]]
    flat = [i for i in range(count) if np.isnan(peaks["position"][i])]
    lines = [np.flatnonzero(E > BAND * np.max(E)) for E in expected.T]

    def read(rotation: Estimate, power: Estimate) -> tuple:
        ratios = [power.map(lambda S, c=c, n=n: S[n, c] / expected[n, c]) for c, n in enumerate(lines)]
        return (
            [rotation.map(lambda r, i=i: r[i]) for i in range(count)],
            rotation.map(lambda r: exponent(r, case.curvatures)),
            [power.map(fit) for fit in fits.values()],
            [power.map(lambda S, i=i: S[at[i], i] / jnp.mean(S[:2, i])) for i in flat],
            ratios,
            [ratio.map(jnp.mean) for ratio in ratios],
        )

    rotations, slope, found, still, ratios, means = once(read)(estimates["rotation"], estimates["spectrum"])
    theory = [float(fit(jnp.asarray(expected))) for fit in fits.values()]
    return Readings(
        estimates["rotation"], rotations, slope, dict(zip(fits, zip(found, theory, strict=True), strict=True)),
        dict(zip(flat, still, strict=True)), list(zip(lines, ratios, means, strict=True)),
    )  # fmt: skip


def resolved(peak: float, segment: int) -> bool:
    """Whether there is a peak and a segment can see it."""
    return bool(peak >= RESOLVED * 2 * np.pi / segment)


def exponent(rotation: Any, curvature: np.ndarray) -> Any:
    """Slope of ln |rotation| over ln K, least squares."""
    x = np.log(curvature) - np.mean(np.log(curvature))
    return jnp.sum(x * jnp.log(jnp.abs(rotation))) / np.sum(x**2)


def fitted_peak(
    spectrum: PowerSpectrum, measured: Estimate, expected: np.ndarray, component: int, kind: str
) -> tuple[Estimate, float]:
    """The peak of one component, and the same of its expected spectrum, which tells what leakage does to it."""
    peak = _fit(spectrum, expected, component, kind)
    return measured.map(peak), float(peak(jnp.asarray(expected)))


def _fit(spectrum: PowerSpectrum, expected: np.ndarray, component: int, kind: str) -> Any:
    y = 1 - np.cos(spectrum.frequencies())
    E = expected[:, component]
    lines = (E > BAND * np.max(E)) & (np.arange(len(y)) >= (0 if kind == "position" else 2))
    target = np.ones(lines.sum()) if kind == "position" else y[lines]
    basis = np.linalg.pinv(E[lines, None] / target[:, None] * np.stack([y**2, y, np.ones_like(y)], axis=-1)[lines])

    def peak(S: Any) -> Any:
        a, b, c = basis @ (E[lines] / S[lines, component])
        at = -b / (2 * a) if kind == "position" else jnp.sqrt(c / a)
        return 2 * jnp.arcsin(jnp.sqrt(jnp.maximum(at, 0) / 2))

    return peak
