"""One-dimensional, non-linear Itô processes, third pillar of the theory: dw = μ(w) dt + √D(w) dB.

μ = `drift` and D = `diffusion` are functions of an array of points; D is a rate (variance per unit of t), not its root.
They may be closures over arrays that are traced or differentiated.
"""

from sgdynamics.theory.fokker_planck._atoms import local_exponent as local_exponent
from sgdynamics.theory.fokker_planck._finite_volume import FiniteVolume as FiniteVolume
from sgdynamics.theory.fokker_planck._stationary import StationaryDensity as StationaryDensity
from sgdynamics.theory.fokker_planck._stationary import stationary_density as stationary_density
