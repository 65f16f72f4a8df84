"""The corrections to the literature, one row for each entry of `docs/corrections.md`, where each is derived.

The rows are in the modules `_corrections_*`, in the order of the document; a test holds them against its
headings, bullets and tables, so that neither can have what the other lacks.
"""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

DOCUMENT = "docs/corrections.md"

RANGES = "Statements about ranges"
"""The heading of a part's table of statements that hold in a narrower range; each of its rows is an entry."""


@dataclass(frozen=True)
class Correction:
    """A formula or statement that errs in print, or holds in a narrower range than it is printed for.

    - `entry`: the heading in `docs/corrections.md` below which the derivation stands; `kind` what it says behind it:
      "wrong", "range", "slip", "slip, scan" (the reader's error, perhaps, and not the paper's).
    - `equation`: where it is printed. Below a heading with bullets, the beginning of its bullet.
    - `known`: in one line, how it is known. `claims` are those that hold what is printed, as "experiment: pattern of
      ids"; `see` are further experiments that measure it.
    """

    entry: str
    kind: str
    equation: str
    printed: str
    right: str
    known: str = ""
    claims: tuple[str, ...] = ()
    see: tuple[str, ...] = ()

    @property
    def experiments(self) -> tuple[str, ...]:
        """The names of the experiments that measure it, each once."""
        return tuple(dict.fromkeys((*(one.partition(": ")[0] for one in self.claims), *self.see)))

    def covers(self, experiment: str, id: str) -> bool:
        """Whether a claim that ends in "/published" holds what is printed here."""
        return any(fnmatch.fnmatchcase(f"{experiment}: {id}", one) for one in self.claims)


@dataclass(frozen=True)
class Part:
    """A part of `docs/corrections.md`: its heading, the paper it is about, and its rows."""

    heading: str
    paper: str
    rows: Sequence[Correction]
