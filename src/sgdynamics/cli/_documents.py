"""What `--json` prints: one strict JSON document. Numbers that are not finite are null.

    list              {"sgdynamics": version, "command": "list", "experiments": [
                          {"name", "source", "summary", "presets": [...]}, ...]}
    run, reproduce    {"sgdynamics": version, "command": "run", "as_expected": true, "experiments": [
                          {"name", "folder", "found", "seconds", "error", "as_expected", "claims": [...]}, ...]}

- folder: where the result lies. found: when it was computed, where it was found there and not computed now; else null.
- seconds: what the experiment took now. error: why it failed, in one line; else null, and then there are no claims.
- claims: the fields of claims.json (`id`, `source`, `statement`, `measured`, `standard_error`, `expected`, `verdict`,
  `kind`, `z`, ...), and `as_expected`: whether the verdict is the one that the experiment was made to show.

Within a version's first two numbers keys are added, never renamed or taken away.
"""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import sgdynamics
from sgdynamics import experiments


def document(command: str, entries: Sequence[Mapping[str, Any]], **more: Any) -> str:
    """The document of a command about these experiments."""
    head = {"sgdynamics": sgdynamics.__version__, "command": command}
    return json.dumps(strict(head | more | {"experiments": entries}), indent=2, ensure_ascii=False, allow_nan=False)


def account(entries: Sequence[Mapping[str, Any]], *, complete: bool = True) -> str:
    """The document of experiments that were run; `complete`: all that were asked for."""
    return document("run", entries, as_expected=complete and all(entry["as_expected"] for entry in entries))


def described(name: str) -> dict[str, Any]:
    """What `list` says of an experiment."""
    experiment = experiments.get(name)
    facts = {"name": name, "source": experiment.source, "summary": experiment.summary}
    return facts | {"presets": list(experiment.presets)}


def judged(
    name: str,
    folder: pathlib.Path,
    claims: Sequence[experiments.Claim],
    *,
    seconds: float,
    found: str | None = None,
    error: str | None = None,
) -> dict[str, Any]:
    """What became of an experiment."""
    entry = {"name": name, "folder": str(folder), "found": found, "seconds": round(seconds, 3), "error": error}
    listed = [claim.to_json() | {"as_expected": claim.as_expected} for claim in claims]
    return entry | {"as_expected": error is None and all(c["as_expected"] for c in listed), "claims": listed}


def strict(value: Any) -> Any:
    """The value with null for numbers that JSON does not know."""
    if isinstance(value, Mapping):
        return {name: strict(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [strict(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
