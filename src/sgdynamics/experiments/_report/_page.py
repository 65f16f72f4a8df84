"""The page of a folder of results, as HTML: complete in itself, without scripts; nothing is loaded from elsewhere."""

import base64
import datetime
import re
from collections.abc import Iterable, Mapping, Sequence

from sgdynamics.experiments._claims import Claim
from sgdynamics.experiments._report._entries import (
    PAPERS,
    Contents,
    Damaged,
    Entry,
    count,
    measured,
)
from sgdynamics.experiments._report._formulas import corrected, parts_of
from sgdynamics.experiments._report._html import (
    distance,
    link,
    number,
    pairs,
    paragraph,
    section,
    small,
    table,
    text,
    verdict,
)
from sgdynamics.experiments._report._page_formulas import formulas_section
from sgdynamics.experiments._report._style import STYLE

# nothing but what the page itself holds: no script, no network
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(contents: Contents) -> str:
    """The whole page."""
    anchors = _anchors([one.place for one in (*contents.entries, *contents.damaged)])
    formulas = corrected(contents.entries)
    errors = bool(formulas or parts_of(contents.papers()))
    made = datetime.datetime.now(datetime.UTC).isoformat(sep=" ", timespec="minutes").removesuffix("+00:00")
    title = f"sgdynamics: {number(len(contents.entries), 'experiment')}, measured and judged"
    sections = [
        _overview(contents),
        _attention(contents, anchors),
        formulas_section(contents, formulas, anchors) if errors else "",
        *(_paper(paper, contents, anchors) for paper in contents.papers()),
    ]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{text(POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(title)}</title>
<link rel="icon" href="data:,">
<style>
{STYLE}</style>
</head>
<body>
<a class="skip" href="#summary">To the results</a>
<header>
<h1>What the numbers say</h1>
<p>Experiments of <strong>sgdynamics</strong> on the stochastic dynamics of gradient descent: their pictures,
their claims and the verdicts that the numbers give. Made from the stored results on
<time datetime="{made}Z">{made} UTC</time>.</p>
</header>
{_navigation(contents, errors)}
<main>
{"".join(sections)}</main>
<footer><p><a href="#summary">To the top</a></p></footer>
</body>
</html>
"""


# --- the parts of the page --------------------------------------------------------------------------------------


def _navigation(contents: Contents, errors: bool) -> str:
    links = [("summary", "Summary"), ("attention", "Not as expected")]
    links += [("formulas", "Corrected formulas")] if errors else []
    links += [(paper, PAPERS[paper][0]) for paper in contents.papers()]
    listed = "".join(f"<li>{link(anchor, words)}</li>\n" for anchor, words in links)
    return f'<nav aria-label="Parts of this page">\n<ul>\n{listed}</ul>\n</nav>'


def _overview(contents: Contents) -> str:
    everything = [claim for entry in contents.entries for claim in entry.claims]
    total = count(everything)
    header = ("", "Experiments", "Claims", "Printed, wrong", "Controls", "Not as expected", "Not readable")
    rows = [_summary_row(link(paper, PAPERS[paper][0]), paper, contents) for paper in contents.papers()]
    rows.append(_counted("All", contents.entries, contents.damaged))
    absent = ""
    if contents.absent:
        names = ", ".join(f"<code>{text(name)}</code>" for name in contents.absent)
        words = f"{number(len(contents.absent), 'experiment')} of this version without a result here"
        absent = f"<details><summary>{words}</summary><p>{names}</p></details>\n"
    return section(
        "summary",
        "Summary",
        f"""<p>{number(len(contents.entries), "experiment")} make {number(total["claims"], "claim")}.
{total["claims"] - total["surprises"]} came out as expected and {total["surprises"]} did not.</p>
<p>A measured value is shown with the standard error of its last digits: 1.010(10) is 1.010 ± 0.010. z is its distance
from the value that it is held against, in standard errors. The verdict of a claim is <em>reproduced</em>, <em>not
reproduced</em> or <em>undecided</em>, by its confidence interval alone. <em>Printed, wrong</em> are statements of a
paper that err, claimed as printed: they must come out as not reproduced. <em>Controls</em> are wrong models that the
same data must exclude: where they do, the control is reproduced. Everything else must be reproduced.</p>
<p>Below the claims of an experiment stands the command that computes it again with the parameters shown; where its
result lies in the folder already, <code>--force</code> repeats it.</p>
{table("Results by paper", header, rows, numbers=range(1, 7))}{absent}""",
    )


def _summary_row(head: str, paper: str, contents: Contents) -> list[str]:
    entries = [entry for entry in contents.entries if entry.paper == paper]
    return _counted(head, entries, [one for one in contents.damaged if one.paper == paper])


def _counted(head: str, entries: Sequence[Entry], damaged: Sequence[Damaged]) -> list[str]:
    n = count(claim for entry in entries for claim in entry.claims)
    numbers = (len(entries), n["claims"], n["published"], n["controls"], n["surprises"], len(damaged))
    return [head, *map(str, numbers)]


def _attention(contents: Contents, anchors: Mapping[str, str]) -> str:
    """What a reader should look at first: verdicts that surprise, results that cannot be read, runs that failed."""
    odd = [
        f"{link(anchors[entry.place], entry.place)}: <q>{text(claim.id)}</q> is {text(claim.verdict)}"
        for entry in contents.entries
        for claim in entry.surprises
    ]
    odd += [f"{link(anchors[one.place], one.place)} cannot be read" for one in contents.damaged]
    odd += [
        f"<code>{text(name)}</code> failed when many were run the last time: {text(error)}"
        for name, error in contents.failures
    ]
    listed = "".join(f"<li>{item}</li>\n" for item in odd)
    body = f"<ul>\n{listed}</ul>\n" if odd else "<p>Nothing: every verdict is the expected one.</p>\n"
    return section("attention", "Not as expected", body)


def _paper(paper: str, contents: Contents, anchors: Mapping[str, str]) -> str:
    entries = [entry for entry in contents.entries if entry.paper == paper]
    damaged = [one for one in contents.damaged if one.paper == paper]
    links = "".join(f"<li>{link(anchors[one.place], one.place)}</li>\n" for one in (*entries, *damaged))
    name, title = PAPERS[paper]
    articles = [_article(entry, anchors[entry.place]) for entry in entries]
    articles += [_unreadable(one, anchors[one.place]) for one in damaged]
    listed = f'<ul class="experiments" aria-label="Experiments of this part">\n{links}</ul>\n'
    return section(paper, name, f"<p>{text(title)}.</p>\n{listed}{''.join(articles)}")


def _article(entry: Entry, anchor: str) -> str:
    elsewhere = "" if entry.place == entry.experiment else f" of <code>{text(entry.experiment)}</code>"
    parameters = pairs(f"Parameters of {entry.place}", entry.parameters)
    circumstances = pairs(f"Circumstances of {entry.place}", entry.circumstances)
    return f"""<article id="{anchor}" aria-labelledby="{anchor}-title">
<h3 id="{anchor}-title">{text(entry.place)}{elsewhere}</h3>
{paragraph(entry.summary)}{paragraph(entry.source, "source")}{_figure(entry)}{_counts(entry)}
{_claims(entry)}<h4>To run it again</h4>
{_command(entry)}<details><summary>Parameters, and how it was computed</summary>
{parameters}{circumstances}</details>
</article>
"""


def _unreadable(one: Damaged, anchor: str) -> str:
    return f"""<article id="{anchor}" aria-labelledby="{anchor}-title">
<h3 id="{anchor}-title">{text(one.place)}</h3>
<p class="missing">This result cannot be read. {text(one.why)}</p>
</article>
"""


def _figure(entry: Entry) -> str:
    picture = entry.picture
    if isinstance(picture, str):
        return f'<p class="missing">{text(picture)}</p>\n'
    words = " ".join(filter(None, (f"{entry.summary or entry.experiment}.", picture.words)))
    source = f"data:image/{picture.kind};base64,{base64.b64encode(picture.content).decode()}"
    return (
        f'<figure><div class="picture" tabindex="0" role="group" aria-label="Picture of {text(entry.place)}">'
        f'<img src="{source}" alt="{text(words)}" decoding="async"></div></figure>\n'
    )


def _counts(entry: Entry) -> str:
    n = count(entry.claims)
    parts = [number(n["claims"], "claim")]
    parts += [f"{n['published']} of them printed and wrong"] if n["published"] else []
    parts += [number(n["controls"], "control")] if n["controls"] else []
    odd = n["surprises"]
    end = f'<strong class="odd">{odd} not as expected</strong>' if odd else "all as expected"
    return f"<p>{', '.join(parts)}: {end}.</p>"


def _claims(entry: Entry) -> str:
    header = ("Claim", "Measured", "Held against", "z", "Verdict")
    rows = [_claim(claim) for claim in entry.claims]
    return table(f"Claims of {entry.place}", header, rows, numbers=(1, 2, 3)) if rows else ""


def _claim(claim: Claim) -> list[str]:
    about = "; ".join(filter(None, (claim.source, claim.note)))
    held = text(claim.tested)
    if claim.kind == "rejection" and claim.expected is not None:
        held += small(f"holds: {claim.expected:.5g}")
    if claim.published is not None:
        held += small(f"printed: {claim.published:.5g}")
    name = f"<code>{text(claim.id)}</code><br>{text(claim.statement)}{small(about)}"
    return [name, text(measured(claim)), held, distance(claim), verdict(claim)]


def _command(entry: Entry) -> str:
    if entry.command is None:
        return f"<p>Not with this version: {text(entry.why_no_command)}</p>\n"
    return f'<pre tabindex="0"><code>{text(entry.command)}</code></pre>\n'


def _anchors(places: Iterable[str]) -> dict[str, str]:
    """A name within the page for each place, made of letters that need no escaping, and each its own."""
    anchors: dict[str, str] = {}
    for place in places:
        plain = "result-" + re.sub(r"[^A-Za-z0-9]+", "-", place).strip("-")
        used, name, n = set(anchors.values()), plain, 2
        while name in used:
            name, n = f"{plain}-{n}", n + 1
        anchors[place] = name
    return anchors
