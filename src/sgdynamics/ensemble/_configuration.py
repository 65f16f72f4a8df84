"""What a run is made of, written down so that two runs can be told apart, and told in what they differ.

A configuration is a flat table, from places ("dynamics.problem.data.x") to words: numbers as they are, arrays by
shape, type and checksum, functions by name and a checksum of their code, of what they enclose and of the global names
that they use; of the user's own classes also their methods. Names of fields are kept, so that a difference can be
named. What lies in installed packages, JAX among them, is known by name alone: checkpoints keep their versions apart.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
import re
import sys
import sysconfig
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
    if isinstance(x, set | frozenset):
        return "set", {str(i): value for i, value in enumerate(sorted(x, key=repr))}
    if isinstance(x, list | tuple):
        return (None if x else "empty"), {str(i): value for i, value in enumerate(x)}
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return _kind(type(x)), {field.name: getattr(x, field.name, None) for field in dataclasses.fields(x)}
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
    if type(x).__repr__ is object.__repr__ and hasattr(x, "__dict__"):
        return _kind(type(x)), vars(x)
    return (x if isinstance(x, str) else _ADDRESS.sub("", repr(x))), {}


def _enclosed(function: types.FunctionType) -> dict[str, Any]:
    """What a function uses besides its arguments."""
    code, defaults = function.__code__, function.__defaults__ or ()
    cells = zip(code.co_freevars, function.__closure__ or (), strict=False)
    inside = {name: _content(cell) for name, cell in cells}
    inside |= {f"default {i}": value for i, value in enumerate(defaults)}
    inside |= {f"default {name}": value for name, value in (function.__kwdefaults__ or {}).items()}
    return inside | (_globals(function) if _is_own(function.__module__) else {})


def _globals(function: types.FunctionType) -> dict[str, Any]:
    """The global names that a function of the user's uses, but for modules and what installed packages hold."""
    there = {name: function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__}
    foreign = lambda x: (
        isinstance(x, types.ModuleType) or (isinstance(x, type | types.FunctionType) and not _is_own(x.__module__))
    )
    return {f"global {name}": value for name, value in there.items() if not foreign(value)}


def _names(code: types.CodeType) -> list[str]:
    inner = [_names(c) for c in code.co_consts if isinstance(c, types.CodeType)]
    return sorted({*code.co_names, *(name for names in inner for name in names)})


def _is_own(module: str | None) -> bool:
    """Whether a module is the user's, and no installed package or part of Python."""
    found = sys.modules.get(module or "")
    if module == "sgdynamics" or str(module).startswith("sgdynamics."):
        return False
    file = getattr(found, "__file__", None)
    if file is None:
        return module == "__main__"
    installed = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return not any(pathlib.Path(file).is_relative_to(path) for path in installed)


def _kind(kind: type) -> str:
    """The name of a class and, where it or one above it is the user's, a checksum of their methods."""
    own = [c for c in kind.__mro__ if _is_own(c.__module__)]
    methods = [(name, f) for c in own for name, f in sorted(vars(c).items()) if isinstance(f, types.FunctionType)]
    if not methods:
        return _name(kind)
    return f"{_name(kind)} {_checksum(repr([(name, _code(f.__code__)) for name, f in methods]).encode())}"


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return "not yet defined"


def _name(x: Any) -> str:
    return f"{getattr(x, '__module__', None)}.{x.__qualname__}"


def _code(code: types.CodeType) -> str:
    """A checksum of what a function does, wherever in its file it is written."""
    constants = [_constant(c) for c in code.co_consts]
    return _checksum(code.co_code, repr((code.co_names, code.co_varnames, constants)).encode())


def _constant(c: Any) -> str:
    if isinstance(c, types.CodeType):
        return _code(c)
    # the order of a set of words differs from process to process
    return repr(sorted(map(_constant, c))) if isinstance(c, frozenset) else repr(c)


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
