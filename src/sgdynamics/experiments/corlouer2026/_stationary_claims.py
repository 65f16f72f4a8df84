"""The claims of `corlouer2026/stationary` at one depth."""

import jax
import numpy as np
from scipy.stats import kstwo

from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.corlouer2026._one_mode import OneMode
from sgdynamics.experiments.corlouer2026._one_mode_ensemble import cdf_between, largest_gap
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.experiments.corlouer2026._stationary_study import Study, published_centre
from sgdynamics.theory import deep_linear, fokker_planck

TINY = 1e-4  # β at which expansions are checked: their next order is smaller by β L s^{2−2/L}
FAR = 1e4  # in units of s: where the tail's exponent is taken
POINT = 1e-4  # narrower than this, a histogram shows a point
STEPS = 0.1  # of the mean's distance from s: what half the substeps may change, and extrapolation takes out


def claimed(study: Study) -> list[Claim]:
    return [
        *_moments(study), *_centre(study), *_expansions(study.mode), *_tail(study.mode), *_silent(study),
        *_on_the_way(study),
    ]  # fmt: skip


def _moments(study: Study) -> list[Claim]:
    """Mean and variance of the ensemble at each temperature."""
    claims = []
    for k, β in enumerate(study.config.temperatures):
        mode, law, head = study.fine.modes[k], study.densities[k], f"L = {study.depth}/β = {β:g}"
        shift, V = float(law.mean) - mode.singular_value, mode.variance
        mean, width = (study.mean_shift.map(lambda x, k=k: x[k]), study.variance_ratio.map(lambda x, k=k: x[k]))
        claims += [
            Claim.equality(f"{head}/mean", source("Eq. 16"), "mean − s is that of (16)", **evidence(mean),
                           expected=shift, resolution=abs(shift) / 3),
            Claim.equality(f"{head}/variance", source("Eq. 16"), "variance over (18) is that of (16)",
                           **evidence(width), expected=float(law.variance) / V, resolution=0.05),
        ]  # fmt: skip
    return claims


def _centre(study: Study) -> list[Claim]:
    """What the paper says of the mean, and convergence, at the highest temperature."""
    head, mode, k = f"L = {study.depth}", study.mode, study.hottest
    s, law = mode.singular_value, study.densities[k]
    mean, expansion = (
        evidence(study.mean_shift.map(lambda x: x[k])),
        deep_linear.stationary_expansion(s, **mode.settings),
    )
    steps = np.asarray(study.coarse.mean_shift.groups)[:, k] - np.asarray(study.fine.mean_shift.groups)[:, k]
    shift, printed = float(law.mean) - s, published_centre(mode) - s
    sample = np.sort(study.fine.at(-1, k))
    gap = largest_gap(sample, np.asarray(law.cdf(sample)))
    return [
        Claim.equality(f"{head}/converged in substeps", source("Eq. 11"),
                       f"half the substeps change the mean by no more than {STEPS:.0%} of its distance from s",
                       **evidence(over_realisations(steps)), expected=0.0, resolution=STEPS * abs(shift),
                       tolerance=STEPS * abs(shift)),
        Claim.bound(f"{head}/mean above s/published", source("Prop. 5.2"), "mean slightly above s: mean − s", **mean,
                    expected=0.0, side="at least"),
        Claim.equality(f"{head}/mean/published", source("Eq. 17"), "the law is centred at (17) as printed: mean − s",
                       **mean, expected=printed, resolution=abs(printed - shift) / 3),
        Claim.rejection(f"{head}/mean at the zero of the drift/control", source("App. F"),
                        "not centred at the zero of the corrected drift either: mean − s", **mean, expected=shift,
                        rejected=float(expansion.drift_zero) - s),
        _kolmogorov(f"{head}/law at the end", "Eq. 16", "(16)", gap, len(sample)),
    ]  # fmt: skip


def _kolmogorov(id: str, place: str, law: str, gap: float, n: int) -> Claim:
    return Claim.bound(
        id, source(place), f"largest deviation of the ensemble's cumulative distribution from {law}, "
        f"below what {n} independent draws exceed with probability {LEVEL:g}",
        measured=gap, standard_error=0.0, expected=kstwo.isf(LEVEL, n), side="at most",
    )  # fmt: skip


def _expansions(mode: OneMode) -> list[Claim]:
    """First order in β, evaluated at a small one; in units of ε, without errors of measurement."""
    tiny = OneMode(mode.singular_value, mode.depth, TINY, mode.label_noise_std)
    law, s, L = tiny.stationary(), mode.singular_value, mode.depth
    exact, printed = (
        deep_linear.stationary_expansion(s, form=form, **tiny.settings) for form in ("exact", "published")
    )
    ε, size = float(exact.drift_zero) - s, 20 * TINY * mode.rate
    zero, mean, top = ((w - s) / ε for w in (_drift_zero(tiny), float(law.mean), float(law.mode)))
    values = {"zero of the drift": (zero, 1.0), "mean": (mean, -1.0), "maximum of p": (top, -3.0),
              "variance": (float(law.variance) / tiny.variance, 1.0)}  # fmt: skip
    words = f"at β = {TINY:g}, up to the next order ({size:.1%})"
    claims = [
        Claim.equality(f"L = {L}/{name} to first order", source("Prop. 5.2"), f"{name}, {unit}, {words}",
                       value, 0.0, expected, resolution=size, tolerance=size * abs(expected))
        for name, (value, expected) in values.items()
        for unit in ("over (18)" if name == "variance" else "less s, in units of ε",)
    ]  # fmt: skip
    return [
        *claims,
        Claim.equality(f"L = {L}/zero of the drift/published", source("Eq. 17"), f"(17) as printed, less s, {words}",
                       zero, 0.0, (float(printed.drift_zero) - s) / ε, resolution=size, tolerance=size),
        Claim.rejection(f"L = {L}/maximum of p at the zero of the drift/control", source("Prop. 5.2"),
                        f"p has its peak near the zero of the drift, and not at it to first order: less s, {words}",
                        top, 0.0, -3.0, rejected=zero, tolerance=size),
    ]  # fmt: skip


def _drift_zero(mode: OneMode) -> float:
    """Where the drift falls through 0, by Newton's method from s."""
    w = np.asarray(mode.singular_value)
    for _ in range(4):
        value, slope = jax.jvp(mode.drift, (w,), (np.ones_like(w),))
        w = w - np.asarray(value / slope)
    return float(w)


def _tail(mode: OneMode) -> list[Claim]:
    L, far = mode.depth, FAR * mode.singular_value
    # the drift's pull, 2μ/D → −1/(β L w^{2−2/L}) per unit of ln w, and s/w are what is left
    rest = 2 / (mode.temperature * L * far ** (2 - 2 / L)) + 4 / FAR
    return [
        Claim.equality(f"L = {L}/tail", "ours", f"p falls as w^(−5+3/L): d ln p/d ln w at w = {FAR:g} s",
                       mode.tail_exponent(far), 0.0, -5 + 3 / L, resolution=rest, tolerance=rest),
    ]  # fmt: skip


def _silent(study: Study) -> list[Claim]:
    head, mode, law = f"L = {study.depth}/no label noise", study.fine.modes[-1], study.densities[-1]
    s, κ = mode.singular_value, -2 - 1 / (mode.temperature * mode.rate)
    exponent = float(fokker_planck.local_exponent(mode.drift, mode.diffusion, s, distance=-1e-6 * s))
    values = study.fine.at(-1, len(study.fine.modes) - 1)
    return [
        Claim.equality(f"{head}/normalisable", source("Prop. 5.2 (i)"), "(16) has no integral: 1 if it had one, else 0",
                       float(law.normalisable), 0.0, 0.0, resolution=0.5),
        Claim.equality(f"{head}/where", source("Prop. 5.2 (i)"), "the law is a Dirac mass at s", float(law.atom),
                       0.0, s, resolution=1e-6, tolerance=1e-6),
        Claim.equality(f"{head}/exponent", "ours", "exponent of |s − w| next to s", exponent, 0.0, κ,
                       resolution=1e-3 * abs(κ), tolerance=1e-3 * abs(κ)),
        Claim.bound(f"{head}/the ensemble", source("Prop. 5.2 (i)"), "it ends in s: root mean square of w − s",
                    float(np.sqrt(np.mean((values - s) ** 2))), 0.0, POINT, side="at most"),
    ]  # fmt: skip


def _on_the_way(study: Study) -> list[Claim]:
    """The law at the stages, against finite volumes, and the same with the printed drift (14)."""
    claims, k = [], study.hottest
    for stage, record, probabilities in zip(study.config.stages, study.records, study.laws, strict=True):
        sample = np.sort(study.fine.at(record, k))
        gap = largest_gap(sample, cdf_between(study.edges, probabilities, sample))
        id = f"L = {study.depth}/law on the way to {stage:g} s"
        claims.append(_kolmogorov(id, "App. F", "the Fokker-Planck equation's (finite volumes)", gap, len(sample)))
    middle = len(study.records) // 2
    centres = (study.edges[1:] + study.edges[:-1]) / 2
    exact, printed = (float(laws[middle] @ centres) for laws in (study.laws, study.evolved("published_14")))
    mean = over_realisations(study.fine.at(study.records[middle], k))
    return [
        *claims,
        Claim.rejection(f"L = {study.depth}/law on the way, drift as printed/control", source("Eq. 14"),
                        "not the Fokker-Planck equation with the drift as printed: mean on the way", **evidence(mean),
                        expected=exact, rejected=printed),
    ]  # fmt: skip
