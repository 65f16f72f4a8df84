"""Experiments: the papers' figures and claims, measured, judged and stored.

`run(name)` configures an experiment by a preset, computes, draws, and writes `results/NAME/`; `load(folder)`
reads such a result back. A new experiment is a module here that ends in `register(Experiment(...))` and is
imported below.
"""

from ._claims import Claim as Claim
from ._claims import claims_table as claims_table
from ._claims import table as table
from ._claims import value_with_error as value_with_error
from ._progress import Bars as Bars
from ._progress import Progress as Progress
from ._progress import Silence as Silence
from ._registry import Experiment as Experiment
from ._registry import Result as Result
from ._registry import get as get
from ._registry import names as names
from ._registry import register as register
from ._run import Outcome as Outcome
from ._run import Plan as Plan
from ._run import check_figure as check_figure
from ._run import configuration as configuration
from ._run import draw as draw
from ._run import execute as execute
from ._run import plan as plan
from ._run import redraw as redraw
from ._run import run as run
from ._store import Record as Record
from ._store import load as load
from ._store import save as save
