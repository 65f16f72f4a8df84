"""The figures of Kühn and Rosenow (2025), one module each."""

from collections.abc import Callable

import xarray as xr
from matplotlib.figure import Figure

from sgdynamics.plotting._kuehn2025._fig12_13 import fig12_13
from sgdynamics.plotting._kuehn2025._fig14 import fig14
from sgdynamics.plotting._kuehn2025._fig16 import fig16
from sgdynamics.plotting._kuehn2025._fig17 import fig17
from sgdynamics.plotting._kuehn2025._fig18 import fig18
from sgdynamics.plotting._kuehn2025._fig20 import fig20
from sgdynamics.plotting._kuehn2025._fig21 import fig21
from sgdynamics.plotting._kuehn2025._fig22_23 import fig22_23
from sgdynamics.plotting._kuehn2025._fig24 import fig24
from sgdynamics.plotting._kuehn2025._fig25 import fig25
from sgdynamics.plotting._kuehn2025._fig26 import fig26

FIGURES: dict[str, Callable[[xr.Dataset], Figure]] = {
    "kuehn2025/fig12_13": fig12_13,
    "kuehn2025/fig14": fig14,
    "kuehn2025/fig16": fig16,
    "kuehn2025/fig17": fig17,
    "kuehn2025/fig18": fig18,
    "kuehn2025/fig20": fig20,
    "kuehn2025/fig21": fig21,
    "kuehn2025/fig22_23": fig22_23,
    "kuehn2025/fig24": fig24,
    "kuehn2025/fig25": fig25,
    "kuehn2025/fig26": fig26,
}
