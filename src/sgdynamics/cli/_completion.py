"""`sgdynamics completion SHELL`: a script that completes commands, names of experiments, options and their values.

A script knows the words of every place on the command line: after nothing the commands, after `run` the experiments,
after `run NAME` that experiment's options, after an option that has few values these. It asks no Python when a key is
pressed, so it is of the version that printed it. Where it knows nothing, the shell completes names of files.
"""

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import tyro

from sgdynamics import experiments
from sgdynamics.cli._commands import COMMANDS, RunAll
from sgdynamics.cli._run import defaults, options_of

Table = Mapping[str, tuple[str, ...]]
"""The words at each place, e.g. "run demo" or "run demo --preset"; the first of several that hold "*" is the one."""


def script(shell: str) -> str:
    """The script for a shell: bash, zsh or tcsh."""
    return {"bash": _bash, "zsh": _zsh, "tcsh": _tcsh}[shell](table())


def table() -> Table:
    """The words at every place."""
    found: dict[str, tuple[str, ...]] = {"": (*COMMANDS, "--help", "--version"), "run": tuple(experiments.names())}
    for name in experiments.names():
        experiment = experiments.get(name)
        options = _options(options_of(experiment), default=defaults(experiment, "quick"))
        found |= _places(f"run {name}", options) | (_places("demo", options) if name == "demo" else {})
    many = _options(RunAll)
    found |= _places("reproduce", many) | _places("run *", many)
    for command in COMMANDS.keys() - {"demo", "run", "reproduce", "completion"}:
        found |= _places(command, _options(COMMANDS[command]))
    return found | {"completion": ("bash", "zsh", "tcsh")}


def _options(kind: Any, **default: Any) -> dict[str, tuple[str, ...]]:
    """The options of a type, each with the values that it may have where they are few."""
    actions = tyro.extras.get_parser(kind, **default)._actions
    return {option: _values(action) for action in actions for option in action.option_strings if option[:2] == "--"}


def _values(action: Any) -> tuple[str, ...]:
    listed = str(action.metavar)
    return tuple(listed[1:-1].split(",")) if listed.startswith("{") and listed.endswith("}") else ()


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
    return BASH.format(version=_version(), words=_words(table))


def _zsh(table: Table) -> str:
    return ZSH.format(version=_version(), words=_words(table))


def _version() -> str:
    import sgdynamics

    return sgdynamics.__version__


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
    return (
        f"# Completion of sgdynamics {_version()} for tcsh.\ncomplete sgdynamics {' '.join(map(shlex.quote, rules))}\n"
    )


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
