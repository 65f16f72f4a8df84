"""What fig. 16's ensembles claim: variances (14) exactly, the bridge of each epoch, what once an epoch would show.

The mean of the weights is 0 by symmetry, so that variances are plain mean squares: of one replica over steps, then
with their error between replicas.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.statistics import Estimate
from sgdynamics.theory import epochs as theory

STEEP, FLAT = 0, 1
WEIGHT = 0
DIRECTIONS = ("steep", "flat")
RESOLUTION = 0.2  # relative; epochs differ from independent batches by a factor of ten


@dataclass(frozen=True)
class Toy:
    """Curvatures [2], noise of a minibatch [2], η, β, M and σ."""

    curvatures: np.ndarray
    noise: np.ndarray
    learning_rate: float
    momentum: float
    batches: int
    label_noise_std: float

    @property
    def hyperparameters(self) -> dict:
        """η and β as theory takes them."""
        return {"learning_rate": self.learning_rate, "momentum": self.momentum}

    def epochs(self) -> np.ndarray:
        """(14), [weight or velocity, direction]."""
        return np.stack(
            theory.stationary_variances(
                self.curvatures, self.noise, **self.hyperparameters, batches_per_epoch=self.batches
            )
        )

    def white(self) -> np.ndarray:
        """The same of independent batches."""
        return np.stack(theory.white_variances(self.curvatures, self.noise, **self.hyperparameters))

    def by_position(self) -> np.ndarray:
        """After 1 … M batches of the epoch, [weight or velocity, direction, M]."""
        found = theory.position_variances(
            self.curvatures, self.noise, **self.hyperparameters, batches_per_epoch=self.batches
        )
        return np.roll(np.stack(found), -1, axis=-1)  # theory begins before the first batch

    @property
    def multiplicative(self) -> np.ndarray:
        """h σ_θ²/σ²: what the spread itself adds to the noise, relative, [2]."""
        return self.curvatures * self.white()[WEIGHT] / self.label_noise_std**2


@dataclass(frozen=True)
class Run:
    """Weights and velocities u at every step of whole epochs, [steps, replicas, weight or velocity, direction]."""

    name: str
    path: np.ndarray
    toy: Toy

    @property
    def expected(self) -> np.ndarray:
        """Averaged over the position, [weight or velocity, direction]."""
        return self.toy.epochs() if self.name == "epochs" else self.toy.white()

    @property
    def expected_by_position(self) -> np.ndarray:
        """[weight or velocity, direction, M]."""
        if self.name == "epochs":
            return self.toy.by_position()
        return np.repeat(self.toy.white()[..., None], self.toy.batches, axis=-1)

    @cached_property
    def squares_by_position(self) -> np.ndarray:
        """Averaged over the epochs, [replicas, weight or velocity, direction, M]."""
        M = self.toy.batches
        return np.moveaxis(np.mean(self.path.reshape(-1, M, *self.path.shape[1:]) ** 2, axis=0), 0, -1)

    @property
    def squares(self) -> np.ndarray:
        """Averaged over all steps, [replicas, weight or velocity, direction]."""
        return self.squares_by_position.mean(axis=-1)


def claims_of(run: Run) -> list[Claim]:
    """Variances of weight and velocity in both directions, in units of the exact ones; no correlation between them."""
    equation = "Eq. 14" if run.name == "epochs" else "Eq. 19, exact form"
    ratio = over_realisations(run.squares / run.expected)
    claims = [
        Claim.equality(
            f"{run.name}/{direction}/variance of the {quantity}", source(equation),
            "in units of the exact one; the tolerance is the noise that the spread itself adds",
            **evidence(_entry(ratio, q, i)), expected=1.0, resolution=RESOLUTION,
            tolerance=run.toy.multiplicative[i] * run.toy.white()[q, i] / run.expected[q, i],
        )
        for q, quantity in enumerate(("weight", "velocity")) for i, direction in enumerate(DIRECTIONS)
    ]  # fmt: skip
    both = np.mean(run.path[:, :, WEIGHT].prod(axis=-1), axis=0) / np.sqrt(run.expected[WEIGHT].prod())
    return [
        *claims,
        Claim.equality(
            f"{run.name}/no correlation between the directions", source("Fig. 16"), "correlation of θ₁ and θ₂",
            **evidence(over_realisations(both)), expected=0.0, resolution=RESOLUTION,
        ),
    ]  # fmt: skip


def claims_between(epochs: Run, with_replacement: Run) -> list[Claim]:
    """How much less the flat direction fluctuates in epochs, and neither run follows the other's theory."""
    shape = lambda run: over_realisations(run.squares[:, WEIGHT]).map(lambda s: s[FLAT] / s[STEEP])
    expected = lambda run: run.expected[WEIGHT, FLAT] / run.expected[WEIGHT, STEEP]
    right, wrong = expected(epochs), expected(with_replacement)
    return [
        Claim.equality(
            "with replacement/isotropic", source("Σ ∝ 1 for C ∝ H"), "variance of θ₂ over that of θ₁",
            **evidence(shape(with_replacement)), expected=wrong, resolution=RESOLUTION,
            tolerance=_added(with_replacement),
        ),
        Claim.equality(
            "epochs/anisotropic", source("Fig. 16, Eq. 14"), "variance of θ₂ over that of θ₁",
            **evidence(shape(epochs)), expected=right, resolution=RESOLUTION * right, tolerance=right * _added(epochs),
        ),
        Claim.rejection(
            "epochs/white noise in the flat direction/control", source("Fig. 16"),
            "variance of θ₂ in units of (14): not that of independent batches",
            **evidence(_entry(over_realisations(epochs.squares / epochs.expected), WEIGHT, FLAT)),
            expected=1.0, rejected=epochs.toy.white()[WEIGHT, FLAT] / epochs.expected[WEIGHT, FLAT],
        ),
        Claim.rejection(
            "with replacement/anti-correlated noise in the flat direction/control", source("Fig. 16"),
            "variance of θ₂ in units of the exact one: not (14)",
            **evidence(_entry(over_realisations(with_replacement.squares / with_replacement.expected), WEIGHT, FLAT)),
            expected=1.0,
            rejected=with_replacement.toy.epochs()[WEIGHT, FLAT] / with_replacement.expected[WEIGHT, FLAT],
        ),
    ]  # fmt: skip


def bridge_claims(run: Run) -> list[Claim]:
    """The flat direction's variance over the epoch, in units of its average."""
    exact = run.expected_by_position[WEIGHT, FLAT]
    exact = exact / exact.mean()
    M = run.toy.batches
    measured = over_realisations(run.squares_by_position[:, WEIGHT, FLAT])
    at: Callable[[int], Estimate] = lambda k: measured.map(lambda s: s[k] / s.mean())
    shape = (exact - 1) / np.sum((exact - 1) ** 2)
    amplitude = measured.map(lambda s: (s / s.mean() - 1) @ shape)
    end, middle = M - 1, M // 2 - 1
    words = "variance of θ₂ {}, in units of its average over the epoch"
    place = source("position in the epoch (not in the slides)")
    return [
        Claim.equality(
            "bridge/profile", place, "variance of θ₂ over the epoch: amplitude of the exact profile",
            **evidence(amplitude), expected=1.0, resolution=0.2,
        ),
        Claim.rejection(
            "bridge/same at every position/control", source("average over k"), "the profile is not flat",
            **evidence(amplitude), expected=1.0, rejected=0.0,
        ),
        Claim.equality(
            "bridge/middle of the epoch", place, words.format("after half the epoch"),
            **evidence(at(middle)), expected=exact[middle], resolution=0.2,
        ),
        Claim.equality(
            "bridge/end of the epoch", place, words.format("after an epoch: all that one record an epoch would show"),
            **evidence(at(end)), expected=exact[end], resolution=0.2 * exact[end],
        ),
        Claim.rejection(
            "bridge/once an epoch is enough/control", place, words.format("after an epoch: not the average"),
            **evidence(at(end)), expected=exact[end], rejected=1.0,
        ),
    ]  # fmt: skip


def _entry(estimate: Estimate, quantity: int, direction: int) -> Estimate:
    return estimate.map(lambda v: v[quantity, direction])


def _added(run: Run) -> float:
    """The relative noise that the spread adds, in the direction where it is larger."""
    return float(np.max(run.toy.multiplicative * run.toy.white()[WEIGHT] / run.expected[WEIGHT]))
