"""What is claimed of the exponent over the length of the trajectory."""

from dataclasses import dataclass
from itertools import combinations

import jax.numpy as jnp
import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments.kunin2023._fig7_theory import exponent, slope
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import Estimate, power_law

VISIBLE = 0.15  # difference of two exponents that a fit must see
HERE = source("App. H.7, Fig. 7")
GROWS = "the fitted exponent c grows with the length T of the trajectory"
FALLS = "here c falls with T: growth, observed of one network resumed, is no general rule"


@dataclass(frozen=True)
class Fits:
    """Exponents at several lengths T of one run: measured, of the exact curve, and of that of the stationary state."""

    steps: np.ndarray
    displacement: Estimate
    exact: np.ndarray
    stationary: np.ndarray
    lengths: tuple[int, ...]

    def measured(self, length: int) -> Estimate:
        """c with its error by the jackknife."""
        return power_law(self.displacement, first=-(-length // 3), last=length).exponent

    def expected(self, length: int) -> float:
        """The same fit to the exact curve."""
        return exponent(self.steps, self.exact, length)

    def growth(self, short: int, long: int) -> Estimate:
        """c at the longer less c at the shorter length, of the same paths."""
        (early, x), (late, y) = (slope(self.steps, T) for T in (short, long))
        fit = lambda D: y @ jnp.log(D[late]) - x @ jnp.log(D[early])
        return self.displacement.map(fit, "growth of the exponent")

    def steepest(self) -> tuple[int, int]:
        """The two lengths between which the exact exponent grows most."""
        return max(combinations(self.lengths, 2), key=lambda pair: self.expected(pair[1]) - self.expected(pair[0]))


def claims_of(name: str, label: str, fits: Fits) -> list[Claim]:
    """c at every length, where it grows, that it falls in the end, and what the run is not."""
    claims = [_at(label, fits, T) for T in fits.lengths]
    first, last = fits.lengths[0], fits.lengths[-1]
    if name == "digits":
        return [*claims, _falls(label, fits, first, last), _not_brownian(label, fits, last)]
    trough, peak = fits.steepest()
    claims += [_grows(label, fits, trough, peak), _falls(label, fits, peak, last)]
    if name == "bands":
        return [*claims, _not_brownian(label, fits, last)]
    return [*claims, _drifts(label, fits, peak), _not_stationary(label, fits, peak)]


def _at(label: str, fits: Fits, T: int) -> Claim:
    return Claim.equality(
        f"{label}/c at T = {T}", HERE, f"c fitted from T/3 to T = {T} is that of the exact E|Δ_k|² at the same steps",
        **evidence(fits.measured(T)), expected=fits.expected(T), resolution=VISIBLE,
    )  # fmt: skip


def _grows(label: str, fits: Fits, short: int, long: int) -> Claim:
    """What H.7 observed, of one network."""
    id = f"{label}/grows from T = {short} to {long}"
    return Claim.bound(id, HERE, GROWS, **evidence(fits.growth(short, long)), expected=0.0, side="at least")


def _falls(label: str, fits: Fits, short: int, long: int) -> Claim:
    id = f"{label}/growth is not universal: falls from T = {short} to {long}"
    return Claim.bound(id, HERE, FALLS, **evidence(fits.growth(short, long)), expected=0.0, side="at most")


def _not_brownian(label: str, fits: Fits, T: int) -> Claim:
    return Claim.rejection(
        f"{label}/Brownian at T = {T}/control", HERE, "not c = 1: once 2 tr Cov θ is reached nothing diffuses",
        **evidence(fits.measured(T)), expected=fits.expected(T), rejected=1.0,
    )  # fmt: skip


def _drifts(label: str, fits: Fits, T: int) -> Claim:
    return Claim.bound(
        f"{label}/faster than diffusion at T = {T}", HERE, "the mean's drift takes c beyond 1",
        **evidence(fits.measured(T)), expected=1.0, side="at least",
    )  # fmt: skip


def _not_stationary(label: str, fits: Fits, T: int) -> Claim:
    return Claim.rejection(
        f"{label}/stationary at T = {T}/control", HERE, "not the exponent of the stationary state",
        **evidence(fits.measured(T)), expected=fits.expected(T), rejected=exponent(fits.steps, fits.stationary, T),
    )  # fmt: skip
