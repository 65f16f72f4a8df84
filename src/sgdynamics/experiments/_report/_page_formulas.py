"""The part of the page on what errs in print: every correction with how it is known and where it is derived, and the
claims that hold what is printed, with their verdicts."""

from collections.abc import Iterator, Mapping, Sequence

from sgdynamics.experiments._claims import Claim
from sgdynamics.experiments._report._corrections import DOCUMENT, Correction
from sgdynamics.experiments._report._entries import PAPERS, Contents, is_published, measured
from sgdynamics.experiments._report._formulas import PARTS, Corrected, parts_of
from sgdynamics.experiments._report._html import distance, link, section, small, table, text, verdict

_ANCHORS = {row: f"correction-{i}" for i, row in enumerate((row for part in PARTS for row in part.rows), 1)}

_WORDS = f"""<p>Statements and formulas that err, or hold in a narrower range than they are printed for, and how that is
known: by algebra, or by the experiments named. Each is derived in the documentation, <code>{DOCUMENT}</code>, below the
heading that its row names. A second table has the claims that hold what is printed, as printed, beside what holds and
the measurement.</p>
"""


def formulas_section(
    contents: Contents, formulas: Mapping[str, Sequence[Corrected]], anchors: Mapping[str, str]
) -> str:
    """What errs in print in the papers that the results are about. `anchors` are the places of results on the page."""
    papers = {*contents.papers(), *formulas}
    parts = [_paper(paper, contents, formulas.get(paper, ()), anchors) for paper in PAPERS if paper in papers]
    return section("formulas", "Corrected formulas", _WORDS + "".join(parts))


def _paper(paper: str, contents: Contents, rows: Sequence[Corrected], anchors: Mapping[str, str]) -> str:
    name = PAPERS[paper][0]
    listed = [_listed(row, part.heading, contents, anchors) for part in parts_of([paper]) for row in part.rows]
    claimed = [_claimed(row, anchors) for row in rows]
    if not (listed or claimed):
        return ""
    parts = [f"<h3>{text(name)}</h3>\n"]
    if listed:
        header = ("Printed in", "As printed", "What holds", "How it is known", "Derivation")
        parts.append(table(f"Corrections: {name}", header, listed))
    if claimed:
        header = ("Source", "As printed", "Printed value", "Measured", "z", "Verdict", "What holds", "Evidence")
        parts.append(table(f"Corrected formulas: {name}", header, claimed, numbers=(2, 3, 4)))
    return "".join(parts)


# --- the list of all --------------------------------------------------------------------------------------------


def _listed(row: Correction, heading: str, contents: Contents, anchors: Mapping[str, str]) -> list[str]:
    evidence = "".join(f"<li>{one}</li>" for one in _evidence(row, contents, anchors))
    return [
        f'<span id="{_ANCHORS[row]}">{text(row.equation)}</span>{small(row.kind)}',
        text(row.printed),
        text(row.right),
        text(row.known) + (f"<ul>{evidence}</ul>" if evidence else ""),
        text(row.entry) + small(heading),
    ]


def _evidence(row: Correction, contents: Contents, anchors: Mapping[str, str]) -> Iterator[str]:
    """Its experiments: links to their results, with what became of the claims as printed; names, where there is no
    result."""
    for name in row.experiments:
        there = [entry for entry in contents.entries if entry.experiment == name]
        for entry in there:
            claims = [claim for claim in entry.claims if is_published(claim) and row.covers(name, claim.id)]
            yield link(anchors[entry.place], entry.place) + (f": {_verdicts(claims)}" if claims else "")
        if not there:
            yield f"<code>{text(name)}</code>, not on this page"


def _verdicts(claims: Sequence[Claim]) -> str:
    """What became of claims as printed: "✓ not reproduced", or how many of them were not."""
    n = sum(claim.as_expected for claim in claims)
    if n == len(claims):
        return f'<span class="good">✓ not reproduced</span>{f" ({n} claims)" if n > 1 else ""}'
    return f'<strong class="odd">✗ {n} of {len(claims)} not reproduced</strong>'


# --- the claims that hold what is printed -----------------------------------------------------------------------


def _claimed(row: Corrected, anchors: Mapping[str, str]) -> list[str]:
    printed = row.printed
    holds = "".join(f"<li>{_held(claim)}</li>" for claim in row.right)
    return [
        text(printed.source),
        text(printed.statement) + small(printed.note),
        text(printed.tested),
        text(measured(printed)),
        distance(printed),
        verdict(printed),
        f"<ul>{holds}</ul>" if holds else "what was measured",
        f"{link(anchors[row.entry.place], row.entry.place)}<br><small>{_derived(row.correction)}</small>",
    ]


def _held(claim: Claim) -> str:
    return f"{text(claim.statement)}: {text(claim.tested)} ({text(claim.source)}; {text(claim.verdict)})"


def _derived(correction: Correction | None) -> str:
    """Where the derivation stands, as a link to the row of the list that says so."""
    if correction is None:
        return f"no entry in {DOCUMENT}"
    return f"derivation: {link(_ANCHORS[correction], f'{correction.equation}, {correction.kind}')}"
