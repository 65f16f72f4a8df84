"""What a run is made of, written down so that two runs can be told apart, and told in what they differ.

A configuration is a flat table, from places ("dynamics.problem.data.x") to words: numbers as they are, arrays by
shape, type and checksum, functions by name and a checksum of their code and of what they enclose. Two runs with the
same table make the same paths on the same devices. Names of fields are kept, so that a difference can be named.
"""

import dataclasses
import functools
import hashlib
import json
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Table = dict[str, str]
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def table(**parts: Any) -> Table:
    """The configuration made of these parts."""
    return dict(_described("", parts, frozenset()))


def digest(table: Mapping[str, str]) -> str:
    """A short name for a configuration."""
    return hashlib.sha256(json.dumps(sorted(table.items())).encode()).hexdigest()[:20]


def differences(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """In what two configurations differ, a phrase for each place."""
    places = [place for place in {**there, **here} if there.get(place) != here.get(place)]
    return [f"{place}: {there.get(place, 'absent')} there, {here.get(place, 'absent')} here" for place in places]


def _described(place: str, x: Any, above: frozenset[int]) -> Iterator[tuple[str, str]]:
    """The rows of what lies at `place`; `above` are the objects that enclose it (a function may enclose itself)."""
    if isinstance(x, jax.Array | np.ndarray | np.generic):
        yield place, _array(x)
    elif id(x) in above:
        yield place, "itself"
    else:
        kind, inside = _parts(x)
        if kind is not None:
            yield place or "kind", kind
        for name, part in inside.items():
            yield from _described(f"{place}.{name}" if place else name, part, above | {id(x)})


def _parts(x: Any) -> tuple[str | None, Mapping[str, Any]]:
    """What x is, in a word, and what it consists of. Plain containers are known by their contents."""
    if isinstance(x, Mapping):
        return (None if x else "empty"), {str(key): value for key, value in x.items()}
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x).__qualname__, x._asdict()
    if isinstance(x, list | tuple):
        return (None if x else "empty"), {str(i): value for i, value in enumerate(x)}
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return _name(type(x)), {field.name: getattr(x, field.name, None) for field in dataclasses.fields(x)}
    if isinstance(x, functools.partial):
        return "partial", {"function": x.func, "arguments": x.args, "options": x.keywords}
    if isinstance(x, types.MethodType):
        return "method", {"function": x.__func__, "of": x.__self__}
    if isinstance(x, types.FunctionType):
        return f"{_name(x)} {_code(x.__code__)}", _enclosed(x)
    if hasattr(x, "__wrapped__"):
        return type(x).__qualname__, {"function": x.__wrapped__}
    if callable(x) and hasattr(x, "__qualname__"):
        return _name(x), {}
    return (x if isinstance(x, str) else _ADDRESS.sub("", repr(x))), {}


def _enclosed(function: types.FunctionType) -> dict[str, Any]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    return {name: _content(cell) for name, cell in cells} | {
        f"default {i}": value for i, value in enumerate(function.__defaults__ or ())
    }


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return "not yet defined"


def _name(x: Any) -> str:
    return f"{x.__module__}.{x.__qualname__}"


def _code(code: types.CodeType) -> str:
    """A checksum of what a function does, wherever in its file it is written."""
    constants = [_code(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return _checksum(code.co_code, repr((code.co_names, code.co_varnames, constants)).encode())


def _array(x: Any) -> str:
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return f"key {np.asarray(jax.random.key_data(x)).tolist()}"
    x = np.asarray(x)
    if x.ndim == 0:
        return f"{x.item()!r} ({x.dtype})"
    return f"{x.dtype}{list(x.shape)} {_checksum(np.ascontiguousarray(x).view(np.uint8).data)}"


def _checksum(*pieces: Any) -> str:
    sha = hashlib.sha256()
    for piece in pieces:
        sha.update(piece)
    return sha.hexdigest()[:16]
