"""Stored results: a folder that is complete or absent.

`data.nc` (netCDF4, opened by plain `xarray.open_dataset`), `claims.json`, `config.json` (experiment, every
parameter, provenance, and the SHA-256 of the first two) and `figure.png`. Everything is written into a temporary
folder beside the destination and renamed at the end, so that a half-written result is never taken for one. Nor is a
damaged one: netCDF has no checksums, and a flipped byte would be read as another number.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from sgdynamics import _atomic
from sgdynamics.experiments._claims import Claim

DATA, CLAIMS, CONFIG, FIGURE = "data.nc", "claims.json", "config.json", "figure.png"

_KINDS: dict[str, type] = {"experiment": str, "figure": str, "parameters": Mapping, "provenance": Mapping}
_WORDS = ("id", "source", "statement", "verdict", "kind", "note")


@dataclass(frozen=True)
class Record:
    """A result as it is stored: what was run, with which parameters, how, and what came out."""

    experiment: str
    figure: str
    parameters: Mapping[str, Any]
    provenance: Mapping[str, Any]
    data: xr.Dataset
    claims: Sequence[Claim]


def save(folder: str | os.PathLike, record: Record, draw: Callable[[pathlib.Path], None] | None = None) -> None:
    """Writes `record` to `folder`, in place of an earlier result; `draw` writes the figure to a path."""
    check_described(record.data)
    check_ids(record.claims)
    config = {name: getattr(record, name) for name in ("experiment", "figure", "parameters", "provenance")}
    with replacing(folder) as partial:
        _write_json(partial / CLAIMS, [claim.to_json() for claim in record.claims])
        described = record.data.assign_attrs(experiment=record.experiment, config=json.dumps(config))
        described.to_netcdf(partial / DATA, engine="h5netcdf")
        _write_json(partial / CONFIG, config | {"sha256": {name: _digest(partial / name) for name in (DATA, CLAIMS)}})
        if draw is not None:
            draw(partial / FIGURE)


def load(folder: str | os.PathLike) -> Record:
    """The result in `folder`; an error that names the file where one is missing or broken."""
    folder = pathlib.Path(folder)
    for name in (CONFIG, CLAIMS, DATA):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: {folder} holds no stored result.")
    config = _read_json(folder / CONFIG)
    _check_digests(folder, config)
    claims = _read_json(folder / CLAIMS)
    try:
        data = xr.load_dataset(folder / DATA, engine="h5netcdf")
    except Exception as error:  # whatever a damaged file makes its readers raise
        raise _broken(folder / DATA, error) from error
    data.attrs = {name: value for name, value in data.attrs.items() if name not in ("experiment", "config")}
    try:
        parts = {name: _of_kind(name, config[name], kind) for name, kind in _KINDS.items()}
        listed = _of_kind(CLAIMS, claims, list)
        return Record(**parts, data=data, claims=tuple(_claim(claim) for claim in listed))
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(folder, error) from error


def check_destination(folder: str | os.PathLike) -> pathlib.Path:
    """`folder`, made absolute, if it may take a result: it is new, empty or an earlier result."""
    path = pathlib.Path(folder).resolve()
    if path.exists() and not path.is_dir():
        raise ValueError(f"out = {folder} is a file, but it must be a folder: name another.")
    if path.is_dir() and any(path.iterdir()) and not holds_result(path):
        raise ValueError(
            f"out = {folder} holds files that are no result and would be lost: name an empty or a new folder."
        )
    above = next(parent for parent in path.parents if parent.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise ValueError(f"out = {folder} cannot be made in {above}: name another folder, where files can be written.")
    return path


def holds_result(folder: str | os.PathLike) -> bool:
    """Whether the files of a result lie in `folder`, readable or not."""
    return all((pathlib.Path(folder) / name).is_file() for name in (DATA, CLAIMS, CONFIG))


@contextlib.contextmanager
def replacing(folder: str | os.PathLike) -> Iterator[pathlib.Path]:
    """An empty folder that takes the place of `folder` when the block ends well, and otherwise vanishes."""
    with _atomic.written(check_destination(folder)) as partial:
        partial.mkdir()
        yield partial


def check_described(data: xr.Dataset) -> None:
    """An error where a variable or coordinate lacks `units` or `long_name`, or a dimension a name."""
    for name, variable in data.variables.items():
        missing = [attribute for attribute in ("units", "long_name") if not variable.attrs.get(attribute)]
        if missing:
            raise ValueError(f'data variable {name} lacks {" and ".join(missing)} (units: "1" where it has none).')
    unnamed = [dim for dim in data.dims if re.fullmatch(r"dim_\d+", str(dim))]
    if unnamed:
        raise ValueError(f"data has the dimensions {unnamed}: name them in words of the field.")


def check_ids(claims: Sequence[Claim]) -> None:
    """An error where two claims share an id."""
    ids = [claim.id for claim in claims]
    twice = sorted({id for id in ids if ids.count(id) > 1})
    if twice:
        raise ValueError(f"the claims' ids {twice} occur more than once: give each claim its own.")


def _digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_digests(folder: pathlib.Path, config: Any) -> None:
    """An error where a file is not what was written; results of before there were digests pass."""
    digests = config.get("sha256", {}) if isinstance(config, Mapping) else {}
    if not isinstance(digests, Mapping):
        raise _broken(folder / CONFIG, ValueError(f"sha256 = {digests}, but it must hold a digest for each file"))
    for name in (DATA, CLAIMS):
        if name in digests and digests[name] != _digest(folder / name):
            raise _broken(folder / name, ValueError("its SHA-256 is not the one in config.json: it was changed"))


def _claim(entry: Any) -> Claim:
    """A stored claim, with words where there must be words and numbers where there must be numbers."""
    claim = Claim.from_json(entry)
    for name, value in vars(claim).items():
        _of_kind(f"{claim.id}: {name}", value, str if name in _WORDS else (int, float, type(None)))
    return claim


def _of_kind(name: str, value: Any, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{name} = {value!r} is of the wrong type")
    return value


def _write_json(path: pathlib.Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _read_json(path: pathlib.Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _broken(path, error) from error


def _broken(path: pathlib.Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is no stored result that can be read ({error}): run the experiment again.")
