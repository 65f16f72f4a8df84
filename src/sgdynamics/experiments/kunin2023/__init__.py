"""Kunin et al., The limiting dynamics of SGD: modified loss, phase space oscillations, anomalous diffusion (2023)."""

from sgdynamics.experiments.kunin2023._decomposition import DECOMPOSITION as DECOMPOSITION
from sgdynamics.experiments.kunin2023._displacement import DISPLACEMENT as DISPLACEMENT
from sgdynamics.experiments.kunin2023._equipartition import EQUIPARTITION as EQUIPARTITION
from sgdynamics.experiments.kunin2023._fig1 import FIG1 as FIG1
from sgdynamics.experiments.kunin2023._fig2 import FIG2 as FIG2
from sgdynamics.experiments.kunin2023._fig3 import FIG3 as FIG3
from sgdynamics.experiments.kunin2023._fig4 import FIG4 as FIG4
from sgdynamics.experiments.kunin2023._fig5 import FIG5 as FIG5
from sgdynamics.experiments.kunin2023._fig6 import FIG6 as FIG6
from sgdynamics.experiments.kunin2023._fig7 import FIG7 as FIG7
from sgdynamics.experiments.kunin2023._free_energy import FREE_ENERGY as FREE_ENERGY
from sgdynamics.experiments.kunin2023._multiplicative_noise import MULTIPLICATIVE_NOISE as MULTIPLICATIVE_NOISE
from sgdynamics.experiments.kunin2023._potentials import POTENTIALS as POTENTIALS
