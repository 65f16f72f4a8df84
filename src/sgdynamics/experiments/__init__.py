"""Experiments: the papers' figures and claims, measured, judged and stored.

`run(name)` configures an experiment by a preset, computes, draws, and writes `results/NAME/`; `load(folder)`
reads such a result back. A new experiment is a module here that ends in `register(Experiment(...))` and is
imported below, or in the package of its paper.
"""

from sgdynamics.experiments import beyond as beyond
from sgdynamics.experiments import corlouer2026 as corlouer2026
from sgdynamics.experiments import gross2024 as gross2024
from sgdynamics.experiments import kuehn2025 as kuehn2025
from sgdynamics.experiments import kunin2023 as kunin2023
from sgdynamics.experiments._claims import Claim as Claim
from sgdynamics.experiments._claims import claims_table as claims_table
from sgdynamics.experiments._claims import summary as summary
from sgdynamics.experiments._claims import table as table
from sgdynamics.experiments._demo import DEMO as DEMO
from sgdynamics.experiments._pictures import draw as draw
from sgdynamics.experiments._pictures import redraw as redraw
from sgdynamics.experiments._progress import Bars as Bars
from sgdynamics.experiments._progress import Progress as Progress
from sgdynamics.experiments._progress import Silence as Silence
from sgdynamics.experiments._registry import Experiment as Experiment
from sgdynamics.experiments._registry import Result as Result
from sgdynamics.experiments._registry import get as get
from sgdynamics.experiments._registry import names as names
from sgdynamics.experiments._registry import register as register
from sgdynamics.experiments._report import write_report as write_report
from sgdynamics.experiments._reproduce import Reproduced as Reproduced
from sgdynamics.experiments._reproduce import account as account
from sgdynamics.experiments._reproduce import reproduce as reproduce
from sgdynamics.experiments._reproduce import write_account as write_account
from sgdynamics.experiments._run import Outcome as Outcome
from sgdynamics.experiments._run import Plan as Plan
from sgdynamics.experiments._run import check_figure as check_figure
from sgdynamics.experiments._run import configuration as configuration
from sgdynamics.experiments._run import execute as execute
from sgdynamics.experiments._run import plan as plan
from sgdynamics.experiments._run import run as run
from sgdynamics.experiments._store import Record as Record
from sgdynamics.experiments._store import load as load
from sgdynamics.experiments._store import save as save
