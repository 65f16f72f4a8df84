"""`sgdynamics completion SHELL`: a script that completes commands, names of experiments, options and their values.

A script knows the words of every place on the command line: after nothing the commands, after `run` the experiments,
after `run NAME` that experiment's options, after an option that has few values these. It asks no Python when a key is
pressed, so it is of the version that printed it. Where it knows nothing, the shell completes names of files.
"""

import dataclasses
import shlex
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import tyro

import sgdynamics
from sgdynamics import experiments
from sgdynamics.cli._commands import COMMANDS, Run, RunAll

Table = Mapping[str, tuple[str, ...]]
"""The words at each place, e.g. "run demo" or "run demo --preset"; the first of several that hold "*" is the one."""


def script(shell: str) -> str:
    """The script for a shell: bash, zsh or tcsh."""
    return {"bash": _bash, "zsh": _zsh, "tcsh": _tcsh}[shell](table())


def table() -> Table:
    """The words at every place."""
    found: dict[str, tuple[str, ...]] = {"": (*COMMANDS, "--help", "--version"), "run": tuple(experiments.names())}
    for name in experiments.names():
        options = {"--help": ()} | _options(Run) | _options(experiments.get(name).config)
        found |= _places(f"run {name}", options) | (_places("demo", options) if name == "demo" else {})
    many = {"--help": ()} | _options(RunAll)
    found |= _places("reproduce", many) | _places("run *", many)
    for command in COMMANDS.keys() - {"demo", "run", "reproduce", "completion"}:
        found |= _places(command, {"--help": ()} | _options(COMMANDS[command]))
    return found | {"completion": ("bash", "zsh", "tcsh")}


def _options(kind: Any, within: str = "") -> dict[str, tuple[str, ...]]:
    """The options that tyro makes of a dataclass, each with the values that it may have where they are few."""
    found: dict[str, tuple[str, ...]] = {}
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        hint, *marks = typing.get_args(hint) if typing.get_origin(hint) is Annotated else [hint]
        word = name.replace("_", "-")
        if dataclasses.is_dataclass(hint):
            found |= _options(hint, f"{within}{word}.")
        elif tyro.conf.Positional not in marks and not _is_spelt_otherwise(hint):
            found[f"--{within}{word}"] = _values(hint)
            if hint is bool and tyro.conf.FlagCreatePairsOff not in marks:
                found[f"--{within}no-{word}"] = ()
    return found


def _is_spelt_otherwise(hint: Any) -> bool:
    """Whether tyro asks for a word of its own for this, a configuration that may be another one or none, or for one
    option an entry, of tuples in a tuple: these words are not offered."""
    parts = typing.get_args(hint)
    nested = typing.get_origin(hint) is tuple and typing.get_origin(parts[0]) is tuple
    return isinstance(hint, TypeVar) or nested or any(map(dataclasses.is_dataclass, parts))


def _values(hint: Any) -> tuple[str, ...]:
    if typing.get_origin(hint) is tuple:
        return _values(typing.get_args(hint)[0])
    return tuple(map(str, typing.get_args(hint))) if typing.get_origin(hint) is Literal else ()


def _places(place: str, options: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {place: tuple(options)} | {f"{place} {option}": values for option, values in options.items() if values}


# --- the shells -----------------------------------------------------------------------------------------------

# `case` is the same in bash and zsh; places with the same words share a line, and patterns come last
WORDS = """\
_sgdynamics_words() {{
  case "$1" in
{cases}
  esac
}}
"""

BASH = """\
# Completion of sgdynamics {version} for bash.
{words}
_sgdynamics() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} place= words=
  (( COMP_CWORD > 1 )) && place=${{COMP_WORDS[1]}}
  (( COMP_CWORD > 2 )) && [[ $place == run ]] && place="run ${{COMP_WORDS[2]//[\\'\\"\\\\]/}}"
  [[ $before == -* ]] && words=$(_sgdynamics_words "$place $before")
  [[ -z $words && ( $before != -* || $current == -* ) ]] && words=$(_sgdynamics_words "$place")
  local IFS=$' \\n'
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _sgdynamics sgdynamics
"""

ZSH = """\
#compdef sgdynamics
# Completion of sgdynamics {version} for zsh.
{words}
_sgdynamics() {{
  local current=$words[CURRENT] before=$words[CURRENT-1] place= found=
  (( CURRENT > 2 )) && place=$words[2]
  (( CURRENT > 3 )) && [[ $place == run ]] && place="run ${{(Q)words[3]}}"
  [[ $before == -* ]] && found=$(_sgdynamics_words "$place $before")
  [[ -z $found && ( $before != -* || $current == -* ) ]] && found=$(_sgdynamics_words "$place")
  [[ -n $found ]] && compadd -- ${{=found}} || _files
}}
if [[ $funcstack[1] == _sgdynamics ]]; then _sgdynamics "$@"; else compdef _sgdynamics sgdynamics; fi
"""


def _bash(table: Table) -> str:
    return BASH.format(version=sgdynamics.__version__, words=_words(table))


def _zsh(table: Table) -> str:
    return ZSH.format(version=sgdynamics.__version__, words=_words(table))


def _words(table: Table) -> str:
    """A function of the shell that prints the words of a place."""
    places: dict[tuple[str, ...], list[str]] = {}
    for place, words in table.items():
        places.setdefault(words, []).append(place)
    # a place of one experiment comes before "run *", which holds for names that are patterns
    ordered = sorted(places.items(), key=lambda entry: any("*" in place for place in entry[1]))
    cases = [
        f"    {'|'.join(map(_pattern, sorted(found)))}) echo {shlex.quote(' '.join(words))} ;;"
        for words, found in ordered
    ]
    return WORDS.format(cases="\n".join(cases))


def _pattern(place: str) -> str:
    """A place as a pattern of `case`: only a star is not taken literally, and it stands for names with a star."""
    first, star, rest = place.partition("*")
    return f"{shlex.quote(first)}*\\**{shlex.quote(rest) if rest else ''}" if star else shlex.quote(place)


def _tcsh(table: Table) -> str:
    """One `complete`, which knows of a place only the word before: commands, experiments, the options of all."""
    general = _unique(option for place in ("run *", "plot", "bench") for option in table[place])
    values = [(place.rpartition(" ")[2], words) for place, words in table.items() if " --" in place]
    after = [("run", table["run"]), ("completion", table["completion"])]
    after += [(option, words) for option, words in dict(values).items() if option in general]
    # between at signs, because names have strokes
    rules = [f"p@1@({' '.join(table[''])})@", *(f"n@{word}@({' '.join(words)})@" for word, words in after)]
    rules += ["n@--out@d@", "n@plot@d@", "n@report@d@", f"c@--@({' '.join(option[2:] for option in general)})@"]
    listed = " ".join(map(shlex.quote, rules))
    return f"# Completion of sgdynamics {sgdynamics.__version__} for tcsh.\ncomplete sgdynamics {listed}\n"


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
