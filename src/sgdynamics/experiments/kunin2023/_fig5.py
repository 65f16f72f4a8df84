"""Fig. 5: rotation in the phase planes of single modes, of the digits' parity and of a small network [(11), Sec. 7].

Three frequencies belong to a mode, with ω₀² = 2K/(η(1 + β)), γ = (1 − β)/(η(1 + β)) and K = h + λ:

    ω₀              velocity spectrum's peak, and the mean rotation −ω₀ of the phase plane, also where ζ = γ/ω₀ > 1
    √(ω₀² − 2γ²)    position spectrum's peak; none where ζ > 1/√2
    √(ω₀² − γ²)     oscillation of the mean

All grow as √K (not "proportional to their eigenvalues", Sec. 7). Exactly, in discrete time, with y = 1 − cos ω,

    1/S_θ ∝ (ηK − (1 + β) y)² + (1 − β)² y (2 − y) = a y² + b y + c,      S_v = 2y S_θ/η²,

whose peaks are at y = −b/2a and √(c/a): measured by least squares of the inverse spectrum, a line of the spectrum in
units of its expectation. Spectra are held against theory with the leakage of their windows. Replicas start from the
stationary law ("resumed training"), of a network from that of its leading modes with the noise of the minimum.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.kunin2023._fig5_case import Case, Fig5Config, digits_case, key_of, network_case
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import AngularVelocity, Covariance, Estimate, PhaseSpace, PowerSpectrum, Snapshots
from sgdynamics.theory import momentum

PATH = 200  # steps of one replica that are drawn
BAND = 0.02  # of the largest expected power: lines below it are not looked at
KINDS = ("position", "velocity")
CLOSE = 0.1  # relative: what the noise of a network's minimum may be off by
HARMONIC = 0.03  # relative: what a network's frequencies may be off by; the mean curvature over its law is 1 % lower


def run(config: Fig5Config, progress: Progress) -> Result:
    """The digits, then the network."""
    cases = [digits_case(config)] + ([network_case(config)] if config.network else [])
    parts = [_at(config, case, progress) for case in cases]
    variables = {name: value for part in parts for name, value in part[0].items()}
    coordinates = {name: value for part in parts for name, value in part[1].items()}
    coordinates |= {"angle": variable("angle", TURN, "angle on the ellipse", "rad")}
    data = dataset(variables, coordinates).assign_attrs(
        cases=[case.name for case in cases], **{f"{case.name}_drawn": drawn(case) for case in cases}
    )
    return Result(data, [claim for part in parts for claim in part[2]], {part[3]: part[4] for part in parts})


def _at(config: Fig5Config, case: Case, progress: Progress) -> tuple:
    plane = PhaseSpace(case.vectors, case.prediction.mean)
    spectrum = PowerSpectrum(case.segment, plane, about=np.zeros(2 * len(case.modes)))
    statistics = {
        "rotation": AngularVelocity(plane), "spectrum": spectrum, "covariance": Covariance(plane),
        "paths": Snapshots(range(min(PATH, case.steps) + 1), plane),
    }  # fmt: skip
    ensemble = _ensembles.simulate(
        case.descent, statistics, progress, case.name, key=key_of(config), replicas=case.replicas,
        steps=case.steps, burn_in=case.burn_in, initial=case.prediction, groups=min(32, case.replicas),
    )  # fmt: skip
    estimates = ensemble.estimates
    expected = expected_spectra(case, spectrum)
    claims = [
        *_rotation_claims(case, estimates["rotation"]),
        *_peak_claims(case, spectrum, estimates["spectrum"], expected),
        *_spectrum_claims(case, spectrum, estimates["spectrum"], expected),
    ]
    variables, coordinates = _stored(case, spectrum, estimates, expected)
    return variables, coordinates, claims, case.name, ensemble.provenance


def expected_spectra(case: Case, spectrum: PowerSpectrum) -> np.ndarray:
    """With leakage, [frequencies, 2 modes], positions first."""
    R = case.autocovariances()
    return spectrum.expected(np.concatenate([R[:, :, 0, 0], R[:, :, 1, 1]], axis=1))


def drawn(case: Case) -> list[int]:
    """Numbers, among the case's modes, of the stiffest, of the softest whose position has a peak, and of the last."""
    peaks = np.asarray(momentum.peak_frequency(case.curvatures, of="position", **case.setting))
    soft = int(np.flatnonzero(np.isfinite(peaks))[-1])
    return sorted({0, soft, len(case.modes) - 1})


# --- claims -------------------------------------------------------------------------------------------------


def _rotation_claims(case: Case, measured: Estimate) -> list[Claim]:
    """Clockwise, at the rates of theory, which grow as the square root of the curvature."""
    expected = case.rotations()
    claims = [] if not case.exact else [
        Claim.bound(
            f"{case.name}/rotation of all modes", source("Eq. 11, Sec. 7"),
            "each phase plane turns clockwise as the exact discrete mode does, about −ηω₀ per step (p-value)",
            sgd.compare(measured, expected, level=LEVEL).p_value, 0.0, LEVEL, side="at least",
        )
    ]  # fmt: skip
    for i in drawn(case):
        found = evidence(measured.map(lambda r, i=i: r[i]))
        label, ζ = (
            f"{case.name}/mode {case.modes[i]}",
            float(momentum.damping_ratio(case.curvatures[i], **case.setting)),
        )
        claims.append(
            Claim.equality(
                f"{label}/rotation", source("Fig. 5"), f"rad per step, clockwise; damping ratio {ζ:.2g}"
                + ("" if case.exact else f"; to {HARMONIC:g} of it, for what is not harmonic"), **found,
                expected=expected[i], resolution=0.25 * abs(expected[i]), tolerance=_harmonic(case) * abs(expected[i]),
            )
        )  # fmt: skip
        claims.append(
            Claim.rejection(
                f"{label}/detailed balance/control", source("Sec. 6"), "there is a current", **found,
                expected=expected[i], rejected=0.0,
            )
        )  # fmt: skip
    slope = _slope(case, measured)
    theory = float(_exponent(jnp.asarray(expected), case.curvatures))
    options: dict[str, Any] = {"resolution": 0.1, **evidence(slope)}
    statement = "d ln(rotation)/d ln(curvature) over all modes"
    return [
        *claims,
        Claim.equality(
            f"{case.name}/rates grow as the square root", source("App. F.2"), statement, expected=0.5, published=1.0,
            tolerance=abs(theory - 0.5), note="The tolerance is what discrete time adds, by theory.", **options,
        ),
        Claim.equality(
            f"{case.name}/rates proportional to eigenvalues/published", source("Sec. 7"), statement, expected=1.0,
            **options,
        ),
    ]  # fmt: skip


def _harmonic(case: Case) -> float:
    """How far, relatively, the frequencies of the minimum may be from those of the ensemble."""
    return 0.0 if case.exact else HARMONIC


def _slope(case: Case, measured: Estimate) -> Estimate:
    return measured.map(lambda r: _exponent(r, case.curvatures))


def _exponent(rotation: Any, curvature: np.ndarray) -> Any:
    """Slope of ln |rotation| over ln K, least squares."""
    x = np.log(curvature) - np.mean(np.log(curvature))
    return jnp.sum(x * jnp.log(jnp.abs(rotation))) / np.sum(x**2)


def _peak_claims(case: Case, spectrum: PowerSpectrum, measured: Estimate, expected: np.ndarray) -> list[Claim]:
    """Where the spectra peak, of the modes that are drawn."""
    claims = []
    for i in drawn(case):
        label, K = f"{case.name}/mode {case.modes[i]}", case.curvatures[i]
        for j, kind in enumerate(KINDS):
            peak = float(momentum.peak_frequency(K, of=kind, **case.setting))
            if np.isnan(peak):
                claims.append(_no_peak(label, case, i, spectrum, measured))
                continue
            found, theory = fitted_peak(spectrum, measured, expected, i + j * len(case.modes), kind)
            where = "ω₀" if kind == "velocity" else "√(ω₀² − 2γ²)"
            claims.append(
                Claim.equality(
                    f"{label}/peak of {kind}", source("Sec. 7, App. F.2"),
                    f"rad per step, near η{where}; the tolerance is what leakage shifts the expected spectrum by"
                    + ("" if case.exact else f", and {HARMONIC:g} of it for what is not harmonic"),
                    **evidence(found), expected=peak, tolerance=abs(theory - peak) + _harmonic(case) * peak,
                    resolution=0.3 * peak + 0.02,
                )
            )  # fmt: skip
        claims += _damped_control(label, case, i, spectrum, measured, expected)
    return claims


def _damped_control(label: str, case: Case, i: int, spectrum, measured: Estimate, expected: np.ndarray) -> list[Claim]:
    """The velocity does not peak at the frequency of the mean, where the two can be told apart."""
    ω = float(momentum.oscillation_frequency_per_step(case.curvatures[i], **case.setting))
    peak = float(momentum.peak_frequency(case.curvatures[i], of="velocity", **case.setting))
    if not 0 < ω < 0.9 * peak:
        return []
    found = fitted_peak(spectrum, measured, expected, i + len(case.modes), "velocity")[0]
    return [
        Claim.rejection(
            f"{label}/peak of velocity at the damped frequency/control", source("App. F.2"),
            "the velocity's peak is not at the frequency √(ω₀² − γ²) of the mean", **evidence(found), expected=peak,
            rejected=ω,
        )
    ]  # fmt: skip


def _no_peak(label: str, case: Case, i: int, spectrum: PowerSpectrum, measured: Estimate) -> Claim:
    """Power of the position at ω₀, over that at the lowest lines."""
    ω = spectrum.frequencies()
    natural = float(momentum.peak_frequency(case.curvatures[i], of="velocity", **case.setting))
    at = int(np.argmin(np.abs(ω - natural)))
    ratio = measured.map(lambda S: S[at, i] / jnp.mean(S[:2, i]))
    return Claim.bound(
        f"{label}/no peak of position", source("Sec. 7, Fig. 5"),
        "the position's power at ω₀ is below that at frequency 0 (ratio), though the plane turns",
        **evidence(ratio), expected=1.0, side="at most",
    )  # fmt: skip


def fitted_peak(
    spectrum: PowerSpectrum, measured: Estimate, expected: np.ndarray, component: int, kind: str
) -> tuple[Estimate, float]:
    """The peak from a y² + b y + c fitted to the inverse spectrum of the position (y/S_v for a velocity), and the same
    of the expected spectrum, which tells what leakage does to it."""
    y = 1 - np.cos(spectrum.frequencies())
    E = expected[:, component]
    lines = (E > BAND * np.max(E)) & (np.arange(len(y)) >= (0 if kind == "position" else 2))
    target = np.ones(lines.sum()) if kind == "position" else y[lines]
    basis = np.linalg.pinv(E[lines, None] / target[:, None] * np.stack([y**2, y, np.ones_like(y)], axis=-1)[lines])

    def peak(S: Any) -> Any:
        a, b, c = basis @ (E[lines] / S[lines, component])
        at = -b / (2 * a) if kind == "position" else jnp.sqrt(c / a)
        return 2 * jnp.arcsin(jnp.sqrt(jnp.maximum(at, 0) / 2))

    return measured.map(peak), float(peak(jnp.asarray(expected)))


def _spectrum_claims(case: Case, spectrum: PowerSpectrum, measured: Estimate, expected: np.ndarray) -> list[Claim]:
    """Measured over expected power."""
    claims = []
    for i in drawn(case):
        label = f"{case.name}/mode {case.modes[i]}"
        for j, kind in enumerate(KINDS):
            component = i + j * len(case.modes)
            E = expected[:, component]
            lines = np.flatnonzero(E > BAND * np.max(E))
            ratio = measured.map(lambda S, c=component, n=lines, E=E: S[n, c] / E[n])
            if case.exact:
                claims.append(
                    Claim.bound(
                        f"{label}/spectrum of {kind}", source("App. F.2; exact discrete law"),
                        f"power is the expected one at each of {len(lines)} lines (p-value)",
                        sgd.compare(ratio, np.ones(len(lines)), level=LEVEL).p_value, 0.0, LEVEL, side="at least",
                    )
                )  # fmt: skip
            claims.append(
                Claim.equality(
                    f"{label}/power of {kind}", source("App. F.2"),
                    "measured over expected power, average over the band"
                    + ("" if case.exact else f"; noise of the minimum only, off by up to {CLOSE:g}"),
                    **evidence(ratio.map(jnp.mean)), expected=1.0, resolution=0.3, tolerance=0 if case.exact else CLOSE,
                )
            )  # fmt: skip
    return claims


# --- what is stored -----------------------------------------------------------------------------------------

TURN = np.linspace(0, 2 * np.pi, 121)


def _stored(
    case: Case, spectrum: PowerSpectrum, estimates: dict, expected: np.ndarray
) -> tuple[dict[str, Variable], dict[str, Variable]]:
    name, count = case.name, len(case.modes)
    mode, line, both = f"{name}_mode", f"{name}_frequency", (f"{name}_frequency", f"{name}_mode")
    circle = np.stack([np.cos(TURN), np.sin(TURN)], axis=-1)
    ellipses = np.stack([circle @ np.linalg.cholesky(M).T for M in case.covariances()])
    paths = np.asarray(estimates["paths"].values, float)[:, 0].reshape(-1, 2, count)
    variables = measurement(f"{name}_rotation", mode, estimates["rotation"], f"rotation per step, {name}", "rad")
    variables |= {
        f"{name}_rotation_theory": variable(mode, case.rotations(), f"rotation per step, {name}, exact", "rad"),
        f"{name}_curvature": variable(mode, case.curvatures, f"curvature K = h + λ, {name}", "1/t"),
        f"{name}_path": variable((f"{name}_step", "component", mode), paths, f"one replica of {name}: δ, v", "w, w/t"),
        f"{name}_ellipse": variable((mode, "angle", "component"), ellipses, f"1σ of the law, {name}: δ, v", "w, w/t"),
    }
    for j, (kind, unit) in enumerate(zip(KINDS, ("w²", "(w/t)²"), strict=True)):
        own = slice(j * count, (j + 1) * count)
        power = estimates["spectrum"].map(lambda S, own=own: S[:, own])
        words = f"power spectrum of the {kind} per step, {name}"
        variables |= measurement(f"{name}_{kind}", both, power, words, unit)
        variables[f"{name}_{kind}_theory"] = variable(both, expected[:, own], f"{words}, expected", unit)
        peaks = np.asarray(momentum.peak_frequency(case.curvatures, of=kind, **case.setting))
        variables[f"{name}_{kind}_peak"] = variable(mode, peaks, f"peak of the {kind}'s spectrum, {name}", "rad")
    coordinates = {
        mode: variable(mode, np.array(case.modes), f"mode of {name}, stiffest first"),
        line: variable(line, spectrum.frequencies(), "frequency per step", "rad"),
        f"{name}_step": variable(f"{name}_step", np.arange(len(paths)), "step"),
    }
    return variables, coordinates


FIG5 = register(
    Experiment(
        name="kunin2023/fig5",
        summary="rotation and spectra in the phase planes of single modes, of a regression and of a network",
        source=source("Fig. 5"),
        config=Fig5Config,
        presets={
            "quick": Fig5Config(),
            "paper": Fig5Config(
                replicas=1024, steps=8192, network_size="full", network_batch_size=256, network_replicas=64,
                network_steps=4096, network_modes=(1, 3, 10, 30),
            ),
        },
        run=run,
        figure="kunin2023/fig5",
    )
)  # fmt: skip
