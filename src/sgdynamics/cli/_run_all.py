"""`sgdynamics run NAMES` and `reproduce`: many experiments, with an account and a page at the end."""

import itertools
import signal
import time
from collections.abc import Sequence

import jax
import tyro

from sgdynamics import experiments
from sgdynamics.cli import _documents
from sgdynamics.cli._commands import RunAll
from sgdynamics.cli._machine import cores
from sgdynamics.cli._messages import listening, refused, say, shown
from sgdynamics.cli._run import how
from sgdynamics.cli._stored import report


def run_all(patterns: Sequence[str], options: Sequence[str], *, program: str) -> int:
    """Runs the experiments that match any of `patterns`, with an account at the end; 1 where a verdict surprises."""
    settings = tyro.cli(RunAll, args=options, prog=program, description=RunAll.__doc__)
    try:
        plans = [_planned(name, settings) for name in _matching(patterns)]
        jobs = min(_jobs(settings.jobs), len(plans))
    except (ValueError, OSError, ImportError) as error:
        return refused(error)
    rows: list[experiments.Reproduced] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like ctrl-C: with what there is, and resumable
    try:
        with listening(settings.verbose):
            _reproduced(plans, jobs, settings, rows)
    except KeyboardInterrupt:
        say("sgdynamics: stopped; the same command with --resume goes on.", aside=True)
        return 128 + signal.SIGINT
    finally:
        if settings.json:
            say(_documents.account(_entries(rows, plans), complete=len(rows) == len(plans)))
    if any(row.error is None for row in rows):
        report(settings.out, drawn=not settings.no_figure, aside=settings.json)
    return 0 if all(row.as_expected for row in rows) else 1


def _reproduced(
    plans: Sequence[experiments.Plan], jobs: int, settings: RunAll, rows: list[experiments.Reproduced]
) -> None:
    """Adds to `rows` what becomes of the plans, one after another, and tells it; at the end, however it comes, the
    account."""
    started = time.perf_counter()
    tell = lambda words: say(words, aside=settings.json)
    try:
        for row in experiments.reproduce(plans, jobs=jobs, quiet=settings.quiet):
            rows.append(row)
            how_long = f"{row.seconds:.0f} s" if row.found is None else f"found, computed at {row.found}"
            tell(f"── {row.name} ({len(rows)} of {len(plans)}, {how_long})\n{row.text}\n")
    finally:
        if rows:
            account = experiments.write_account(rows, settings.out, seconds=time.perf_counter() - started)
            tell(f"{experiments.account(rows)}\nwritten to {shown(account.resolve())}")


def _entries(rows: Sequence[experiments.Reproduced], plans: Sequence[experiments.Plan]) -> list[dict]:
    """What became of each, with the claims as they are stored: other processes may have made them."""
    folders = {plan.experiment.name: plan.folder for plan in plans}
    stored = lambda row: experiments.load(folders[row.name]).claims if row.error is None else ()
    facts = lambda row: {"seconds": row.seconds, "found": row.found, "error": row.error}
    return [_documents.judged(row.name, folders[row.name], stored(row), **facts(row)) for row in rows]


def _jobs(asked: int | None) -> int:
    if asked is None:
        # processes would share one GPU's memory
        return cores() if jax.default_backend() == "cpu" else 1
    if asked < 1:
        raise ValueError(f"jobs = {asked}, but it must be at least 1.")
    return asked


def _matching(patterns: Sequence[str]) -> list[str]:
    """The names that match, each once."""
    found = [experiments.names(pattern) if "*" in pattern else [pattern] for pattern in patterns]
    for pattern, names in zip(patterns, found, strict=True):
        if not names:
            raise ValueError(f"no experiment matches {pattern!r}. `sgdynamics list` shows all.")
    return list(dict.fromkeys(itertools.chain(*found)))


def _planned(name: str, settings: RunAll) -> experiments.Plan:
    experiment = experiments.get(name)
    config = experiment.preset(settings.preset)
    return experiments.plan(experiment, config, out=settings.out / name, **how(settings))
