"""The commands and their options, as tyro reads them: each docstring is what `--help` shows."""

import pathlib
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar, Union

import tyro

Config = TypeVar("Config")

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Verbose = Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(aliases=("-v",))]


@dataclass(frozen=True)
class List:
    """Lists the experiments."""

    json: Flag = False
    """One JSON document: name, source, summary and presets of each."""


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
    no_figure: Flag = False
    """Shows the pictures that lie there, and draws none: does without matplotlib."""


@dataclass(frozen=True)
class Run(Generic[Config]):
    """Runs an experiment, prints its claims and stores its result."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    preset: Literal["quick", "paper"] = "quick"
    """Reduced parameters, or the paper's."""
    out: Annotated[pathlib.Path, tyro.conf.arg(metavar="DIR")] = pathlib.Path("results")
    """The folder for the result."""
    force: Flag = False
    """Computes again what the folder holds already, and begins a stopped run anew."""
    resume: Flag = False
    """Goes on from what a run that was stopped had come to."""
    distributed: Flag = False
    """Shares out replicas between all processes that run this same command: on SLURM, Open MPI, Kubernetes and TPUs
    they find each other; elsewhere by JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID. The first writes."""
    json: Flag = False
    """Prints the claims and verdicts as one JSON document; all else goes to standard error."""
    quiet: Flag = False
    """No progress bars."""
    verbose: Verbose = False
    """Tells on standard error what is done: kernels chosen, checkpoints written, what was found."""
    no_figure: Flag = False
    """No figure.png: does without matplotlib."""


@dataclass(frozen=True)
class RunAll:
    """Runs every experiment that is named or matches, prints the claims and stores the results."""

    preset: Literal["quick", "paper"] = "quick"
    """Reduced parameters, or the papers'."""
    out: Annotated[pathlib.Path, tyro.conf.arg(metavar="DIR")] = pathlib.Path("results")
    """The folder for the results, each in one of its own."""
    force: Flag = False
    """Computes again what the folder holds already, and begins stopped runs anew."""
    resume: Flag = False
    """Goes on from what runs that were stopped had come to."""
    jobs: int | None = None
    """Experiments at a time, each in a process of its own; unless told, as many as cores, and on a GPU or TPU one. With
    1 they run one after another, on all cores, with progress bars."""
    json: Flag = False
    """Prints the claims and verdicts as one JSON document, at the end; all else goes to standard error."""
    quiet: Flag = False
    """No progress bars."""
    verbose: Verbose = False
    """Tells on standard error what is done, with one job at a time."""
    no_figure: Flag = False
    """No figure.png: does without matplotlib."""


@dataclass(frozen=True)
class Reproduce:
    """Runs every experiment, or those that are named, prints the claims and stores the results."""


@dataclass(frozen=True)
class Named:
    """Runs the experiment NAME, or all that are named: `sgdynamics run NAME --help` shows its options."""

    names: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME...")]
    """Some of those that `sgdynamics list` shows, or patterns like 'gross2024/*'."""


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
    quick: Flag = False
    """Tiny sizes: whether everything runs, not how fast."""


@dataclass(frozen=True)
class Completion:
    """Prints a script that completes commands, names of experiments and options in a shell."""

    shell: Annotated[Literal["bash", "zsh", "tcsh"], tyro.conf.Positional, tyro.conf.arg(metavar="SHELL")]
    """bash, zsh or tcsh: `sgdynamics --help` says where each wants it."""


COMMANDS: dict[str, Any] = {
    "demo": Demo,
    "list": List,
    "run": Named,
    "reproduce": Reproduce,
    "plot": Plot,
    "bench": Bench,
    "report": Report,
    "completion": Completion,
}
Command: Any = Union[tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in COMMANDS.items())]  # noqa: UP007
