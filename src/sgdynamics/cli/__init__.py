"""The command line: `sgdynamics demo`, `list`, `run NAME`, `reproduce`, `plot`, `report`, `bench`, `completion`.

The options of `run NAME` are the fields of that experiment's configuration; its preset gives the defaults.
`run 'gross2024/*'` runs all that match, and `run NAME NAME` those named, several at a time, and ends with exit code 1
where a verdict is not the expected one; `reproduce` is `run '*'`. Both end with a page of all results in the folder,
`report.html`. Where the result of the same configuration lies in the folder already, it is shown and not computed
again, unless `--force` says so. With `--json`, claims and verdicts come as one document (`_documents`), and all else
goes to standard error. A bad value ends with exit code 2 and a message that names it; a bug with its traceback and
exit code 1.
"""

import itertools
import os
import shlex
import sys
from collections.abc import Sequence

# LAPACK's threads and XLA's would wait for each other: ten times slower where cores are few
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import tyro

import sgdynamics
from sgdynamics.cli import _completion
from sgdynamics.cli._bench import bench as bench
from sgdynamics.cli._commands import COMMANDS, Bench, Command, Completion, List, Plot, Report
from sgdynamics.cli._help import HELP
from sgdynamics.cli._machine import cores as cores
from sgdynamics.cli._machine import one_device_for_each_core
from sgdynamics.cli._messages import refused, say
from sgdynamics.cli._run import run as run
from sgdynamics.cli._run_all import run_all as run_all
from sgdynamics.cli._stored import plot as plot
from sgdynamics.cli._stored import report as report
from sgdynamics.cli._stored import show as show
from sgdynamics.experiments._config import near


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    jax.config.update("jax_enable_x64", True)
    one_device_for_each_core()
    match arguments:
        case ["--version"]:
            say(f"sgdynamics {sgdynamics.__version__}")
            return 0
        case ["--help" | "-h", *_]:
            say(HELP.rstrip())
            sys.exit(0)  # as the help of every command ends
        case []:
            return refused(ValueError(f"no command. {_all_commands()}"))
        case ["demo", *options]:
            return run("demo", options, program="sgdynamics demo")
        case ["reproduce", *rest]:
            names, options = _names(rest)
            return run_all(names or ["*"], options, program=shlex.join(["sgdynamics", "reproduce", *names]))
        case ["run", first, *_] if not first.startswith("-"):
            names, options = _names(arguments[1:])
            program = shlex.join(["sgdynamics", "run", *names])
            if names == [first] and "*" not in first:
                return run(first, options, program=program)
            return run_all(names, options, program=program)
        case [word, *_] if word not in COMMANDS and not word.startswith("-"):
            none = f"command = {word}, but there is none of that name.{near(word, COMMANDS)}"
            return refused(ValueError(f"{none} {_all_commands()}"))
    return _done(tyro.cli(Command, args=arguments, prog="sgdynamics", description=HELP))


def _names(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names and patterns, which come first, and the options after them."""
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    return names, list(words[len(names) :])


def _done(command: object) -> int:
    """The exit code of a command whose options are of no experiment."""
    match command:
        case Bench():
            return bench(command)
        case Plot(folder, format):
            return plot(folder, format)
        case Report(folder, no_figure):
            return report(folder, drawn=not no_figure)
        case List(json):
            return show(json=json)
        case Completion(shell):
            say(_completion.script(shell).rstrip())
            return 0
    return refused(ValueError("give the name right after `run`, no `--`."))


def _all_commands() -> str:
    return f"The commands are {', '.join(COMMANDS)}; `sgdynamics --help` says what they do."
