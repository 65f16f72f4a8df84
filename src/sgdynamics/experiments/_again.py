"""How a stored result is computed again: the command line of its parameters, or a few lines of Python."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from sgdynamics.experiments import _config, _earlier
from sgdynamics.experiments._registry import Experiment, get

Changes = Mapping[str, Any]

PYTHON = """import jax
jax.config.update("jax_enable_x64", True)
from sgdynamics import experiments
experiments.run({name!r}, preset={preset!r}, overrides={overrides!r}{out})"""


def again(name: str, parameters: Mapping[str, Any], *, out: str | None = None) -> str:
    """The command that runs the experiment called `name` with these parameters (as JSON values): the nearest preset,
    what differs from it, and the folder for the result unless `out` is None, for the usual one. Python where an option
    cannot say it, as that a nested configuration is none.

    **Raises** `ValueError` where this version has no such experiment, or the experiment no such parameters.
    """
    experiment = get(name)
    _config.from_mapping(experiment.config, parameters)
    preset, changes = _nearest(experiment, parameters)
    words = [_option(field, value) for field, value in changes.items()]
    if None in words or not set(changes) <= set(_flat(experiment, preset)):
        fields = dict.fromkeys(field.partition(".")[0] for field in changes)
        overrides = {field: parameters[field] for field in fields}
        return PYTHON.format(name=name, preset=preset, overrides=overrides, out="" if out is None else f", out={out!r}")
    chosen = [] if preset == "quick" else ["--preset", preset]
    folder = [] if out is None else [f"--out={_word(out)}"]
    return " ".join(["sgdynamics", "run", shlex.quote(name), *chosen, *(word for word in words if word), *folder])


def _nearest(experiment: Experiment, parameters: Mapping[str, Any]) -> tuple[str, Changes]:
    """The preset that the fewest parameters differ from, and these; what the preset alone has counts as None."""
    wanted = dict(_earlier.flattened(json.loads(json.dumps(parameters))))
    differing = {}
    for preset in experiment.presets:
        there = _flat(experiment, preset)
        names = {**wanted, **there}
        differing[preset] = {
            name: wanted.get(name)
            for name in names
            if name not in wanted or name not in there or wanted[name] != there[name]
        }
    preset = min(differing, key=lambda preset: len(differing[preset]))
    return preset, differing[preset]


def _flat(experiment: Experiment, preset: str) -> dict[str, Any]:
    values = json.loads(json.dumps(_config.to_mapping(experiment.preset(preset))))
    return dict(_earlier.flattened(values))


def _option(field: str, value: Any) -> str | None:
    """The option that gives a field its value; None where there is none that does."""
    *within, last = field.replace("_", "-").split(".")
    if isinstance(value, bool):
        return "--" + ".".join([*within, last if value else f"no-{last}"])
    name = "--" + ".".join([*within, last])
    if isinstance(value, list):
        return f"{name} {' '.join(map(_word, value))}" if value and all(map(_is_plain, value)) else None
    # with the sign of equality a negative number is no option
    return f"{name}={_word(value)}" if _is_plain(value) else None


def _word(value: Any) -> str:
    return shlex.quote(str(value))


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def shown(parameters: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """Every parameter with its value as a table shows it, with dots into nested configurations."""
    return [(name, _value(value)) for name, value in _earlier.flattened(parameters)]


def _value(value: Any) -> str:
    return ", ".join(map(_value, value)) or "none" if isinstance(value, list) else str(value)
