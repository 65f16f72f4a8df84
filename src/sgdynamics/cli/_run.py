"""`sgdynamics run NAME`: one experiment."""

import itertools
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax
import tyro

from sgdynamics import experiments
from sgdynamics.cli import _documents
from sgdynamics.cli._commands import Run
from sgdynamics.cli._messages import listening, refused, say, shown, stopped
from sgdynamics.ensemble import Interrupted, Refused


def run(name: str, options: Sequence[str], *, program: str) -> int:
    """Runs the experiment called `name` as `options` say, and prints what came out."""
    try:
        experiment = experiments.get(name)
        settings = _settings(experiment, options, program)
        if settings.distributed:
            _meet_the_others()
        plan = experiments.plan(experiment, settings.config, out=settings.out, **how(settings))
    except (ValueError, OSError, ImportError) as error:
        return refused(error)
    try:
        with listening(settings.verbose):
            _executed(plan, settings)
    except Refused as error:
        return refused(error)
    except Interrupted as stop:
        return stopped(stop)
    return 0


def how(settings: Any) -> dict[str, bool]:
    """What the options say about how a plan is made."""
    return {"figure": not settings.no_figure, "force": settings.force, "resume": settings.resume}


def _meet_the_others() -> None:
    """Finds the other processes of this run, before JAX starts."""
    told = [os.environ.get(f"JAX_{name}") for name in ("COORDINATOR_ADDRESS", "NUM_PROCESSES", "PROCESS_ID")]
    address, *numbers = told
    try:
        jax.distributed.initialize(address, *(None if n is None else int(n) for n in numbers))
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"--distributed: the processes do not find each other ({error}). On SLURM, Open MPI, Kubernetes and TPUs "
            "they do by themselves; elsewhere set JAX_COORDINATOR_ADDRESS=HOST:PORT, JAX_NUM_PROCESSES, JAX_PROCESS_ID."
        ) from error


def _executed(plan: experiments.Plan, settings: Run) -> None:
    """Runs a plan; the first process says first where the result was found and not computed, and prints its table, how
    many claims came out as expected, and where the result is, or all of it as JSON."""
    first, started = jax.process_index() == 0, time.perf_counter()
    progress = experiments.Bars() if first and not settings.quiet else experiments.Silence()
    tell = lambda words: say(words, aside=settings.json)
    outcome = experiments.execute(plan, progress, tell if first else None)
    if not first:
        return
    if outcome.found is not None:
        tell(f"found, computed at {outcome.found}: shown as it is stored; --force repeats\n")
    if settings.json:
        seconds = time.perf_counter() - started
        facts = {"seconds": seconds, "found": outcome.found}
        say(_documents.account([_documents.judged(plan.experiment.name, plan.folder, outcome.result.claims, **facts)]))
    else:
        say(plan.experiment.table(outcome.result))
        say("\n" + experiments.summary(outcome.result.claims))
    tell(_where(outcome))


def _where(outcome: experiments.Outcome) -> str:
    return f"{'written to' if outcome.found is None else 'found in'} {shown(outcome.folder)}"


def _settings(experiment: experiments.Experiment, options: Sequence[str], program: str) -> Run:
    """The options of `run`, with the chosen preset's values where an option is not given."""
    description = (
        f"{experiment.summary[:1].upper()}{experiment.summary[1:]}.\n\nSource: {experiment.source}. Each option below "
        "replaces a value of the preset. The result, its claims and its figure go to DIR; `sgdynamics --help` says "
        "what lies there."
    )
    default = Run(config=experiment.preset(_preset(options)), out=pathlib.Path("results") / experiment.name)
    kind: Any = Run[experiment.config]  # type: ignore[name-defined]
    return tyro.cli(kind, args=options, prog=program, default=default, description=description)


def _preset(options: Sequence[str]) -> str:
    """The value of `--preset`, which must be known before the other options have their defaults."""
    words = [word for option in options for word in option.split("=", 1)]
    after = dict(itertools.pairwise(words))
    return after.get("--preset", "quick")
