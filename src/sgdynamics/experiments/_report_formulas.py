"""Printed statements that are wrong, each beside what holds instead.

The evidence against a printed statement is its own claim: what was measured, and what was printed. What is right is
another claim of the same experiment: best the one that holds the same measurement against another value; otherwise
those whose ids are its own without "/published", or continue that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sgdynamics.experiments._claims import PUBLISHED, Claim
from sgdynamics.experiments._report_entries import Entry, in_reading_order, is_published, paper_of, paper_of_claim

MOST = 3


@dataclass(frozen=True)
class Corrected:
    """A printed statement that is wrong, where the evidence lies, and the claims that say what is right."""

    entry: Entry
    printed: Claim
    right: Sequence[Claim]


def corrected(entries: Sequence[Entry]) -> dict[str, list[Corrected]]:
    """Every printed statement that the results hold to be wrong, by paper, in the order of its equations."""
    found: dict[str, list[Corrected]] = {}
    for entry in entries:
        for claim in entry.claims:
            if is_published(claim):
                paper = paper_of_claim(claim) or paper_of(entry.experiment)
                found.setdefault(paper, []).append(Corrected(entry, claim, right(claim, entry.claims)))
    return {paper: sorted(rows, key=lambda row: in_reading_order(row.printed.source)) for paper, rows in found.items()}


def right(printed: Claim, claims: Sequence[Claim]) -> list[Claim]:
    """The claims that say what holds in place of a printed one; none where no claim does so."""
    name = printed.id.removesuffix(PUBLISHED)
    others = [claim for claim in claims if not is_published(claim)]
    same = [claim for claim in others if claim.kind != "rejection" and _same_measurement(claim, printed)]
    named = [claim for claim in others if claim.id == name]
    below = [claim for claim in others if claim.id.startswith(f"{name}/")]
    return (same or named or below)[:MOST]


def _same_measurement(claim: Claim, other: Claim) -> bool:
    return (claim.measured, claim.standard_error) == (other.measured, other.standard_error)
