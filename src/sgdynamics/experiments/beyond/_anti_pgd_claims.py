"""Anti-PGD on a network: what is claimed."""

from collections.abc import Mapping

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._realisations import difference, over_realisations
from sgdynamics.experiments.beyond._anti_pgd_case import (
    LATE,
    OBJECTIVE,
    TEST_LOSS,
    TRACE,
    Case,
    Path,
    law_of,
)
from sgdynamics.experiments.kuehn2025._source import source

PLACE = source("slide before Fig. 25")
CHANGE = 2e-3  # of the test loss: what must be seen


def claims(paths: Mapping[str, Path], case: Case) -> list[Claim]:
    """The law, the price, the test set."""
    return [*_law_claims(paths["anti_pgd"], case), *_comparisons(paths, case), *_test_claims(paths, case)]


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
    return [
        Claim.equality(
            "Anti-PGD/tr H at z", PLACE, f"change of tr H at z = θ − ξ after {case.config.steps} steps",
            **evidence(flattened), expected=expected, resolution=abs(expected) / 8, tolerance=next_order,
            note="tolerance: the term of order σ⁴ in E tr H(θ + ξ)",
        ),
        Claim.rejection(
            "Anti-PGD/no force/control", PLACE, "tr H at z changes, which of gradient descent it does not",
            **evidence(flattened), expected=expected, rejected=0.0, tolerance=next_order,
        ),
        Claim.equality(
            "Anti-PGD/tr H at θ", PLACE, "tr H at θ at the end, higher by ½σ² Δ tr H (and the term of order σ⁴)",
            **evidence(late), expected=expected_late, resolution=abs(expected) / 5, tolerance=next_order,
            note="tolerance: the term of order σ⁴, once more",
        ),
        Claim.rejection(
            "Anti-PGD/effective loss alone/control", PLACE,
            "tr H at θ at the end is not that of z on the path of −∇L̃, without the fluctuations of z at finite η",
            **evidence(late), expected=expected_late, rejected=alone, tolerance=next_order,
        ),
        Claim.equality(
            "Anti-PGD/excess loss", PLACE, "training loss with weight decay above its minimum, ½ Σ a V, over that law",
            **evidence(excess.map(lambda x: (x - case.start[OBJECTIVE]) / (expected_excess - case.start[OBJECTIVE]))),
            expected=1.0, resolution=0.1, tolerance=abs(expected) / float(case.start[TRACE]),
            note="tolerance: by how much tr H itself has changed",
        ),
    ]  # fmt: skip


def _comparisons(paths: Mapping[str, Path], case: Case) -> list[Claim]:
    """Against PGD: of the same σ, and of the same excess loss."""
    anti, pgd, weak = paths["anti_pgd"], paths["pgd"], paths["weak_pgd"]
    below = lambda a, b, what: difference(a.late(what), b.late(what))
    excess = float(anti.late(OBJECTIVE).value) - case.start[OBJECTIVE]
    bound = lambda id, words, numbers: Claim.bound(id, PLACE, words, **numbers, expected=0.0, side="at most")
    weaker = below(weak, anti, OBJECTIVE)
    relative = {k: float(weaker[k]) / excess for k in ("measured", "standard_error")}
    tolerance = _flattened(anti, case) + _flattened(weak, case)
    return [
        bound("equal σ/PGD is flatter", "tr H of PGD less that of Anti-PGD", below(pgd, anti, TRACE)),
        bound("equal σ/PGD has the larger loss", "loss of Anti-PGD less that of PGD", below(anti, pgd, OBJECTIVE)),
        _beyond_order(pgd, case),
        bound("equal loss/Anti-PGD is flatter", "tr H of Anti-PGD less that of the weak PGD", below(anti, weak, TRACE)),
        Claim.equality(
            "equal loss/is equal", PLACE, "loss of the weak PGD less that of Anti-PGD, over the latter's excess; "
            f"tolerance {tolerance:.2g}: by how much either's tr H changes",
            **(weaker | relative), expected=0.0, resolution=0.05, tolerance=tolerance,
            note="both are set equal by the harmonic law, with the curvatures of the minimum",
        ),
    ]  # fmt: skip


def _flattened(path: Path, case: Case) -> float:
    """By how much tr H has changed at the end, by the law, relatively."""
    return abs(float(path.law["trace"][-1]) / float(case.start[TRACE]) - 1)


def _beyond_order(pgd: Path, case: Case) -> Claim:
    """PGD's fluctuations are too large for an expansion in σ²."""
    law = float(pgd.law["trace"][-LATE:].mean())
    return Claim.rejection(
        "equal σ/PGD by order σ²/control", PLACE, "tr H of PGD at the end is not that of the law of order σ², whose "
        "next orders its larger fluctuations reach", **evidence(pgd.late(TRACE)), rejected=law,
        resolution=abs(law - case.start[TRACE]) / 4,
    )  # fmt: skip


def _test_claims(paths: Mapping[str, Path], case: Case) -> list[Claim]:
    """The law of the test loss; neither gain nor loss at z; against the weak PGD."""
    anti, weak = paths["anti_pgd"], paths["weak_pgd"]
    assert anti.at_z is not None
    start, late = float(case.start[TEST_LOSS]), anti.late(TEST_LOSS)
    at_z = over_realisations(anti.at_z[:, TEST_LOSS])
    law, law_z = float(anti.law["test_loss"][-LATE:].mean()), float(anti.law["test_loss_z"][-1])
    change, change_z = (estimate.map(lambda loss: loss - start) for estimate in (late, at_z))
    tolerance = _flattened(anti, case) * (law - start)
    note = f"about the noise, on one network and {case.trained.test.samples} test images, not about networks at large"
    return [
        Claim.equality(
            "Anti-PGD/test loss at θ", PLACE, "change of the test loss at θ, with the last kick, against the law of "
            f"order σ²; tolerance {tolerance:.2g}: by how much tr H changes, relatively", **evidence(change),
            expected=law - start, resolution=(law - start) / 5, tolerance=tolerance, note=note,
        ),
        Claim.rejection(
            "Anti-PGD/test loss at θ/control", PLACE, "the test loss at θ is not the minimum's", **evidence(change),
            expected=law - start, rejected=0.0, note=note,
        ),
        Claim.equality(
            "Anti-PGD/test loss at z is the start's", PLACE, f"change of the test loss at z = θ − ξ; seen if "
            f"{CHANGE:g} of it or more", **evidence(change_z), expected=0.0, resolution=CHANGE * start,
            note=f"the law of order σ² has {law_z - start:+.2g}; {note}",
        ),
        Claim.bound(
            "equal loss/test loss at z", PLACE, "test loss of Anti-PGD at z, without its last kick, less that of the "
            "weak PGD", **difference(at_z, weak.late(TEST_LOSS)), expected=0.0, side="at most",
            note=f"losses are equal at θ, not at z; {note}",
        ),
    ]  # fmt: skip
