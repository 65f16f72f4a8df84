"""Configurations: frozen dataclasses of JSON values, nested at will, each field documented with its unit.

A configuration goes to JSON and back without loss, so that `config.json` is enough to run a result again.
"""

import contextlib
import dataclasses
import difflib
import math
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, TypeVar

C = TypeVar("C")

LARGEST = 2**63 - 1  # JAX has no integers of more than 64 bits
ALLOWED = {int: "a whole number of at most 64 bits", float: "a finite number", bool: "true or false", str: "a string"}


def to_mapping(config: Any) -> dict[str, Any]:
    """The fields of a configuration, nested, as JSON holds them; a `ValueError` where JSON does not hold them."""
    return _to_mapping(config, "")


def from_mapping(kind: type[C], entries: Mapping[str, Any]) -> C:
    """The configuration of type `kind` with these fields: the inverse of `to_mapping`.

    **Raises** `ValueError` that names the field, its value and what is allowed, where a value is not of its field's
    type, where a field is unknown, and where one without a default is missing.
    """
    return _from_mapping(kind, entries, "")


def updated(config: C, overrides: Mapping[str, Any]) -> C:
    """`config` with some fields replaced; a dot leads into a nested configuration. **Raises** as `from_mapping`."""
    hints, changes, within = typing.get_type_hints(type(config)), {}, {}
    for path, value in overrides.items():
        name, _, rest = path.partition(".")
        _known(name, type(config))
        if rest:
            within.setdefault(name, {})[rest] = value
        else:
            changes[name] = typed(name, hints[name], value)
    for name, rest in within.items():
        changes[name] = updated(changes.get(name, getattr(config, name)), rest)
    # all at once: fields are checked against each other
    return dataclasses.replace(typing.cast(Any, config), **changes)


def typed(name: str, hint: Any, value: Any) -> Any:
    """`value` as the field `name` of type `hint` holds it: a tuple for a list, a float for a whole number where the
    field is one. **Raises** `ValueError` where it is no such value."""
    if isinstance(hint, types.UnionType):
        return _optional(name, typing.get_args(hint), value)
    if hint in ALLOWED:
        return hint(value) if _is_plain(hint, value) else _refuse(name, value, ALLOWED[hint])
    if typing.get_origin(hint) is tuple:
        return _tuple(name, typing.get_args(hint), value)
    if typing.get_origin(hint) is typing.Literal:
        options = typing.get_args(hint)
        return value if value in options else _refuse(name, value, f"one of {', '.join(map(repr, options))}")
    if dataclasses.is_dataclass(hint) and not isinstance(value, typing.cast(type, hint)):
        return _from_mapping(typing.cast(type, hint), value, name)
    return value


def near(name: str, names: Iterable[str]) -> str:
    """ " Did you mean …?", where a name is close to one that exists, or the last part of one or of a few ("fig5b" of
    "gross2024/fig5b"); otherwise nothing."""
    names = list(names)
    ending = [one for one in names if one.endswith(f"/{name}")][:4]
    matches = list(dict.fromkeys(ending + difflib.get_close_matches(name, names)))
    return f" Did you mean {' or '.join(matches)}?" if matches else ""


def _known(name: str, kind: type) -> None:
    if not dataclasses.is_dataclass(kind):
        raise ValueError(f"{kind.__name__} has no field {name!r}: it is a plain value.")
    names = [field.name for field in dataclasses.fields(kind)]
    if name not in names:
        raise ValueError(f"{kind.__name__} has no field {name!r}: its fields are {names}.{near(name, names)}")


def _to_mapping(config: Any, path: str) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(config)]
    return {name: _to_json(_joined(path, name), getattr(config, name)) for name in names}


def _to_json(name: str, value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return _to_mapping(value, name)
    if isinstance(value, tuple | list):
        return [_to_json(name, item) for item in value]
    if value is None:
        return value
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return value if _is_plain(kind, value) else _refuse(name, value, ALLOWED[kind])
    raise ValueError(
        f"a configuration holds {name} = {value!r} of type {type(value).__name__}, but its values must be numbers, "
        "strings, booleans, None, tuples of these or nested configurations: derive anything else in `run`."
    )


def _from_mapping(kind: type[C], entries: Any, path: str) -> C:
    if not isinstance(entries, Mapping):
        _refuse(path or kind.__name__, entries, f"a mapping of the fields of {kind.__name__} to their values")
    for name in entries:
        _known(name, kind)
    missing = [field.name for field in dataclasses.fields(typing.cast(Any, kind)) if _required(field)]
    if missing := [name for name in missing if name not in entries]:
        raise ValueError(f"{kind.__name__} lacks the fields {missing}, which have no defaults.")
    hints = typing.get_type_hints(kind)
    return kind(**{name: typed(_joined(path, name), hints[name], value) for name, value in entries.items()})


def _required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _optional(name: str, options: tuple[Any, ...], value: Any) -> Any:
    """`value` as the first of the options that takes it."""
    if value is None and types.NoneType in options:
        return None
    *others, last = (option for option in options if option is not types.NoneType)
    for option in others:
        with contextlib.suppress(ValueError):
            return typed(name, option, value)
    return typed(name, last, value)


def _tuple(name: str, kinds: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        _refuse(name, value, "a list")
    if kinds[1:] == (...,):
        kinds = kinds[:1] * len(value)
    if len(value) != len(kinds):
        _refuse(name, value, f"a list of {len(kinds)} values")
    return tuple(typed(name, kind, item) for kind, item in zip(kinds, value, strict=True))


def _is_plain(kind: type, value: Any) -> bool:
    """Whether a plain value can stand for one of type `kind`: a whole float for an int, an int for a float."""
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is str:
        # a lone surrogate, which JSON and Python let pass, cannot be written to a file
        return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, Integral):
        return -LARGEST <= value <= LARGEST
    return (
        isinstance(value, Real)
        and math.isfinite(value)
        and (kind is float or (value == int(value) and abs(value) <= LARGEST))
    )


def _refuse(name: str, value: Any, allowed: str) -> typing.NoReturn:
    raise ValueError(f"{name} = {reprlib.repr(value)}, but it must be {allowed}.")
