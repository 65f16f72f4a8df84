"""What a run leaves as an xarray data set, and in a file: every number with its axes, unit and name.

An estimate called "x" becomes the variables `x` and `x_standard_error`, and `x_…` for what else it has: the halves of
`Halves`, the shares outside of a histogram, the replicas' own values of statistics of paths. It is called by its place
in the tree of estimates ({"sgd": {"mean": …}} → `sgd_mean`, [Mean()] → `mean_0`), a single one by its quantity.

Axes are called parameters (directions of a `Projection`, modes, components of any other observable; a second one of
the kind parameters_2), lags, steps, frequencies, bins, replicas, groups. Where two estimates differ in an axis of one
name, each has its own, x_lags and y_lags. Units: w that of a parameter, t that of time (Σ of learning rates), [x] that
of an observable called x.
"""

import dataclasses
import functools
import itertools
import json
import math
import os
import pathlib
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr

from sgdynamics import _atomic, _versions
from sgdynamics.statistics import (
    Estimate,
    ExtremaEstimate,
    FirstPassageEstimate,
    HalvesEstimate,
    HistogramEstimate,
    PowerLawEstimate,
    SnapshotsEstimate,
)

NETCDF, ZARR = ".nc", ".zarr"


def to_xarray(ensemble: Any, *, state: bool = False, groups: bool = False) -> xr.Dataset:
    """The data set of an `Ensemble`: each estimate with its standard error, and how they were made.

    Variables have `units` and `long_name`; those of a value also `quantity`, `of`, `degrees_of_freedom` and
    `groups_left_out`. The attribute `provenance` is JSON: the ensemble's, with versions and the commit of the source.

    - state: also `positions` and `velocities` [replicas, parameters] and `alive` [replicas]; not the memory of an optax
      transformation, which has no axes of its own.
    - groups: also the pseudo-values of every estimate, `x_groups` [groups, …], and their `x_weights` [groups].

    Raises `ValueError` where the tree holds something that is no estimate.
    """
    layout = _Layout(ensemble.state.position.shape[-1], groups)
    named = [("", _of_state(ensemble))] if state else []
    taken = _names("", [piece for _, pieces in named for piece in pieces])
    for wanted, estimate in _estimates(ensemble.estimates):
        pieces = _pieces(estimate, layout)
        name = next(name for name in _with_numbers(wanted) if taken.isdisjoint(_names(name, pieces)))
        taken |= _names(name, pieces)
        named.append((name, pieces))
    return _assembled(named, taken).assign_attrs(provenance=_provenance(ensemble))


def save(
    ensemble: Any, path: str | os.PathLike, *, state: bool = False, groups: bool = False, overwrite: bool = False
) -> pathlib.Path:
    """Writes an `Ensemble` to `path`, whose ending says how, and returns the path made absolute.

    - ".nc": netCDF4, opened by `xarray.open_dataset(path)`; ".zarr": a folder, opened by `xarray.open_zarr(path)`.
    - state, groups: as of `to_xarray`.
    - overwrite: whether an earlier result may be replaced.

    Written under another name and renamed: under `path` there is the whole result, or what was there before. Raises
    `ValueError` for another ending and for a path that is taken, and `ImportError` where zarr is not installed.
    """
    path = check_destination(path, overwrite=overwrite)
    data = to_xarray(ensemble, state=state, groups=groups)
    with _atomic.written(path) as partial:
        if path.suffix == NETCDF:
            data.to_netcdf(partial, engine="h5netcdf")
        else:
            _write_zarr(data, partial)
    return path


def _write_zarr(data: xr.Dataset, path: pathlib.Path) -> None:
    with warnings.catch_warnings():
        # a file of all metadata is no part of the format yet, of which zarr warns; without it `open_zarr` would
        warnings.filterwarnings("ignore", "Consolidated metadata")
        data.to_zarr(path, mode="w-", consolidated=True)


def check_destination(path: str | os.PathLike, *, overwrite: bool = False) -> pathlib.Path:
    """`path`, made absolute, where `save` may write to it: long runs ask before they start."""
    place = pathlib.Path(path).resolve()
    if place.suffix not in (NETCDF, ZARR):
        raise ValueError(f'path = {path}, but it must end in "{NETCDF}" (netCDF) or "{ZARR}" (zarr).')
    if place.suffix == ZARR:
        _check_zarr()
    if not place.exists():
        return place
    if not overwrite:
        raise ValueError(f"path = {path} exists, and would be lost: name another, or replace it with overwrite=True.")
    if not _is_result(place):
        raise ValueError(f"path = {path} is no earlier result, and would be lost: name another.")
    return place


def _is_result(path: pathlib.Path) -> bool:
    if path.suffix == NETCDF:
        return path.is_file()
    return path.is_dir() and ((path / "zarr.json").is_file() or not any(path.iterdir()))


def _check_zarr() -> None:
    try:
        import zarr  # noqa: F401
    except ImportError as error:
        raise ImportError(f"zarr cannot be imported ({error}): pip install zarr, or save as {NETCDF}.") from error


# --- the tree of estimates ----------------------------------------------------------------------------------------


def _estimates(tree: Any) -> Iterable[tuple[str, Any]]:
    """Each estimate of the tree with what it should be called."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_estimate)
    for path, estimate in leaves:
        if not _is_estimate(estimate):
            raise ValueError(
                f"estimates{jax.tree_util.keystr(path)} is of type {type(estimate).__name__}, but it must be an "
                "estimate, with value and standard_error."
            )
        yield _named(path, estimate), estimate


def _is_estimate(x: Any) -> bool:
    return hasattr(x, "value") and hasattr(x, "standard_error")


def _named(path: tuple, estimate: Any) -> str:
    keys = [getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))) for key in path]
    name = "_".join(filter(None, map(_word, keys)))
    # a name that begins with a digit is no attribute of a data set
    return name if name and not name[0].isdigit() else "_".join(filter(None, (_word(_quantity(estimate)), name)))


def _quantity(estimate: Any) -> str:
    """What an estimate is one of; of one with several parts, what its main part is one of."""
    for part in ("whole", "density", "mean", "exponent"):
        if hasattr(estimate, part):
            return _quantity(getattr(estimate, part))
    return getattr(estimate, "quantity", "estimate")


def _word(x: Any) -> str:
    """Something as a part of a name: letters, digits and _."""
    return re.sub(r"\W+", "_", str(x)).strip("_")


def _with_numbers(name: str) -> Iterator[str]:
    """The name, and where it is taken the name with a number."""
    yield name
    yield from (f"{name}_{i}" for i in itertools.count(2))


# --- what each kind of estimate is made of ------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Layout:
    """What is common to all estimates: how many parameters there are, and whether pseudo-values are wanted."""

    parameters: int
    groups: bool


@dataclasses.dataclass(frozen=True)
class _Coordinate:
    """The values along an axis, with unit and name."""

    values: np.ndarray
    units: str
    long_name: str

    def key(self) -> tuple:
        return self.values.tobytes(), self.values.dtype.str, self.units, self.long_name


@dataclasses.dataclass(frozen=True)
class _Piece:
    """One variable: the end of its name, its axes, values and attributes, and the coordinates of its axes."""

    ending: str
    axes: tuple[str, ...]
    values: np.ndarray
    attributes: Mapping[str, Any]
    coordinates: Mapping[str, _Coordinate] = dataclasses.field(default_factory=dict)

    def name(self, estimate: str) -> str:
        return "_".join(filter(None, (estimate, self.ending)))

    def within(self, part: str) -> "_Piece":
        """The same piece of an estimate that is itself a part of another."""
        return dataclasses.replace(self, ending=self.name(part))


def _names(estimate: str, pieces: Iterable[_Piece]) -> set[str]:
    return {piece.name(estimate) for piece in pieces}


@functools.singledispatch
def _pieces(estimate: Any, layout: _Layout) -> list[_Piece]:
    """The variables of an estimate; of a kind that is not known here, its value and its error."""
    quantity = getattr(estimate, "quantity", "estimate")
    axes = _numbered("components", np.ndim(estimate.value))
    return _with_error(axes, estimate, _described(quantity, _bracketed(quantity, "quantity")))


@_pieces.register
def _(estimate: Estimate, layout: _Layout) -> list[_Piece]:
    return _of_estimate(estimate, layout)


@_pieces.register
def _(estimate: HalvesEstimate, layout: _Layout) -> list[_Piece]:
    parts = [piece.within(part) for part in ("first", "second", "change") for piece in _half(estimate, part, layout)]
    return _pieces(estimate.whole, layout) + parts


@_pieces.register
def _(estimate: HistogramEstimate, layout: _Layout) -> list[_Piece]:
    density = _of_estimate(estimate.density, layout, called="density")
    below = _of_estimate(estimate.underflow, layout, called="share below the first edge")
    above = _of_estimate(estimate.overflow, layout, called="share not below the last edge")
    return density + [p.within("underflow") for p in below] + [p.within("overflow") for p in above]


@_pieces.register
def _(estimate: SnapshotsEstimate, layout: _Layout) -> list[_Piece]:
    values, mean = _plain(estimate.values), _of_estimate(estimate.mean, layout)
    axes = ("steps", "replicas", *_observed(estimate.mean, values.ndim - 2, layout))
    what, unit = _subject(estimate.mean), _unit(estimate.mean)
    return [
        *mean,
        _Piece("values", axes, values, _described(f"{what} of each replica", unit), mean[0].coordinates),
        _Piece("alive", ("replicas",), np.asarray(estimate.alive), _described("whether the replica is alive", "1")),
    ]


@_pieces.register
def _(estimate: FirstPassageEstimate, layout: _Layout) -> list[_Piece]:
    times = _plain(estimate.times)
    axes = ("replicas", *_observed(estimate.mean, times.ndim - 1, layout))
    long_name = f"first passage of {_subject(estimate.mean)} in each replica, inf where there was none"
    fraction = _of_estimate(estimate.fraction, layout)
    return [
        *_of_estimate(estimate.mean, layout),
        *(piece.within("fraction") for piece in fraction),
        _Piece("times", axes, times, _described(long_name, "step")),
    ]


@_pieces.register
def _(estimate: ExtremaEstimate, layout: _Layout) -> list[_Piece]:
    extremes = _Coordinate(np.array([0, 1], np.int8), "1", "which extreme: 0 minimum, 1 maximum")
    pieces = _of_estimate(estimate.mean, layout, leading={"extremes": extremes})
    axes = ("replicas", *_observed(estimate.mean, np.ndim(estimate.minima) - 1, layout))
    what, unit = _subject(estimate.mean), _unit(estimate.mean)
    for ending, values, word in (("minima", estimate.minima, "minimum"), ("maxima", estimate.maxima, "maximum")):
        long_name = f"{word} of {what} on each replica's path"
        pieces.append(_Piece(ending, axes, _plain(values), _described(long_name, unit)))
    for word, values in (("minimum", estimate.minimum_steps), ("maximum", estimate.maximum_steps)):
        long_name = f"step of the {word} of {what} on each replica's path, −1 for dead replicas"
        pieces.append(_Piece(f"{word}_steps", axes, np.asarray(values), _described(long_name, "step")))
    return pieces


@_pieces.register
def _(estimate: PowerLawEstimate, layout: _Layout) -> list[_Piece]:
    steps, residuals = np.asarray(estimate.steps), _plain(estimate.residuals)
    axes = ("steps", *_observed(estimate.exponent, residuals.ndim - 1, layout))
    described = _described(f"ln of measured over fitted {estimate.quantity}", "1")
    within = {"first_step": estimate.first, "last_step": estimate.last}
    return [
        *_of_estimate(estimate.exponent, layout, **within),
        *(piece.within("prefactor") for piece in _of_estimate(estimate.prefactor, layout, **within)),
        _Piece("residuals", axes, residuals, described, {"steps": _Coordinate(steps, "step", "steps")}),
    ]


def _half(estimate: HalvesEstimate, part: str, layout: _Layout) -> list[_Piece]:
    words = {"first": "first half of the records", "second": "second half of the records", "change": ""}[part]
    pieces = _of_estimate(getattr(estimate, part), layout)
    renamed = lambda piece: piece.attributes | {"long_name": f"{piece.attributes['long_name']}, {words}"}
    return [dataclasses.replace(piece, attributes=renamed(piece)) if words else piece for piece in pieces]


def _of_state(ensemble: Any) -> list[_Piece]:
    axes, state = ("replicas", "parameters"), ensemble.state
    pieces = [_Piece("positions", axes, _plain(state.position), _described("parameters of each replica", "w"))]
    if state.velocity is not None:
        pieces.append(_Piece("velocities", axes, _plain(state.velocity), _described("velocity of each replica", "w/t")))
    alive = np.asarray(ensemble.alive)
    return [*pieces, _Piece("alive", ("replicas",), alive, _described("whether the replica is alive", "1"))]


# --- one estimate -------------------------------------------------------------------------------------------------


def _of_estimate(
    estimate: Estimate,
    layout: _Layout,
    *,
    called: str | None = None,
    leading: Mapping[str, _Coordinate] | None = None,
    **more: Any,
) -> list[_Piece]:
    """Value, error and, if wanted, pseudo-values; `leading` axes come before those of the observable."""
    coordinates = dict(leading or {}) | _coordinates(estimate)
    first = tuple(name for name in coordinates if name not in ("bins", "edges"))
    last = ("bins",) if "bins" in coordinates else ()
    between = _observed(estimate, estimate.value.ndim - len(first) - len(last), layout)
    long_name = f"{called} of {_subject(estimate)}" if called else _long_name(estimate)
    described = _described(long_name, _units(estimate))
    described |= {"quantity": estimate.quantity, "of": estimate.of or "position"}
    described |= {"degrees_of_freedom": int(estimate.degrees_of_freedom), "groups_left_out": int(estimate.left_out)}
    axes = (*first, *between, *last)
    pieces = _with_error(axes, estimate, described | more, coordinates)
    if layout.groups:
        pieces += _pseudo_values(axes, estimate, described, coordinates)
    return pieces


def _with_error(axes: tuple[str, ...], estimate: Any, described: dict[str, Any], coordinates=None) -> list[_Piece]:
    error = _described(f"{described['long_name']}, standard error", described["units"])
    return [
        _Piece("", axes, _plain(estimate.value), described, coordinates or {}),
        _Piece("standard_error", axes, _plain(estimate.standard_error), error, coordinates or {}),
    ]


def _pseudo_values(axes: tuple[str, ...], estimate: Estimate, described: dict[str, Any], coordinates) -> list[_Piece]:
    values = _described(f"{described['long_name']}, pseudo-value of each group", described["units"])
    weights = _described(f"{described['long_name']}, weight of each group", "1")
    return [
        _Piece("groups", ("groups", *axes), _plain(estimate.groups), values, coordinates),
        _Piece("weights", ("groups",), _plain(estimate.weights), weights),
    ]


def _coordinates(estimate: Estimate) -> dict[str, _Coordinate]:
    """Those of the first axis, or of the last (bins)."""
    found = {}
    if estimate.lags is not None:
        found["lags"] = _Coordinate(np.asarray(estimate.lags), "step", "lag")
    if estimate.steps is not None:
        found["steps"] = _Coordinate(np.asarray(estimate.steps), "step", "steps")
    if estimate.frequencies is not None:
        found["frequencies"] = _Coordinate(np.asarray(estimate.frequencies), "rad/step", "frequency ω")
    if estimate.edges is not None:
        edges, unit = _plain(estimate.edges), _unit(estimate)
        found["bins"] = _Coordinate((edges[:-1] + edges[1:]) / 2, unit, "middle of the bin")
        found["edges"] = _Coordinate(edges, unit, "edge between bins")
    return found


def _observed(estimate: Estimate, count: int, layout: _Layout) -> tuple[str, ...]:
    """The names of the axes of what is observed, of which there are `count`."""
    kinds = {None: "parameters", "position": "parameters", "velocity": "parameters", "projection": "directions"}
    kind = kinds.get(estimate.of, "components")
    if estimate.quantity.endswith("angular velocity"):
        kind = "modes"
    elif kind == "parameters" and layout.parameters not in estimate.value.shape:
        kind = "components"  # a function of the parameters, by `Estimate.map`
    return _numbered(kind, count)


def _numbered(kind: str, count: int) -> tuple[str, ...]:
    return tuple(kind if i == 0 else f"{kind}_{i + 1}" for i in range(count))


def _plain(x: Any) -> np.ndarray:
    """An array in a dtype that files have: bfloat16 is not one."""
    array = np.asarray(x)
    return array.astype(np.float32) if array.dtype.kind == "V" else array


# --- words and units ----------------------------------------------------------------------------------------------


def _described(long_name: str, units: str) -> dict[str, Any]:
    return {"units": units, "long_name": long_name}


def _subject(estimate: Estimate) -> str:
    return "the parameters" if estimate.of in (None, "position") else estimate.of


def _long_name(estimate: Estimate) -> str:
    quantity = estimate.quantity
    return quantity if quantity == estimate.of else f"{quantity} of {_subject(estimate)}"


def _unit(estimate: Estimate) -> str:
    """The unit of what is observed."""
    known = {None: "w", "position": "w", "projection": "w", "norm": "w", "velocity": "w/t", "loss": "loss"}
    return known[estimate.of] if estimate.of in known else _bracketed(estimate.of, "observable")


def _units(estimate: Estimate) -> str:
    """The unit of an estimate, by its quantity."""
    unit = _unit(estimate)
    inside = f"({unit})" if "/" in unit else unit
    square = f"{inside}²"
    known = {
        "mean": unit, "mean minimum and maximum": unit, "loss": "loss", "variance": square, "covariance": square,
        "autocovariance": square, "displacement": square, "global displacement": square, "kurtosis": "1",
        "power spectrum": f"{square} step/rad", "histogram": f"1/{inside}", "share": "1", "first passage": "step",
        "fraction passed": "1", "angular velocity": "rad/step",
    }  # fmt: skip
    if estimate.quantity.startswith("exponent of "):
        return "1"
    if estimate.quantity.startswith("prefactor of "):
        return f"{square}/step^exponent"
    quantity = estimate.quantity.removeprefix("change of ")
    return known[quantity] if quantity in known else _bracketed(quantity, "quantity")


def _bracketed(word: str, otherwise: str) -> str:
    """The unit of something that is known by its name only."""
    # readers take a unit "days" for a time, and one in which "since" occurs for a date
    return f"[{otherwise}]" if "since" in word or not _word(word) else f"[{_word(word)}]"


# --- the data set -------------------------------------------------------------------------------------------------

_Named = list[tuple[str, list[_Piece]]]


def _assembled(named: _Named, taken: set[str]) -> xr.Dataset:
    """The variables with their coordinates; axes that differ between estimates get the estimates' names."""
    several = _ambiguous(named) | taken
    variables, coordinates = {}, {}
    for name, pieces in named:
        called = functools.partial(_axis, owner=name, several=several, taken=taken)
        for piece in pieces:
            variables[piece.name(name)] = (tuple(map(called, piece.axes)), piece.values, dict(piece.attributes))
            for axis, c in piece.coordinates.items():
                coordinates[called(axis)] = (called(axis), c.values, _described(c.long_name, c.units))
    return xr.Dataset(variables, coordinates)


def _axis(axis: str, *, owner: str, several: set[str], taken: set[str]) -> str:
    """What an axis is called: an axis and a variable must not share a name, unless the one is the other's."""
    if axis not in several:
        return axis
    own = "_".join(filter(None, (owner, axis)))
    return own if own not in taken else next(n for n in _with_numbers(f"{own}_axis") if n not in taken)


def _ambiguous(named: _Named) -> set[str]:
    """The axes that are not the same wherever they occur."""
    seen: dict[str, set] = {}
    for _, pieces in named:
        for piece in pieces:
            for axis, size in zip(piece.axes, piece.values.shape, strict=True):
                known = piece.coordinates.get(axis)
                seen.setdefault(axis, set()).add((size, known and known.key()))
            for axis, c in piece.coordinates.items():
                seen.setdefault(axis, set()).add((c.values.size, c.key()))
    return {axis for axis, kinds in seen.items() if len(kinds) > 1}


def _provenance(ensemble: Any) -> str:
    """The ensemble's provenance with the code's, as JSON."""
    code = {"versions": _versions.versions(), "commit": _versions.commit()}
    return json.dumps(_json(ensemble.provenance | code), ensure_ascii=False, allow_nan=False)


def _json(value: Any) -> Any:
    """A value as JSON can hold it: what it has no word for (inf, nan, objects) as text."""
    if isinstance(value, Mapping):
        return {str(name): _json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, np.generic):
        return _json(value.item())
    plain = value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if plain else str(value)
