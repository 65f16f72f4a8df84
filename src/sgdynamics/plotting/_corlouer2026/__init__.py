"""The figures of Corlouer et al. (2026), one module each."""

from sgdynamics.plotting._corlouer2026._fig1 import fig1

FIGURES = {
    "corlouer2026/fig1": fig1,
}
