"""Corlouer, Semler, Strang and Gietelink Oldenziel, SGD in the saddle-to-saddle regime (2026): one module a figure."""

from sgdynamics.experiments.corlouer2026._drift import DRIFT as DRIFT
from sgdynamics.experiments.corlouer2026._fig1 import FIG1 as FIG1
from sgdynamics.experiments.corlouer2026._fig2 import FIG2 as FIG2
from sgdynamics.experiments.corlouer2026._fig3 import FIG3 as FIG3
from sgdynamics.experiments.corlouer2026._fig4 import FIG4 as FIG4
from sgdynamics.experiments.corlouer2026._fig5 import FIG5 as FIG5
from sgdynamics.experiments.corlouer2026._fig6 import FIG6 as FIG6
from sgdynamics.experiments.corlouer2026._fig7 import FIG7 as FIG7
from sgdynamics.experiments.corlouer2026._fig8 import FIG8 as FIG8
from sgdynamics.experiments.corlouer2026._fig9 import FIG9 as FIG9
from sgdynamics.experiments.corlouer2026._fig10 import FIG10 as FIG10
from sgdynamics.experiments.corlouer2026._fig11 import FIG11 as FIG11
from sgdynamics.experiments.corlouer2026._fig12 import FIG12 as FIG12
from sgdynamics.experiments.corlouer2026._finite_data import FINITE_DATA as FINITE_DATA
from sgdynamics.experiments.corlouer2026._learning_times import LEARNING_TIMES as LEARNING_TIMES
from sgdynamics.experiments.corlouer2026._mean_shift import MEAN_SHIFT as MEAN_SHIFT
from sgdynamics.experiments.corlouer2026._stationary import STATIONARY as STATIONARY
