"""`sgdynamics list`, `plot` and `report`: what there is, and what was stored; nothing is computed."""

import pathlib
import shutil
import sys
from collections.abc import Sequence
from typing import Literal

from sgdynamics import experiments
from sgdynamics.cli import _documents
from sgdynamics.cli._messages import refused, say, shown

Row = tuple[str, str, str]


def show(*, json: bool = False) -> int:
    """Prints every experiment with its source; in a terminal no wider than that, elsewhere whole."""
    if json:
        say(_documents.document("list", [_documents.described(name) for name in experiments.names()]))
        return 0
    rows = [(name, experiments.get(name).source, experiments.get(name).summary) for name in experiments.names()]
    header = ("experiment", "source", "what it shows")
    if sys.stdout.isatty():
        rows = _fitted(header, rows, shutil.get_terminal_size().columns)
    say(experiments.table(header, rows, align="lll"))
    return 0


def _fitted(header: Row, rows: Sequence[Row], columns: int) -> list[Row]:
    """The rows, so that their table is no wider than `columns` letters: the last column is shortened, and where it
    alone would have less than half of what the names leave, the sources too."""
    names, sources, _ = (max(map(len, column)) for column in zip(header, *rows, strict=True))
    room = columns - names - 4  # between columns stand two spaces
    summaries = max(room - sources, room // 2, len(header[2]))
    sources = max(min(sources, room - summaries), len(header[1]))
    return [(name, _cut(source, sources), _cut(summary, summaries)) for name, source, summary in rows]


def _cut(words: str, width: int) -> str:
    return words if len(words) <= width else f"{words[: width - 1].rstrip()}…"


def plot(folder: pathlib.Path, format: Literal["png", "svg", "pdf"] = "png") -> int:
    """Draws the figure of the result in `folder` anew."""
    try:
        record = experiments.load(folder)
        experiments.check_figure(record.figure)
    except (ValueError, OSError, ImportError) as error:
        return refused(error)
    say(f"written to {shown(experiments.draw(record, folder, format=format).resolve())}")
    return 0


def report(folder: pathlib.Path, *, drawn: bool = True, aside: bool = False) -> int:
    """Writes the page of all results in `folder`; says where on standard error if `aside`."""
    try:
        path = experiments.write_report(folder, drawn=drawn)
    except OSError as error:
        return refused(error)
    say(f"written to {shown(path.resolve())} ({path.stat().st_size / 1e6:.1f} MB)", aside=aside)
    return 0
