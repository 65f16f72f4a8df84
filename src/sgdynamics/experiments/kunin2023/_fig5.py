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

import numpy as np

from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.kunin2023._fig5_case import KINDS, Case, Fig5Config, digits_case, key_of, network_case
from sgdynamics.experiments.kunin2023._fig5_claims import claims
from sgdynamics.experiments.kunin2023._fig5_peaks import Readings, readings
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import AngularVelocity, PhaseSpace, PowerSpectrum, Snapshots
from sgdynamics.theory import momentum

PATH = 200  # steps of one replica that are drawn
SAMPLES = 16  # replicas over which a network's curvature is averaged


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
        "rotation": AngularVelocity(plane), "spectrum": spectrum,
        "paths": Snapshots(range(min(PATH, case.steps) + 1), plane),
    }  # fmt: skip
    ensemble = _ensembles.simulate(
        case.descent, statistics, progress, case.name, key=key_of(config), replicas=case.replicas,
        steps=case.steps, burn_in=case.burn_in, initial=case.prediction, groups=min(32, case.replicas),
    )  # fmt: skip
    expected = expected_spectra(case, spectrum)
    found = readings(case, spectrum, ensemble.estimates, expected)
    softening = (
        np.zeros(len(case.modes)) if case.exact else case.softening(np.asarray(ensemble.state.position[:SAMPLES]))
    )
    variables, coordinates = _stored(case, spectrum, ensemble.estimates, expected, found)
    return variables, coordinates, claims(case, found, drawn(case), softening), case.name, ensemble.provenance


def expected_spectra(case: Case, spectrum: PowerSpectrum) -> np.ndarray:
    """With leakage, [frequencies, 2 modes], positions first."""
    R = case.autocovariances()
    return spectrum.expected(np.concatenate([R[:, :, 0, 0], R[:, :, 1, 1]], axis=1))


def drawn(case: Case) -> list[int]:
    """Numbers, among the case's modes, of the stiffest, of the softest other than the last whose position has a peak,
    and of the last."""
    peaks = np.asarray(momentum.peak_frequency(case.curvatures, of="position", **case.setting))
    soft = int(np.flatnonzero(np.isfinite(peaks[:-1]))[-1])
    return sorted({0, soft, len(case.modes) - 1})


# --- what is stored -----------------------------------------------------------------------------------------

TURN = np.linspace(0, 2 * np.pi, 121)


def _stored(
    case: Case, spectrum: PowerSpectrum, estimates: dict, expected: np.ndarray, found: Readings
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
        words = f"peak of the {kind}'s spectrum, {name}; NaN where there is none"
        variables[f"{name}_{kind}_peak"] = variable(mode, peaks, f"{words}, predicted", "rad")
        fits = [found.peaks.get((kind, i)) for i in range(count)]
        for suffix, part in (("", "value"), ("_error", "standard_error")):
            values = np.array([np.nan if fit is None else float(getattr(fit[0], part)) for fit in fits])
            variables[f"{name}_{kind}_peak_measured{suffix}"] = variable(mode, values, f"{words}, {part}", "rad")
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
                network_steps=4096, network_modes=(1, 3, 12, 30),
            ),
        },
        run=run,
        figure="kunin2023/fig5",
    )
)  # fmt: skip
