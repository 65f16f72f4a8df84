"""Anti-PGD on a network: what is claimed."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.beyond._anti_pgd_case import (
    ACCURACY,
    LATE,
    OBJECTIVE,
    TEST_LOSS,
    TRACE,
    Case,
    Path,
    law_of,
)
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.statistics import Estimate


def claims(paths: Mapping[str, Path], case: Case) -> list[Claim]:
    """The law, the price, the test set."""
    return [*_law_claims(paths["anti_pgd"], case), *_comparisons(paths, case), *_test_claims(paths["anti_pgd"], case)]


def _law_claims(anti: Path, case: Case) -> list[Claim]:
    """tr H and excess loss of Anti-PGD; neither standing still nor L̃ alone explains them."""
    assert anti.at_z is not None
    flattened = over_realisations(anti.at_z[:, TRACE] - case.start[TRACE])
    expected, next_order = float(anti.law["trace_z"][-1] - case.start[TRACE]), abs(case.remainder)
    alone = (
        float(law_of(case, True, case.config.noise_std, fluctuations=False)["trace"][-LATE:].mean()) + case.remainder
    )
    late, expected_late = anti.late(TRACE), float(anti.law["trace"][-LATE:].mean()) + case.remainder
    excess, expected_excess = anti.late(OBJECTIVE), float(anti.law["objective"][-LATE:].mean())
    place = source("slide before Fig. 25")
    return [
        Claim.equality(
            "Anti-PGD/tr H at z", place, f"change of tr H at z = θ − ξ after {case.config.steps} steps",
            **evidence(flattened), expected=expected, resolution=abs(expected) / 8, tolerance=next_order,
            note="tolerance: the term of order σ⁴ in E tr H(θ + ξ)",
        ),
        Claim.rejection(
            "Anti-PGD/no force/control", place, "tr H at z changes, which of gradient descent it does not",
            **evidence(flattened), expected=expected, rejected=0.0, tolerance=next_order,
        ),
        Claim.equality(
            "Anti-PGD/tr H at θ", place, "tr H at θ at the end, higher by ½σ² Δ tr H (and the term of order σ⁴)",
            **evidence(late), expected=expected_late, resolution=abs(expected) / 5, tolerance=next_order,
            note="tolerance: the term of order σ⁴, once more",
        ),
        Claim.rejection(
            "Anti-PGD/effective loss alone/control", place,
            "tr H at θ at the end is not that of z on the path of −∇L̃, without the fluctuations of z at finite η",
            **evidence(late), expected=expected_late, rejected=alone, tolerance=next_order,
        ),
        Claim.equality(
            "Anti-PGD/excess loss", place, "training loss with weight decay above its minimum, ½ Σ a V, over that law",
            **evidence(excess.map(lambda x: (x - case.start[OBJECTIVE]) / (expected_excess - case.start[OBJECTIVE]))),
            expected=1.0, resolution=0.1, tolerance=abs(expected) / float(case.start[TRACE]),
            note="tolerance: by how much tr H itself has changed",
        ),
    ]  # fmt: skip


def _comparisons(paths: Mapping[str, Path], case: Case) -> list[Claim]:
    """Against PGD: of the same σ, and of the same excess loss."""
    anti, pgd, weak = paths["anti_pgd"], paths["pgd"], paths["weak_pgd"]
    below = lambda a, b, what: _less(a.late(what), b.late(what))
    excess = anti.late(OBJECTIVE).value - case.start[OBJECTIVE]
    place = source("slide before Fig. 25; Orvieto et al. (2022)")
    bound = lambda id, words, numbers: Claim.bound(id, place, words, **numbers, expected=0.0, side="at most")
    weaker = below(weak, anti, OBJECTIVE)
    relative = {k: weaker[k] / excess for k in ("measured", "standard_error")}
    return [
        bound("equal σ/PGD is flatter", "tr H of PGD less that of Anti-PGD", below(pgd, anti, TRACE)),
        bound("equal σ/PGD has the larger loss", "loss of Anti-PGD less that of PGD", below(anti, pgd, OBJECTIVE)),
        bound("equal loss/Anti-PGD is flatter", "tr H of Anti-PGD less that of the weak PGD", below(anti, weak, TRACE)),
        Claim.equality(
            "equal loss/is equal", place, "loss of the weak PGD less that of Anti-PGD, over the latter's excess",
            **(weaker | relative), expected=0.0, resolution=0.15, tolerance=0.05,
            note="tolerance: both are set equal by the harmonic law",
        ),
    ]  # fmt: skip


def _less(a: Estimate, b: Estimate) -> dict[str, Any]:
    return {
        "measured": a.value - b.value,
        "standard_error": jnp.hypot(a.standard_error, b.standard_error),
        "degrees_of_freedom": a.degrees_of_freedom,
    }


def _test_claims(anti: Path, case: Case) -> list[Claim]:
    """Beneficial for test accuracy: not on this network at θ. At z differences are too small to claim."""
    note = f"about the noise, on one network and {case.trained.test.samples} test images, not about networks at large"
    changes = {
        "accuracy at θ": (anti.late(ACCURACY), ACCURACY, "at least"),
        "loss at θ": (anti.late(TEST_LOSS), TEST_LOSS, "at most"),
    }
    return [
        Claim.bound(
            f"test {words}/published", source("slide before Fig. 25; Orvieto et al. (2022)"),
            f"Anti-PGD is beneficial: change of test {words}",
            **evidence(estimate.map(lambda x, what=what: x - case.start[what])), expected=0.0, side=side, note=note,
        )
        for words, (estimate, what, side) in changes.items()
    ]  # fmt: skip
