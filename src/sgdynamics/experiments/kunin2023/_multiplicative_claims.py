"""What `kunin2023/multiplicative_noise` claims."""

import jax.numpy as jnp
import xarray as xr

import sgdynamics as sgd
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments.kunin2023._multiplicative_case import Case, MultiplicativeNoiseConfig
from sgdynamics.experiments.kunin2023._multiplicative_law import leading
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import Estimate

ASSUMPTION = source("App. B, Assumption 5")
MANY = 100  # samples N per input d of the data on which Assumption 5 holds
SEEN = 0.04  # of tr Cov by Assumption 5: what the ensembles on few samples must be able to see


def at_rest(label: str, case: Case, measured: Estimate) -> list[Claim]:
    """tr Cov θ of one ensemble."""
    if label in ("cancelling", "weaker"):
        return _few(label, case, measured)
    frozen = case.traces[1]
    found, exact = evidence(measured.map(lambda v: jnp.sum(v) / frozen - 1)), case.excess
    claims = [
        Claim.equality(
            f"{label}/excess", source("App. B; exact discrete law"),
            "tr Cov θ over that with the noise of the minimum, − 1, is that of the closed second moments",
            **found, expected=exact, resolution=exact / 4,
        ),
        Claim.rejection(
            f"{label}/frozen noise/control", ASSUMPTION, "the noise of the minimum is not enough",
            **found, expected=exact, rejected=0.0,
        ),
    ]  # fmt: skip
    if label == "elliptical":
        claims.append(_not_gaussian(case, found, exact))
    return claims


def _not_gaussian(case: Case, found: dict, exact: float) -> Claim:
    return Claim.rejection(
        "elliptical/Gaussian fourth moment/control", source("App. B"),
        "examples of unequal length: not the excess of Gaussian data of the same covariance",
        **found, expected=exact, rejected=case.gaussian_excess,
    )  # fmt: skip


def _few(label: str, case: Case, measured: Estimate) -> list[Claim]:
    """The small data set in units of Assumption 5."""
    found, expected = evidence(measured.map(lambda v: jnp.sum(v) / case.assumed)), case.against_assumption
    exact = Claim.equality(
        f"few samples, {label}/exact law", source("App. B; exact discrete law"),
        f"tr Cov θ in units of η σ² d/(2S(1 − β)), ε = {case.ε:.3g}", **found, expected=expected, resolution=SEEN,
    )  # fmt: skip
    if label == "cancelling":
        return [
            Claim.equality(
                f"few samples, {label}/Assumption 5", ASSUMPTION,
                f"Assumption 5 agrees with SGD at ε = {case.ε:.3g}: two errors of opposite sign, by accident",
                **found, expected=1.0, resolution=SEEN,
            )
        ]  # fmt: skip
    return [
        exact,
        Claim.equality(
            f"few samples, {label}/Assumption 5/published", ASSUMPTION,
            "Σ = σ² H: tr Cov θ = η σ² d/(2S(1 − β)), on the same data at a tenth of the learning rate",
            **found, expected=1.0, resolution=SEEN,
        ),
    ]  # fmt: skip


def slopes(config: MultiplicativeNoiseConfig, both: Estimate) -> list[Claim]:
    """The leading order of the exact law, averaged over data. Finite N changes it by a relative O(d/N)."""
    d, κ, finite = config.inputs, config.kurtosis, 2 * config.inputs / config.slope_samples
    place, claims = source("App. B; fourth moments of Gaussian data"), []
    for i, (name, kurtosis) in enumerate((("Gaussian", 1.0), ("elliptical", κ))):
        found = both.map(lambda slopes, i=i: slopes[i])
        expected = float(leading(1.0, d, kurtosis))
        claims += [
            Claim.equality(
                f"leading order, {name}", place,
                "excess/ε at small ε is κ (1 + 2/d) − 1/d, with κ = E|x|⁴ in units of the Gaussian one",
                **evidence(found), expected=expected, resolution=1 / (2 * d), tolerance=finite * expected,
                note="tolerance: relative 2d/N of finite data",
            ),
            Claim.rejection(
                f"leading order, {name}/many inputs/control", place,
                "η tr H/(2S(1 − β)), slope 1, holds for Gaussian data of many inputs only",
                **evidence(found), expected=expected, rejected=1.0, tolerance=finite,
            ),
        ]  # fmt: skip
    return claims


def assumption(config: MultiplicativeNoiseConfig, factor: Estimate, of_many: Estimate) -> list[Claim]:
    """The noise of the minimum of few samples against σ² H."""
    N, d, many = config.few_samples, config.inputs, MANY * config.inputs
    expected, limit = (N - d) / (N + 2), (many - d) / (many + 2)
    found, resolution = evidence(factor), expected / 10
    return [
        Claim.equality(
            "Assumption 5/average", ASSUMPTION,
            f"tr(H⁻¹Σ)/(σ²d) is (N − d)/(N + 2) on average over Gaussian data, N = {N}, d = {d}",
            **found, expected=expected, resolution=resolution, published=1.0,
        ),
        Claim.equality(
            "Assumption 5/average/published", ASSUMPTION, f"Σ ≈ σ² H, at N = {N}, d = {d}: tr(H⁻¹Σ)/(σ²d) ≈ 1",
            **found, expected=1.0, resolution=resolution,
        ),
        Claim.equality(
            "Assumption 5/many samples", ASSUMPTION,
            f"Σ ≈ σ² H, at N = {many}, d = {d}: tr(H⁻¹Σ)/(σ²d) ≈ 1 up to (d + 2)/(N + 2)",
            **evidence(of_many), expected=1.0, resolution=0.02, tolerance=1 - limit,
        ),
        Claim.rejection(
            "Assumption 5/residuals alone/control", ASSUMPTION,
            "not 1 − d/N, the residuals' share: long examples have smaller residuals",
            **found, expected=expected, rejected=1 - d / N,
        ),
    ]  # fmt: skip


def growth(config: MultiplicativeNoiseConfig, run: sgd.Ensemble, exact: float, frozen: float) -> list[Claim]:
    """Beyond the limit, where the mean is stable and the second moment is not bounded."""
    found = evidence(run.estimates.map(lambda v: jnp.sum(v) / frozen))
    place = source("App. B; second moments")
    words = f"at {config.growth:g} times the largest learning rate, momentum {config.growth_momentum:g}"
    return [
        Claim.equality(
            "beyond the limit/growth", place,
            f"{words}, from rest: tr Cov θ in units of that with frozen noise, after {config.growth_steps} steps",
            **found, expected=exact / frozen, resolution=(exact / frozen - 1) / 2,
        ),
        Claim.rejection(
            "beyond the limit/frozen noise/control", place, f"{words}: not bounded by the law with frozen noise",
            **found, expected=exact / frozen, rejected=1.0,
        ),
    ]  # fmt: skip


def limits(data: xr.Dataset) -> list[Claim]:
    """The exact limit scales with 1 − β, and lies far below that of the mean."""
    β, limit, mean = (data[name].values for name in ("limit_momentum", "limit", "limit_mean"))
    scaled = limit / (1 - β)
    place = source("App. B; second moments")
    return [
        Claim.bound(
            "limit/scales with 1 − β", place,
            f"|η_max/(1 − β) at momentum {β[-1]:g} over that at {β[-3]:.3g} − 1|",
            abs(scaled[-1] / scaled[-3] - 1), 0.0, 0.01, side="at most",
        ),
        Claim.bound(
            "limit/mean alone", place,
            f"η_max of second moments over 2(1 + β)/h_max, that of the mean, at momentum {β[-1]:g}",
            limit[-1] / mean[-1], 0.0, 0.01, side="at most",
        ),
    ]  # fmt: skip


def no_response(run: sgd.Ensemble, exact: float, constant: float) -> list[Claim]:
    """Ali et al.'s example."""
    found = evidence(run.estimates.map(lambda v: v[0]))
    return [
        Claim.bound(
            "no response/variance", source("App. B, after Ali et al."),
            f"y = 0: the variance of θ goes to 0 (E θ² = {exact:.1g}, exact), from θ = 1 after 20 steps",
            **found, expected=1e-6, side="at most",
        ),
        Claim.rejection(
            "no response/constant covariance/control", source("App. B, after Ali et al."),
            "not the Ornstein-Uhlenbeck process with the noise at θ = 1, whose variance stays",
            **found, rejected=constant, resolution=constant / 10,
        ),
    ]  # fmt: skip
