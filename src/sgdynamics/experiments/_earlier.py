"""What a folder holds before an experiment runs: its own result, which need not be computed again, or another.

A result is the same configuration's where experiment, parameters, version of sgdynamics and source code are the same.
Of the source code the digest decides, which also tells uncommitted changes from each other; of results that were stored
before there was one, the commit, if it is known and nothing was changed. Of an experiment of the user's own, the files
of its `run` and of its configuration are looked at, not what else they import.
"""

import functools
import inspect
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sgdynamics import _versions
from sgdynamics.experiments import _store
from sgdynamics.experiments._registry import Experiment
from sgdynamics.experiments._store import Record

SHOWN = 4


@dataclass(frozen=True)
class Earlier:
    """The stored `record` where it is the wanted result; otherwise `why` it is not: what is replaced, or why it is
    computed again; "" where nothing was stored."""

    record: Record | None = None
    why: str = ""


def look(folder: str | os.PathLike, experiment: Experiment, parameters: Mapping[str, Any], *, force: bool) -> Earlier:
    """What `folder` holds, for a run of `experiment` with these parameters (as JSON values)."""
    if not _store.holds_result(folder):
        return Earlier()
    try:
        record = _store.load(folder)
    except (ValueError, OSError) as error:
        return Earlier(why=f"replaces a result that cannot be read: {error}")
    why = _another(record, experiment, parameters) or ("computed again: --force" if force else "")
    why = why or _other_code(record.provenance, experiment)
    return Earlier(why=why) if why else Earlier(record)


def source(experiment: Experiment) -> str | None:
    """The digest of the source that an experiment is computed by; None where it cannot be read."""
    try:
        run = experiment.run
        while isinstance(run, functools.partial):
            run = run.func
        files = [inspect.getsourcefile(inspect.unwrap(part)) for part in (run, experiment.config)]
        return None if None in files else _versions.digest(pathlib.Path(file).resolve() for file in files if file)
    except (OSError, TypeError):
        return None


def flattened(parameters: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """Every parameter, with dots into nested configurations."""
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{within}{name}.")
        else:
            yield f"{within}{name}", value


def _another(record: Record, experiment: Experiment, parameters: Mapping[str, Any]) -> str:
    """What else the stored result is one of."""
    if record.experiment != experiment.name:
        return f"replaces the result of another experiment, {record.experiment}"
    old, new = dict(flattened(record.parameters)), dict(flattened(json.loads(json.dumps(parameters))))
    changed = [name for name in {**old, **new} if name not in old or name not in new or old[name] != new[name]]
    if not changed:
        return ""
    listed = [f"{name} {_shown(old, name)} → {_shown(new, name)}" for name in changed[:SHOWN]]
    more = [f"{len(changed) - SHOWN} more"] if len(changed) > SHOWN else []
    return f"replaces the result of other parameters: {', '.join(listed + more)}"


def _shown(parameters: Mapping[str, Any], name: str) -> str:
    text = str(parameters[name]) if name in parameters else "–"
    return text if len(text) <= 40 else f"{text[:39]}…"


def _other_code(provenance: Mapping[str, Any], experiment: Experiment) -> str:
    """By which other code the stored result was made."""
    versions, now = provenance.get("versions"), _versions.versions()["sgdynamics"]
    then = versions.get("sgdynamics") if isinstance(versions, Mapping) else None
    if then != now:
        return f"computed again: the result is of sgdynamics {then}, and this is {now}"
    digest = source(experiment)
    if digest is None:
        return "computed again: the experiment's source cannot be read, so that it may have changed"
    if provenance.get("source_sha256") == digest:
        return ""
    then, now = provenance.get("commit"), _versions.commit()
    if provenance.get("source_sha256") is not None:
        return f"computed again: the source has changed since ({_commits(then, now)})"
    if then == now and not str(now).endswith("+changes"):
        return ""
    return f"computed again: the source may have changed since ({_commits(then, now)})"


def _commits(then: str | None, now: str | None) -> str:
    return f"commit {_short(then)} → {_short(now)}"


def _short(commit: str | None) -> str:
    name, plus, changes = str(commit).partition("+")
    return "unknown" if commit is None else f"{name[:9]}{plus}{changes}"
