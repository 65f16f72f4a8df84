"""What a page of results is made of: each result as it was read, those that could not be, and how claims count."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sgdynamics.experiments._claims import PUBLISHED, Claim
from sgdynamics.experiments._pictures import Picture
from sgdynamics.statistics import format_with_error

CONTROL = "/control"

PAPERS = {
    "gross2024": ("Gross, Raulf and Räth 2024", "Weight fluctuations in (deep) linear neural networks"),
    "corlouer2026": (
        "Corlouer et al. 2026",
        "Stochastic gradient descent in the saddle-to-saddle regime of deep linear networks",
    ),
    "kunin2023": (
        "Kunin et al. 2023",
        "The limiting dynamics of SGD: modified loss, phase space oscillations, and anomalous diffusion",
    ),
    "kuehn2025": (
        "Kühn and Rosenow 2025",
        "Anti-correlated noise in epoch-based stochastic gradient descent and its implications",
    ),
    "beyond": ("Beyond the papers", "What they leave open"),
    "demo": ("Demonstration", "SGD, its stochastic differential equation and exact theory on real data"),
    "other": ("Other experiments", "Those of other versions, and of the user's own"),
}
"""Name and title of each paper, by the first part of its experiments' names; and of what belongs to none."""

_AUTHORS = {"gross2024": "gross", "corlouer2026": "corlouer", "kunin2023": "kunin", "kuehn2025": "kühn"}


@dataclass(frozen=True)
class Entry:
    """One stored result: where it lies below the page's folder (its experiment's name, where it is that folder), what
    it is, what it claims, how it is made again."""

    place: str
    experiment: str
    summary: str
    source: str
    claims: Sequence[Claim]
    parameters: Sequence[tuple[str, str]]
    command: str | None
    why_no_command: str
    circumstances: Sequence[tuple[str, str]]
    picture: Picture | str

    @property
    def paper(self) -> str:
        return paper_of(self.experiment)

    @property
    def surprises(self) -> list[Claim]:
        return [claim for claim in self.claims if not claim.as_expected]


@dataclass(frozen=True)
class Damaged:
    """A result that could not be read, and why."""

    place: str
    why: str

    @property
    def paper(self) -> str:
        return paper_of(self.place)


@dataclass(frozen=True)
class Contents:
    """All that a page shows: results, those that cannot be read, experiments that failed (name, error) when many were
    run the last time, and the names of those that the folder does not hold."""

    entries: Sequence[Entry]
    damaged: Sequence[Damaged]
    failures: Sequence[tuple[str, str]]
    absent: Sequence[str]

    def papers(self) -> list[str]:
        """The papers that results belong to, in the order of `PAPERS`."""
        there = {one.paper for one in (*self.entries, *self.damaged)}
        return [paper for paper in PAPERS if paper in there]


def paper_of(name: str) -> str:
    """The paper that an experiment belongs to, by its name: a key of `PAPERS`."""
    first = name.partition("/")[0]
    return first if first in PAPERS else "other"


def paper_of_claim(claim: Claim) -> str | None:
    """The paper whose statement a claim is about, by the authors that its source names first; None where it is ours."""
    source = claim.source.lower()
    named = {source.find(author): paper for paper, author in _AUTHORS.items() if author in source}
    return named[min(named)] if named else None


def is_published(claim: Claim) -> bool:
    """Whether a claim is a printed statement that is wrong, as printed."""
    return claim.id.endswith(PUBLISHED)


def is_control(claim: Claim) -> bool:
    """Whether a claim is a negative control: a wrong model that the same data must exclude."""
    return not is_published(claim) and (claim.kind == "rejection" or claim.id.endswith(CONTROL))


def measured(claim: Claim) -> str:
    """What was measured, with its standard error as "1.010(10)"; an exact evaluation has none."""
    if claim.z is None:
        return f"{claim.measured:.6g}"
    return format_with_error(claim.measured, claim.standard_error)


def count(claims: Iterable[Claim]) -> dict[str, int]:
    """How many claims there are, printed statements that are wrong, controls, and verdicts that surprise."""
    claims = list(claims)
    return {
        "claims": len(claims),
        "published": sum(map(is_published, claims)),
        "controls": sum(map(is_control, claims)),
        "surprises": sum(not claim.as_expected for claim in claims),
    }


def in_reading_order(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts "Eq. 2.9" before "Eq. 2.10": numbers count as numbers."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d{1,9})", text)]
