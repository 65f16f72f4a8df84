"""Running an experiment by name: configure, compute, draw, store."""

import functools
import os
import pathlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from sgdynamics.experiments import _config, _provenance, _store
from sgdynamics.experiments._progress import Bars, Progress
from sgdynamics.experiments._registry import Experiment, Result, get
from sgdynamics.experiments._store import Record


@dataclass(frozen=True)
class Plan:
    """An experiment, its whole configuration, the folder for its result, and whether a figure is drawn."""

    experiment: Experiment
    config: Any
    folder: pathlib.Path
    figure: bool


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

    `overrides` replaces fields of the preset, `{"steps": 1000, "langevin.substeps": 4}`; `progress` is bars
    on standard error unless told, `Silence()` for none; `figure=False` does without matplotlib.
    """
    experiment = get(name)
    config = _config.updated(experiment.preset(preset), overrides or {})
    return execute(plan(experiment, config, out=out, figure=figure), progress)


def plan(experiment: Experiment, config: Any, *, out: str | os.PathLike | None = None, figure: bool = True) -> Plan:
    """All that a run needs, checked: what can be refused is refused here, before anything is computed."""
    folder = _store.check_destination(out or pathlib.Path("results") / experiment.name)
    _config.to_mapping(config)
    if figure:
        check_figure(experiment.figure)
    return Plan(experiment, config, folder, figure)


def execute(plan: Plan, progress: Progress | None = None) -> Outcome:
    """Computes, draws and stores."""
    experiment = plan.experiment
    provenance = _provenance.provenance()
    started = time.perf_counter()
    result = _computed(plan, progress or Bars())
    provenance |= {"seconds": round(time.perf_counter() - started, 3), "ensembles": result.ensembles}
    record = Record(
        experiment=experiment.name,
        figure=experiment.figure,
        parameters=_config.to_mapping(plan.config),
        provenance=provenance,
        data=result.data,
        claims=result.claims,
    )
    draw = functools.partial(_draw, record.figure, record.data) if plan.figure else None
    _store.save(plan.folder, record, draw)
    return Outcome(result, plan.folder)


def configuration(record: Record) -> Any:
    """The configuration that a stored result was run with, ready for `plan`."""
    return _config.from_mapping(get(record.experiment).config, record.parameters)


def redraw(folder: str | os.PathLike) -> pathlib.Path:
    """Draws a stored result anew, from `folder` alone, and returns the path of its figure."""
    return draw(_store.load(folder), folder)


def draw(record: Record, folder: str | os.PathLike) -> pathlib.Path:
    """Draws a result into `folder`, in place of an earlier figure, and returns the figure's path."""
    path = pathlib.Path(folder) / _store.FIGURE
    partial = path.with_name(f".partial-{path.name}")
    try:
        _draw(record.figure, record.data, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


# plotting is imported where it is used: without the extra `plot`, everything else works


def check_figure(name: str) -> None:
    """An error where no figure is called `name`, or where matplotlib is not installed."""
    from sgdynamics import plotting

    plotting.find(name)


def _draw(name: str, data: xr.Dataset, path: pathlib.Path) -> None:
    from sgdynamics import plotting

    plotting.write(plotting.draw(name, data), path)


def _computed(plan: Plan, progress: Progress) -> Result:
    try:
        return plan.experiment.run(plan.config, progress)
    finally:
        progress.close()
