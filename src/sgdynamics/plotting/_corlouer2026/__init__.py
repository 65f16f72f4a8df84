"""The figures of Corlouer et al. (2026), one module each."""

from sgdynamics.plotting._corlouer2026._drift import drift
from sgdynamics.plotting._corlouer2026._fig1 import fig1
from sgdynamics.plotting._corlouer2026._fig2 import fig2
from sgdynamics.plotting._corlouer2026._fig3 import fig3
from sgdynamics.plotting._corlouer2026._fig4 import fig4
from sgdynamics.plotting._corlouer2026._fig5 import fig5
from sgdynamics.plotting._corlouer2026._fig6 import fig6
from sgdynamics.plotting._corlouer2026._fig7 import fig7
from sgdynamics.plotting._corlouer2026._fig8 import fig8
from sgdynamics.plotting._corlouer2026._fig12 import fig12
from sgdynamics.plotting._corlouer2026._finite_data import finite_data
from sgdynamics.plotting._corlouer2026._learning_times import learning_times
from sgdynamics.plotting._corlouer2026._mean_shift import mean_shift
from sgdynamics.plotting._corlouer2026._scaling import scaling
from sgdynamics.plotting._corlouer2026._stationary import stationary

FIGURES = {
    "corlouer2026/drift": drift,
    "corlouer2026/fig1": fig1,
    "corlouer2026/fig10": scaling,
    "corlouer2026/fig11": fig1,
    "corlouer2026/fig12": fig12,
    "corlouer2026/fig2": fig2,
    "corlouer2026/fig3": fig3,
    "corlouer2026/fig4": fig4,
    "corlouer2026/fig5": fig5,
    "corlouer2026/fig6": fig6,
    "corlouer2026/fig7": fig7,
    "corlouer2026/fig8": fig8,
    "corlouer2026/fig9": scaling,
    "corlouer2026/finite_data": finite_data,
    "corlouer2026/learning_times": learning_times,
    "corlouer2026/mean_shift": mean_shift,
    "corlouer2026/stationary": stationary,
}
