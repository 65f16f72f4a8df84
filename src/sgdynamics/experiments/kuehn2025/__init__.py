"""Kühn and Rosenow, Anti-correlated noise in epoch-based SGD and its implications (slides, Prague, 2025)."""

from sgdynamics.experiments.kuehn2025._fig12_13 import FIG12_13 as FIG12_13
from sgdynamics.experiments.kuehn2025._fig14 import FIG14 as FIG14
from sgdynamics.experiments.kuehn2025._fig16 import FIG16 as FIG16
from sgdynamics.experiments.kuehn2025._fig17 import FIG17 as FIG17
from sgdynamics.experiments.kuehn2025._fig18 import FIG18 as FIG18
from sgdynamics.experiments.kuehn2025._fig20 import FIG20 as FIG20
from sgdynamics.experiments.kuehn2025._fig21 import FIG21 as FIG21
from sgdynamics.experiments.kuehn2025._fig22_23 import FIG22_23 as FIG22_23
from sgdynamics.experiments.kuehn2025._fig24 import FIG24 as FIG24
from sgdynamics.experiments.kuehn2025._fig25 import FIG25 as FIG25
from sgdynamics.experiments.kuehn2025._fig26 import FIG26 as FIG26
