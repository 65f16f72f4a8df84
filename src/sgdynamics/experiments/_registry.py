"""The experiments, by name: what each is called, where it comes from, how it is run and drawn."""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from typing import Any

import xarray as xr

from sgdynamics.experiments._claims import Claim, claims_table
from sgdynamics.experiments._config import near
from sgdynamics.experiments._progress import Progress


@dataclass(frozen=True)
class Result:
    """What an experiment hands back: its data, its claims, and the provenance of each ensemble it ran.

    - `data`: every variable and coordinate with `units` ("1" where it has none) and `long_name`.
    - `ensembles`: by the name of an ensemble, JSON values that say how it was computed: kernel, dtype,
      replicas, how many diverged.
    """

    data: xr.Dataset
    claims: Sequence[Claim]
    ensembles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def _default_table(result: Result) -> str:
    return claims_table(result.claims)


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    - `name`: what follows `sgdynamics run`, e.g. "gross2024/fig2a".
    - `summary`: one line for `sgdynamics list`; `source`: paper, section, figure.
    - `config`: a frozen dataclass of JSON values; it checks itself in `__post_init__`, so that a bad value is
      refused before anything runs.
    - `presets`: the configurations "quick" (a minute on two cores) and "paper" (the paper's parameters).
    - `run`: the physics, `(config, progress) -> Result`.
    - `figure`: its name in `sgdynamics.plotting.figures`.
    - `table`: what the command line prints; the claims, one a line, unless told.
    """

    name: str
    summary: str
    source: str
    config: type
    presets: Mapping[str, Any]
    run: Callable[[Any, Progress], Result]
    figure: str
    table: Callable[[Result], str] = _default_table

    def __post_init__(self):
        if not is_dataclass(self.config):
            raise ValueError(f"experiment {self.name}: config = {self.config}, but it must be a dataclass.")
        if "quick" not in self.presets:
            raise ValueError(f'experiment {self.name} has the presets {sorted(self.presets)}: add "quick".')

    def preset(self, name: str) -> Any:
        """The configuration called `name`."""
        if name not in self.presets:
            raise ValueError(f"preset = {name}, but {self.name} has only {', '.join(self.presets)}.")
        return self.presets[name]


_experiments: dict[str, Experiment] = {}


def register(experiment: Experiment) -> Experiment:
    """Makes an experiment known by its name; a name is given once."""
    if experiment.name in _experiments:
        raise ValueError(f"experiment {experiment.name} is registered already: choose another name.")
    _experiments[experiment.name] = experiment
    return experiment


def get(name: str) -> Experiment:
    """The experiment called `name`."""
    if name not in _experiments:
        raise ValueError(
            f"experiment = {name}, but there is none of that name.{near(name, _experiments)} "
            "`sgdynamics list` shows all."
        )
    return _experiments[name]


def names(pattern: str = "*") -> list[str]:
    """The names of all experiments that match `pattern`, as file names do ("gross2024/*"), sorted."""
    return sorted(fnmatch.filter(_experiments, pattern))
