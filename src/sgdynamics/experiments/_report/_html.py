"""Pieces of HTML that the page of results is made of.

Every text goes through `text`, which escapes it: results come from files, and anybody can have written those.
"""

import html
import re
import urllib.parse
from collections.abc import Iterable, Sequence

from sgdynamics.experiments._claims import Claim
from sgdynamics.experiments._report._entries import is_control, is_published

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def text(value: object) -> str:
    """Any value as text of the page: escaped, and with a sign for what no page can hold."""
    return html.escape(_UNPRINTABLE.sub("\ufffd", str(value)))


def section(anchor: str, title: str, body: str) -> str:
    head = f'<h2 id="{anchor}-title">{text(title)}</h2>'
    return f'<section id="{anchor}" aria-labelledby="{anchor}-title">\n{head}\n{body}</section>\n'


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """A table; the cells are HTML, the first of a row its head. Every other cell knows the words above it, for narrow
    windows where each row is a block; where a table is too wide nevertheless it scrolls in itself."""
    kind = lambda column: ' class="number"' if column in numbers else ""
    head = "".join(f'<th scope="col"{kind(i)}>{text(words)}</th>' for i, words in enumerate(header))
    opening = [f"<td{kind(i)}{_attribute('data-label', words)}>" for i, words in enumerate(header)]
    body = "".join(f"<tr>{_cells(row, opening)}</tr>\n" for row in rows)
    return (
        f'<div class="wide" role="region" aria-label="{text(caption)}" tabindex="0"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n"
    )


def _cells(row: Sequence[str], opening: Sequence[str]) -> str:
    first, *others = row
    cells = (f"{begin}{cell}</td>" for begin, cell in zip(opening[1:], others, strict=True))
    return f'<th scope="row">{first}</th>{"".join(cells)}'


def _attribute(name: str, words: str) -> str:
    return f' {name}="{text(words)}"' if words else ""


def pairs(caption: str, pairs: Sequence[tuple[str, str]]) -> str:
    rows = [(f"<code>{text(name)}</code>", text(value)) for name, value in pairs]
    return table(caption, (caption.partition(" of ")[0], ""), rows) if rows else ""


def link(anchor: str, words: str) -> str:
    return f'<a href="#{urllib.parse.quote(anchor)}">{text(words)}</a>'


def small(words: str) -> str:
    return f"<br><small>{text(words)}</small>" if words else ""


def paragraph(words: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f"<p{named}>{text(words[:1].upper() + words[1:])}.</p>\n" if words else ""


def number(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def distance(claim: Claim) -> str:
    """z, where there is one."""
    return "–" if claim.z is None else f"{claim.z:+.1f}"


def verdict(claim: Claim) -> str:
    """The verdict in words, with a sign; what was expected where that is not plain "reproduced"."""
    meant = "printed, wrong" if is_published(claim) else "control" if is_control(claim) else ""
    if claim.as_expected:
        return f'<span class="good">✓ {text(claim.verdict)}</span>{small(meant and f"{meant}: as expected")}'
    surprise = f"{meant}: not as expected" if meant else "not as expected"
    return f'<strong class="odd">✗ {text(claim.verdict)}</strong>{small(surprise)}'
