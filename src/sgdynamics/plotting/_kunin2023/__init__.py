"""The figures of Kunin et al. (2023), one module each."""

from sgdynamics.plotting._kunin2023._decomposition import decomposition
from sgdynamics.plotting._kunin2023._displacement import displacement
from sgdynamics.plotting._kunin2023._equipartition import equipartition
from sgdynamics.plotting._kunin2023._fig1 import fig1
from sgdynamics.plotting._kunin2023._fig2 import fig2
from sgdynamics.plotting._kunin2023._fig3 import fig3
from sgdynamics.plotting._kunin2023._fig4 import fig4
from sgdynamics.plotting._kunin2023._fig5 import fig5
from sgdynamics.plotting._kunin2023._fig6 import fig6
from sgdynamics.plotting._kunin2023._fig7 import fig7
from sgdynamics.plotting._kunin2023._free_energy import free_energy
from sgdynamics.plotting._kunin2023._multiplicative_noise import multiplicative_noise
from sgdynamics.plotting._kunin2023._potentials import potentials

FIGURES = {
    "kunin2023/decomposition": decomposition,
    "kunin2023/displacement": displacement,
    "kunin2023/equipartition": equipartition,
    "kunin2023/fig1": fig1,
    "kunin2023/fig2": fig2,
    "kunin2023/fig3": fig3,
    "kunin2023/fig4": fig4,
    "kunin2023/fig5": fig5,
    "kunin2023/fig6": fig6,
    "kunin2023/fig7": fig7,
    "kunin2023/free_energy": free_energy,
    "kunin2023/multiplicative_noise": multiplicative_noise,
    "kunin2023/potentials": potentials,
}
