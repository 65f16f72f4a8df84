"""Printed statements that are wrong, each beside what holds instead.

The evidence against a printed statement is its own claim: what was measured, and what was printed. What is right is
another claim of the same experiment: best the one that holds the same measurement against another value; otherwise
those whose ids are its own without "/published", or continue that.

Other statements are known to err by algebra, or by measurements that hold no printed value: `PARTS` has a row for each
of all, and says where it is derived.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sgdynamics.experiments._claims import PUBLISHED, Claim
from sgdynamics.experiments._report import (
    _corrections_corlouer2026,
    _corrections_gross2024,
    _corrections_kuehn2025,
    _corrections_kunin2023,
)
from sgdynamics.experiments._report._corrections import Correction, Part
from sgdynamics.experiments._report._entries import Entry, in_reading_order, is_published, paper_of, paper_of_claim

MOST = 3

PARTS: Sequence[Part] = (
    *_corrections_gross2024.PARTS,
    *_corrections_corlouer2026.PARTS,
    *_corrections_kunin2023.PARTS,
    *_corrections_kuehn2025.PARTS,
)
"""The parts of `docs/corrections.md`, in its order."""


@dataclass(frozen=True)
class Corrected:
    """A printed statement that is wrong, where the evidence lies, the claims that say what is right, and the row of
    the corrections that it belongs to."""

    entry: Entry
    printed: Claim
    right: Sequence[Claim]
    correction: Correction | None = None


def corrected(entries: Sequence[Entry]) -> dict[str, list[Corrected]]:
    """Every printed statement that the results hold to be wrong, by paper, in the order of its equations."""
    found: dict[str, list[Corrected]] = {}
    for entry in entries:
        for claim in entry.claims:
            if is_published(claim):
                paper = paper_of_claim(claim) or paper_of(entry.experiment)
                row = Corrected(entry, claim, right(claim, entry.claims), correction(entry.experiment, claim))
                found.setdefault(paper, []).append(row)
    return {paper: sorted(rows, key=lambda row: in_reading_order(row.printed.source)) for paper, rows in found.items()}


def right(printed: Claim, claims: Sequence[Claim]) -> list[Claim]:
    """The claims that say what holds in place of a printed one; none where no claim does so."""
    name = printed.id.removesuffix(PUBLISHED)
    others = [claim for claim in claims if not is_published(claim)]
    same = [claim for claim in others if claim.kind != "rejection" and _same_measurement(claim, printed)]
    named = [claim for claim in others if claim.id == name]
    below = [claim for claim in others if claim.id.startswith(f"{name}/")]
    return (same or named or below)[:MOST]


def correction(experiment: str, printed: Claim) -> Correction | None:
    """The row of the corrections that a printed claim of an experiment belongs to; None where there is none."""
    return next((row for part in PARTS for row in part.rows if row.covers(experiment, printed.id)), None)


def parts_of(papers: Iterable[str]) -> list[Part]:
    """The parts of `docs/corrections.md` on these papers, in its order."""
    papers = set(papers)
    return [part for part in PARTS if part.paper in papers]


def _same_measurement(claim: Claim, other: Claim) -> bool:
    return (claim.measured, claim.standard_error) == (other.measured, other.standard_error)
