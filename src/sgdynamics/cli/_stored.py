"""`sgdynamics list`, `plot` and `report`: what there is, and what was stored; nothing is computed."""

import pathlib
from typing import Literal

from sgdynamics import experiments
from sgdynamics.cli import _documents
from sgdynamics.cli._messages import refused, say, shown


def show(*, json: bool = False) -> int:
    """Prints every experiment with its source."""
    if json:
        say(_documents.document("list", [_documents.described(name) for name in experiments.names()]))
        return 0
    rows = [(name, experiments.get(name).source, experiments.get(name).summary) for name in experiments.names()]
    say(experiments.table(("experiment", "source", "what it shows"), rows, align="lll"))
    return 0


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
