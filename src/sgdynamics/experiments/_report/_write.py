"""A folder of stored results as one page: what was found, read and drawn, and the file that is written.

`write_report(folder)` needs the stored results alone. What cannot be read is on the page as just that, and stops
nothing.
"""

import json
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from sgdynamics import _atomic
from sgdynamics.experiments import _again, _pictures, _registry, _store
from sgdynamics.experiments._report import _page
from sgdynamics.experiments._report._entries import Contents, Damaged, Entry
from sgdynamics.experiments._store import Record

PAGE, ACCOUNT = "report.html", "reproduction.json"

MOST_BYTES = 15 * 10**6
"""Beyond this a page is slow to open, and too large for many mailboxes."""

_logger = logging.getLogger(__name__)


def write_report(folder: str | os.PathLike, *, drawn: bool = True) -> pathlib.Path:
    """Writes `report.html` into `folder`: one page, complete in itself, with every result that lies in `folder` or
    below. Returns its path. Pictures are drawn anew from the data unless `drawn` is False, and then taken as they lie.
    A page of more than 15 MB is written nevertheless, with a warning.

    **Raises** `FileNotFoundError` where no result lies there.
    """
    folder = pathlib.Path(folder)
    found = places(folder)
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no stored results: name a folder that `run` or `reproduce` has written to."
        )
    entries, damaged = [], []
    for place in found:
        try:
            record = _store.load(folder / place)
        except (ValueError, OSError) as error:
            damaged.append(Damaged(place, str(error)))
        else:
            called = _called(place, record.experiment, found)
            usual = place == record.experiment
            entries.append(_entry(called, record, folder / place, usual=usual, drawn=drawn))
    names = {entry.experiment for entry in entries} | {one.place for one in damaged}
    absent = [name for name in _registry.names() if name not in names]
    page = _page.page(Contents(entries, damaged, _failures(folder), absent))
    with _atomic.written(folder / PAGE) as partial:
        partial.write_text(page, encoding="utf-8")
    size = (folder / PAGE).stat().st_size
    _logger.info("%s: %d experiments, %.1f MB", folder / PAGE, len(entries), size / 1e6)
    if size > MOST_BYTES:
        _logger.warning(
            "%s has %.1f MB, more than %g MB: to have smaller ones, write one for each folder in it.",
            folder / PAGE, size / 1e6, MOST_BYTES / 1e6,
        )  # fmt: skip
    return folder / PAGE


def places(folder: pathlib.Path) -> list[str]:
    """Where in `folder` results lie, readable or not, as paths relative to it ("gross2024/fig5a"), sorted.

    One of a result's three files may be missing; what a stopped run or a writer that was killed left is none.
    """
    files = (_store.DATA, _store.CLAIMS, _store.CONFIG)
    held: dict[pathlib.Path, int] = {}
    for above, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not (name.startswith(".") or name.endswith(".run"))]
        held[pathlib.Path(above)] = sum(name in names for name in files)
    return sorted(path.relative_to(folder).as_posix() for path, number in held.items() if number >= 2)


def _entry(place: str, record: Record, folder: pathlib.Path, *, usual: bool, drawn: bool) -> Entry:
    try:
        experiment = _registry.get(record.experiment)
        summary, source = experiment.summary, experiment.source
    except ValueError:  # of another version, or of the user's own
        summary = source = ""
    try:
        out = None if usual else _out(folder, record.experiment)  # some names no path can hold
        command, why_no_command = _again.again(record.experiment, record.parameters, out=out), ""
    except (ValueError, TypeError) as error:
        command, why_no_command = None, str(error)
    return Entry(
        place=place,
        experiment=record.experiment,
        summary=summary,
        source=source,
        claims=tuple(record.claims),
        parameters=_again.shown(record.parameters),
        command=command,
        why_no_command=why_no_command,
        circumstances=_circumstances(record.provenance),
        picture=_pictures.picture(record, folder, drawn=drawn),
    )


def _called(place: str, experiment: str, found: Sequence[str]) -> str:
    """What a page calls the result at `place`: the page's own folder is no name, and is called as its experiment is,
    unless another result lies at a place of that name."""
    return experiment if place == "." and experiment not in found else place


def _out(folder: pathlib.Path, experiment: str) -> str | None:
    """The folder of a result, as a command in this directory names it; None where `run` writes to it unless told."""
    path, here = folder.resolve(), pathlib.Path.cwd()
    if path == (here / "results" / experiment).resolve():
        return None
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _circumstances(provenance: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """When, by what and on what a result was computed; what is not known is left out."""
    versions, devices = (_mapping(provenance.get(name)) for name in ("versions", "devices"))
    told = {
        "computed": provenance.get("started"),
        "seconds": provenance.get("seconds"),
        "commit": provenance.get("commit"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "devices": " ".join(str(devices[name]) for name in ("count", "backend", "kind") if name in devices),
        "platform": provenance.get("platform"),
        "ensembles": "; ".join(_ensemble(name, of) for name, of in _mapping(provenance.get("ensembles")).items()),
    }
    return [(name, str(value)) for name, value in told.items() if value not in (None, "")]


def _ensemble(name: Any, how: Any) -> str:
    plain = [f"{key} {value}" for key, value in _mapping(how).items() if isinstance(value, int | float | str)]
    return f"{name}: {', '.join(plain)}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _failures(folder: pathlib.Path) -> list[tuple[str, str]]:
    """The experiments that failed when many were run the last time, with their errors, as far as that is known."""
    try:
        account = json.loads((folder / ACCOUNT).read_text(encoding="utf-8"))
        rows = account["experiments"]
        return [(str(row["name"]), str(row["error"])) for row in rows if row["error"] is not None]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
