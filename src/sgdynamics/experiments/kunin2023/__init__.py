"""Kunin et al., The limiting dynamics of SGD: modified loss, phase space oscillations, anomalous diffusion (2023)."""

from sgdynamics.experiments.kunin2023._equipartition import EQUIPARTITION as EQUIPARTITION
from sgdynamics.experiments.kunin2023._potentials import POTENTIALS as POTENTIALS
