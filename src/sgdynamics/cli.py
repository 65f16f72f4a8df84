"""The command line: `sgdynamics demo`, `list`, `run NAME`, `reproduce`, `plot DIR`, `report DIR`, `bench`.

The options of `run NAME` are the fields of that experiment's configuration; its preset gives the defaults.
`run 'gross2024/*'` runs all that match, several at a time, and ends with exit code 1 where a verdict is not the
expected one; `reproduce` is `run '*'`. Both end with a page of all results in the folder, `report.html`. Where the
result of the same configuration lies in the folder already, it is shown and not computed again, unless `--force` says
so. A bad value ends with exit code 2 and a message that names it; a bug with its traceback and exit code 1.
"""

import itertools
import os
import pathlib
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any, Generic, Literal, TypeVar

# LAPACK's threads and XLA's would wait for each other: ten times slower where cores are few
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import tyro

from sgdynamics import experiments
from sgdynamics.ensemble import Interrupted, Refused

_SUMMARY = "Stochastic gradient descent as a stochastic process: simulated, modelled, predicted, compared."

Config = TypeVar("Config")


def cores() -> int:
    """The cores that this process may use, as far as its affinity says: a container's quota is not looked at."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class List:
    """Lists the experiments."""


@dataclass(frozen=True)
class Plot:
    """Draws the figure of a stored result anew."""

    folder: Annotated[pathlib.Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Where the result lies, e.g. results/demo."""
    format: Literal["png", "svg", "pdf"] = "png"
    """figure.png, or a picture of vectors: figure.svg, figure.pdf."""


@dataclass(frozen=True)
class Report:
    """Makes one page of all stored results in a folder: pictures, claims, verdicts, corrected formulas."""

    folder: Annotated[pathlib.Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")] = pathlib.Path("results")
    """Where the results lie; report.html is written there."""
    no_figure: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Shows the pictures that lie there, and draws none: does without matplotlib."""


@dataclass(frozen=True)
class Run(Generic[Config]):
    """Runs an experiment, prints its claims and stores its result."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    preset: Literal["quick", "paper"] = "quick"
    """Reduced parameters, or the paper's."""
    out: Annotated[pathlib.Path, tyro.conf.arg(metavar="DIR")] = pathlib.Path("results")
    """The folder for the result."""
    force: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Computes again what the folder holds already, and begins a stopped run anew."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Goes on from what a run that was stopped had come to."""
    distributed: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Shares out replicas between all processes that run this same command: on SLURM, Open MPI, Kubernetes and TPUs
    they find each other; elsewhere by JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID. The first writes."""
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """No progress bars."""
    no_figure: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """No figure.png: does without matplotlib."""


@dataclass(frozen=True)
class RunAll:
    """Runs every experiment that matches, prints the claims and stores the results."""

    preset: Literal["quick", "paper"] = "quick"
    """Reduced parameters, or the papers'."""
    out: Annotated[pathlib.Path, tyro.conf.arg(metavar="DIR")] = pathlib.Path("results")
    """The folder for the results, each in one of its own."""
    force: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Computes again what the folder holds already, and begins stopped runs anew."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Goes on from what runs that were stopped had come to."""
    jobs: int | None = None
    """Experiments at a time, each in a process of its own; unless told, as many as cores, and on a GPU or TPU one. With
    1 they run one after another, on all cores, with progress bars."""
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """No progress bars."""
    no_figure: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """No figure.png: does without matplotlib."""


@dataclass(frozen=True)
class Reproduce:
    """Runs every experiment, prints the claims and stores the results."""


@dataclass(frozen=True)
class Named:
    """Runs the experiment NAME: `sgdynamics run NAME --help` shows its options."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """One of those that `sgdynamics list` shows, or a pattern like 'gross2024/*'."""


@dataclass(frozen=True)
class Demo:
    """Runs the demonstration: SGD, its stochastic differential equation and exact theory on real data."""


@dataclass(frozen=True)
class Bench:
    """Measures speed against peers and the machine's limit; writes tables, JSON and pictures."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = ()
    """Benchmarks to run; none: all."""
    out: Annotated[pathlib.Path | None, tyro.conf.arg(metavar="DIR")] = None
    """The folder for the results; none: results/bench, and results/bench-quick for tiny sizes."""
    rounds: int | None = None
    """Rounds of every timing, in which all contenders take turns."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Tiny sizes: whether everything runs, not how fast."""


Command = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Named, tyro.conf.subcommand("run")]
    | Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
    | Annotated[Plot, tyro.conf.subcommand("plot")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
    | Annotated[Report, tyro.conf.subcommand("report")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    jax.config.update("jax_enable_x64", True)
    _one_device_for_each_core()
    match arguments:
        case ["--version"]:
            print(f"sgdynamics {version('sgdynamics')}")
            return 0
        case ["demo", *options]:
            return run("demo", options, program="sgdynamics demo")
        case ["run", pattern, *options] if "*" in pattern:
            return run_all(pattern, options, program=f"sgdynamics run '{pattern}'")
        case ["reproduce", *options]:
            return run_all("*", options, program="sgdynamics reproduce")
        case ["run", name, *options] if not name.startswith("-"):
            return run(name, options, program=f"sgdynamics run {name}")
    command = tyro.cli(Command, args=arguments, prog="sgdynamics", description=_SUMMARY)  # type: ignore
    if isinstance(command, Bench):
        return bench(command)
    if isinstance(command, Plot):
        return plot(command.folder, command.format)
    if isinstance(command, Report):
        return report(command.folder, drawn=not command.no_figure)
    return show() if isinstance(command, List) else _refused(ValueError("give the name right after `run`, no `--`."))


def run(name: str, options: Sequence[str], *, program: str) -> int:
    """Runs the experiment called `name` as `options` say, and prints what came out."""
    try:
        experiment = experiments.get(name)
        settings = _settings(experiment, options, program)
        if settings.distributed:
            _meet_the_others()
        plan = experiments.plan(experiment, settings.config, out=settings.out, **_how(settings))
    except (ValueError, OSError, ImportError) as error:
        return _refused(error)
    try:
        _executed(plan, settings.quiet)
    except Refused as error:
        return _refused(error)
    except Interrupted as stop:
        return _stopped(stop)
    return 0


def _how(settings: Any) -> dict[str, bool]:
    return {"figure": not settings.no_figure, "force": settings.force, "resume": settings.resume}


def _stopped(stop: Interrupted) -> int:
    """The exit code of a process that a signal has ended."""
    print(f"sgdynamics: {stop}; the same command with --resume goes on.", file=sys.stderr)
    return 128 + (stop.signal or signal.SIGTERM)


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


def run_all(pattern: str, options: Sequence[str], *, program: str) -> int:
    """Runs the experiments whose names match `pattern`, with an account at the end; 1 where a verdict surprises."""
    settings = tyro.cli(RunAll, args=options, prog=program, description=RunAll.__doc__)
    try:
        plans = [_planned(name, settings) for name in _matching(pattern)]
        jobs = min(_jobs(settings.jobs), len(plans))
    except (ValueError, OSError, ImportError) as error:
        return _refused(error)
    started, rows = time.perf_counter(), []
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like ctrl-C: with what there is, and resumable
    try:
        for row in experiments.reproduce(plans, jobs=jobs, quiet=settings.quiet):
            rows.append(row)
            how = f"{row.seconds:.0f} s" if row.found is None else f"found, computed at {row.found}"
            print(f"── {row.name} ({len(rows)} of {len(plans)}, {how})\n{row.text}\n", flush=True)
    except KeyboardInterrupt:
        print("sgdynamics: stopped; the same command with --resume goes on.", file=sys.stderr)
        return 128 + signal.SIGINT
    finally:
        if rows:
            account = experiments.write_account(rows, settings.out, seconds=time.perf_counter() - started)
            print(f"{experiments.account(rows)}\nwritten to {_shown(account.resolve())}", flush=True)
    if any(row.error is None for row in rows):
        report(settings.out, drawn=not settings.no_figure)
    return 0 if all(row.as_expected for row in rows) else 1


def _jobs(asked: int | None) -> int:
    if asked is None:
        # processes would share one GPU's memory
        return cores() if jax.default_backend() == "cpu" else 1
    if asked < 1:
        raise ValueError(f"jobs = {asked}, but it must be at least 1.")
    return asked


def _matching(pattern: str) -> list[str]:
    names = experiments.names(pattern)
    if not names:
        raise ValueError(f"no experiment matches {pattern!r}. `sgdynamics list` shows all.")
    return names


def _planned(name: str, settings: RunAll) -> experiments.Plan:
    experiment = experiments.get(name)
    config = experiment.preset(settings.preset)
    return experiments.plan(experiment, config, out=settings.out / name, **_how(settings))


def _executed(plan: experiments.Plan, quiet: bool) -> experiments.Outcome:
    """Runs a plan and prints its table, how many claims came out as expected, and where the result is."""
    first = jax.process_index() == 0
    progress = experiments.Bars() if first and not quiet else experiments.Silence()
    outcome = experiments.execute(plan, progress, _tell if first else None)
    if not first:
        return outcome
    print(plan.experiment.table(outcome.result))
    print("\n" + experiments.summary(outcome.result.claims))
    print(_where(outcome))
    return outcome


def _tell(words: str) -> None:
    print(words, flush=True)  # a run takes a while


def _where(outcome: experiments.Outcome) -> str:
    folder = _shown(outcome.folder)
    if outcome.found is None:
        return f"written to {folder}"
    return f"found in {folder} (computed at {outcome.found}); --force repeats"


def show() -> int:
    """Prints every experiment with its source."""
    rows = [(name, experiments.get(name).source, experiments.get(name).summary) for name in experiments.names()]
    print(experiments.table(("experiment", "source", "what it shows"), rows, align="lll"))
    return 0


def plot(folder: pathlib.Path, format: Literal["png", "svg", "pdf"] = "png") -> int:
    """Draws the figure of the result in `folder` anew."""
    try:
        record = experiments.load(folder)
        experiments.check_figure(record.figure)
    except (ValueError, OSError, ImportError) as error:
        return _refused(error)
    print(f"written to {_shown(experiments.draw(record, folder, format=format).resolve())}")
    return 0


def report(folder: pathlib.Path, *, drawn: bool = True) -> int:
    """Writes the page of all results in `folder`."""
    try:
        path = experiments.write_report(folder, drawn=drawn)
    except (ValueError, OSError) as error:
        return _refused(error)
    print(f"written to {_shown(path.resolve())}")
    return 0


def bench(settings: Bench) -> int:
    """Runs benchmarks, prints their tables and stores what they measured; 1 where one of them fails."""
    from sgdynamics_benchmarks import runner

    out = settings.out or pathlib.Path("results/bench-quick" if settings.quick else "results/bench")
    try:
        plan = runner.plan(settings.names, out=out, rounds=settings.rounds, quick=settings.quick)
    except (ValueError, OSError) as error:
        return _refused(error)
    return 0 if runner.run(plan) else 1


def _settings(experiment: experiments.Experiment, options: Sequence[str], program: str) -> Run:
    """The options of `run`, with the chosen preset's values where an option is not given."""
    preset = experiment.preset(_preset(options))
    default = Run(config=preset, out=pathlib.Path("results") / experiment.name)
    kind: Any = Run[experiment.config]  # type: ignore[name-defined]
    return tyro.cli(kind, args=options, prog=program, default=default, description=experiment.summary)


def _preset(options: Sequence[str]) -> str:
    """The value of `--preset`, which must be known before the other options have their defaults."""
    words = [word for option in options for word in option.split("=", 1)]
    after = dict(itertools.pairwise(words))
    return after.get("--preset", "quick")


def _one_device_for_each_core() -> None:
    """Replicas are spread over devices: on CPUs every core becomes one, unless the user has said how many."""
    told = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if told or "JAX_NUM_CPU_DEVICES" in os.environ or jax.config.jax_num_cpu_devices > 0:
        return
    try:
        jax.config.update("jax_num_cpu_devices", cores())
    except RuntimeError:
        pass  # JAX runs already: whoever started it has chosen


def _shown(path: pathlib.Path) -> str:
    """A path as a reader of the terminal would write it."""
    return os.path.relpath(path) if path.is_relative_to(pathlib.Path.cwd()) else str(path)


def _refused(error: Exception) -> int:
    print(f"sgdynamics: {error}", file=sys.stderr)
    return 2
