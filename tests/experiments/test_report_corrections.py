"""The list of corrections on the page of results has what `docs/corrections.md` has, and nothing else."""

import pathlib
import re

import pytest

from sgdynamics import experiments
from sgdynamics.experiments._report import _corrections, _entries, _formulas

DOCUMENT = pathlib.Path(__file__).parents[2] / _corrections.DOCUMENT
RANGES = _corrections.RANGES
ROWS = [(part.heading, row) for part in _formulas.PARTS for row in part.rows]
REMEDY = "add, mend or take away the row in src/sgdynamics/experiments/_report/_corrections_*.py"


def plain(markdown):
    return markdown.replace("`", "").replace("*", "").strip()


def parts(document):
    """The text below each heading of the second level, by heading; the introduction is none."""
    return dict(piece.partition("\n")[::2] for piece in re.split(r"^## ", document, flags=re.M)[1:])


def entries(part):
    """Heading and text of each entry of a part."""
    return [piece.partition("\n")[::2] for piece in re.split(r"^### ", part, flags=re.M)[1:]]


def table_rows(text):
    rows = [[plain(cell) for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    return rows[2:]


def bullets(text):
    outside_code = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return [plain(line[2:]) for line in outside_code.splitlines() if line.startswith("- ")]


def differences(document, rows):
    """What the document has and the rows have not, and the other way round, each as a sentence."""
    told = []
    described = parts(document)
    if list(described) != list(dict.fromkeys(heading for heading, _ in rows)):
        told.append(f"parts of the document are {list(described)}")
    for heading, part in described.items():
        of_part = [row for name, row in rows if name == heading]
        titles = [title for title, _ in entries(part)]
        kept = list(dict.fromkeys(row.entry for row in of_part))
        if [name_and_kind(title)[0] for title in titles] != kept:
            wanted = [name_and_kind(title)[0] for title in titles]
            told += [f"{heading}: no row for the entry {one!r}" for one in wanted if one not in kept]
            told += [f"{heading}: a row for {one!r}, which is no entry" for one in kept if one not in wanted]
            told += [f"{heading}: entries are in another order"] if sorted(wanted) == sorted(kept) else []
        for title, text in entries(part):
            name, kind = name_and_kind(title)
            below = [row for row in of_part if row.entry == name]
            told += [f"{heading}, {name}: {one}" for one in (of_entry(name, kind, text, below) if below else ())]
    return told


def name_and_kind(title):
    """What an entry is called, and whether it is wrong, a range or a slip: "Balanced minimum (3.8)", "slip"."""
    if title.strip() == RANGES:
        return RANGES, "range"
    name, _, kind = title.rpartition(": ")
    return name, plain(kind).replace("slips", "slip")


def of_entry(name, kind, text, rows):
    told = [f"kind is {kind!r}, that of a row {row.kind!r}" for row in rows if row.kind != kind]
    if name == RANGES:
        listed = [(printed, right, sorted(names.split(", "))) for printed, right, names in table_rows(text)]
        kept = [(row.printed, row.right, sorted(row.experiments)) for row in rows]
        told += [f"no row is {one}" for one in listed if one not in kept]
        return told + [f"a row has {one}, the document not" for one in kept if one not in listed]
    if listed := bullets(text):
        told += [f"no row for {one[:60]!r}" for one in listed if sum(one.startswith(r.equation) for r in rows) != 1]
        return told + ([f"{len(rows)} rows for {len(listed)} bullets"] if len(rows) != len(listed) else [])
    told += [f"{len(rows)} rows for one entry"] if len(rows) > 1 else []
    quoted = re.findall(r"`([^`\n]+)`", text)
    measured = [one for one in quoted if one in experiments.names()]
    told += [f"{one} is not among its experiments" for one in set(measured) - set(rows[0].experiments)]
    claims = [one for one in quoted if one.endswith("/published") and not one.startswith("…")]
    lacking = [one for one in claims if not any(rows[0].covers(name, one) for name in rows[0].experiments)]
    return told + [f"the claim {one} is not among those of its row" for one in lacking]


def test_every_entry_of_the_document_has_a_row_and_every_row_an_entry():
    found = differences(DOCUMENT.read_text(encoding="utf-8"), ROWS)
    assert not found, f"{REMEDY}:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("### Balanced minimum (3.8): slip", "### Something else: slip", "no row for the entry 'Something else'"),
        ("### Balanced minimum (3.8): slip", "### Balanced minimum (3.8): wrong", "kind is 'wrong'"),
        ("- App. A.2: Cov", "- App. A.3: Cov", "no row for 'App. A.3: Cov"),
        ("- App. A.2: Cov", "- App. F: another\n- App. A.2: Cov", "no row for 'App. F: another'"),
        ("| half a step behind", "| a step behind", "no row is ('the mean (5)"),
        ("`gross2024/fig2b` at P", "`gross2024/fig2a` at P", "gross2024/fig2a is not among its experiments"),
        ("`final loss/published`", "`last loss/published`", "the claim last loss/published is not among"),
        ("## Kunin and others (2023)", "## Kunin and others (2024)", "parts of the document are"),
    ],
)
def test_a_document_that_says_something_else_is_noticed(old, new, told):
    document = DOCUMENT.read_text(encoding="utf-8")
    assert old in document
    assert any(told in one for one in differences(document.replace(old, new), ROWS))


def test_rows_name_experiments_that_there_are_and_say_how_it_is_known():
    for heading, row in ROWS:
        where = f"{heading}, {row.equation}"
        assert set(row.experiments) <= set(experiments.names()), where
        assert all(": " in pattern for pattern in row.claims), where
        assert row.printed and row.right and (row.known or row.experiments), where
    assert {part.paper for part in _formulas.PARTS} <= set(_entries.PAPERS)
    assert len({row for _, row in ROWS}) == len(ROWS)


def test_no_claim_can_belong_to_two_rows():
    """A pattern of one row covers none of another's: as a name, with its stars as letters."""
    for _, row in ROWS:
        names = [pattern.replace("*", "x").partition(": ")[::2] for pattern in row.claims]
        for _, other in ROWS:
            assert other == row or not any(other.covers(*name) for name in names), (row.entry, other.entry)
