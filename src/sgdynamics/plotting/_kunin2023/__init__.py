"""The figures of Kunin et al. (2023), one module each."""

from sgdynamics.plotting._kunin2023._equipartition import equipartition
from sgdynamics.plotting._kunin2023._potentials import potentials

FIGURES = {
    "kunin2023/equipartition": equipartition,
    "kunin2023/potentials": potentials,
}
