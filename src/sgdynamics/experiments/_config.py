"""Configurations: frozen dataclasses of JSON values, nested at will, each field documented with its unit.

A configuration goes to JSON and back without loss, so that `config.json` is enough to run a result again.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

C = TypeVar("C")


def to_mapping(config: Any) -> dict[str, Any]:
    """The fields of a configuration, nested, as JSON holds them."""
    return {field.name: _to_json(getattr(config, field.name)) for field in dataclasses.fields(config)}


def from_mapping(kind: type[C], entries: Mapping[str, Any]) -> C:
    """The configuration of type `kind` with these fields: the inverse of `to_mapping`."""
    hints = typing.get_type_hints(kind)
    for name in entries:
        _known(name, kind)
    return kind(**{name: _from_json(hints[name], value) for name, value in entries.items()})


def updated(config: C, overrides: Mapping[str, Any]) -> C:
    """`config` with some fields replaced; a dot leads into a nested configuration."""
    for path, value in overrides.items():
        name, _, rest = path.partition(".")
        _known(name, type(config))
        new = updated(getattr(config, name), {rest: value}) if rest else value
        config = dataclasses.replace(typing.cast(Any, config), **{name: new})
    return config


def near(name: str, names: Iterable[str]) -> str:
    """ " Did you mean …?", where a name is close to one that exists; otherwise nothing."""
    matches = difflib.get_close_matches(name, list(names))
    return f" Did you mean {' or '.join(matches)}?" if matches else ""


def _known(name: str, kind: type) -> None:
    if not dataclasses.is_dataclass(kind):
        raise ValueError(f"{kind.__name__} has no field {name!r}: it is a plain value.")
    names = [field.name for field in dataclasses.fields(kind)]
    if name not in names:
        raise ValueError(f"{kind.__name__} has no field {name!r}: its fields are {names}.{near(name, names)}")


def _to_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_mapping(value)
    if isinstance(value, tuple | list):
        return [_to_json(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(
        f"a configuration holds {value!r} of type {type(value).__name__}, but its values must be numbers, "
        "strings, booleans, None, tuples of these or nested configurations: derive anything else in `run`."
    )


def _from_json(hint: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return from_mapping(_dataclass_in(hint), value)
    if isinstance(value, list):
        inner = typing.get_args(hint)[0] if typing.get_args(hint) else Any
        return tuple(_from_json(inner, item) for item in value)
    return value


def _dataclass_in(hint: Any) -> type:
    """The configuration type in an annotation: itself, or one of a union with None."""
    candidates = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for candidate in candidates:
        if dataclasses.is_dataclass(candidate) and isinstance(candidate, type):
            return candidate
    raise ValueError(f"found a mapping where a value of type {hint} is expected.")
