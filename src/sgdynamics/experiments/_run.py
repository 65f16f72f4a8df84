"""Running an experiment by name: configure, compute, draw, store."""

import functools
import os
import pathlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from . import _config, _provenance, _store
from ._progress import Bars, Progress
from ._registry import Experiment, Result, get
from ._store import Record


@dataclass(frozen=True)
class Outcome:
    """A result and the folder that it was written to."""

    result: Result
    folder: pathlib.Path


def run(
    name: str,
    *,
    preset: str = "quick",
    overrides: Mapping[str, Any] | None = None,
    out: str | os.PathLike | None = None,
    progress: Progress | None = None,
    figure: bool = True,
) -> Outcome:
    """Runs the experiment called `name` and stores its result, in `results/NAME/` unless told.

    `overrides` replaces fields of the preset, `{"steps": 1000, "langevin.substeps": 4}`; `progress` is a bar on
    standard error unless told, `Silence()` for none; `figure=False` does without matplotlib.
    """
    experiment = get(name)
    config = _config.updated(experiment.preset(preset), overrides or {})
    return execute(experiment, config, out=out, progress=progress, figure=figure)


def execute(
    experiment: Experiment,
    config: Any,
    *,
    out: str | os.PathLike | None = None,
    progress: Progress | None = None,
    figure: bool = True,
) -> Outcome:
    """Runs an experiment with a whole configuration. All that can be refused is refused before it computes."""
    folder = _store.check_destination(out or pathlib.Path("results") / experiment.name)
    parameters = _config.to_mapping(config)
    if figure:
        _check_figure(experiment.figure)
    provenance = _provenance.provenance()
    started = time.perf_counter()
    result = _computed(experiment, config, progress or Bars())
    provenance |= {"seconds": round(time.perf_counter() - started, 3), "ensembles": result.ensembles}
    record = Record(experiment.name, experiment.figure, parameters, provenance, result.data, result.claims)
    _store.save(folder, record, functools.partial(_draw, record.figure, record.data) if figure else None)
    return Outcome(result, folder)


def configuration(record: Record) -> Any:
    """The configuration that a stored result was run with, ready for `execute`."""
    return _config.from_mapping(get(record.experiment).config, record.parameters)


def redraw(folder: str | os.PathLike) -> pathlib.Path:
    """Draws a stored result anew, from `folder` alone, and returns the path of its figure."""
    record = _store.load(folder)
    path = pathlib.Path(folder) / _store.FIGURE
    partial = path.with_name(f".partial-{path.name}")
    try:
        _draw(record.figure, record.data, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _computed(experiment: Experiment, config: Any, progress: Progress) -> Result:
    try:
        return experiment.run(config, progress)
    finally:
        progress.close()


# plotting is imported where it is used: without the extra `plot`, everything else works

def _check_figure(name: str) -> None:
    from .. import plotting

    plotting.find(name)


def _draw(name: str, data: xr.Dataset, path: pathlib.Path) -> None:
    from .. import plotting

    plotting.write(plotting.draw(name, data), path)
