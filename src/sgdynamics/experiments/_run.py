"""Running an experiment by name: configure, compute, draw, store; or find what was stored before."""

import functools
import logging
import math
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax

from sgdynamics import ensemble
from sgdynamics.experiments import _config, _earlier, _pictures, _provenance, _store, _working
from sgdynamics.experiments._progress import Bars, Progress
from sgdynamics.experiments._registry import Experiment, Result, get
from sgdynamics.experiments._store import Record

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """An experiment, its whole configuration, the folder for its result, whether a figure is drawn, whether it is
    computed again where the folder holds the result of the same configuration, and whether it goes on from what a run
    that was stopped had come to."""

    experiment: Experiment
    config: Any
    folder: pathlib.Path
    figure: bool
    force: bool = False
    resume: bool = False


@dataclass(frozen=True)
class Outcome:
    """A result, the folder that it lies in, and when it was computed where it was found there and not made now."""

    result: Result
    folder: pathlib.Path
    found: str | None = None


def run(
    name: str,
    *,
    preset: str = "quick",
    overrides: Mapping[str, Any] | None = None,
    out: str | os.PathLike | None = None,
    progress: Progress | None = None,
    figure: bool = True,
    force: bool = False,
    resume: bool = False,
) -> Outcome:
    """Runs the experiment called `name` and stores its result, in `results/NAME/` unless told.

    `overrides` replaces fields of the preset, `{"steps": 1000, "langevin.substeps": 4}`; `progress` is bars
    on standard error unless told, `Silence()` for none; `figure=False` does without matplotlib. Where the folder holds
    the result of the same configuration, made by the same code, that is the outcome; `force` repeats it.
    A run that was stopped on the way leaves `results/NAME.run/`: `resume` goes on from there, `force` begins anew.
    """
    experiment = get(name)
    config = _config.updated(experiment.preset(preset), overrides or {})
    return execute(plan(experiment, config, out=out, figure=figure, force=force, resume=resume), progress)


def plan(
    experiment: Experiment,
    config: Any,
    *,
    out: str | os.PathLike | None = None,
    figure: bool = True,
    force: bool = False,
    resume: bool = False,
) -> Plan:
    """All that a run needs, checked: what can be refused is refused here, before anything is computed."""
    folder = _store.check_destination(out or pathlib.Path("results") / experiment.name)
    _check_values(experiment, _config.to_mapping(config))
    if figure:
        check_figure(experiment.figure)
    _working.check(folder, resume=resume, force=force)
    return Plan(experiment, config, folder, figure, force, resume)


def execute(plan: Plan, progress: Progress | None = None, tell: Callable[[str], object] | None = None) -> Outcome:
    """Computes, draws and stores; or gives what is stored, where it is the result of the same configuration and code.

    `tell` is told, before anything is computed, what will be replaced or why a result is computed again.
    """
    parameters = _config.to_mapping(plan.config)
    before = _earlier.look(plan.folder, plan.experiment, parameters, force=plan.force)
    missing = ensemble.any_process(before.record is None)
    if before.record is not None and not missing:
        _log.info("%s: found in %s", plan.experiment.name, plan.folder)
        return _found(plan, before.record)
    _log.info("%s: computed, for %s", plan.experiment.name, plan.folder)
    if before.why and tell is not None:
        tell(before.why)
    with _working.working(plan.folder, resume=plan.resume):
        return Outcome(_made(plan, parameters, progress or Bars()), plan.folder)


def _made(plan: Plan, parameters: Mapping[str, Any], progress: Progress) -> Result:
    """The result, computed and stored; of several processes the first alone stores it."""
    experiment = plan.experiment
    provenance = _provenance.provenance() | {"source_sha256": _earlier.source(experiment)}
    started = time.perf_counter()
    result = _computed(plan, progress)
    provenance |= {"seconds": round(time.perf_counter() - started, 3), "ensembles": result.ensembles}
    record = Record(
        experiment=experiment.name,
        figure=experiment.figure,
        parameters=parameters,
        provenance=provenance,
        data=result.data,
        claims=result.claims,
    )
    draw = functools.partial(_pictures.write, record) if plan.figure else None
    if jax.process_index() == 0:
        _store.save(plan.folder, record, draw)
        _log.info("%s: stored in %s after %.1f s", experiment.name, plan.folder, provenance["seconds"])
    return result


def _found(plan: Plan, record: Record) -> Outcome:
    """The outcome that `record`, stored in the plan's folder, is; its figure is drawn where that was not done."""
    if plan.figure and not (plan.folder / _store.FIGURE).is_file():
        _pictures.draw(record, plan.folder)
    result = Result(record.data, record.claims, record.provenance.get("ensembles", {}))
    return Outcome(result, plan.folder, found=record.provenance.get("started", "an unknown time"))


def _check_values(experiment: Experiment, parameters: Mapping[str, Any]) -> None:
    """An error for values that no experiment can use, which its configuration may not look for."""
    presets = [_earlier.flattened(_config.to_mapping(preset)) for preset in experiment.presets.values()]
    empty = {name for preset in presets for name, value in preset if value == []}
    for name, value in _earlier.flattened(parameters):
        if value == [] and name not in empty:
            raise ValueError(f"{name} is empty, but it must hold at least one value.")
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise ValueError(f"{name} = {number}, but it must be finite.")
            if isinstance(number, int) and not -(2**63) <= number < 2**63:
                raise ValueError(f"{name} = {number}, but it must be a whole number of 64 bits.")


def configuration(record: Record) -> Any:
    """The configuration that a stored result was run with, ready for `plan`."""
    return _config.from_mapping(get(record.experiment).config, record.parameters)


def check_figure(name: str) -> None:
    """An error where no figure is called `name`, or where matplotlib is not installed."""
    from sgdynamics import plotting  # without the extra `plot`, everything else works

    plotting.find(name)


def _computed(plan: Plan, progress: Progress) -> Result:
    try:
        return plan.experiment.run(plan.config, progress)
    finally:
        progress.close()
