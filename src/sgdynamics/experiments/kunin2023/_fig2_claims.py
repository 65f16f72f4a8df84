"""Claims of Fig. 2: means, damping and frequency, and covariances along the top eigenvector, against the recursion, (5)
and App. F.2."""

import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares

import sgdynamics as sgd
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.kunin2023._fig2_case import Curves, Fig2Config, Mode
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import Estimate
from sgdynamics.theory import momentum

NEARLY = 0.1  # relative error up to which a curve is "nearly perfectly" matched
NAMES = ("position", "velocity")


def mean_claims(label: str, config: Fig2Config, mode: Mode, β: float, law: Curves, mean: Estimate) -> list[Claim]:
    """The exact mean holds at every step; (5) holds nearly, half a step later better, without momentum not."""
    after = mean.map(lambda m: m[1:])
    claims = [
        _family(
            f"{label}/mean", "Eq. 2", "mean of position and velocity at every step is that of the recursion (p-value)",
            after, law.mean[1:],
        )
    ]  # fmt: skip
    if β > 0:
        for i, name in enumerate(NAMES):
            found = distance(mean, law.sde_mean, law.mean, i)
            claims.append(_nearly(f"{label}/(5), {name}", f"(5) matches the mean {name}", found))
        claims += _lag_claims(label, config, mode, β, law, mean)
    unit = -mode.curvature * law.mean[0, 0]
    first = evidence(mean.map(lambda m: m[1, 1] / unit))
    claims.append(
        Claim.equality(
            f"{label}/first velocity", source("Eq. 2"), "v₁ is −h δ₀: all of it, whatever the momentum", **first,
            expected=1.0, resolution=0.07,
        )
    )  # fmt: skip
    if β == 0:
        claims.append(
            Claim.rejection(
                f"{label}/memory of velocity/control", source("Eq. 5"),
                "without momentum v₁ is not (5)'s, which still remembers v₀ = 0 by e⁻²", **first,
                expected=1.0, rejected=law.sde_mean[1, 1] / unit,
            )
        )  # fmt: skip
    return claims


def _family(id: str, place: str, statement: str, measured: Estimate, expected: np.ndarray) -> Claim:
    p = sgd.compare(measured, expected, level=LEVEL).p_value
    return Claim.bound(id, source(place), statement, p, 0.0, LEVEL, side="at least")


def _nearly(id: str, statement: str, found: Estimate) -> Claim:
    words = f"{statement} nearly perfectly: relative error, rms over all steps, at most {NEARLY:g}"
    return Claim.bound(id, source("Sec. 5, Fig. 2"), words, **evidence(found), expected=NEARLY, side="at most")


def _lag_claims(label: str, config: Fig2Config, mode: Mode, β: float, law: Curves, mean: Estimate) -> list[Claim]:
    """How many steps the mean position is ahead of (5): least squares on the line to (5) half a step later.

    Half a step to O(ηh), and what phases add: a share Δω/ω of the 1/2γ steps over which a mean e^{−γn} is weighed.
    """
    start, line = law.sde_mean[:, 0], law.later_mean[:, 0] - law.sde_mean[:, 0]
    ahead = lambda m: jnp.sum((m[:, 0] - start) * line) / (2 * np.sum(line**2))
    exact = float(ahead(law.mean))
    claims = [
        Claim.equality(
            f"{label}/(5) lags behind, position", source("Eq. 5"),
            "SGD's mean position is ahead of (5) by as many steps as the recursion is", **evidence(mean.map(ahead)),
            expected=exact, resolution=0.25, published=0.0,
        )
    ]  # fmt: skip
    η, h, setting = config.learning_rate, mode.curvature, {"learning_rate": config.learning_rate, "momentum": β}
    ω, γ = (float(f(h, **setting)) for f in (momentum.oscillation_frequency_per_step, momentum.decay_per_step))
    if ω > 0:
        drift = abs(1 - η * float(momentum.oscillation_frequency(h, **setting)) / ω) / (2 * γ)
        claims.append(
            Claim.bound(
                f"{label}/(5) lags by half a step", source("Eq. 5"),
                "the recursion is ½ a step ahead of (5): |steps − ½| ≤ ηh + Δω/(2γω), exact evaluation",
                abs(exact - 0.5), 0.0, η * h + drift, side="at most",
            )
        )  # fmt: skip
    return claims


def distance(mean: Estimate, wrong: np.ndarray, exact: np.ndarray, component: int) -> Estimate:
    """|mean − wrong|/|exact| over steps: the exact part of it times where the mean lies on the line from wrong (0) to
    exact (1), so that sampling noise does not count as distance."""
    W, E = wrong[:, component], exact[:, component]
    line = (E - W) / np.sum((E - W) ** 2)
    share = np.linalg.norm(E - W) / np.linalg.norm(E)
    return mean.map(lambda m: share * jnp.sum((m[:, component] - W) * line))


def oscillation_claims(
    label: str, config: Fig2Config, mode: Mode, β: float, law: Curves, mean: Estimate
) -> list[Claim]:
    """Damping and frequency of the mean position, where it oscillates."""
    setting = {"learning_rate": config.learning_rate, "momentum": β}
    ω = float(momentum.oscillation_frequency_per_step(mode.curvature, **setting))
    γ = float(momentum.decay_per_step(mode.curvature, **setting))
    if ω == 0:
        return []
    fits = over_realisations(np.stack([fit(path[:, 0], γ, ω) for path in np.asarray(mean.groups)]), "fit")
    words = ("damping of the mean position per step is −ln √β", "frequency of the mean position, rad per step")
    claims = [
        Claim.equality(
            f"{label}/{name}", source("Eq. 5; roots of Eq. 2"), words[i], **evidence(fits.map(lambda f, i=i: f[i])),
            expected=(γ, ω)[i], resolution=0.05 * (γ, ω)[i],
        )
        for i, name in enumerate(("damping", "frequency"))
    ]  # fmt: skip
    half = round(np.pi / ω)
    if half <= config.steps:
        start = law.mean[0, 0]
        claims.append(
            Claim.rejection(
                f"{label}/overdamped/control", source("Eq. 5"),
                f"the position is beyond the minimum half a period later, at step {half}: no e^{{−ht/(1 − β)}}",
                **evidence(mean.map(lambda m: m[half, 0] / start)), expected=law.mean[half, 0] / start,
                rejected=law.first_order[half] / start,
            )
        )  # fmt: skip
    return claims


def fit(position: np.ndarray, damping: float, frequency: float) -> tuple[float, float]:
    """γ and ω, per step, of e^{−γk} (a cos ωk + b sin ωk) fitted to `position`, from a guess."""
    n = np.arange(len(position))

    def residual(parameters: np.ndarray) -> np.ndarray:
        γ, ω = parameters
        basis = np.exp(-γ * n)[:, None] * np.stack([np.cos(ω * n), np.sin(ω * n)], axis=-1)
        return basis @ np.linalg.lstsq(basis, position, rcond=None)[0] - position

    return tuple(least_squares(residual, [damping, frequency], x_scale=[damping, frequency]).x)


def covariance_claims(label: str, law: Curves, measured: Estimate) -> list[Claim]:
    """The exact covariance at every step; not that of frozen noise."""
    if law.covariance is None:
        return []
    upper = np.array([0, 1, 3])
    rows = lambda M: M.reshape(len(M), 4)[1:, upper]
    scale = np.sqrt(np.einsum("tii->ti", law.covariance[1:]))
    unit = np.stack([scale[:, 0] ** 2, scale[:, 0] * scale[:, 1], scale[:, 1] ** 2], axis=-1)
    right = rows(law.covariance) / unit
    found = measured.map(lambda M: rows(M) / unit)
    line = rows(law.sde_covariance) / unit - right
    weight = line / np.sum(line**2)
    position = found.map(lambda M: 1 - jnp.sum((M - right) * weight))
    return [
        _family(
            f"{label}/covariance", "Eq. 2; minibatches, exact",
            "variances and covariance of position and velocity in time, with noise that depends on θ (p-value)",
            found, right,
        ),
        Claim.rejection(
            f"{label}/frozen noise/control", source("Assumption 3, App. F.2"),
            "not the covariance in time with the noise of the minimum: from that (0) to the exact one (1)",
            **evidence(position), expected=1.0, rejected=0.0,
        ),
    ]  # fmt: skip
